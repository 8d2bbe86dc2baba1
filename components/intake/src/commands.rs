use std::time::{Duration, SystemTime};

use appointment::{
    Appointment, AppointmentId, AppointmentMessage, AppointmentRequest, Command, FieldError, InsuredId, InvalidRequest,
    Status, Timestamp, TraceContext,
};
use backplane::{AppointmentsTable, Booked, Cancelled, CommandTopic};
use edge_component::{BodyError, Chance, InvalidMember, Language, Level, Problem, ProblemCode, Request, Response};
use http::header::{CONTENT_LANGUAGE, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use crate::api::{Exchange, Failure, json, text_of};
use crate::auth::Caller;
use crate::parameters::idempotency_key;
use crate::settings::{CommandSettings, Settings};

const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The longest body of a booking, in bytes.
const BODY_LIMIT: usize = 4 * 1024;

/// How long the publication may hold up an answer. A command that is not published in time is found again through the
/// index `pending`.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(1);

/// How long the write may hold up an answer that makes up for a publication that failed.
const DUE_AT_ONCE_DEADLINE: Duration = Duration::from_millis(500);

#[derive(Serialize)]
struct Accepted<'a> {
    #[serde(flatten)]
    appointment: &'a Appointment,
    message: &'static str,
}

/// Keeps a booking and publishes it: one write and one publication.
pub(crate) async fn book(
    request: &Request,
    caller: &Caller,
    chance: &Chance,
    exchange: &mut Exchange,
) -> Result<Response, Failure> {
    require_json(request.headers())?;
    let idempotency_key = idempotency_key(request.headers())?;
    let body = request.body().read(BODY_LIMIT).map_err(|error| match error {
        BodyError::TooLarge => Problem::new(ProblemCode::BodyTooLarge),
        BodyError::Broken => Problem::new(ProblemCode::InvalidJson),
    })?;
    let wanted = AppointmentRequest::from_json(&body).map_err(invalid_request)?;
    exchange.caller = caller.act_for(wanted.insured_id)?;
    let settings = Settings::read()?;
    let commands = CommandSettings::read()?;

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
    exchange.about(&appointment);
    let table =
        AppointmentsTable::new(&settings.client, &settings.dynamodb, &settings.table).with_shards(commands.shards);
    let booked = match idempotency_key {
        Some(key) => table.book_once(&appointment, key, exchange.trace, &commands.schedule).await?,
        None => {
            table.book(&appointment, exchange.trace, &commands.schedule).await?;
            Booked::New
        }
    };
    match booked {
        Booked::New => {
            exchange.message = "appointment accepted";
            publish(&settings, &commands, &appointment, Command::Request, exchange.trace, now, exchange).await;
            Ok(booked_response(&appointment, exchange.language))
        }
        // Whether the first request was published is the republisher's to see, so that a replay costs one call.
        Booked::Replayed(first) => {
            exchange.about(&first);
            exchange.message = "appointment accepted before";
            let mut response = booked_response(&first, exchange.language);
            response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
            Ok(response)
        }
        Booked::KeyReused => Err(Problem::new(ProblemCode::IdempotencyKeyReused).into()),
    }
}

fn booked_response(appointment: &Appointment, language: Language) -> Response {
    let message = match language {
        Language::Spanish => "El agendamiento está en proceso.",
        Language::English => "The appointment is being processed.",
    };
    let mut response = accepted(appointment, message, language);
    let location = format!("/appointments/{}/{}", appointment.insured_id.as_str(), appointment.appointment_id);
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Records a person's wish to cancel and publishes it: one write and one publication. A wish that was recorded before is
/// answered alike and not published again: the republisher sees to it.
pub(crate) async fn cancel(
    insured_id: InsuredId,
    appointment_id: AppointmentId,
    exchange: &mut Exchange,
) -> Result<Response, Failure> {
    let settings = Settings::read()?;
    let commands = CommandSettings::read()?;
    exchange.appointment_id = Some(appointment_id);
    let table = AppointmentsTable::new(&settings.client, &settings.dynamodb, &settings.table);
    let now = Timestamp::from(SystemTime::now());
    let cancelled =
        table.request_cancellation(&insured_id, appointment_id, exchange.trace, now, &commands.schedule).await?;
    let kept = match cancelled {
        Cancelled::Requested(kept) => {
            exchange.message = "cancellation accepted";
            let (appointment, trace) = (&kept.appointment, kept.trace);
            publish(&settings, &commands, appointment, Command::Cancellation, trace, now, exchange).await;
            kept
        }
        Cancelled::AlreadyRequested(kept) => {
            exchange.message = "cancellation accepted before";
            kept
        }
        Cancelled::Done(kept) => {
            exchange.about(&kept.appointment);
            exchange.message = "appointment was cancelled before";
            return Ok(json(StatusCode::OK, &kept.appointment));
        }
        Cancelled::Refused => return Err(Problem::new(ProblemCode::NotCancellable).into()),
        Cancelled::NotUnderstood(kept) => {
            let error = kept.unknown_value().map(|unknown| unknown.to_string());
            exchange.level = Some(Level::Error);
            let problem = Problem::new(ProblemCode::NotCancellable).with_detail(
                "La cita no se puede cancelar en su estado actual. Inténtelo de nuevo más tarde.".to_owned(),
                "The appointment cannot be cancelled in its present status. Please try again later.".to_owned(),
            );
            return Err(Failure { problem, error });
        }
        Cancelled::NotFound => return Err(Problem::new(ProblemCode::AppointmentNotFound).into()),
    };
    exchange.about(&kept.appointment);
    let message = match exchange.language {
        Language::Spanish => "La cancelación está en proceso.",
        Language::English => "The cancellation is being processed.",
    };
    Ok(accepted(&kept.appointment, message, exchange.language))
}

fn accepted(appointment: &Appointment, message: &'static str, language: Language) -> Response {
    let mut response = json(StatusCode::ACCEPTED, &Accepted { appointment, message });
    response.headers_mut().insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    response
}

/// Publishes a command for the appointment's country.
///
/// The command is kept, and stands in the index `pending`: that it cannot be published now is for the log alone. Then, and
/// only then, a second write lets it be published again at once; `written` is the instant of the first one.
async fn publish(
    settings: &Settings,
    commands: &CommandSettings,
    appointment: &Appointment,
    command: Command,
    traceparent: TraceContext,
    written: Timestamp,
    exchange: &mut Exchange,
) {
    let client = settings.client.clone().with_deadline(PUBLISH_DEADLINE);
    let message = AppointmentMessage::new(command, appointment, traceparent);
    let Err(error) = CommandTopic::new(&client, &commands.sns, &commands.topic_arn).publish(&message).await else {
        return;
    };
    exchange.level = Some(Level::Warn);
    exchange.message = "accepted, and its publication left to the republisher";
    exchange.error = Some(error.to_string());
    let client = client.with_deadline(DUE_AT_ONCE_DEADLINE);
    let table = AppointmentsTable::new(&client, &settings.dynamodb, &settings.table);
    let (since, now) = (commands.schedule.first(written), Timestamp::from(SystemTime::now()));
    // Where this fails too, its turn comes as if it had been published.
    if let Err(error) = table.due_at_once(appointment, since, now).await {
        exchange.message = "accepted, and its publication left to the republisher, later than meant";
        exchange.error = Some(error.to_string());
    }
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let media_type = text_of(headers, &CONTENT_TYPE).and_then(|value| value.split(';').next());
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
