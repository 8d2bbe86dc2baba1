//! Amazon S3: objects, part by part. Only outside of components, whose transports keep too few headers for it.

use std::ops::Range;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, IF_MATCH, RANGE};
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
    /// Its bytes: fewer than asked for where the object ends.
    pub bytes: Bytes,
    /// How long the whole object is, in bytes.
    pub total: u64,
}

impl<'a, T: Transport> S3<'a, T> {
    /// S3 through this client, whose deadline has to suffice for a part.
    pub fn new(client: &'a Client<T>, endpoint: &'a Endpoint) -> Self {
        Self { client, service: endpoint.service("s3") }
    }

    /// `GetObject`: the bytes in `range` of an object that is not empty, as long as it is the one with this `etag`.
    ///
    /// # Errors
    /// See [`ErrorKind`]; one is that the object is gone, or another by now (`PreconditionFailed`).
    pub async fn get(&self, bucket: &str, key: &str, range: Range<u64>, etag: &str) -> Result<Part, Error> {
        let invalid =
            |reason: &str| Error::new(ErrorKind::InvalidRequest { reason: reason.to_owned() }, "s3", "GET", 0, false);
        let etag = HeaderValue::from_str(&format!("\"{}\"", etag.trim_matches('"')));
        let etag = etag.map_err(|_| invalid("its etag is malformed"))?;
        let range = HeaderValue::from_str(&format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        let range = range.map_err(|_| invalid("its range is malformed"))?;
        let headers = [(IF_MATCH, etag), (RANGE, range)];
        let content_type = "application/octet-stream";
        let path = path(bucket, key);
        let (headers, bytes) =
            self.client.object(self.service, Method::GET, &path, content_type, &headers, Bytes::new()).await?;
        // `bytes 0-9/100`; whoever does not heed the range answers with the whole object, and no such header.
        let total = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok()?.rsplit('/').next()?.parse().ok());
        Ok(Part { total: total.unwrap_or(bytes.len() as u64), bytes })
    }

    /// `PutObject`: replaces the object.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn put(&self, bucket: &str, key: &str, content_type: &'static str, body: Bytes) -> Result<(), Error> {
        self.client.object(self.service, Method::PUT, &path(bucket, key), content_type, &[], body).await?;
        Ok(())
    }
}

/// The path of an object, addressed without a host name for each bucket. The unreserved characters of a key and its slashes
/// stay as they are.
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
