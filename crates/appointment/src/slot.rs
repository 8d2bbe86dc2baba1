use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};
use time::OffsetDateTime;

use crate::{Country, ScheduleId, Timestamp};

/// A time with a practitioner at a center, as the country's catalogue has it. FHIR calls it a Slot
/// (<https://hl7.org/fhir/slot.html>).
///
/// Its JSON has the instants (`startsAt`, `endsAt`, UTC) and the local times with their offset (`start`, `end`), which are derived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "SlotJson", into = "SlotJson")]
pub struct Slot {
    /// Its identity within the country.
    pub schedule_id: ScheduleId,
    /// The country.
    pub country: Country,
    /// What is treated, as people read it (`Cardiología`).
    pub specialty: String,
    /// Where, as people read it.
    pub center: String,
    /// With whom, as people read it. A practitioner is a person too: personal data.
    pub practitioner: String,
    /// When it begins.
    pub starts_at: Timestamp,
    /// When it ends.
    pub ends_at: Timestamp,
    /// The IANA time zone of the center (`America/Lima`).
    pub time_zone: String,
    /// The offset of local time when it begins and ends, as it was when the slot was imported.
    pub utc_offset: UtcOffset,
}

impl Slot {
    /// The local time with its offset at which it begins, RFC 3339: `2026-12-01T09:00:00-05:00`.
    #[must_use]
    pub fn start(&self) -> String {
        self.utc_offset.local(self.starts_at)
    }

    /// The local time with its offset at which it ends.
    #[must_use]
    pub fn end(&self) -> String {
        self.utc_offset.local(self.ends_at)
    }

    /// Whether it is this slot of this country.
    #[must_use]
    pub fn is(&self, country: Country, schedule_id: ScheduleId) -> bool {
        self.country == country && self.schedule_id == schedule_id
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlotJson {
    schedule_id: ScheduleId,
    #[serde(rename = "countryISO")]
    country: Country,
    specialty: String,
    center: String,
    practitioner: String,
    #[serde(skip_deserializing)]
    start: String,
    #[serde(skip_deserializing)]
    end: String,
    starts_at: Timestamp,
    ends_at: Timestamp,
    time_zone: String,
    utc_offset: UtcOffset,
}

impl From<SlotJson> for Slot {
    fn from(json: SlotJson) -> Self {
        Self {
            schedule_id: json.schedule_id,
            country: json.country,
            specialty: json.specialty,
            center: json.center,
            practitioner: json.practitioner,
            starts_at: json.starts_at,
            ends_at: json.ends_at,
            time_zone: json.time_zone,
            utc_offset: json.utc_offset,
        }
    }
}

impl From<Slot> for SlotJson {
    fn from(slot: Slot) -> Self {
        Self {
            start: slot.start(),
            end: slot.end(),
            schedule_id: slot.schedule_id,
            country: slot.country,
            specialty: slot.specialty,
            center: slot.center,
            practitioner: slot.practitioner,
            starts_at: slot.starts_at,
            ends_at: slot.ends_at,
            time_zone: slot.time_zone,
            utc_offset: slot.utc_offset,
        }
    }
}

/// Whether a slot can be booked, in FHIR's words (<https://hl7.org/fhir/valueset-slotstatus.html>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, EnumString, IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum SlotStatus {
    /// Nobody holds it.
    Free,
    /// Somebody holds it.
    Busy,
    /// The clinic withdrew it.
    BusyUnavailable,
}

impl SlotStatus {
    /// The text in responses, messages and the projection.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A slot with the state that one version of it has.
///
/// The country raises the version with every change of the slot's state or holder, in the transaction that makes the change. Of two
/// versions the greater is the later, whatever order they arrive in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotState {
    /// The slot.
    #[serde(flatten)]
    pub slot: Slot,
    /// From 1 to 2^53 - 1: the restore epoch in the bits from 40 on, a counter below.
    pub version: u64,
    /// Whether it can be booked.
    pub status: SlotStatus,
}

/// What can be booked in a country: the values that a search for free slots takes, in alphabetical order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Catalogue {
    /// The country.
    #[serde(rename = "countryISO")]
    pub country: Country,
    /// As of a slot ([`SlotState::version`]).
    pub catalogue_version: u64,
    /// Every specialty.
    pub specialties: Vec<String>,
    /// Every center.
    pub centers: Vec<String>,
    /// Who treats what, and where.
    pub practitioners: Vec<Practitioner>,
}

