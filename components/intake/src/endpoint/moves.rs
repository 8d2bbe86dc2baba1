//! `POST /appointments/{insuredId}/{appointmentId}/move`: a new appointment that takes the place of another of the same person.

use appointment::{Appointment, AppointmentId, InsuredId, MoveRequest, ScheduleId, Status, Timestamp};
use edge_component::{Body, Host, Problem, ProblemCode, Response};

use crate::accepted::{keep, respond};
use crate::auth::Role;
use crate::command::{Backend, CommandRequest, invalid_request};
use crate::context::RequestContext;
use crate::error::RequestError;

/// Keeps the new appointment and publishes it: one read, one write and one publication. The country decides about both: the new
/// one is booked and the other one cancelled, or the new one is rejected and the other one stays as it is.
pub(crate) async fn handle<H: Host>(
    insured_id: InsuredId,
    original_id: AppointmentId,
    role: &Role,
    request: &http::Request<impl Body>,
    context: &mut RequestContext<H>,
) -> Result<Response, RequestError> {
    context.appointment_id = Some(original_id);
    let command = CommandRequest::read(request, context)?;
    let wanted = MoveRequest::from_json(&command.body).map_err(invalid_request)?;
    let backend = Backend::read(context)?;
    let stored = role.find(&backend.table(), insured_id, original_id).await?;
    context.about(&stored.appointment);
    context.report_unknown(&stored);
    let original = stored.appointment;

    let now = Timestamp::from(context.arrived);
    let appointment = original.moved_to(wanted.schedule_id, context.entropy.appointment_id(now), now);
    let Some(obstacle) = obstacle(&original, wanted.schedule_id, now) else {
        return keep(appointment, &command, &backend, context).await;
    };
    // The same request may have come before, and be why the other appointment is not booked any more.
    if let Some(key) = command.idempotency_key
        && let Some(before) = backend.table().booked_before(&appointment, key).await?
    {
        return respond(before, appointment, &command, &backend, context).await;
    }
    Err(Problem::new(obstacle).into())
}

/// Why an appointment cannot be moved to a slot, as far as it is known before its country decides.
fn obstacle(original: &Appointment, to: ScheduleId, now: Timestamp) -> Option<ProblemCode> {
    if original.status != Status::Completed {
        Some(ProblemCode::NotMovable)
    } else if original.slot.as_ref().is_some_and(|slot| slot.starts_at <= now) {
        Some(ProblemCode::AlreadyStarted)
    } else if original.schedule_id == to {
        Some(ProblemCode::SameSlot)
    } else {
        None
    }
}
