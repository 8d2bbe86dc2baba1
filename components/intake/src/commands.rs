use std::time::{Duration, SystemTime};

use appointment::{
    Appointment, AppointmentId, AppointmentRequest, InsuredId, InvalidRequest, Status, Timestamp, TraceContext,
};
use aws_http::wasi::WasiTransport;
use backplane::{AppointmentsTable, Booked, Cancelled, CommandTopic};
use edge_component::{
    BodyError, Language, Level, Problem, ProblemCode, Request, RequestEntropy, Response, SettingError,
};
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use messages::{AppointmentMessage, Command};

use crate::auth::{Caller, Role};
use crate::context::RequestContext;
use crate::error::{RequestError, forbidden};
use crate::parameters::idempotency_key;
use crate::respond::text_of;
use crate::settings::{CommandSettings, Settings};
use crate::shown::{Shown, is_final, json_in};
use crate::wait::Wait;

const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The longest body of a booking, in bytes.
const BODY_LIMIT: usize = 4 * 1024;

/// How long the publication may hold up a response. A command that is not published in time is found again through the
/// index `pending`.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(1);

/// How long the write may hold up a response that makes up for a publication that failed.
const DUE_AT_ONCE_DEADLINE: Duration = Duration::from_millis(500);

/// When a client may ask again for what is accepted, in seconds.
const RETRY_AFTER_SECONDS: &str = "1";

/// An appointment on its way into a response, and what of the request matters there.
struct Answer {
    appointment: Appointment,
    /// The request created it, now or before with the same key.
    created: bool,
    /// For how long the request has waited for the outcome.
    waited: Option<Wait>,
}

/// What a request for an appointment says, unread but for its headers.
pub(crate) struct Asked<'a> {
    wait: Option<Wait>,
    pub(crate) idempotency_key: Option<&'a str>,
    pub(crate) body: Vec<u8>,
}

impl<'a> Asked<'a> {
    pub(crate) fn read(request: &'a Request, context: &RequestContext) -> Result<Self, RequestError> {
        require_json(request.headers())?;
        let wait = Wait::wanted(request.headers())?;
        let idempotency_key = idempotency_key(request.headers())?;
        let body = request.body().read(BODY_LIMIT).map_err(|error| match error {
            BodyError::TooLarge => Problem::new(ProblemCode::BodyTooLarge),
            BodyError::Late => Problem::new(ProblemCode::RequestTimeout),
            BodyError::Broken => Problem::new(ProblemCode::InvalidJson),
        })?;
        if request.body().was_awaited() {
            context.calls.waited();
        }
        Ok(Self { wait, idempotency_key, body })
    }
}

/// Where appointments are kept, and published for their countries.
pub(crate) struct Backend {
    settings: Settings,
    commands: CommandSettings,
}

impl Backend {
    /// For a request.
    pub(crate) fn read(context: &RequestContext) -> Result<Self, SettingError> {
        Ok(Self { settings: Settings::read(context)?, commands: CommandSettings::read()? })
    }

    pub(crate) fn table(&self) -> AppointmentsTable<'_, WasiTransport> {
        let Settings { client, dynamodb, table } = &self.settings;
        AppointmentsTable::new(client, dynamodb, table).with_shards(self.commands.shards)
    }
}

/// Keeps a booking and publishes it: one write and one publication.
pub(crate) async fn book(
    request: &Request,
    caller: &Caller,
    entropy: &RequestEntropy,
    context: &mut RequestContext,
) -> Result<Response, RequestError> {
    let asked = Asked::read(request, context)?;
    let wanted = AppointmentRequest::from_json(&asked.body).map_err(invalid_request)?;
    context.audit.person = Some(wanted.insured_id);
    let role = caller.act_for(wanted.insured_id)?;
    context.caller = role.name();
    if !role.covers(wanted.country.into()) {
        return Err(forbidden("the token is not for this country"));
    }
    let backend = Backend::read(context)?;
    let now = Timestamp::from(context.arrived);
    let appointment = wanted.into_appointment(entropy.appointment_id(now), now);
    keep(appointment, &asked, &backend, entropy, context).await
}

