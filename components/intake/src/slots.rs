//! Free slots, one slot, and what can be booked in a country: read of the projection, by anybody.
//!
//! What is read may be stale by seconds, and may be kept as long: the country decides about a booking.

use std::time::Duration;

use appointment::{
    Catalogue, Country, FieldError, FieldErrorCode, Practitioner, ScheduleId, Slot, SlotStatus, Timestamp,
};
use backplane::{SlotPosition, SlotSearch, SlotsTable};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use edge_component::{Problem, ProblemCode, Request, Response};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::context::RequestContext;
use crate::error::RequestError;
use crate::parameters::{DEFAULT_LIMIT, limit_from, pairs};
use crate::queries::{Pagination, tagged};
use crate::respond::json;
use crate::settings::{SLOTS_TABLE, Settings};

/// For how long anybody may keep a response.
const CACHEABLE: HeaderValue = HeaderValue::from_static("public, max-age=2");

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How far a search reaches where it does not say.
const DEFAULT_DAYS: u32 = 14;

/// How far a search may reach.
const MAX_DAYS: u32 = 62;

/// The longest specialty, center or practitioner, in characters.
const MAX_TEXT: usize = 80;

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

/// One end of the time in which to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Instant(Timestamp),
    /// A date of the center's local time: the instant at which it would begin if local time were UTC.
    Date(Timestamp),
}

impl Bound {
    fn parse(text: &str) -> Result<Self, FieldErrorCode> {
        if text.len() == "2026-12-01".len() {
            return format!("{text}T00:00:00Z").parse().map(Self::Date).map_err(|_| FieldErrorCode::InvalidFormat);
        }
        text.parse().map(Self::Instant).map_err(|_| FieldErrorCode::InvalidFormat)
    }

    /// The first instant that it can mean in a country, whose zones differ, and the last.
    fn instants(self, country: Country) -> (Timestamp, Timestamp) {
        match self {
            Self::Instant(instant) => (instant, instant),
            Self::Date(midnight) => {
                let (west, east) = country.hours_from_utc();
                let begins = |hours: i8| {
                    Timestamp::from_unix_milliseconds(midnight.unix_milliseconds() - i64::from(hours) * 3_600_000)
                };
                (begins(east), begins(west))
            }
        }
    }

    /// Whether a slot begins before it.
    fn is_after(self, slot: &Slot) -> bool {
        match self {
            Self::Instant(instant) => slot.starts_at < instant,
            Self::Date(midnight) => {
                let offset = i64::from(slot.utc_offset.minutes()) * 60_000;
                slot.starts_at.unix_milliseconds() + offset < midnight.unix_milliseconds()
            }
        }
    }
}

/// The query of `GET /slots`, checked.
struct Search {
    country: Country,
    specialty: String,
    center: Option<String>,
    practitioner: Option<String>,
    from: Bound,
    to: Bound,
    limit: u32,
    after: Option<SlotPosition>,
    /// What a cursor is bound to.
    filters: [u8; 8],
}

impl Search {
    /// Reads a query.
    ///
    /// # Errors
    ///
    /// 400 that names every parameter at fault, 414 for a query that is too long to be looked at.
    fn read(query: Option<&str>, now: Timestamp) -> Result<Self, Problem> {
        let mut parameters = Parameters::default();
        let mut faults = Vec::new();
        for (name, value) in pairs(query)? {
            if let Err(code) = parameters.take(&name, &value) {
                faults.push(FieldError { field: name.chars().take(64).collect(), code });
            }
        }
        let mut missing =
            |field: &str| faults.push(FieldError { field: field.to_owned(), code: FieldErrorCode::Required });
        if parameters.country.is_none() {
            missing("countryISO");
        }
        if parameters.specialty.is_none() {
            missing("specialty");
        }
        let filters = parameters.filters();
        let country = parameters.country.flatten();
        let from = parameters.from.flatten().unwrap_or(Bound::Instant(now));
        // Any country will do to compare two dates.
        let begins = |bound: Bound| bound.instants(country.unwrap_or(Country::Peru)).0;
        let to = parameters.to.flatten().unwrap_or_else(|| Bound::Instant(begins(from) + DAY * DEFAULT_DAYS));
        let are_read = parameters.from != Some(None) && parameters.to != Some(None);
        if are_read && (begins(to) <= begins(from) || begins(to) > begins(from) + DAY * MAX_DAYS) {
            faults.push(FieldError { field: "to".to_owned(), code: FieldErrorCode::OutOfRange });
        }
        let (Some(country), Some(specialty), true) = (country, parameters.specialty.flatten(), faults.is_empty())
        else {
            return Err(Problem::new(ProblemCode::InvalidParameter).with_errors(faults));
        };
        let after = match parameters.cursor.flatten() {
            Some(cursor) => Some(position_of(&cursor, filters).ok_or(Problem::new(ProblemCode::InvalidCursor))?),
            None => None,
        };
        Ok(Self {
            country,
            specialty,
            center: parameters.center.flatten(),
            practitioner: parameters.practitioner.flatten(),
            from,
            to,
            limit: parameters.limit.flatten().unwrap_or(DEFAULT_LIMIT),
            after,
            filters,
        })
    }

