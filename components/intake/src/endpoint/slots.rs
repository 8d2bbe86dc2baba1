//! `GET /slots`: free slots. It reads the projection, and anybody may ask.

use appointment::{Country, SlotStatus, Timestamp};
use edge_component::{Host, Response};
use http::HeaderMap;
use serde::Serialize;

use crate::context::RequestContext;
use crate::error::RequestError;
use crate::respond::cacheable;
use crate::settings::Settings;
use crate::shown::{Pagination, ShownSlot};
use crate::slot_search::Search;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FreeSlots<'a> {
    #[serde(rename = "countryISO")]
    country: Country,
    specialty: &'a str,
    slots: Vec<ShownSlot<'a>>,
    pagination: Pagination,
}

/// A page of free slots in the order of their time. What has begun is not there.
pub(crate) async fn handle<H: Host>(
    query: Option<&str>,
    headers: &HeaderMap,
    context: &mut RequestContext<H>,
) -> Result<Response, RequestError> {
    let now = Timestamp::from(context.arrived);
    let search = Search::read(query, now)?;
    context.country = Some(search.country.into());
    let page = Settings::read(context)?.slots().free(&search.in_table(now)).await?;
    context.report(&page.faults);
    let slots = page.slots.iter().filter(|slot| search.holds(slot));
    let next_cursor = page.next.map(|after| search.cursor(after));
    let body = FreeSlots {
        country: search.country,
        specialty: &search.specialty,
        slots: slots.map(|slot| ShownSlot { slot, status: SlotStatus::Free }).collect(),
        pagination: Pagination { limit: search.limit, next_cursor },
    };
    Ok(cacheable(&body, headers))
}
