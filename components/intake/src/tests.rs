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
use test_host::{ID, TRACE, TestHost, WholeBody, condition_failed, row};

/// When every request comes.
const NOW: &str = "2026-11-24T09:30:00.000Z";

/// The host of intake, with these values of variables.
fn host(values: &[(&str, &str)]) -> TestHost {
    TestHost::of("intake", values)
}

/// A response, and its body if that is JSON.
struct ApiResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl ApiResponse {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Sends a request that comes at [`NOW`], whose body is JSON if there is one.
async fn call(
    host: &TestHost,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<Value>,
) -> ApiResponse {
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
) -> ApiResponse {
    let mut request = http::Request::builder().method(method).uri(path);
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let response = crate::handle(host, &request.body(WholeBody(body)).unwrap(), arrived).await;
    let (head, body) = response.into_parts();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    assert!(!host.lines().is_empty(), "each request writes a line");
    assert!(!format!("{:?}", host.lines()).contains("00123"), "no line holds the code of a person: {:?}", host.lines());
    ApiResponse { status: head.status, headers: head.headers, body }
}

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// Another instant than [`NOW`].
fn seconds_later(seconds: u64) -> SystemTime {
    SystemTime::from(now()) + std::time::Duration::from_secs(seconds)
}
