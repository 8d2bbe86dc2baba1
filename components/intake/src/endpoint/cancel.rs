//! `DELETE /appointments/{insuredId}/{appointmentId}`: a person's wish to cancel.

use appointment::{AppointmentId, InsuredId, Timestamp};
use backplane::Cancelled;
use edge_component::{Host, Level, Problem, ProblemCode, Response};
use http::{HeaderMap, StatusCode};
use messages::Command;

use crate::accepted::Accepted;
use crate::auth::Role;
use crate::command::Backend;
use crate::context::RequestContext;
use crate::error::RequestError;
use crate::shown::{Shown, json_in};
use crate::wait::Wait;

/// Records a person's wish to cancel and publishes it: one write and one publication. A wish that was recorded before
/// gets the same response and is not published again: the republisher sees to it.
pub(crate) async fn handle<H: Host>(
    insured_id: InsuredId,
    appointment_id: AppointmentId,
    role: &Role,
    headers: &HeaderMap,
    context: &mut RequestContext<H>,
) -> Result<Response, RequestError> {
    let wait = Wait::wanted(headers, &context.variables)?;
    let backend = Backend::read(context)?;
    context.appointment_id = Some(appointment_id);
    let table = backend.table();
    if role.is_bounded() {
        role.find(&table, insured_id, appointment_id).await?;
    }
    let now = Timestamp::from(context.arrived);
    let cancelled =
        table.request_cancellation(&insured_id, appointment_id, context.trace, now, backend.schedule()).await?;
    let (stored, may_wait, known) = match cancelled {
        Cancelled::Requested(stored) => {
            context.message = "cancellation accepted";
            let published =
                backend.publish(&stored.appointment, Command::Cancellation, stored.trace, now, context).await;
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
            let error = stored.unknown_value().map(|unknown| unknown.to_string().into());
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
    let accepted = Accepted::of(stored.appointment);
    Ok(accepted.after(wait.filter(|_| may_wait), &table, known, context).await.response(context.language))
}
