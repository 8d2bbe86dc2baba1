//! `POST /appointments`: a new appointment.

use appointment::{AppointmentRequest, Timestamp};
use edge_component::{Body, Host, Response};

use crate::accepted::keep;
use crate::auth::Caller;
use crate::command::{Backend, CommandRequest, invalid_request};
use crate::context::RequestContext;
use crate::error::{RequestError, forbidden};

/// Keeps a booking and publishes it: one write and one publication.
pub(crate) async fn handle<H: Host>(
    request: &http::Request<impl Body>,
    caller: &Caller,
    context: &mut RequestContext<H>,
) -> Result<Response, RequestError> {
    let command = CommandRequest::read(request, context)?;
    let wanted = AppointmentRequest::from_json(&command.body).map_err(invalid_request)?;
    context.audit.person = Some(wanted.insured_id);
    let role = caller.act_for(wanted.insured_id, &context.variables)?;
    context.caller = role.name();
    if !role.covers(wanted.country.into()) {
        return Err(forbidden("the token is not for this country"));
    }
    let backend = Backend::read(context)?;
    let now = Timestamp::from(context.arrived);
    let appointment = wanted.into_appointment(context.entropy.appointment_id(now), now);
    keep(appointment, &command, &backend, context).await
}
