//! The import's bucket: files below `slots/` are read, part by part, and reports are written below `reports/`.

use std::io;
use std::time::Duration;

use appointment::{Country, TraceContext};
use aws_http::native::NativeTransport;
use aws_http::s3::S3;
use aws_http::{Client, Endpoint};
use bytes::Bytes;
use futures::Stream;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnection;
use tokio_util::io::StreamReader;

use crate::aws::Environment;
use crate::event_bus::AnnouncementBus;
use crate::import::{ImportError, Report, Source, import};
use crate::setting::InvalidSetting;

/// What is read at once.
const PART_BYTES: u64 = 1024 * 1024;

/// The time for one part, and within it for one attempt.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where files lie, and where reports go.
const FILES: &str = "slots/";
const REPORTS: &str = "reports/";

/// What S3 tells a function of objects that were created
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>). Another event has none.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct BucketEvent {
    #[serde(rename = "Records", default)]
    pub(crate) records: Vec<Created>,
}

/// An object that was created.
#[derive(Debug, Deserialize)]
pub(crate) struct Created {
    s3: Place,
}

#[derive(Debug, Deserialize)]
struct Place {
    bucket: Bucket,
    object: Object,
}

#[derive(Debug, Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    /// Encoded as in a form.
    key: String,
    #[serde(default)]
    size: u64,
    e_tag: String,
    /// Of two events about one key the later one's is greater.
    #[serde(default)]
    sequencer: String,
}

/// What is written to `reports/`.
#[derive(Serialize)]
#[serde(untagged)]
enum Written<'a> {
    Report(&'a Report),
    #[serde(rename_all = "camelCase")]
    Refused {
        name: &'a str,
        error: String,
    },
}

/// The objects of the country's bucket.
pub(crate) struct Objects {
    client: Client<NativeTransport>,
    endpoint: Endpoint,
}

impl Objects {
    /// S3 as the environment of a Lambda function describes it.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidSetting> {
        let environment = Environment::read(variable)?;
        let client = environment.client().with_attempt_limit(ATTEMPT_TIMEOUT).with_deadline(CALL_TIMEOUT);
        Ok(Self { client, endpoint: environment.endpoint("s3")? })
    }

    /// Imports an object, and writes the report beside it. An object that is no import gets a report too; one that lies elsewhere
    /// is left alone.
    ///
    /// # Errors
    /// The database or the bucket fails: the import goes on where it was when the event comes again.
    pub(crate) async fn import(
        &self,
        connection: &mut PgConnection,
        country: Country,
        bus: &impl AnnouncementBus,
        created: &Created,
        traceparent: TraceContext,
    ) -> Result<(), ImportError> {
        let Place { bucket, object } = &created.s3;
        let key = decoded(&object.key);
        let Some(name) = key.strip_prefix(FILES).filter(|name| !name.is_empty()) else { return Ok(()) };
        // S3 may announce one object twice, and one that was replaced after its replacement.
        let fingerprint = format!("{} {}", object.sequencer, object.e_tag);
        let source = Source { name: key.clone(), fingerprint, once: true };
        let reader = StreamReader::new(Box::pin(self.parts(&bucket.name, &key, object)));
        let imported = import(connection, country, bus, &source, reader, traceparent).await;
        let written = match &imported {
            Ok((report, _)) => Written::Report(report),
            Err(error @ ImportError::Header(_)) => Written::Refused { name: &key, error: error.to_string() },
            Err(_) => return imported.map(|_| ()),
        };
        let body = serde_json::to_vec_pretty(&written)?;
        let s3 = S3::new(&self.client, &self.endpoint);
        s3.put(&bucket.name, &format!("{REPORTS}{name}.json"), "application/json", body.into())
            .await
            .map_err(|error| ImportError::Unreadable(io::Error::other(error)))?;
        Ok(())
    }

    /// The object's bytes, as long as it is the one that the event announces.
    fn parts<'a>(
        &'a self,
        bucket: &'a str,
        key: &'a str,
        object: &'a Object,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'a {
        futures::stream::try_unfold((0, object.size), move |(start, total)| async move {
            if start >= total {
                return Ok(None);
            }
            let s3 = S3::new(&self.client, &self.endpoint);
            let part =
                s3.get(bucket, key, start..start + PART_BYTES, Some(&object.e_tag)).await.map_err(io::Error::other)?;
            if part.bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let next = start + part.bytes.len() as u64;
            Ok(Some((part.bytes, (next, part.total))))
        })
    }
}

/// A key as it is in the bucket.
fn decoded(key: &str) -> String {
    form_urlencoded::parse(format!("key={}", key.replace('&', "%26")).as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn a_key_comes_encoded_as_in_a_form() {
        assert_eq!(decoded("slots/Mar%C3%ADa+1%2B2=3&4.csv"), "slots/María 1+2=3&4.csv");
    }
}
