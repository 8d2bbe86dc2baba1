//! `POST …/move`: a new appointment that takes the place of another of the same person.

use appointment::{Appointment, AppointmentId, InsuredId, MoveRequest, Original, ScheduleId, Status, Timestamp};
use edge_component::{Chance, Problem, ProblemCode, Request, Response};

use crate::api::{Exchange, Failure};
use crate::auth::Role;
use crate::commands::{Asked, Backend, answer, invalid_request, keep};

/// Keeps the new appointment and publishes it: one read, one write and one publication. The country decides about both: the new
/// one is booked and the other one cancelled, or the new one is rejected and the other one stays as it is.
pub(crate) async fn move_to(
    insured_id: InsuredId,
    original_id: AppointmentId,
    role: &Role,
    request: &Request,
    chance: &Chance,
    exchange: &mut Exchange,
) -> Result<Response, Failure> {
    exchange.appointment_id = Some(original_id);
    let asked = Asked::read(request, exchange)?;
    let wanted = MoveRequest::from_json(&asked.body).map_err(invalid_request)?;
    let backend = Backend::read(exchange)?;
    let kept = backend.table().get(&insured_id, original_id).await?;
    let kept = kept.filter(|kept| role.covers(kept.appointment.country));
    let kept = kept.ok_or(Problem::new(ProblemCode::AppointmentNotFound))?;
    exchange.about(&kept.appointment);
    exchange.report_unknown(&kept);
    let original = kept.appointment;

    let now = Timestamp::from(exchange.arrived);
    let appointment = Appointment {
        appointment_id: chance.appointment_id(now),
        insured_id,
        schedule_id: wanted.schedule_id,
        country: original.country,
        status: Status::Pending,
        created_at: now,
        updated_at: now,
        reason: None,
        slot: None,
        replaces: Some(Original { appointment_id: original_id, schedule_id: original.schedule_id }),
        replaced_by: None,
    };
    let Some(obstacle) = obstacle(&original, wanted.schedule_id, now) else {
        return keep(appointment, &asked, &backend, chance, exchange).await;
    };
    // The same request may have come before, and be why the other appointment is not booked any more.
    if let Some(key) = asked.idempotency_key
        && let Some(before) = backend.table().booked_before(&appointment, key).await?
    {
        return answer(before, appointment, &asked, &backend, chance, exchange).await;
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
