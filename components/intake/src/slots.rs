//! Free slots, one slot, and what can be booked in a country: read of the projection, by anybody.
//!
//! What is read may be stale by seconds, and may be kept as long: the country decides about a booking.

use appointment::{Catalogue, Country, Practitioner, ScheduleId, Slot, SlotStatus, Timestamp};
use backplane::SlotsTable;
use edge_component::{Problem, ProblemCode, Request, Response};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::context::RequestContext;
use crate::error::RequestError;
use crate::queries::{Pagination, tagged};
use crate::respond::json;
use crate::settings::{SLOTS_TABLE, Settings};
use crate::slot_search::Search;

/// For how long anybody may keep a response.
const CACHEABLE: HeaderValue = HeaderValue::from_static("public, max-age=2");

/// A slot as a response shows it.
#[derive(Serialize)]
struct ShownSlot<'a> {
    #[serde(flatten)]
    slot: &'a Slot,
    status: SlotStatus,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FreeSlots<'a> {
    #[serde(rename = "countryISO")]
    country: Country,
    specialty: &'a str,
    slots: Vec<ShownSlot<'a>>,
    pagination: Pagination,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownCatalog<'a> {
    #[serde(rename = "countryISO")]
    country: Country,
    specialties: &'a [String],
    centers: &'a [String],
    practitioners: &'a [Practitioner],
}

/// A page of free slots in the order of their time. What has begun is not there.
pub(crate) async fn free(request: &Request, context: &mut RequestContext) -> Result<Response, RequestError> {
    let now = Timestamp::from(context.arrived);
    let search = Search::read(request.uri().query(), now)?;
    context.country = Some(search.country.into());
    let settings = Settings::read(context)?;
    let name = SLOTS_TABLE.text()?;
    let table = SlotsTable::new(&settings.client, &settings.dynamodb, &name);
    let page = table.free(&search.in_table(now)).await?;
    context.report(&page.faults);
    let slots = page.slots.iter().filter(|slot| search.holds(slot));
    let next_cursor = page.next.map(|after| search.cursor(after));
    let body = FreeSlots {
        country: search.country,
        specialty: &search.specialty,
        slots: slots.map(|slot| ShownSlot { slot, status: SlotStatus::Free }).collect(),
        pagination: Pagination { limit: search.limit, next_cursor },
    };
    Ok(cacheable(request, &body))
}

/// One slot, whether it can be booked or not.
pub(crate) async fn read(
    country: Country,
    schedule_id: ScheduleId,
    request: &Request,
    context: &mut RequestContext,
) -> Result<Response, RequestError> {
    context.country = Some(country.into());
    let settings = Settings::read(context)?;
    let name = SLOTS_TABLE.text()?;
    let table = SlotsTable::new(&settings.client, &settings.dynamodb, &name);
    let state = table.get(country, schedule_id).await?.ok_or(Problem::new(ProblemCode::SlotNotFound))?;
    let has_begun = state.slot.starts_at <= Timestamp::from(context.arrived);
    let status = if has_begun && state.status == SlotStatus::Free { SlotStatus::BusyUnavailable } else { state.status };
    Ok(cacheable(request, &ShownSlot { slot: &state.slot, status }))
}

/// What can be booked in a country.
pub(crate) async fn catalog(
    country: Country,
    request: &Request,
    context: &mut RequestContext,
) -> Result<Response, RequestError> {
    context.country = Some(country.into());
    let settings = Settings::read(context)?;
    let name = SLOTS_TABLE.text()?;
    let table = SlotsTable::new(&settings.client, &settings.dynamodb, &name);
    let catalogue = table.catalogue(country).await?.ok_or(Problem::new(ProblemCode::CatalogNotFound))?;
    let Catalogue { country, specialties, centers, practitioners, .. } = &catalogue;
    Ok(cacheable(request, &ShownCatalog { country: *country, specialties, centers, practitioners }))
}

fn cacheable(request: &Request, body: &impl Serialize) -> Response {
    let mut response = tagged(json(StatusCode::OK, body), request.headers());
    response.headers_mut().insert(CACHE_CONTROL, CACHEABLE);
    response
}
