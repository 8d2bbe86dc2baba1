use std::time::{Duration, Instant, SystemTime};

use appointment::{Envelope, OutcomeDetail, OutcomeEvent, StatusChanged, Timestamp, Version1};
use aws_http::wasi::WasiTransport;
use aws_http::{Client, Credentials, Endpoint};
use backplane::{AnnounceError, Applied, AppointmentsTable, KeptAppointment, StatusBus, StoreError};
use edge_component::{
    Chance, Language, Level, LogLine, Problem, ProblemCode, Request, Response, Setting, SettingError,
};
use http::{Method, StatusCode};
use subtle::ConstantTimeEq;

const SERVICE: &str = "confirmation";
const API_KEY_HEADER: &str = "x-api-key";

/// The longest event in bytes: what EventBridge takes.
const BODY_LIMIT: usize = 256 * 1024;

/// The caller gives up after 5 s, so that both calls together end within 4.
const UPDATE_DEADLINE: Duration = Duration::from_millis(2_400);
const ANNOUNCE_DEADLINE: Duration = Duration::from_millis(1_400);

/// Why a message is not acknowledged.
enum Failure {
    /// It will never be taken: the queue moves it to its dead-letter queue.
    Poison(String),
    /// It may be taken later.
    Retry(String),
    /// The component is not set up.
    Setting(SettingError),
    /// The caller is refused before anything is read.
    Refused(Problem),
}

impl From<SettingError> for Failure {
    fn from(error: SettingError) -> Self {
        Self::Setting(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::InvalidItem(_) => Self::Poison(error.to_string()),
            StoreError::Call(_) => Self::Retry(error.to_string()),
        }
    }
}

impl From<AnnounceError> for Failure {
    fn from(error: AnnounceError) -> Self {
        Self::Retry(error.to_string())
    }
}

/// What was done with a message, for the log.
struct Done {
    level: Level,
    message: &'static str,
    status: Option<&'static str>,
}

/// Answers a delivery, and writes one log line about it.
pub(crate) async fn answer(request: Request, arrived: Instant) -> Response {
    let chance = Chance::draw();
    let mut event = None;
    let result = match authorize(&request) {
        Ok(()) => confirm(&request, &mut event).await,
        Err(failure) => Err(failure),
    };
    let trace =
        chance.trace(event.as_ref().map(|event: &OutcomeEvent| event.detail.traceparent.to_string()).as_deref());
    let (response, level, message, error) = match &result {
        Ok(done) => {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::NO_CONTENT;
            (response, done.level, done.message, None)
        }
        Err(Failure::Refused(problem)) => {
            let response = problem.clone().into_response(Language::English);
            (response, Level::Warn, "delivery refused", None)
        }
        Err(Failure::Retry(error)) => {
            let problem = Problem::new(ProblemCode::TemporarilyUnavailable);
            (problem.into_response(Language::English), Level::Warn, "outcome left to the queue", Some(error.clone()))
        }
        Err(Failure::Poison(error)) => {
            let problem = Problem::new(ProblemCode::Internal);
            (problem.into_response(Language::English), Level::Error, "message cannot be taken", Some(error.clone()))
        }
        Err(Failure::Setting(error)) => {
            let problem = Problem::new(ProblemCode::Internal);
            (problem.into_response(Language::English), Level::Error, "component is not set up", Some(error.to_string()))
        }
    };
    LogLine::new(level, SERVICE, message, trace)
        .with("route", "/internal/confirmations")
        .with("status", response.status().as_u16())
        .with_some("appointment_id", event.as_ref().map(|event| event.detail.appointment_id))
        .with_some("country", event.as_ref().map(|event| event.detail.country))
        .with_some("outcome", event.as_ref().map(|event| event.outcome))
        .with_some("reason", event.as_ref().and_then(|event| event.detail.reason))
        .with_some("event_id", event.as_ref().map(|event| event.detail.event_id))
        .with_some("appointment_status", result.ok().and_then(|done| done.status))
        .with_some("error", error)
        .with("duration_ms", arrived.elapsed().as_micros() as f64 / 1000.0)
        .write();
    response
}

/// Lets through who holds one of the two keys. Two are accepted, so that a rotation never refuses the pipe.
fn authorize(request: &Request) -> Result<(), Failure> {
    let presented = request.headers().get(API_KEY_HEADER).map(|key| key.as_bytes()).unwrap_or_default();
    let current = Setting("api_key").text()?;
    let previous = Setting("api_key_previous").text()?;
    let matches = |key: &str| !key.is_empty() && bool::from(key.as_bytes().ct_eq(presented));
    if !(matches(&current) | matches(&previous)) {
        return Err(Failure::Refused(Problem::new(ProblemCode::Unauthorized)));
    }
    if request.uri().path() != "/internal/confirmations" {
        return Err(Failure::Refused(Problem::new(ProblemCode::NotFound)));
    }
    if request.method() != Method::POST {
        return Err(Failure::Refused(Problem::method_not_allowed("POST")));
    }
    Ok(())
}

async fn confirm(request: &Request, seen: &mut Option<OutcomeEvent>) -> Result<Done, Failure> {
    let body = request.body().read(BODY_LIMIT).map_err(|error| Failure::Poison(error.to_string()))?;
    // The error of serde_json can quote the body, which is personal data, so that only its place is told.
    let envelope: Envelope<OutcomeDetail> = serde_json::from_slice(&body).map_err(|error| {
        Failure::Poison(format!("not an outcome: line {}, column {}", error.line(), error.column()))
    })?;
    let event = OutcomeEvent::try_from(envelope).map_err(|error| Failure::Poison(error.to_string()))?;
    let event = &*seen.insert(event);

    let credentials = Credentials::from_keys(
        Setting("access_key_id").text()?,
        Setting("secret_access_key").text()?,
        Setting("session_token").optional_text()?,
    );
    let client = Client::new(WasiTransport, Setting("region").text()?, credentials).with_deadline(UPDATE_DEADLINE);
    let dynamodb: Endpoint = Setting("dynamodb_endpoint").parse()?;
    let table_name = Setting("table").text()?;
    let table = AppointmentsTable::new(&client, &dynamodb, &table_name);
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
        Applied::Unknown => {
            return Err(Failure::Poison("there is no such appointment of this country and slot".to_owned()));
        }
    };
    announce(client.with_deadline(ANNOUNCE_DEADLINE), event, &kept).await?;
    Ok(Done { level: Level::Info, message, status: Some(kept.appointment.status.as_str()) })
}

async fn announce(client: Client<WasiTransport>, event: &OutcomeEvent, kept: &KeptAppointment) -> Result<(), Failure> {
    let eventbridge: Endpoint = Setting("eventbridge_endpoint").parse()?;
    let bus = Setting("event_bus").text()?;
    let appointment = &kept.appointment;
    let change = StatusChanged {
        version: Version1,
        event_id: event.detail.event_id,
        appointment_id: appointment.appointment_id,
        insured_id: appointment.insured_id,
        schedule_id: appointment.schedule_id,
        country: appointment.country,
        status: appointment.status,
        reason: appointment.reason,
        occurred_at: appointment.updated_at,
        traceparent: event.detail.traceparent,
    };
    StatusBus::new(&client, &eventbridge, &bus).announce(&change).await?;
    Ok(())
}
