use std::time::{Duration, Instant, SystemTime};

use appointment::{Envelope, OutcomeDetail, OutcomeEvent, Timestamp};
use backplane::{Applied, AppointmentsTable};
use edge_component::{Chance, Level, LogLine, Request, Response};
use http::StatusCode;

use crate::internal::{Failure, SERVICE, Settings, authorize};

/// The route of the pipe.
pub(crate) const ROUTE: &str = "/internal/confirmations";

/// The longest event in bytes: what EventBridge takes.
const BODY_LIMIT: usize = 256 * 1024;

/// The caller gives up after 5 s, so that both calls together end within 4.
const UPDATE_DEADLINE: Duration = Duration::from_millis(2_400);
const ANNOUNCE_DEADLINE: Duration = Duration::from_millis(1_400);

/// What was done with a message, for the log.
struct Done {
    level: Level,
    message: &'static str,
    status: Option<&'static str>,
}

/// Answers a delivery over HTTP.
pub(crate) async fn answer(request: Request, arrived: Instant) -> Response {
    let body = authorize(&request, ROUTE).and_then(|()| {
        let body = request.body().read(BODY_LIMIT);
        body.map_err(|error| Failure::Poison(error.to_string()))
    });
    deliver(body, ROUTE, arrived).await
}

/// Applies the outcome in a message's body, and writes one log line about it, with `route` as the way by which it came. The
/// answer's status is 2xx where the message is done with.
pub(crate) async fn deliver(body: Result<Vec<u8>, Failure>, route: &'static str, arrived: Instant) -> Response {
    let chance = Chance::draw();
    let mut event = None;
    let result = match body {
        Ok(body) => confirm(&body, &mut event).await,
        Err(failure) => Err(failure),
    };
    let trace =
        chance.trace(event.as_ref().map(|event: &OutcomeEvent| event.detail.traceparent.to_string()).as_deref());
    let (response, level, message, status, error) = match result {
        Ok(Done { level, message, status }) => {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::NO_CONTENT;
            (response, level, message, status, None)
        }
        Err(failure) => {
            let message = match failure {
                Failure::Refused(_) => "delivery refused",
                Failure::Retry(_) => "outcome left to the queue",
                Failure::Poison(_) => "message cannot be taken",
                Failure::Setting(_) => "component is not set up",
            };
            let (response, level, error) = failure.explain();
            (response, level, message, None, error)
        }
    };
    LogLine::new(level, SERVICE, message, trace)
        .with("route", route)
        .with("status", response.status().as_u16())
        .with_some("appointment_id", event.as_ref().map(|event| event.detail.appointment_id))
        .with_some("country", event.as_ref().map(|event| event.detail.country))
        .with_some("outcome", event.as_ref().map(|event| event.outcome))
        .with_some("reason", event.as_ref().and_then(|event| event.detail.reason))
        .with_some("event_id", event.as_ref().map(|event| event.detail.event_id))
        .with_some("appointment_status", status)
        .with_some("error", error)
        .with("duration_ms", arrived.elapsed().as_micros() as f64 / 1000.0)
        .write();
    response
}

async fn confirm(body: &[u8], seen: &mut Option<OutcomeEvent>) -> Result<Done, Failure> {
    // The error of serde_json can quote the body, which is personal data, so that only its place is told.
    let envelope: Envelope<OutcomeDetail> = serde_json::from_slice(body).map_err(|error| {
        Failure::Poison(format!("not an outcome: line {}, column {}", error.line(), error.column()))
    })?;
    let event = OutcomeEvent::try_from(envelope).map_err(|error| Failure::Poison(error.to_string()))?;
    let event = &*seen.insert(event);

    let settings = Settings::read()?;
    let client = settings.client.clone().with_deadline(UPDATE_DEADLINE);
    let table = AppointmentsTable::new(&client, &settings.dynamodb, &settings.table);
    let (kept, message) = match table.apply(event, Timestamp::from(SystemTime::now())).await? {
        Applied::Moved(kept) => (kept, "outcome applied"),
        Applied::Repeated(kept) => (kept, "outcome repeated"),
        Applied::Overtaken(status) => {
            return Ok(Done { level: Level::Info, message: "outcome overtaken", status: Some(status.as_str()) });
        }
        Applied::Contradicted(status) => {
            let message = "a country decided twice: the first decision stands";
            return Ok(Done { level: Level::Error, message, status: Some(status.as_str()) });
        }
        Applied::NeedsOperator => {
            let message = "a cancellation could not be processed: an operator has to look";
            return Ok(Done { level: Level::Error, message, status: Some("cancelling") });
        }
        Applied::Unknown if table.is_erased(event.detail.appointment_id).await? => {
            return Ok(Done { level: Level::Info, message: "outcome of an erased appointment dropped", status: None });
        }
        Applied::Unknown => {
            return Err(Failure::Poison("there is no such appointment of this country and slot".to_owned()));
        }
    };
    let client = client.with_deadline(ANNOUNCE_DEADLINE);
    settings.announce(&client, &kept, event.detail.event_id, event.detail.traceparent).await?;
    Ok(Done { level: Level::Info, message, status: Some(kept.appointment.status.as_str()) })
}
