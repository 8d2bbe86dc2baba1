//! `GET /slots/{countryISO}/{scheduleId}`: one slot. It reads the projection, and anybody may ask.

use appointment::{Country, ScheduleId, SlotStatus, Timestamp};
use edge_component::{Host, Problem, ProblemCode, Response};
use http::HeaderMap;

use crate::context::RequestContext;
use crate::error::RequestError;
use crate::respond::cacheable;
use crate::settings::Settings;
use crate::shown::ShownSlot;

/// One slot, whether it can be booked or not.
pub(crate) async fn handle<H: Host>(
    country: Country,
    schedule_id: ScheduleId,
    headers: &HeaderMap,
    context: &mut RequestContext<H>,
) -> Result<Response, RequestError> {
    context.country = Some(country.into());
    let state = Settings::read(context)?.slots().get(country, schedule_id).await?;
    let state = state.ok_or(Problem::new(ProblemCode::SlotNotFound))?;
    let has_begun = state.slot.starts_at <= Timestamp::from(context.arrived);
    let status = if has_begun && state.status == SlotStatus::Free { SlotStatus::BusyUnavailable } else { state.status };
    Ok(cacheable(&ShownSlot { slot: &state.slot, status }, headers))
}
