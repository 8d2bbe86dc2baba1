use appointment::{Country, InvalidUtcOffset, ScheduleId, Slot, SlotState, SlotStatus, Timestamp, UtcOffset};
use serde::{Deserialize, Serialize};

/// A slot and its state as the country's database tells them (the view `slot_states`): the database does not know whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredSlot {
    /// Its identity within the country.
    pub schedule_id: ScheduleId,
    /// What is treated.
    pub specialty: String,
    /// Where.
    pub center: String,
    /// With whom: personal data.
    pub practitioner: String,
    /// When it begins.
    pub starts_at: Timestamp,
    /// When it ends.
    pub ends_at: Timestamp,
    /// The IANA time zone of the center.
    pub time_zone: String,
    /// The offset of local time during the slot.
    #[serde(rename = "utcOffsetMinutes")]
    pub utc_offset: OffsetMinutes,
    /// See [`SlotState::version`].
    pub version: u64,
    /// Whether it can be booked.
    pub status: SlotStatus,
}

impl StoredSlot {
    /// The slot in the form of an event of `country`.
    #[must_use]
    pub fn of(self, country: Country) -> SlotState {
        SlotState {
            slot: Slot {
                schedule_id: self.schedule_id,
                country,
                specialty: self.specialty,
                center: self.center,
                practitioner: self.practitioner,
                starts_at: self.starts_at,
                ends_at: self.ends_at,
                time_zone: self.time_zone,
                utc_offset: self.utc_offset.0,
            },
            version: self.version,
            status: self.status,
        }
    }
}

/// An offset from UTC that is written as a number of minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i16", into = "i16")]
pub struct OffsetMinutes(pub UtcOffset);

impl TryFrom<i16> for OffsetMinutes {
    type Error = InvalidUtcOffset;

    fn try_from(minutes: i16) -> Result<Self, InvalidUtcOffset> {
        UtcOffset::from_minutes(minutes).map(Self)
    }
}

impl From<OffsetMinutes> for i16 {
    fn from(offset: OffsetMinutes) -> Self {
        offset.0.minutes()
    }
}
