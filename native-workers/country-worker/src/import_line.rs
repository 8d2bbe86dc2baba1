//! One line of an import: what it says, or why it is refused.

use std::borrow::Cow;
use std::collections::HashMap;

use appointment::{ScheduleId, Timestamp, UtcOffset, is_catalog_name};
use icu_normalizer::ComposingNormalizerBorrowed;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::local_time::{InvalidTime, Zone};

/// The fields of a line: of an object of NDJSON, or the columns of CSV.
pub(crate) const FIELDS: [&str; 9] =
    ["scheduleId", "specialty", "center", "practitioner", "start", "end", "durationMinutes", "timeZone", "state"];

/// The most characters of an unknown field's name that a report shows.
const MAX_SHOWN_CHARS: usize = 64;

/// The longest slot.
const MAX_MINUTES: u64 = 24 * 60;

/// A slot as a line describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StagedSlot {
    pub(crate) schedule_id: ScheduleId,
    pub(crate) specialty: String,
    pub(crate) center: String,
    pub(crate) practitioner: String,
    pub(crate) starts_at: Timestamp,
    pub(crate) ends_at: Timestamp,
    pub(crate) time_zone: String,
    pub(crate) utc_offset: UtcOffset,
    pub(crate) withdrawn: bool,
}

/// Why a line of an import was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The line is longer than 16 KiB.
    LineTooLong,
    /// It is not UTF-8.
    NotUtf8,
    /// It is no JSON object.
    NotJson,
    /// It is no record of CSV, or has more fields than the header.
    NotCsv,
    /// There is no such field.
    UnknownField,
    /// The field is required.
    Required,
    /// It is no integer from 1 to 2^53 - 1.
    InvalidScheduleId,
    /// It is no name.
    InvalidName,
    /// There is no such zone in the time-zone database.
    UnknownTimeZone,
    /// It is not written as a local time.
    InvalidTime,
    /// The clock is set forward over this time.
    TimeInGap,
    /// The clock is set back over this time, and no offset says which is meant.
    TimeAmbiguous,
    /// The zone has another offset at this time.
    WrongOffset,
    /// The clock is changed during the slot.
    ClockChanges,
    /// Neither or both of `end` and `durationMinutes` are given, or the slot is not of 1 minute to 24 hours.
    InvalidDuration,
    /// It is neither `open` nor `withdrawn`.
    InvalidState,
    /// An earlier line is about the same slot.
    Duplicate,
    /// The slot has begun, or would have.
    SlotPast,
    /// The slot is booked, and the line would change it.
    SlotBooked,
}

impl RefusalCode {
    /// What is wrong, and what to do.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::LineTooLong => "The line is longer than 16 KiB.",
            Self::NotUtf8 => "The line is not UTF-8.",
            Self::NotJson => "The line is not a JSON object.",
            Self::NotCsv => {
                "The line does not have a field for each column of the header, or a quoted field does not end in it."
            }
            Self::UnknownField => "There is no such field.",
            Self::Required => "The field is required.",
            Self::InvalidScheduleId => "It must be an integer from 1 to 9007199254740991.",
            Self::InvalidName => "It must be a text of 1 to 80 characters without control characters and #.",
            Self::UnknownTimeZone => "It must be a zone of the IANA database, for example America/Lima.",
            Self::InvalidTime => {
                "It must be a local time, for example 2026-12-01T09:00; where the clock is set back over it, with its offset."
            }
            Self::TimeInGap => "The clock is set forward over this time: there is none.",
            Self::TimeAmbiguous => {
                "The clock is set back over this time: add the offset that is meant, for example -03:00."
            }
            Self::WrongOffset => "The zone has another offset at this time.",
            Self::ClockChanges => "The clock is changed during the slot: make two of it.",
            Self::InvalidDuration => "Give either end or durationMinutes, 1 minute to 24 hours after start.",
            Self::InvalidState => "It must be open or withdrawn.",
            Self::Duplicate => "An earlier line is about the same slot.",
            Self::SlotPast => "The slot has begun.",
            Self::SlotBooked => "The slot is booked: withdraw it, and import the other one under another scheduleId.",
        }
    }

    const fn in_field(self, field: &'static str) -> Refusal {
        Refusal { code: self, field: Some(Cow::Borrowed(field)) }
    }
}

/// Why a line is refused, and for which field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: RefusalCode,
    pub(crate) field: Option<Cow<'static, str>>,
}

impl Refusal {
    /// The line has a field that no slot has. `jsonb` cannot hold U+0000, which JSON allows in a name.
    fn unknown_field(name: &str) -> Self {
        let shown: String = name.chars().filter(|character| !character.is_control()).take(MAX_SHOWN_CHARS).collect();
        Self { code: RefusalCode::UnknownField, field: Some(Cow::Owned(shown)) }
    }
}

impl From<RefusalCode> for Refusal {
    fn from(code: RefusalCode) -> Self {
        Self { code, field: None }
    }
}

