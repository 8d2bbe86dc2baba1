use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// An instant in UTC, to the millisecond, written as RFC 3339 with exactly three decimals and `Z`
/// (`2026-11-24T09:30:00.000Z`), so texts sort as the instants do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

/// The text is not an RFC 3339 instant between the years 1970 and 9999.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an instant is written as RFC 3339, for example 2026-11-24T09:30:00.000Z")]
pub struct InvalidTimestamp;

impl Timestamp {
    /// The last millisecond of the year 9999, the last that RFC 3339 can write.
    const MAX: i64 = 253_402_300_799_999;

    /// From milliseconds since 1970-01-01T00:00:00Z; what RFC 3339 cannot write is moved to the nearest that it can.
    #[must_use]
    pub fn from_unix_milliseconds(milliseconds: i64) -> Self {
        Self(milliseconds.clamp(0, Self::MAX))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn unix_milliseconds(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, as DynamoDB's time to live counts.
    #[must_use]
    pub const fn unix_seconds(self) -> i64 {
        self.0 / 1000
    }

    /// The time from `earlier` to this instant; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or_default())
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let milliseconds = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_unix_milliseconds(self.0.saturating_add(milliseconds))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(instant: SystemTime) -> Self {
        let milliseconds = instant.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Self::from_unix_milliseconds(i64::try_from(milliseconds).unwrap_or(i64::MAX))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(instant: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_millis(u64::try_from(instant.0).unwrap_or_default())
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let instant = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| InvalidTimestamp)?;
        let milliseconds = instant.unix_timestamp_nanos().div_euclid(1_000_000);
        match i64::try_from(milliseconds) {
            Ok(milliseconds) if (0..=Self::MAX).contains(&milliseconds) => Ok(Self(milliseconds)),
            _ => Err(InvalidTimestamp),
        }
    }
}

impl TryFrom<String> for Timestamp {
    type Error = InvalidTimestamp;

    fn try_from(text: String) -> Result<Self, InvalidTimestamp> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(instant: Timestamp) -> Self {
        instant.to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every value lies in the range of `OffsetDateTime`; the formats of `time` do not pin the decimals to three.
        let instant = OffsetDateTime::from_unix_timestamp(self.unix_seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (hour, minute, second) = instant.to_hms();
        write!(
            formatter,
            "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
            instant.year(),
            u8::from(instant.month()),
            instant.day(),
            self.0 % 1000,
        )
    }
}
