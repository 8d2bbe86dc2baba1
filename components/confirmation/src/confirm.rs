use std::time::{Duration, SystemTime};

use appointment::{Envelope, OutcomeDetail, OutcomeEvent, Reason, Status, Timestamp};
use backplane::{Applied, AppointmentsTable};
use edge_component::{Chance, Level, LogLine};

use crate::internal::{Failure, SERVICE, Settings};

/// How log lines name this way in, where those of HTTP name their route.
const ROUTE: &str = "handle-queue-message";

/// Both calls together end within 4 s.
const UPDATE_DEADLINE: Duration = Duration::from_millis(2_400);
const ANNOUNCE_DEADLINE: Duration = Duration::from_millis(1_400);

/// What was done with a message, for the log.
struct Done {
    level: Level,
    message: &'static str,
    status: Option<Status>,
}

/// Applies the outcome in a message's body, and writes one log line about it: whether the message is done with.
pub(crate) async fn deliver(body: &[u8], arrived: SystemTime) -> bool {
    let chance = Chance::draw();
    let mut event = None;
    let result = confirm(body, arrived, &mut event).await;
    let trace =
        chance.trace(event.as_ref().map(|event: &OutcomeEvent| event.detail.traceparent.to_string()).as_deref());
    let done = result.is_ok();
    let (level, message, status, error) = match result {
        Ok(Done { level, message, status }) => (level, message, status, None),
        Err(failure) => {
            let message = match failure {
                Failure::Retry(_) => "outcome left to the queue",
                Failure::Poison(_) => "message cannot be taken",
                Failure::Setting(_) => "component is not set up",
            };
            (failure.level(), message, None, Some(failure.to_string()))
        }
    };
    LogLine::new(level, SERVICE, message, trace)
        .with("route", ROUTE)
        .with("action", if done { "delete" } else { "leave" })
        .with_some("appointment_id", event.as_ref().map(|event| event.detail.appointment_id))
        .with_some("country", event.as_ref().map(|event| event.detail.country))
        .with_some("outcome", event.as_ref().map(|event| event.outcome))
        .with_some("reason", event.as_ref().and_then(|event| event.detail.reason))
        .with_some("event_id", event.as_ref().map(|event| event.detail.event_id))
        .with_some("appointment_status", status)
        .with_some("error", error)
        .with_duration_since(arrived)
        .write();
    done
}

async fn confirm(body: &[u8], arrived: SystemTime, seen: &mut Option<OutcomeEvent>) -> Result<Done, Failure> {
    // The error of serde_json can quote the body, which is personal data, so that only its place is told.
    let envelope: Envelope<OutcomeDetail> = serde_json::from_slice(body).map_err(|error| {
        Failure::Poison(format!("not an outcome: line {}, column {}", error.line(), error.column()))
    })?;
    let event = OutcomeEvent::try_from(envelope).map_err(|error| Failure::Poison(error.to_string()))?;
    let event = &*seen.insert(event);

    let settings = Settings::read(arrived)?;
    let client = settings.client.clone().with_deadline(UPDATE_DEADLINE);
    let table = AppointmentsTable::new(&client, &settings.dynamodb, &settings.table);
    let (change, message) = match table.apply(event, Timestamp::from(arrived)).await? {
        Applied::Moved(change) => (change, "outcome applied"),
        Applied::Repeated(change) => (change, "outcome repeated"),
        Applied::Overtaken(status @ Status::Unknown(_)) => {
            let message = "the appointment has a status of a later version: the outcome changes nothing";
            return Ok(Done { level: Level::Error, message, status: Some(status) });
        }
        Applied::Overtaken(status) => {
            return Ok(Done { level: Level::Info, message: "outcome overtaken", status: Some(status) });
        }
        Applied::Contradicted(status) => {
            let message = "a country decided twice: the first decision stands";
            return Ok(Done { level: Level::Error, message, status: Some(status) });
        }
        Applied::NeedsOperator => {
            let message = "a cancellation could not be processed: an operator has to look";
            return Ok(Done { level: Level::Error, message, status: Some(Status::Cancelling) });
        }
        Applied::Unknown if table.is_erased(event.detail.appointment_id).await? => {
            return Ok(Done { level: Level::Info, message: "outcome of an erased appointment dropped", status: None });
        }
        Applied::Unknown => {
            return Err(Failure::Poison("there is no such appointment of this country and slot".to_owned()));
        }
    };
    let client = client.with_deadline(ANNOUNCE_DEADLINE);
    settings.announce(&client, &change).await?;
    let (level, message) = match event.detail.reason {
        Some(Reason::Unknown(_)) => (Level::Error, "outcome applied, with a reason of a later version"),
        _ => (Level::Info, message),
    };
    Ok(Done { level, message, status: Some(change.status) })
}
