use std::time::{Duration, Instant, SystemTime};

use appointment::{
    Appointment, AppointmentId, AppointmentMessage, AppointmentRequest, Command, Country, FieldError, InsuredId,
    InvalidRequest, Status, Timestamp, TraceContext, Version1,
};
use aws_http::Client;
use aws_http::wasi::WasiTransport;
use backplane::{AppointmentsTable, CommandTopic, PageRequest, StoreError};
use edge_component::{
    BodyError, Chance, InvalidMember, Language, Level, LogLine, Problem, ProblemCode, Request, Response, SettingError,
};
use http::header::{ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use crate::route::Route;
use crate::settings::{BookingSettings, Settings};

const SERVICE: &str = "intake";
const TRACEPARENT: &str = "traceparent";

/// The longest body of a booking, in bytes.
const BODY_LIMIT: usize = 4 * 1024;

/// How long the publication may hold up an answer. A command that is not published in time is found again through the
/// index `pending`.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(1);

/// How many appointments a page of a list holds.
const PAGE_LIMIT: u32 = 20;

/// What one request came to, for its log line.
#[derive(Default)]
struct Outcome {
    appointment_id: Option<AppointmentId>,
    country: Option<Country>,
    message: &'static str,
    level: Option<Level>,
    error: Option<String>,
}

/// A request that ends in a problem, and what the log says of it.
struct Failure {
    problem: Problem,
    error: Option<String>,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self { problem, error: None }
    }
}

impl From<SettingError> for Failure {
    fn from(error: SettingError) -> Self {
        Self { problem: Problem::new(ProblemCode::Internal), error: Some(error.to_string()) }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            // A refusal (no permission, no table) is for the operator, yet heals without the client changing anything.
            StoreError::Call(_) => ProblemCode::TemporarilyUnavailable,
            StoreError::InvalidItem(_) => ProblemCode::Internal,
        };
        Self { problem: Problem::new(code), error: Some(error.to_string()) }
    }
}

/// Answers a request, and writes one log line about it.
pub(crate) async fn answer(request: Request, arrived: Instant) -> Response {
    let chance = Chance::draw();
    let trace = chance.trace(text_of(request.headers(), TRACEPARENT));
    let language = Language::preferred(text_of(request.headers(), ACCEPT_LANGUAGE.as_str()));
    let mut outcome = Outcome::default();
    let (template, result) = match Route::find(request.method(), request.uri().path()) {
        Ok(route) => {
            let template = route.template();
            let result = match route {
                Route::Health => Ok(health()),
                Route::Book => book(&request, &chance, trace, language, &mut outcome).await,
                Route::List(insured_id) => list(insured_id).await,
            };
            (template, result)
        }
        Err(problem) => ("none", Err(problem.into())),
    };
    let (response, code) = match result {
        Ok(response) => (response, None),
        Err(failure) => {
            let code = failure.problem.code();
            outcome.error = failure.error;
            outcome.level = Some(if code == ProblemCode::Internal { Level::Error } else { Level::Warn });
            outcome.message = "request refused";
            (failure.problem.into_response(language), Some(code.as_str()))
        }
    };
    let message = if outcome.message.is_empty() { "request answered" } else { outcome.message };
    LogLine::new(outcome.level.unwrap_or(Level::Info), SERVICE, message, trace)
        .with("method", request.method().as_str())
        .with("route", template)
        .with("status", response.status().as_u16())
        .with_some("code", code)
        .with_some("appointment_id", outcome.appointment_id)
        .with_some("country", outcome.country)
        .with_some("error", outcome.error)
        .with("duration_ms", arrived.elapsed().as_micros() as f64 / 1000.0)
        .write();
    response
}

#[derive(Serialize)]
struct Accepted<'a> {
    #[serde(flatten)]
    appointment: &'a Appointment,
    message: &'static str,
}

