//! What the commands of a client have in common: how a request says one, and how it gets to its country.

use std::time::{Duration, SystemTime};

use appointment::{Appointment, InvalidRequest, Timestamp, TraceContext};
use backplane::{AppointmentsTable, CommandTopic, RepublishSchedule};
use edge_component::{Body, BodyError, Host, Level, Problem, ProblemCode, SettingError};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use messages::{AppointmentMessage, Command};

use crate::context::RequestContext;
use crate::error::RequestError;
use crate::parameters::idempotency_key;
use crate::respond::text_of;
use crate::settings::{CommandSettings, Settings};
use crate::wait::Wait;

/// The longest body of a command, in bytes.
const BODY_LIMIT: usize = 4 * 1024;

/// How long the publication may hold up a response. A command that is not published in time is found again through the
/// index `pending`.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(1);

/// How long the write may hold up a response that makes up for a publication that failed.
const DUE_AT_ONCE_DEADLINE: Duration = Duration::from_millis(500);

/// What a request for an appointment says, unread but for its headers.
pub(crate) struct CommandRequest<'a> {
    pub(crate) wait: Option<Wait>,
    pub(crate) idempotency_key: Option<&'a str>,
    pub(crate) body: Vec<u8>,
}

impl<'a> CommandRequest<'a> {
    pub(crate) fn read<H: Host>(
        request: &'a http::Request<impl Body>,
        context: &RequestContext<H>,
    ) -> Result<Self, RequestError> {
        require_json(request.headers())?;
        let wait = Wait::wanted(request.headers(), &context.variables)?;
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
pub(crate) struct Backend<H: Host> {
    settings: Settings<H>,
    commands: CommandSettings,
}

impl<H: Host> Backend<H> {
    /// For a request.
    pub(crate) fn read(context: &RequestContext<H>) -> Result<Self, SettingError> {
        Ok(Self { settings: Settings::read(context)?, commands: CommandSettings::read(&context.variables)? })
    }

    /// Where appointments are kept.
    pub(crate) fn table(&self) -> AppointmentsTable<'_, H::Transport> {
        self.settings.appointments().with_shards(self.commands.shards)
    }

    /// When a command that has no outcome is published again.
    pub(crate) const fn schedule(&self) -> &RepublishSchedule {
        &self.commands.schedule
    }

    /// Publishes a command for the appointment's country, and says whether it is published.
    ///
    /// The command is stored, and in the index `pending`: if it cannot be published now, only the log says so. A second write
    /// then lets it be published again at once; `written` is the instant of the first one.
    pub(crate) async fn publish(
        &self,
        appointment: &Appointment,
        command: Command,
        traceparent: TraceContext,
        written: Timestamp,
        context: &mut RequestContext<H>,
    ) -> bool {
        let Self { settings, commands } = self;
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
        let table = settings.appointments_through(&client);
        let (since, now) = (commands.schedule.first(written), Timestamp::from(SystemTime::now()));
        // If this fails too, it is due as if it had been published.
        if let Err(error) = table.due_at_once(appointment, since, now).await {
            context.message = "accepted, and its publication left to the republisher, later than meant";
            context.error = Some(error.to_string());
        }
        false
    }
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
