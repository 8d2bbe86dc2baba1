//! Amazon S3: objects, part by part. Not for components: their transport does not keep the headers that this needs.

use std::ops::Range;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, ETAG, IF_MATCH, RANGE};
use http::{HeaderValue, Method};

use crate::client::Client;
use crate::endpoint::{Endpoint, Service};
use crate::error::{Error, ErrorKind};
use crate::transport::Transport;

/// S3 at one endpoint.
#[derive(Clone, Copy, Debug)]
pub struct S3<'a, T> {
    client: &'a Client<T>,
    service: Service<'a>,
}

/// A part of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its bytes: fewer than asked for at the object's end.
    pub bytes: Bytes,
    /// How long the whole object is, in bytes.
    pub total: u64,
}

impl<'a, T: Transport> S3<'a, T> {
    /// S3 through this client, whose deadline has to suffice for a part.
    pub fn new(client: &'a Client<T>, endpoint: &'a Endpoint) -> Self {
        Self { client, service: endpoint.service("s3") }
    }

    /// `GetObject`: the bytes in `range` of an object that is not empty. With `etag`, only if the object still has this one.
    ///
    /// # Errors
    /// See [`ErrorKind`]. The object may also be gone, or have been replaced (`PreconditionFailed`).
    pub async fn get(&self, bucket: &str, key: &str, range: Range<u64>, etag: Option<&str>) -> Result<Part, Error> {
        let invalid =
            |reason: &str| Error::new(ErrorKind::InvalidRequest { reason: reason.to_owned() }, "s3", "GET", 0, false);
        let range = HeaderValue::from_str(&format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        let mut headers = vec![(RANGE, range.map_err(|_| invalid("its range is malformed"))?)];
        if let Some(etag) = etag {
            let etag = HeaderValue::from_str(&format!("\"{}\"", etag.trim_matches('"')));
            headers.push((IF_MATCH, etag.map_err(|_| invalid("its etag is malformed"))?));
        }
        let content_type = "application/octet-stream";
        let path = path(bucket, key);
        let (headers, bytes) =
            self.client.object(self.service, Method::GET, &path, content_type, &headers, Bytes::new()).await?;
        // `bytes 0-9/100`; a server that ignores the range returns the whole object without this header.
        let total = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok()?.rsplit('/').next()?.parse().ok());
        Ok(Part { total: total.unwrap_or(bytes.len() as u64), bytes })
    }

    /// `PutObject`: replaces the object, and returns its new etag.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn put(&self, bucket: &str, key: &str, content_type: &'static str, body: Bytes) -> Result<String, Error> {
        let path = path(bucket, key);
        let (headers, _) = self.client.object(self.service, Method::PUT, &path, content_type, &[], body).await?;
        let etag = headers.get(ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default();
        Ok(etag.trim_matches('"').to_owned())
    }
}

/// The path of an object in path-style addressing (`/bucket/key`). Unreserved characters of a key and its slashes are not encoded.
fn path(bucket: &str, key: &str) -> String {
    let mut path = format!("/{bucket}/");
    for byte in key.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => path.push(char::from(byte)),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn a_key_is_encoded_but_for_its_slashes() {
        assert_eq!(path("slots-pe", "slots/María 1+2.csv"), "/slots-pe/slots/Mar%C3%ADa%201%2B2.csv");
    }
}
