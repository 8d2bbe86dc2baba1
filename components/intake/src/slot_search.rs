//! The query of `GET /slots`: which free slots a client looks for, and where their next page starts.

use std::time::Duration;

use appointment::{Country, FieldError, FieldErrorCode, Slot, Timestamp, is_catalog_name};
use backplane::{SlotPosition, SlotSearch};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use edge_component::{Problem, ProblemCode};
use icu_normalizer::ComposingNormalizerBorrowed;
use sha2::{Digest as _, Sha256};

use crate::parameters::{DEFAULT_LIMIT, limit_from, pairs};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How far a search reaches where it does not say.
const DEFAULT_DAYS: u32 = 14;

/// How far a search may reach.
const MAX_DAYS: u32 = 62;

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
pub(crate) struct Search {
    pub(crate) country: Country,
    pub(crate) specialty: String,
    center: Option<String>,
    practitioner: Option<String>,
    from: Bound,
    to: Bound,
    pub(crate) limit: u32,
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
    pub(crate) fn read(query: Option<&str>, now: Timestamp) -> Result<Self, Problem> {
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
    pub(crate) fn in_table(&self, now: Timestamp) -> SlotSearch<'_> {
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

    /// Whether a slot that the table returned begins on one of the dates: those of the night, in a country of several zones, may not.
    pub(crate) fn holds(&self, slot: &Slot) -> bool {
        !self.from.is_after(slot) && self.to.is_after(slot)
    }

    /// Where a page of this search ended: opaque to clients, base64url of version, filters, instant and number.
    pub(crate) fn cursor(&self, after: SlotPosition) -> String {
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

/// The name of a specialty, a center or a practitioner in normalisation form C, which is how an import stores it. macOS, for
/// one, may send form D.
fn name_of(text: &str) -> Result<String, FieldErrorCode> {
    let name = ComposingNormalizerBorrowed::new_nfc().normalize(text);
    if is_catalog_name(&name) { Ok(name.into_owned()) } else { Err(FieldErrorCode::InvalidFormat) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use super::*;

    const PLACE: &str = "countryISO=PE&specialty=cardiology";

    fn now() -> Timestamp {
        "2026-12-01T12:00:00.000Z".parse().unwrap()
    }

    fn read(more: &str) -> Result<Search, Problem> {
        Search::read(Some(&format!("{PLACE}{more}")), now())
    }

    fn refusal(more: &str) -> ProblemCode {
        match read(more) {
            Ok(_) => panic!("{more} is refused"),
            Err(problem) => problem.code(),
        }
    }

    #[test]
    fn a_search_without_times_looks_two_weeks_ahead() {
        let search = read("").unwrap();
        let in_table = search.in_table(now());
        assert_eq!((in_table.from, in_table.to), (now(), now() + DAY * DEFAULT_DAYS));
        assert_eq!(
            (in_table.country, in_table.specialty, in_table.limit),
            (Country::Peru, "cardiology", DEFAULT_LIMIT)
        );
    }

    #[test]
    fn what_cannot_be_searched_is_refused() {
        for more in [
            "&from=2026-12-02&to=2026-12-01",
            "&from=2026-12-01&to=2027-12-01",
            "&limit=101",
            "&countryISO=CL",
            "&center=",
            "&unknown=1",
        ] {
            assert_eq!(refusal(more), ProblemCode::InvalidParameter, "{more}");
        }
        assert_eq!(refusal("&cursor=AAAA"), ProblemCode::InvalidCursor);
        assert_eq!(refusal(&"&a=1".repeat(16)), ProblemCode::QueryTooLong);
    }

    #[test]
    fn a_name_in_form_d_searches_for_the_stored_one_in_form_c() {
        let query = |specialty, center, practitioner| {
            Some(format!("countryISO=PE&specialty={specialty}&center={center}&practitioner={practitioner}"))
        };
        let composed = query("Cardiolog%C3%ADa", "Cl%C3%ADnica%20San%20Isidro", "Dr.%20Mu%C3%B1oz");
        let decomposed = query("Cardiologi%CC%81a", "Cli%CC%81nica%20San%20Isidro", "Dr.%20Mun%CC%83oz");
        let [composed, decomposed] = [composed, decomposed].map(|query| Search::read(query.as_deref(), now()).unwrap());
        assert_eq!(decomposed.specialty, "Cardiolog\u{ed}a");
        assert_eq!(decomposed.in_table(now()), composed.in_table(now()));
        // The most characters are counted in form C, and the page of one search goes on in the other.
        assert_eq!(decomposed.filters, composed.filters);
        let longest = "i%CC%81".repeat(80);
        assert!(Search::read(query(longest.as_str(), "a", "b").as_deref(), now()).is_ok());
    }

    #[test]
    fn a_cursor_leads_on_in_its_own_search_alone() {
        let after = SlotPosition { starts_at: now(), schedule_id: 100.try_into().unwrap() };
        let cursor = read("&center=north").unwrap().cursor(after);
        let next = read(&format!("&center=north&limit=5&cursor={cursor}")).unwrap();
        assert_eq!(next.in_table(now()).after, Some(after));
        assert_eq!(refusal(&format!("&center=south&cursor={cursor}")), ProblemCode::InvalidCursor);
    }
}
