//! What each message and each call of the schedule does, over recorded responses of AWS.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

mod outcomes;
mod republish;
mod slots;

use std::time::SystemTime;

use serde_json::{Value, json};
use test_host::{ID, TRACE, TestHost, condition_failed};

use crate::Delivered;

const EVENT_ID: &str = "6f2f7a54-7b0f-5d63-9d57-0a5c3d0e8f11";

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

/// The row of [`ID`], which this event brought to this status.
fn row(status: &str, event_id: &str) -> Value {
    let mut row = test_host::row(status);
    row["lastEventId"] = json!({"S": event_id});
    let step = &mut row["history"]["L"][1]["M"];
    step["eventId"] = json!({"S": event_id});
    step["traceparent"] = json!({"S": TRACE});
    row
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
