//! `GET /appointments/{insuredId}/{appointmentId}`: one appointment.

use appointment::{AppointmentId, InsuredId};
use edge_component::{Host, Response};
use http::{HeaderMap, StatusCode};

use crate::auth::Role;
use crate::context::RequestContext;
use crate::error::RequestError;
use crate::respond::tagged;
use crate::settings::Settings;
use crate::shown::{Shown, json_in};

/// One appointment with its history; nothing but its headers where the client has it already.
pub(crate) async fn handle<H: Host>(
    insured_id: InsuredId,
    appointment_id: AppointmentId,
    role: &Role,
    headers: &HeaderMap,
    context: &mut RequestContext<H>,
) -> Result<Response, RequestError> {
    context.appointment_id = Some(appointment_id);
    let stored = role.find(&Settings::read(context)?.appointments(), insured_id, appointment_id).await?;
    context.report_unknown(&stored);
    let shown = Shown::new(&stored.appointment, context.language).with_history(&stored.history);
    Ok(tagged(json_in(context.language, StatusCode::OK, &shown), headers))
}
