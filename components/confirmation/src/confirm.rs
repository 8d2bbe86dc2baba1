use std::time::Duration;

use appointment::{Reason, Status, Timestamp, TraceContext};
use aws_http::CallLog;
use backplane::{Applied, AppointmentsTable};
use edge_component::{Host, Level, LogLine, RequestEntropy, Variables};
use futures::future::join;
use messages::{Envelope, OutcomeDetail, OutcomeEvent};

use crate::delivery::{Delivered, Delivery, ROUTE, on_bus};
use crate::internal::{HandlingError, SERVICE, Settings};
use crate::projection::project;

/// Both calls together end within 4 s.
const UPDATE_DEADLINE: Duration = Duration::from_millis(2_400);
const ANNOUNCE_DEADLINE: Duration = Duration::from_millis(1_400);

/// What was done with a message, for the log.
struct Done {
    level: Level,
    message: &'static str,
    status: Option<Status>,
}

/// What is known of a message while it is handled, for the log.
struct Seen {
    event: Option<OutcomeEvent>,
    /// The bus's own time of it.
    time: Option<String>,
    calls: CallLog,
}

/// Applies the outcome in a message's body, and writes one log line about it.
pub(crate) async fn deliver(host: impl Host, body: &[u8], delivery: &Delivery) -> Delivered {
    let entropy = RequestEntropy::draw(host);
    let mut seen = Seen { event: None, time: None, calls: CallLog::since(delivery.arrived) };
    let result = confirm(host, body, delivery, &mut seen).await;
    let Seen { event, time, calls } = seen;
    let caller = event.as_ref().map(|event| event.detail.traceparent);
    let trace = entropy.trace(caller);
    let (delivered, level, message, status, error) = match result {
        Ok(Done { level, message, status }) => (Delivered::Done, level, message, status, None),
        Err(failure) => {
            let (delivered, error) = (Delivered::failed(&failure), failure.to_string());
            (delivered, failure.level(), failure.message(), None, Some(error))
        }
    };
    let on_bus = event.as_ref().map(|event| on_bus(time.as_deref(), event.detail.occurred_at));
    LogLine::new(level, SERVICE, message, trace)
        .with_some("parent_span_id", caller.map(TraceContext::span_id))
        .with("route", ROUTE)
        .with("action", delivered.action())
        .with_some("appointment_id", event.as_ref().map(|event| event.detail.appointment_id))
        .with_some("country", event.as_ref().map(|event| event.detail.country))
        .with_some("outcome", event.as_ref().map(|event| event.outcome.detail_type()))
        .with_some("reason", event.as_ref().and_then(|event| event.detail.reason))
        .with_some("event_id", event.as_ref().map(|event| event.detail.event_id))
        .with_some("appointment_status", status)
        .with_some("error", error)
        .with_duration_since(delivery.arrived)
        .with_spans(delivery.arrived, delivery.waits(on_bus), &calls)
        .write(host);
    delivered
}

async fn confirm(host: impl Host, body: &[u8], delivery: &Delivery, seen: &mut Seen) -> Result<Done, HandlingError> {
    // The error of serde_json can quote the body, which is personal data, so only its place is told.
    let mut envelope: Envelope<OutcomeDetail> = serde_json::from_slice(body).map_err(|error| {
        HandlingError::Poison(format!("not an outcome: line {}, column {}", error.line(), error.column()))
    })?;
    seen.time = envelope.time.take();
    let event = OutcomeEvent::try_from(envelope).map_err(|error| HandlingError::Poison(error.to_string()))?;
    let event = &*seen.event.insert(event);

    let settings = Settings::read(host, &Variables::of(host), delivery.arrived)?;
    let client = settings.client.clone().with_call_log(seen.calls.clone()).with_deadline(UPDATE_DEADLINE);
    let table = AppointmentsTable::new(&client, &settings.dynamodb, &settings.table);
    let (change, done) = match table.apply(event, Timestamp::from(delivery.arrived)).await? {
        Applied::Moved(change) => (Some(change), Done::applied("outcome applied", &event.detail)),
        Applied::Repeated(change) => (Some(change), Done::applied("outcome repeated", &event.detail)),
        Applied::Overtaken(status @ Status::Unknown(_)) => {
            let message = "the appointment has a status of a later version: the outcome changes nothing";
            (None, Done { level: Level::Error, message, status: Some(status) })
        }
        Applied::Overtaken(status) => {
            (None, Done { level: Level::Info, message: "outcome overtaken", status: Some(status) })
        }
        Applied::Contradicted(status) => {
            let message = "a country decided twice: the first decision is kept";
            (None, Done { level: Level::Error, message, status: Some(status) })
        }
        Applied::NeedsOperator => {
            let message = "a cancellation could not be processed: an operator has to look";
            (None, Done { level: Level::Error, message, status: Some(Status::Cancelling) })
        }
        Applied::Unknown if table.is_erased(event.detail.appointment_id).await? => {
            (None, Done { level: Level::Info, message: "outcome of an erased appointment dropped", status: None })
        }
        Applied::Unknown => {
            return Err(HandlingError::Poison("there is no such appointment of this country and slot".to_owned()));
        }
    };
    let client = client.with_deadline(ANNOUNCE_DEADLINE);
    let announce = async {
        match &change {
            Some(change) => settings.announce(&client, change).await.map_err(HandlingError::from),
            None => Ok(()),
        }
    };
    // Whatever became of the row, the slot's state is the country's, and has its own version.
    let (announced, projected) = join(announce, project(&settings, &client, event.detail.slot.as_ref())).await;
    announced.and(projected)?;
    Ok(Done { status: change.map(|change| change.status).or(done.status), ..done })
}

impl Done {
    fn applied(message: &'static str, detail: &OutcomeDetail) -> Self {
        let (level, message) = match detail.reason {
            Some(Reason::Unknown(_)) => (Level::Error, "outcome applied, with a reason of a later version"),
            _ => (Level::Info, message),
        };
        Self { level, message, status: None }
    }
}