/// Keeps a new appointment, or finds the one that came with the same key, and answers.
pub(crate) async fn keep(
    appointment: Appointment,
    asked: &Asked<'_>,
    backend: &Backend,
    entropy: &RequestEntropy,
    context: &mut RequestContext,
) -> Result<Response, RequestError> {
    context.about(&appointment);
    let (table, schedule) = (backend.table(), &backend.commands.schedule);
    let booked = match asked.idempotency_key {
        Some(key) => table.book_once(&appointment, key, context.trace, schedule).await?,
        None => {
            table.book(&appointment, context.trace, schedule).await?;
            Booked::New
        }
    };
    answer(booked, appointment, asked, backend, entropy, context).await
}

/// Answers what became of a new appointment, and publishes it where it is kept just now.
pub(crate) async fn answer(
    booked: Booked,
    appointment: Appointment,
    asked: &Asked<'_>,
    backend: &Backend,
    entropy: &RequestEntropy,
    context: &mut RequestContext,
) -> Result<Response, RequestError> {
    let (appointment, replayed) = match booked {
        Booked::New => {
            context.message = "appointment accepted";
            (appointment, false)
        }
        // Whether the first request was published is the republisher's to see, so a replay costs one call.
        Booked::Replayed(first) => {
            context.about(&first);
            context.message = "appointment accepted before";
            (*first, true)
        }
        Booked::KeyReused => return Err(Problem::new(ProblemCode::IdempotencyKeyReused).into()),
    };
    let Backend { settings, commands } = backend;
    let command = if appointment.replaces.is_some() { Command::Move } else { Command::Request };
    let (trace, written) = (context.trace, appointment.created_at);
    let answerable = replayed || publish(settings, commands, &appointment, command, trace, written, context).await;
    let answer = Answer { appointment, created: true, waited: None };
    let answer = answer.after(asked.wait.filter(|_| answerable), &backend.table(), replayed, entropy, context).await;
    let mut response = answer.response(context.language);
    if replayed {
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Records a person's wish to cancel and publishes it: one write and one publication. A wish that was recorded before is
/// answered alike and not published again: the republisher sees to it.
pub(crate) async fn cancel(
    insured_id: InsuredId,
    appointment_id: AppointmentId,
    role: &Role,
    request: &Request,
    entropy: &RequestEntropy,
    context: &mut RequestContext,
) -> Result<Response, RequestError> {
    let wait = Wait::wanted(request.headers())?;
    let settings = Settings::read(context)?;
    let commands = CommandSettings::read()?;
    context.appointment_id = Some(appointment_id);
    let table = AppointmentsTable::new(&settings.client, &settings.dynamodb, &settings.table);
    if role.is_bounded() {
        let stored = table.get(&insured_id, appointment_id).await?;
        if !stored.is_some_and(|stored| role.covers(stored.appointment.country)) {
            return Err(Problem::new(ProblemCode::AppointmentNotFound).into());
        }
    }
    let now = Timestamp::from(context.arrived);
    let cancelled =
        table.request_cancellation(&insured_id, appointment_id, context.trace, now, &commands.schedule).await?;
    let (stored, answerable, known) = match cancelled {
        Cancelled::Requested(stored) => {
            context.message = "cancellation accepted";
            let (appointment, trace) = (&stored.appointment, stored.trace);
            let published =
                publish(&settings, &commands, appointment, Command::Cancellation, trace, now, context).await;
            (stored, published, false)
        }
        Cancelled::AlreadyRequested(stored) => {
            context.message = "cancellation accepted before";
            (stored, true, true)
        }
        Cancelled::Done(stored) => {
            context.about(&stored.appointment);
            context.message = "appointment was cancelled before";
            let shown = Shown::new(&stored.appointment, context.language);
            return Ok(json_in(context.language, StatusCode::OK, &shown));
        }
        Cancelled::AlreadyStarted => return Err(Problem::new(ProblemCode::AlreadyStarted).into()),
        Cancelled::Refused => return Err(Problem::new(ProblemCode::NotCancellable).into()),
        Cancelled::NotUnderstood(stored) => {
            let error = stored.unknown_value().map(|unknown| unknown.to_string());
            context.level = Some(Level::Error);
            let problem = Problem::new(ProblemCode::NotCancellable).with_detail(
                "En su estado actual no se puede cancelar. Inténtelo de nuevo más tarde.".to_owned(),
                "The appointment cannot be cancelled in its present status. Please try again later.".to_owned(),
            );
            return Err(RequestError { problem, error });
        }
        Cancelled::NotFound => return Err(Problem::new(ProblemCode::AppointmentNotFound).into()),
    };
    context.about(&stored.appointment);
    let answer = Answer { appointment: stored.appointment, created: false, waited: None };
    Ok(answer.after(wait.filter(|_| answerable), &table, known, entropy, context).await.response(context.language))
}

impl Answer {
    /// The same after the wait that the request prefers; `known` says that the appointment may be final already.
    async fn after(
        mut self,
        wait: Option<Wait>,
        table: &AppointmentsTable<'_, WasiTransport>,
        known: bool,
        entropy: &RequestEntropy,
        context: &RequestContext,
    ) -> Self {
        let Some(wait) = wait else { return self };
        let Appointment { insured_id, appointment_id, .. } = self.appointment;
        if let Some(last) = wait.follow(table, insured_id, appointment_id, known, entropy, &context.calls).await {
            self.waited = Some(wait);
            self.appointment = last.unwrap_or(self.appointment);
        }
        self
    }

    /// 202 as long as the country has to decide. Only who waits learns of a final appointment: 201 where that is a booking
    /// that this request made, else 200.
    fn response(&self, language: Language) -> Response {
        let booked = self.created && self.appointment.status == Status::Completed;
        let status = match self.waited {
            Some(_) if is_final(&self.appointment) && booked => StatusCode::CREATED,
            Some(_) if is_final(&self.appointment) => StatusCode::OK,
            _ => StatusCode::ACCEPTED,
        };
        let mut response = json_in(language, status, &Shown::new(&self.appointment, language));
        let headers = response.headers_mut();
        if status == StatusCode::ACCEPTED {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        if let Some(Ok(applied)) = self.waited.map(|wait| HeaderValue::try_from(format!("wait={}", wait.seconds))) {
            headers.insert(PREFERENCE_APPLIED, applied);
        }
        let Appointment { insured_id, appointment_id, .. } = &self.appointment;
        let location = format!("/appointments/{}/{appointment_id}", insured_id.as_str());
        if let (true, Ok(location)) = (self.created, HeaderValue::try_from(location)) {
            headers.insert(LOCATION, location);
        }
        response
    }
}

/// Publishes a command for the appointment's country, and says whether it is published.
///
/// The command is stored, and in the index `pending`: if it cannot be published now, only the log says so. A second write then
/// lets it be published again at once; `written` is the instant of the first one.
async fn publish(
    settings: &Settings,
    commands: &CommandSettings,
    appointment: &Appointment,
    command: Command,
    traceparent: TraceContext,
    written: Timestamp,
    context: &mut RequestContext,
) -> bool {
    let client = settings.client.clone().with_deadline(PUBLISH_DEADLINE);
    // Of a country that only a later version serves nothing is written here.
    let Some(message) = AppointmentMessage::new(command, appointment, traceparent) else { return false };
    let Err(error) = CommandTopic::new(&client, &commands.sns, &commands.topic_arn).publish(&message).await else {
        return true;
    };
    context.level = Some(Level::Warn);
    context.message = "accepted, and its publication left to the republisher";
    context.error = Some(error.to_string());
    let client = client.with_deadline(DUE_AT_ONCE_DEADLINE);
    let table = AppointmentsTable::new(&client, &settings.dynamodb, &settings.table);
    let (since, now) = (commands.schedule.first(written), Timestamp::from(SystemTime::now()));
    // If this fails too, it is due as if it had been published.
    if let Err(error) = table.due_at_once(appointment, since, now).await {
        context.message = "accepted, and its publication left to the republisher, later than meant";
        context.error = Some(error.to_string());
    }
    false
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let media_type = text_of(headers, &CONTENT_TYPE).and_then(|value| value.split(';').next());
    match media_type {
        Some(media_type) if media_type.trim().eq_ignore_ascii_case("application/json") => Ok(()),
        _ => Err(Problem::new(ProblemCode::UnsupportedMediaType)),
    }
}

pub(crate) fn invalid_request(fault: InvalidRequest) -> Problem {
    match fault {
        InvalidRequest::Empty => Problem::new(ProblemCode::EmptyBody),
        InvalidRequest::NotAnObject => Problem::new(ProblemCode::NotAnObject),
        InvalidRequest::NotJson { line, column } => Problem::new(ProblemCode::InvalidJson).with_detail(
            format!("No pudimos leer la solicitud como JSON a partir de la línea {line}, columna {column}."),
            format!("The request cannot be read as JSON from line {line}, column {column} on."),
        ),
        InvalidRequest::Fields(faults) => Problem::new(ProblemCode::InvalidBody).with_errors(faults),
    }
}
