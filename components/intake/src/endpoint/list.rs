//! `GET /appointments/{insuredId}`: a person's appointments.

use appointment::InsuredId;
use edge_component::{Host, Response};
use http::StatusCode;
use serde::Serialize;

use crate::auth::Role;
use crate::context::RequestContext;
use crate::cursor::Cursor;
use crate::error::RequestError;
use crate::parameters::page_request;
use crate::settings::Settings;
use crate::shown::{Pagination, Shown, json_in};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    insured_id: InsuredId,
    appointments: Vec<Shown<'a>>,
    pagination: Pagination,
}

/// A page of a person's appointments, newest first.
pub(crate) async fn handle<H: Host>(
    insured_id: InsuredId,
    role: &Role,
    query: Option<&str>,
    context: &mut RequestContext<H>,
) -> Result<Response, RequestError> {
    let request = page_request(query)?;
    let page = Settings::read(context)?.appointments().list(&insured_id, request).await?;
    context.report(&page.faults);
    let next_cursor = page.next.map(|after| Cursor { status: request.status, after }.encode());
    let pagination = Pagination { limit: request.limit, next_cursor };
    let appointments = page.appointments.iter().filter(|appointment| role.covers(appointment.country));
    let appointments = appointments.map(|appointment| Shown::new(appointment, context.language)).collect();
    Ok(json_in(context.language, StatusCode::OK, &List { insured_id, appointments, pagination }))
}
