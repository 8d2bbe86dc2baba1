//! What Lambda hands over, and the time that there is for it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lambda_events::event::apigw::ApiGatewayV2httpRequest;
use aws_lambda_events::event::sqs::SqsEvent;
use lambda_runtime::Diagnostic;
use serde_json::Value;

/// The part of the function's time that is reserved for the response to Lambda.
const RESERVE: Duration = Duration::from_millis(300);

/// An event, recognised by its shape.
pub(crate) enum Event {
    Request(Box<ApiGatewayV2httpRequest>),
    Messages(SqsEvent),
    /// The body for republishing: `{"countryISO":"…"}`.
    Schedule(String),
}

/// Why an event cannot be processed. No message quotes the event: it may hold personal data.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EventError {
    #[error(
        "unknown event with the fields [{0}]: expected an HTTP API's request, messages of SQS, or {{\"countryISO\":…}}"
    )]
    Unknown(String),
    #[error("an event of API Gateway with payload format {0}: set the integration's payload format version to 2.0")]
    PayloadFormat(String),
    #[error("malformed {what}: {reason}")]
    Malformed { what: &'static str, reason: String },
    #[error("a message that failed has no messageId: the whole batch has to come again")]
    UnidentifiedFailure,
    #[error("republishing: {0}")]
    Republish(String),
}

impl From<EventError> for Diagnostic {
    fn from(error: EventError) -> Self {
        let error_type = match error {
            EventError::Unknown(_) => "UnknownEvent",
            EventError::PayloadFormat(_) => "PayloadFormat",
            EventError::Malformed { .. } => "MalformedEvent",
            EventError::UnidentifiedFailure => "UnidentifiedFailure",
            EventError::Republish(_) => "Republish",
        };
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}

impl Event {
    /// # Errors
    ///
    /// [`EventError`] names what was expected.
    pub(crate) fn recognise(event: Value) -> Result<Self, EventError> {
        let Some(fields) = event.as_object() else {
            return Err(EventError::Unknown("not an object".to_owned()));
        };
        if fields.contains_key("requestContext") {
            return match fields.get("version").and_then(Value::as_str) {
                Some("2.0") => read(event, "request of API Gateway").map(Box::new).map(Self::Request),
                version => Err(EventError::PayloadFormat(version.unwrap_or("1.0").to_owned())),
            };
        }
        if let Some(records) = fields.get("Records").and_then(Value::as_array) {
            let is_message = |record: &Value| record.get("eventSource").and_then(Value::as_str) == Some("aws:sqs");
            if records.iter().all(is_message) {
                return read(event, "batch of SQS").map(Self::Messages);
            }
        }
        if fields.len() == 1 && fields.get("countryISO").is_some_and(Value::is_string) {
            return Ok(Self::Schedule(event.to_string()));
        }
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        Err(EventError::Unknown(names.join(", ")))
    }
}

fn read<T: serde::de::DeserializeOwned>(event: Value, what: &'static str) -> Result<T, EventError> {
    // Of serde's messages only the place of the fault is said by all of them without a value.
    serde_json::from_value(event).map_err(|error| EventError::Malformed { what, reason: fault(&error) })
}

/// What is wrong, without the value that is: `invalid type: string "…", expected u64` becomes `expected u64`.
fn fault(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once("expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None if text.starts_with("missing field") => text,
        None => "a field has a value that it cannot have".to_owned(),
    }
}

/// When the function's time is over, as Lambda says it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// From milliseconds since 1970.
    pub(crate) fn at(unix_milliseconds: u64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let left = Duration::from_millis(unix_milliseconds).saturating_sub(now);
        Self(Instant::now() + left)
    }

    /// The time that instances may take.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now()).saturating_sub(RESERVE)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::panic, reason = "a test fails by panicking")]

    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_recognised_by_its_shape() {
        let request = json!({"version": "2.0", "rawPath": "/health", "requestContext": {"http": {"method": "GET"}}});
        assert!(matches!(Event::recognise(request), Ok(Event::Request(_))));
        let messages = json!({"Records": [{"eventSource": "aws:sqs", "messageId": "1", "body": "x"}]});
        assert!(matches!(Event::recognise(messages), Ok(Event::Messages(_))));
        let schedule = json!({"countryISO": "PE"});
        assert!(matches!(Event::recognise(schedule), Ok(Event::Schedule(body)) if body == r#"{"countryISO":"PE"}"#));
    }

    #[test]
    fn another_event_is_refused_without_its_values() {
        for (event, expected) in [
            (json!("secret"), "unknown event with the fields [not an object]"),
            (json!({"a": "secret", "b": 1}), "unknown event with the fields [a, b]: expected an HTTP API's request"),
            (json!({"countryISO": "PE", "insuredId": "secret"}), "[countryISO, insuredId]"),
            (json!({"countryISO": 5}), "[countryISO]"),
            (json!({"Records": [{"eventSource": "aws:s3", "s3": "secret"}]}), "[Records]"),
            (json!({"version": "1.0", "requestContext": {}, "path": "/secret"}), "payload format 1.0"),
            (json!({"Records": [{"eventSource": "aws:sqs", "body": ["secret"]}]}), "malformed batch of SQS"),
            (
                json!({"version": "2.0", "requestContext": {"http": {"method": 1}}, "body": "secret"}),
                "malformed request of API Gateway",
            ),
        ] {
            let Err(error) = Event::recognise(event) else { panic!("accepted: {expected}") };
            let text = error.to_string();
            assert!(text.contains(expected) && !text.contains("secret"), "{text}");
        }
    }
}
