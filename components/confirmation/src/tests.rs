//! What each message and each call of the schedule does, over recorded responses of AWS.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

mod outcomes;
mod republish;
mod slots;

use std::time::SystemTime;

use serde_json::{Value, json};
use test_host::TestHost;

use crate::Delivered;

const ID: &str = "01930000-0000-7000-8000-000000000001";

const EVENT_ID: &str = "6f2f7a54-7b0f-5d63-9d57-0a5c3d0e8f11";

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The host of confirmation, with these values of variables.
fn host(values: &[(&str, &str)]) -> TestHost {
    TestHost::of("confirmation", values)
}

async fn deliver(host: &TestHost, message: &Value) -> Delivered {
    let delivered = crate::deliver(host, message.to_string().as_bytes(), SystemTime::now(), |_| None).await;
    assert_eq!(host.lines().len(), 1, "a message has one line");
    assert!(!format!("{:?}", host.lines()).contains("00123"), "no line holds the code of a person: {:?}", host.lines());
    delivered
}

/// The row of [`ID`], as DynamoDB returns it, which this event brought to this status.
fn row(status: &str, event_id: &str) -> Value {
    json!({
        "insuredId": {"S": "00123"}, "sk": {"S": format!("appointment#{ID}")}, "scheduleId": {"N": "100"},
        "countryISO": {"S": "PE"}, "status": {"S": status}, "traceparent": {"S": TRACE}, "lastEventId": {"S": event_id},
        "createdAt": {"S": "2026-11-24T09:00:00.000Z"}, "updatedAt": {"S": "2026-11-24T09:00:02.000Z"},
        "history": {"L": [
            {"M": {"status": {"S": "pending"}, "at": {"S": "2026-11-24T09:00:00.000Z"}}},
            {"M": {
                "status": {"S": status}, "at": {"S": "2026-11-24T09:00:02.000Z"}, "eventId": {"S": event_id},
                "traceparent": {"S": TRACE},
            }},
        ]},
    })
}

/// What DynamoDB says to a write whose condition failed, with the row as it is.
fn condition_failed(row: &Value) -> Value {
    json!({"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", "Item": row})
}

/// What EventBridge says to an event that it took.
fn put() -> Value {
    json!({"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]})
}

/// A slot of Peru, as a country tells its state.
fn slot_state(version: u64, status: &str) -> Value {
    json!({
        "scheduleId": 100, "countryISO": "PE", "specialty": "Cardiología", "center": "Lima Norte",
        "practitioner": "Dra. Rojas", "startsAt": "2026-12-01T15:00:00.000Z", "endsAt": "2026-12-01T15:30:00.000Z",
        "timeZone": "America/Lima", "utcOffset": "-05:00", "version": version, "status": status,
    })
}
