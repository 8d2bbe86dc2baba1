//! Each endpoint from the request to the response, the calls and the log line, over recorded responses of AWS.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

mod book;
mod cancel;
mod catalog;
mod identity;
mod list;
mod moves;
mod plain;
mod show;
mod slots;

use std::time::SystemTime;

use appointment::Timestamp;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use test_host::{TestHost, WholeBody};

/// When every request comes.
const NOW: &str = "2026-11-24T09:30:00.000Z";

/// An appointment that is there before the request.
const ID: &str = "01930000-0000-7000-8000-000000000001";

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The host of intake, with these values of variables.
fn host(values: &[(&str, &str)]) -> TestHost {
    TestHost::of("intake", values)
}

/// A response, and its body if that is JSON.
struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answered {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Sends a request that comes at [`NOW`], whose body is JSON if there is one.
async fn call(host: &TestHost, method: Method, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Answered {
    call_at(now().into(), host, method, path, headers, body).await
}

/// As [`call`], at this instant: what has a deadline, or a token, needs the clock's own.
async fn call_at(
    arrived: SystemTime,
    host: &TestHost,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<Value>,
) -> Answered {
    let mut request = http::Request::builder().method(method).uri(path);
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let response = crate::answer(host, &request.body(WholeBody(body)).unwrap(), arrived).await;
    let (head, body) = response.into_parts();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    assert!(!host.lines().is_empty(), "each request writes a line");
    assert!(!format!("{:?}", host.lines()).contains("00123"), "no line holds the code of a person: {:?}", host.lines());
    Answered { status: head.status, headers: head.headers, body }
}

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// The row of [`ID`], a booking of the person 00123 for the slot 100 in Peru, as DynamoDB returns it.
fn row(status: &str) -> Value {
    json!({
        "insuredId": {"S": "00123"}, "sk": {"S": format!("appointment#{ID}")}, "scheduleId": {"N": "100"},
        "countryISO": {"S": "PE"}, "status": {"S": status}, "traceparent": {"S": TRACE},
        "createdAt": {"S": "2026-11-24T09:00:00.000Z"}, "updatedAt": {"S": "2026-11-24T09:00:02.000Z"},
        "history": {"L": [
            {"M": {"status": {"S": "pending"}, "at": {"S": "2026-11-24T09:00:00.000Z"}}},
            {"M": {"status": {"S": status}, "at": {"S": "2026-11-24T09:00:02.000Z"}}},
        ]},
    })
}

/// What DynamoDB says to a write whose condition failed, with the row as it is.
fn condition_failed(row: &Value) -> Value {
    json!({"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", "Item": row})
}

/// Another instant than [`NOW`].
fn seconds_later(seconds: u64) -> SystemTime {
    SystemTime::from(now()) + std::time::Duration::from_secs(seconds)
}
