use appointment::{Appointment, AppointmentId, HistoryEntry, InsuredId};
use backplane::AppointmentsTable;
use edge_component::{Problem, ProblemCode, Response};
use http::StatusCode;
use serde::Serialize;

use crate::api::{Exchange, Failure, json};
use crate::cursor::Cursor;
use crate::parameters::page_request;
use crate::settings::Settings;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    insured_id: InsuredId,
    appointments: &'a [Appointment],
    pagination: Pagination,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pagination {
    limit: u32,
    next_cursor: Option<String>,
}

/// A page of a person's appointments, newest first.
pub(crate) async fn list(
    insured_id: InsuredId,
    query: Option<&str>,
    exchange: &mut Exchange,
) -> Result<Response, Failure> {
    let request = page_request(query)?;
    let settings = Settings::read()?;
    let table = AppointmentsTable::new(&settings.client, &settings.dynamodb, &settings.table);
    let page = table.list(&insured_id, request).await?;
    exchange.report(&page.faults);
    let next_cursor = page.next.map(|after| Cursor { status: request.status, after }.encode());
    let pagination = Pagination { limit: request.limit, next_cursor };
    Ok(json(StatusCode::OK, &List { insured_id, appointments: &page.appointments, pagination }))
}

#[derive(Serialize)]
struct WithHistory<'a> {
    #[serde(flatten)]
    appointment: &'a Appointment,
    history: &'a [HistoryEntry],
}

/// One appointment with its history.
pub(crate) async fn read(
    insured_id: InsuredId,
    appointment_id: AppointmentId,
    exchange: &mut Exchange,
) -> Result<Response, Failure> {
    let settings = Settings::read()?;
    let table = AppointmentsTable::new(&settings.client, &settings.dynamodb, &settings.table);
    let kept = table.get(&insured_id, appointment_id).await?;
    let kept = kept.ok_or(Problem::new(ProblemCode::AppointmentNotFound))?;
    exchange.report_unknown(&kept);
    Ok(json(StatusCode::OK, &WithHistory { appointment: &kept.appointment, history: &kept.history }))
}