    /// What to ask the table, which knows instants alone.
    fn in_table(&self, now: Timestamp) -> SlotSearch<'_> {
        SlotSearch {
            country: self.country,
            specialty: &self.specialty,
            center: self.center.as_deref(),
            practitioner: self.practitioner.as_deref(),
            from: self.from.instants(self.country).0.max(now),
            to: self.to.instants(self.country).1,
            limit: self.limit,
            after: self.after,
        }
    }

    /// Whether a slot that the table answered begins on one of the dates: those of the night, in a country of several zones, may not.
    fn holds(&self, slot: &Slot) -> bool {
        !self.from.is_after(slot) && self.to.is_after(slot)
    }

    /// Where a page of this search ended: opaque to clients, base64url of version, filters, instant and number.
    fn cursor(&self, after: SlotPosition) -> String {
        let mut bytes = Vec::with_capacity(CURSOR_LENGTH);
        bytes.push(CURSOR_VERSION);
        bytes.extend(self.filters);
        bytes.extend(after.starts_at.unix_milliseconds().to_be_bytes());
        bytes.extend(after.schedule_id.get().to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// The only version of a cursor so far.
const CURSOR_VERSION: u8 = 1;

/// Version, filters, instant and number.
const CURSOR_LENGTH: usize = 1 + 8 + 8 + 8;

/// Reads a cursor, `None` if we did not write the text, or it belongs to another search.
fn position_of(text: &str, filters: [u8; 8]) -> Option<SlotPosition> {
    let mut bytes = [0; CURSOR_LENGTH];
    if URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()? != CURSOR_LENGTH {
        return None;
    }
    let (version, rest) = bytes.split_first()?;
    let (own, rest) = rest.split_first_chunk::<8>()?;
    let (instant, number) = rest.split_first_chunk::<8>()?;
    if (*version, *own) != (CURSOR_VERSION, filters) {
        return None;
    }
    Some(SlotPosition {
        starts_at: Timestamp::from_unix_milliseconds(i64::from_be_bytes(*instant)),
        schedule_id: u64::from_be_bytes(number.try_into().ok()?).try_into().ok()?,
    })
}

/// The parameters of a query so far: `None` is not there, `Some(None)` is there and at fault.
#[derive(Default)]
struct Parameters {
    country: Option<Option<Country>>,
    specialty: Option<Option<String>>,
    center: Option<Option<String>>,
    practitioner: Option<Option<String>>,
    from: Option<Option<Bound>>,
    to: Option<Option<Bound>>,
    limit: Option<Option<u32>>,
    cursor: Option<Option<String>>,
    /// What the query says of the time, as it is written there.
    times: [String; 2],
}

impl Parameters {
    fn take(&mut self, name: &str, value: &str) -> Result<(), FieldErrorCode> {
        match name {
            "countryISO" => set(&mut self.country, value.parse().map_err(|_| FieldErrorCode::UnsupportedValue)),
            "specialty" => set(&mut self.specialty, name_of(value)),
            "center" => set(&mut self.center, name_of(value)),
            "practitioner" => set(&mut self.practitioner, name_of(value)),
            "from" => {
                let [from, _] = &mut self.times;
                value.clone_into(from);
                set(&mut self.from, Bound::parse(value))
            }
            "to" => {
                let [_, to] = &mut self.times;
                value.clone_into(to);
                set(&mut self.to, Bound::parse(value))
            }
            "limit" => set(&mut self.limit, limit_from(value)),
            "cursor" => set(&mut self.cursor, Ok(value.to_owned())),
            _ => Err(FieldErrorCode::UnknownField),
        }
    }

    /// Eight bytes that another search has not: a hash of all that the query asks for but the page. No value holds a line feed.
    fn filters(&self) -> [u8; 8] {
        let text = |text: &Option<Option<String>>| text.clone().flatten().unwrap_or_default();
        let country = self.country.flatten().map_or("", Country::code);
        let names = [&self.specialty, &self.center, &self.practitioner].map(text).join("\n");
        let hash = Sha256::digest(format!("{country}\n{names}\n{}", self.times.join("\n")));
        hash.first_chunk().copied().unwrap_or_default()
    }
}

fn set<T>(parameter: &mut Option<Option<T>>, value: Result<T, FieldErrorCode>) -> Result<(), FieldErrorCode> {
    if parameter.is_some() {
        return Err(FieldErrorCode::DuplicateField);
    }
    let outcome = value.as_ref().map(|_| ()).map_err(|code| *code);
    *parameter = Some(value.ok());
    outcome
}

/// The name of a specialty, a center or a practitioner, as a catalogue may have it.
fn name_of(text: &str) -> Result<String, FieldErrorCode> {
    let length = text.chars().count();
    if (1..=MAX_TEXT).contains(&length)
        && text.trim() == text
        && !text.chars().any(|character| character == '#' || character.is_control())
    {
        Ok(text.to_owned())
    } else {
        Err(FieldErrorCode::InvalidFormat)
    }
}
