//! The schedule: undecided commands are published again by the component's private route.

use std::time::{Duration, Instant};

use bytes::Bytes;
use edge_host::Executor;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use serde::{Deserialize, Serialize};

use crate::event::{Deadline, EventError};

/// The route, as a URI whose host is the one by which components call each other in Spin.
const ROUTE: &str = "http://spin.internal/internal/republish";

/// The response of one call.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Round {
    published: u64,
    given_up: u64,
    #[serde(default)]
    more: bool,
}

/// What all calls of one event did.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Republished {
    calls: u32,
    published: u64,
    given_up: u64,
    /// The time was over before everything was done: the next event goes on.
    more: bool,
}

/// Calls the route while there is more to do, and time for a call twice as long as the longest so far.
///
/// A later call that the end of the time cuts off is no failure: its rows are due again, and its publications are not counted.
///
/// # Errors
///
/// [`EventError::Republish`] with the status or the fault of a response.
pub(crate) async fn republish(
    executor: &Executor,
    component: &str,
    body: &str,
    deadline: Deadline,
) -> Result<Republished, EventError> {
    let failed = |reason: String| EventError::Republish(reason);
    let mut total = Republished::default();
    let mut longest = Duration::ZERO;
    loop {
        let request = Request::builder()
            .method(Method::POST)
            .uri(ROUTE)
            .header(CONTENT_TYPE, "application/json")
            .body(Bytes::copy_from_slice(body.as_bytes()))
            .map_err(|error| failed(error.to_string()))?;
        let started = Instant::now();
        let response = executor.call(component, request, deadline.left()).await;
        let response = response.ok_or_else(|| failed(format!("no component `{component}`")))?;
        if !response.status().is_success() {
            if total.more && deadline.left().is_zero() {
                return Ok(total);
            }
            return Err(failed(format!("the component responded with {}", response.status())));
        }
        let round: Round = serde_json::from_slice(response.body())
            .map_err(|error| failed(format!("the component's response is malformed: {error}")))?;
        total.calls += 1;
        total.published += round.published;
        total.given_up += round.given_up;
        total.more = round.more;
        longest = longest.max(started.elapsed());
        if !round.more || deadline.left() < 2 * longest {
            return Ok(total);
        }
    }
}
