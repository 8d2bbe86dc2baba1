use appointment::{AppointmentId, InsuredId};
use backplane::AppointmentsTable;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use edge_component::{Problem, ProblemCode, Request, Response, has_tag};
use http::header::{CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::auth::Role;
use crate::context::RequestContext;
use crate::cursor::Cursor;
use crate::error::RequestError;
use crate::parameters::page_request;
use crate::settings::Settings;
use crate::shown::{Shown, json_in};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    insured_id: InsuredId,
    appointments: Vec<Shown<'a>>,
    pagination: Pagination,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pagination {
    pub(crate) limit: u32,
    pub(crate) next_cursor: Option<String>,
}

/// A page of a person's appointments, newest first.
pub(crate) async fn list(
    insured_id: InsuredId,
    role: &Role,
    query: Option<&str>,
    context: &mut RequestContext,
) -> Result<Response, RequestError> {
    let request = page_request(query)?;
    let settings = Settings::read(context)?;
    let table = AppointmentsTable::new(&settings.client, &settings.dynamodb, &settings.table);
    let page = table.list(&insured_id, request).await?;
    context.report(&page.faults);
    let next_cursor = page.next.map(|after| Cursor { status: request.status, after }.encode());
    let pagination = Pagination { limit: request.limit, next_cursor };
    let appointments = page.appointments.iter().filter(|appointment| role.covers(appointment.country));
    let appointments = appointments.map(|appointment| Shown::new(appointment, context.language)).collect();
    Ok(json_in(context.language, StatusCode::OK, &List { insured_id, appointments, pagination }))
}

/// One appointment with its history; nothing but its headers where the client has it already.
pub(crate) async fn read(
    insured_id: InsuredId,
    appointment_id: AppointmentId,
    role: &Role,
    request: &Request,
    context: &mut RequestContext,
) -> Result<Response, RequestError> {
    let settings = Settings::read(context)?;
    let table = AppointmentsTable::new(&settings.client, &settings.dynamodb, &settings.table);
    let stored = table.get(&insured_id, appointment_id).await?.filter(|stored| role.covers(stored.appointment.country));
    let stored = stored.ok_or(Problem::new(ProblemCode::AppointmentNotFound))?;
    context.report_unknown(&stored);
    let shown = Shown::new(&stored.appointment, context.language).with_history(&stored.history);
    Ok(tagged(json_in(context.language, StatusCode::OK, &shown), request.headers()))
}

/// The same response with the `ETag` of its body; nothing but its headers where the client has it already.
pub(crate) fn tagged(mut response: Response, headers: &HeaderMap) -> Response {
    let tag = entity_tag(response.body());
    let unchanged = has_tag(headers, &tag);
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(CONTENT_TYPE);
        response.body_mut().clear();
    }
    response
}

/// The strong entity tag of a body: it changes with every byte, so with the language too (RFC 9110, section 8.8.3).
fn entity_tag(body: &[u8]) -> String {
    let [head @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _] = <[u8; 32]>::from(Sha256::digest(body));
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(head))
}