/// Reads lines, and keeps the zones that they name.
#[derive(Default)]
pub(crate) struct LineReader {
    zones: HashMap<String, Zone>,
}

impl LineReader {
    /// The slot of a line of NDJSON.
    pub(crate) fn json(&mut self, line: &[u8]) -> Result<StagedSlot, Refusal> {
        let line = std::str::from_utf8(line).map_err(|_| RefusalCode::NotUtf8)?;
        let fields: Map<String, Value> = serde_json::from_str(line).map_err(|_| RefusalCode::NotJson)?;
        self.slot(&fields)
    }

    /// The slot of a record of CSV; an empty field is as none.
    pub(crate) fn csv<'a>(
        &mut self,
        header: &[&'static str],
        record: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> Result<StagedSlot, Refusal> {
        if record.len() != header.len() {
            return Err(RefusalCode::NotCsv.into());
        }
        let mut fields = Map::with_capacity(header.len());
        for (name, field) in header.iter().zip(record) {
            let text = std::str::from_utf8(field).map_err(|_| RefusalCode::NotUtf8)?.trim();
            if !text.is_empty() {
                fields.insert((*name).to_owned(), text.into());
            }
        }
        self.slot(&fields)
    }

    fn slot(&mut self, fields: &Map<String, Value>) -> Result<StagedSlot, Refusal> {
        if let Some(name) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
            return Err(Refusal::unknown_field(name));
        }
        let given = |name: &'static str| fields.get(name).filter(|value| !value.is_null());
        let required = |name: &'static str| given(name).ok_or(RefusalCode::Required.in_field(name));
        let schedule_id = integer(required("scheduleId")?).and_then(|number| ScheduleId::try_from(number).ok());
        let schedule_id = schedule_id.ok_or(RefusalCode::InvalidScheduleId.in_field("scheduleId"))?;
        let text = |name: &'static str| {
            required(name)?.as_str().and_then(read_name).ok_or(RefusalCode::InvalidName.in_field(name))
        };
        let (specialty, center, practitioner) = (text("specialty")?, text("center")?, text("practitioner")?);
        let zone_name = required("timeZone")?.as_str().unwrap_or_default();
        let zone = self.zone(zone_name).ok_or(RefusalCode::UnknownTimeZone.in_field("timeZone"))?;
        let moment = |name: &'static str, value: &Value| {
            zone.moment(value.as_str().unwrap_or_default()).map_err(|error| RefusalCode::from(error).in_field(name))
        };
        let start = moment("start", required("start")?)?;
        let ends_at = match (given("end"), given("durationMinutes")) {
            (Some(end), None) => moment("end", end)?.at,
            (None, Some(minutes)) => {
                let minutes = integer(minutes).filter(|minutes| *minutes <= MAX_MINUTES);
                let minutes = minutes.ok_or(RefusalCode::InvalidDuration.in_field("durationMinutes"))?;
                start.at + std::time::Duration::from_secs(minutes * 60)
            }
            _ => return Err(RefusalCode::InvalidDuration.into()),
        };
        let minutes = ends_at.since(start.at).as_secs() / 60;
        if !(1..=MAX_MINUTES).contains(&minutes) {
            return Err(RefusalCode::InvalidDuration.into());
        }
        // One offset tells both local times.
        if zone.offset_at(ends_at) != Some(start.offset) && zone.changes(start.at, ends_at).next().is_some() {
            return Err(RefusalCode::ClockChanges.into());
        }
        let withdrawn = match given("state").map(Value::as_str) {
            None | Some(Some("open")) => false,
            Some(Some("withdrawn")) => true,
            Some(_) => return Err(RefusalCode::InvalidState.in_field("state")),
        };
        Ok(StagedSlot {
            schedule_id,
            specialty,
            center,
            practitioner,
            starts_at: start.at,
            ends_at,
            time_zone: zone.name().to_owned(),
            utc_offset: start.offset,
            withdrawn,
        })
    }

    fn zone(&mut self, name: &str) -> Option<Zone> {
        if let Some(zone) = self.zones.get(name) {
            return Some(zone.clone());
        }
        let zone = Zone::named(name)?;
        self.zones.insert(name.to_owned(), zone.clone());
        Some(zone)
    }
}

impl From<InvalidTime> for RefusalCode {
    fn from(error: InvalidTime) -> Self {
        match error {
            InvalidTime::Malformed => Self::InvalidTime,
            InvalidTime::Gap => Self::TimeInGap,
            InvalidTime::Ambiguous => Self::TimeAmbiguous,
            InvalidTime::WrongOffset => Self::WrongOffset,
        }
    }
}

/// An integer, or a text of one, as CSV has it.
fn integer(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}

/// A name as people read it, trimmed, in normalisation form C.
fn read_name(text: &str) -> Option<String> {
    let name = ComposingNormalizerBorrowed::new_nfc().normalize(text.trim());
    is_catalog_name(&name).then(|| name.into_owned())
}