async fn book(
    request: &Request,
    chance: &Chance,
    trace: TraceContext,
    language: Language,
    outcome: &mut Outcome,
) -> Result<Response, Failure> {
    require_json(request.headers())?;
    let body = request.body().read(BODY_LIMIT).map_err(|error| match error {
        BodyError::TooLarge => Problem::new(ProblemCode::BodyTooLarge),
        BodyError::Broken => Problem::new(ProblemCode::InvalidJson),
    })?;
    let wanted = AppointmentRequest::from_json(&body).map_err(invalid_request)?;
    let settings = Settings::read()?;
    let booking = BookingSettings::read()?;

    let now = Timestamp::from(SystemTime::now());
    let appointment = Appointment {
        appointment_id: chance.appointment_id(now),
        insured_id: wanted.insured_id,
        schedule_id: wanted.schedule_id,
        country: wanted.country,
        status: Status::Pending,
        created_at: now,
        updated_at: now,
        reason: None,
    };
    outcome.appointment_id = Some(appointment.appointment_id);
    outcome.country = Some(appointment.country);
    let table = AppointmentsTable::new(&settings.client, &settings.dynamodb, &settings.table);
    table.book(&appointment, trace, &booking.schedule).await?;
    outcome.message = "appointment accepted";

    if let Err(error) = publish(settings.client, &booking, &appointment, trace).await {
        // It is kept, and stands in the index `pending`: that it is not published yet is no reason to refuse it.
        outcome.level = Some(Level::Warn);
        outcome.message = "appointment accepted, its publication is left to the republisher";
        outcome.error = Some(error.to_string());
    }

    let message = match language {
        Language::Spanish => "El agendamiento está en proceso.",
        Language::English => "The appointment is being processed.",
    };
    let mut response = json(StatusCode::ACCEPTED, &Accepted { appointment: &appointment, message });
    let location = format!("/appointments/{}/{}", appointment.insured_id.as_str(), appointment.appointment_id);
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(location) {
        headers.insert(LOCATION, location);
    }
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    Ok(response)
}

async fn publish(
    client: Client<WasiTransport>,
    booking: &BookingSettings,
    appointment: &Appointment,
    trace: TraceContext,
) -> Result<(), aws_http::Error> {
    let client = client.with_deadline(PUBLISH_DEADLINE);
    let message = AppointmentMessage {
        version: Version1,
        command: Command::Request,
        event_id: AppointmentMessage::event_id(appointment.appointment_id, Command::Request),
        appointment_id: appointment.appointment_id,
        insured_id: appointment.insured_id,
        schedule_id: appointment.schedule_id,
        country: appointment.country,
        occurred_at: appointment.created_at,
        traceparent: trace,
    };
    CommandTopic::new(&client, &booking.sns, &booking.topic_arn).publish(&message).await
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    insured_id: InsuredId,
    appointments: &'a [Appointment],
}

async fn list(insured_id: InsuredId) -> Result<Response, Failure> {
    let settings = Settings::read()?;
    let table = AppointmentsTable::new(&settings.client, &settings.dynamodb, &settings.table);
    let page = table.list(&insured_id, PageRequest { limit: PAGE_LIMIT, status: None, after: None }).await?;
    Ok(json(StatusCode::OK, &List { insured_id, appointments: &page.appointments }))
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
}

fn health() -> Response {
    json(StatusCode::OK, &Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    // Strings and numbers always serialise.
    let mut response = Response::new(serde_json::to_vec(body).unwrap_or_default());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    response
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let media_type = text_of(headers, CONTENT_TYPE.as_str()).and_then(|value| value.split(';').next());
    match media_type {
        Some(media_type) if media_type.trim().eq_ignore_ascii_case("application/json") => Ok(()),
        _ => Err(Problem::new(ProblemCode::UnsupportedMediaType)),
    }
}

fn invalid_request(fault: InvalidRequest) -> Problem {
    match fault {
        InvalidRequest::Empty => Problem::new(ProblemCode::EmptyBody),
        InvalidRequest::NotAnObject => Problem::new(ProblemCode::NotAnObject),
        InvalidRequest::NotJson { line, column } => Problem::new(ProblemCode::InvalidJson).with_detail(
            format!("El cuerpo no se puede leer como JSON a partir de la línea {line}, columna {column}."),
            format!("The body cannot be read as JSON from line {line}, column {column} on."),
        ),
        InvalidRequest::Fields(faults) => Problem::new(ProblemCode::InvalidBody)
            .with_errors(faults.into_iter().map(|FieldError { field, code }| InvalidMember { field, code }).collect()),
    }
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
