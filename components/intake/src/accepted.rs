//! The response for a command that is accepted, after the wait that the client prefers.

use appointment::{Appointment, Status};
use backplane::{AppointmentsTable, Booked};
use edge_component::{Host, Language, Problem, ProblemCode, Response};
use http::header::{LOCATION, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use messages::Command;

use crate::command::{Backend, CommandRequest};
use crate::context::RequestContext;
use crate::error::RequestError;
use crate::shown::{Shown, is_final, json_in};
use crate::wait::Wait;

const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// When a client may ask again for what is accepted, in seconds.
const RETRY_AFTER_SECONDS: &str = "1";

/// An appointment on its way into a response, and what of the request matters there.
pub(crate) struct Accepted {
    appointment: Appointment,
    /// The request created it, now or before with the same key.
    created: bool,
    /// For how long the request has waited for the outcome.
    waited: Option<Wait>,
}

/// Stores a new appointment, or finds the one that came with the same key, and responds with it.
pub(crate) async fn keep<H: Host>(
    appointment: Appointment,
    command: &CommandRequest<'_>,
    backend: &Backend<H>,
    context: &mut RequestContext<H>,
) -> Result<Response, RequestError> {
    context.about(&appointment);
    let table = backend.table();
    let booked = match command.idempotency_key {
        Some(key) => table.book_once(&appointment, key, context.trace, backend.schedule()).await?,
        None => {
            table.book(&appointment, context.trace, backend.schedule()).await?;
            Booked::New
        }
    };
    respond(booked, appointment, command, backend, context).await
}

/// Responds with what became of a new appointment, and publishes it if it was stored just now.
pub(crate) async fn respond<H: Host>(
    booked: Booked,
    appointment: Appointment,
    command: &CommandRequest<'_>,
    backend: &Backend<H>,
    context: &mut RequestContext<H>,
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
    let kind = if appointment.replaces.is_some() { Command::Move } else { Command::Request };
    let (trace, written) = (context.trace, appointment.created_at);
    let may_wait = replayed || backend.publish(&appointment, kind, trace, written, context).await;
    let accepted = Accepted { appointment, created: true, waited: None };
    let accepted = accepted.after(command.wait.filter(|_| may_wait), &backend.table(), replayed, context).await;
    let mut response = accepted.response(context.language);
    if replayed {
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

impl Accepted {
    /// An appointment that was there before the request.
    pub(crate) const fn of(appointment: Appointment) -> Self {
        Self { appointment, created: false, waited: None }
    }

    /// The same after the wait that the request prefers; `known` says that the appointment may be final already.
    pub(crate) async fn after<H: Host>(
        mut self,
        wait: Option<Wait>,
        table: &AppointmentsTable<'_, H::Transport>,
        known: bool,
        context: &RequestContext<H>,
    ) -> Self {
        let Some(wait) = wait else { return self };
        let Appointment { insured_id, appointment_id, .. } = self.appointment;
        if let Some(last) = wait.follow(table, insured_id, appointment_id, known, context).await {
            self.waited = Some(wait);
            self.appointment = last.unwrap_or(self.appointment);
        }
        self
    }

    /// 202 as long as the country has to decide. Only who waits learns of a final appointment: 201 where that is a booking
    /// that this request made, else 200.
    pub(crate) fn response(&self, language: Language) -> Response {
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