/// Who treats what, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Practitioner {
    /// As people read it.
    pub name: String,
    /// What is treated.
    pub specialty: String,
    /// Where.
    pub center: String,
}

/// The offset of a local time from UTC, to the minute, at most 18 hours: `-05:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UtcOffset {
    minutes: i16,
}

/// The text is not an offset such as `-05:00`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an offset from UTC is written as -05:00")]
pub struct InvalidUtcOffset;

impl UtcOffset {
    const MAX_MINUTES: i16 = 18 * 60;

    /// An offset of this many minutes east of Greenwich.
    ///
    /// # Errors
    ///
    /// More than 18 hours.
    pub const fn from_minutes(minutes: i16) -> Result<Self, InvalidUtcOffset> {
        if minutes >= -Self::MAX_MINUTES && minutes <= Self::MAX_MINUTES {
            Ok(Self { minutes })
        } else {
            Err(InvalidUtcOffset)
        }
    }

    /// Minutes east of Greenwich.
    #[must_use]
    pub const fn minutes(self) -> i16 {
        self.minutes
    }

    /// The local time of an instant, with the offset, to the second.
    fn local(self, instant: Timestamp) -> String {
        let seconds = instant.unix_seconds().saturating_add(i64::from(self.minutes) * 60);
        let local = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (hour, minute, second) = local.to_hms();
        format!(
            "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}{self}",
            local.year(),
            u8::from(local.month()),
            local.day()
        )
    }
}

impl fmt::Display for UtcOffset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.minutes < 0 { '-' } else { '+' };
        let minutes = self.minutes.unsigned_abs();
        write!(formatter, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl FromStr for UtcOffset {
    type Err = InvalidUtcOffset;

    fn from_str(text: &str) -> Result<Self, InvalidUtcOffset> {
        let (sign, digits) = match text.split_at_checked(1) {
            Some(("+", digits)) => (1, digits),
            Some(("-", digits)) => (-1, digits),
            _ => return Err(InvalidUtcOffset),
        };
        let (hours, minutes) = digits.split_once(':').ok_or(InvalidUtcOffset)?;
        let number = |text: &str| {
            let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            if digits { text.parse::<i16>().ok() } else { None }
        };
        match (number(hours), number(minutes)) {
            (Some(hours), Some(minutes)) if minutes < 60 => Self::from_minutes(sign * (hours * 60 + minutes)),
            _ => Err(InvalidUtcOffset),
        }
    }
}

impl TryFrom<String> for UtcOffset {
    type Error = InvalidUtcOffset;

    fn try_from(text: String) -> Result<Self, InvalidUtcOffset> {
        text.parse()
    }
}

impl From<UtcOffset> for String {
    fn from(offset: UtcOffset) -> Self {
        offset.to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_slot_says_its_instants_and_its_local_times() -> Result<(), serde_json::Error> {
        let text = json!({
            "scheduleId": 7, "countryISO": "CL", "specialty": "Cardiología", "center": "Providencia", "practitioner": "Dra. Rojas",
            "startsAt": "2026-12-01T02:30:00.000Z", "endsAt": "2026-12-01T03:00:00.000Z",
            "timeZone": "America/Santiago", "utcOffset": "-03:00",
        });
        let slot: Slot = serde_json::from_value(text)?;
        let shown = serde_json::to_value(&slot)?;
        assert_eq!(slot.start(), "2026-11-30T23:30:00-03:00");
        assert_eq!(shown.get("start").and_then(serde_json::Value::as_str), Some("2026-11-30T23:30:00-03:00"));
        assert_eq!(slot.end(), "2026-12-01T00:00:00-03:00");
        assert_eq!(serde_json::from_value::<Slot>(shown)?, slot);
        Ok(())
    }

    #[test]
    fn an_offset_is_read_as_it_is_written() {
        for text in ["-05:00", "+00:00", "+05:45", "-18:00"] {
            assert_eq!(text.parse::<UtcOffset>().map(|offset| offset.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "05:00", "-5:00", "-05:60", "+18:01", "-05:00:00", "−05:00", "+ab:cd"] {
            assert_eq!(text.parse::<UtcOffset>(), Err(InvalidUtcOffset), "{text}");
        }
    }
}
