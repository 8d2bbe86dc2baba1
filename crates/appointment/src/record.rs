use std::fmt;

use serde::{Deserialize, Serialize};
use strum::{EnumIter, EnumString, IntoEnumIterator, IntoStaticStr};

use crate::unknown::passed_on_as_text;
use crate::{AppointmentId, InsuredId, ScheduleId, Slot, Status, StoredCountry, Timestamp, UnknownValue};

/// Why an appointment was rejected, failed or was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumIter, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    /// Rejected: another person holds the slot.
    SlotTaken,
    /// Rejected: the same person holds the slot already.
    AlreadyBooked,
    /// Failed: the country's system could not process the request, however often it was tried.
    ProcessingFailed,
    /// Failed: the country sent no outcome, however often the request was published. Rejected: it never decided, and the
    /// person was told `failed` meanwhile.
    NotProcessed,
    /// Rejected: the country's catalogue has no such slot.
    SlotUnknown,
    /// Rejected: the slot has begun.
    SlotPast,
    /// Rejected or cancelled: the clinic withdrew the slot.
    SlotWithdrawn,
    /// Rejected: the person holds as many slots as the country allows.
    TooManyOpen,
    /// Rejected: the appointment that was to be moved is not booked.
    OriginalNotBooked,
    /// Rejected: the appointment that was to be moved has begun.
    AlreadyStarted,
    /// Cancelled: another appointment took its place.
    Moved,
    /// A later version gave it.
    #[strum(disabled)]
    Unknown(UnknownValue),
}

passed_on_as_text!(Reason);

impl Reason {
    /// Every reason that this version knows.
    pub fn known() -> impl Iterator<Item = Self> {
        Self::iter()
    }

    /// The text in responses, in the databases and in messages.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Unknown(value) => value.as_str(),
            known => known.into(),
        }
    }

    /// The reason of a stored or received text, which a later version may have written; `None` where it has not 1 to 47 bytes.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        text.parse().ok().or_else(|| UnknownValue::new(text).map(Self::Unknown))
    }

    /// Whether a later version gave it.
    #[must_use]
    pub const fn is_unknown(self) -> bool {
        matches!(self, Self::Unknown(_))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// An appointment as the insured person sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Appointment {
    /// Its identity.
    pub appointment_id: AppointmentId,
    /// Whose it is.
    pub insured_id: InsuredId,
    /// The slot.
    pub schedule_id: ScheduleId,
    /// The country whose system decides.
    #[serde(rename = "countryISO")]
    pub country: StoredCountry,
    /// Its status.
    pub status: Status,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its status last changed.
    pub updated_at: Timestamp,
    /// Why it was rejected, failed or was cancelled by anybody but the person; only then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
    /// When and where, once a country with its own catalogue has decided.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub slot: Option<Slot>,
    /// The appointment whose place it takes, where it was made by moving.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub replaces: Option<Original>,
    /// The appointment that took its place, where the reason is `moved`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub replaced_by: Option<AppointmentId>,
}

impl Appointment {
    /// An appointment as it is when a person asks for it at an instant: `pending`, with nothing decided and nothing optional.
    #[must_use]
    pub fn requested(
        appointment_id: AppointmentId,
        insured_id: InsuredId,
        schedule_id: ScheduleId,
        country: impl Into<StoredCountry>,
        at: Timestamp,
    ) -> Self {
        Self {
            appointment_id,
            insured_id,
            schedule_id,
            country: country.into(),
            status: Status::Pending,
            created_at: at,
            updated_at: at,
            reason: None,
            slot: None,
            replaces: None,
            replaced_by: None,
        }
    }

    /// The appointment that is asked for when this one is to be moved to another slot at an instant.
    #[must_use]
    pub fn moved_to(&self, schedule_id: ScheduleId, appointment_id: AppointmentId, at: Timestamp) -> Self {
        let replaces = Some(Original { appointment_id: self.appointment_id, schedule_id: self.schedule_id });
        Self { replaces, ..Self::requested(appointment_id, self.insured_id, schedule_id, self.country, at) }
    }

    /// Whether `other` is the same request, made at another time: only the id and the instants may differ.
    #[must_use]
    pub fn asks_the_same(&self, other: &Self) -> bool {
        let Self { appointment_id, created_at, updated_at, .. } = *self;
        *self == Self { appointment_id, created_at, updated_at, ..other.clone() }
    }
}

/// An appointment whose place another one takes, and its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Original {
    /// The appointment.
    pub appointment_id: AppointmentId,
    /// Its slot.
    pub schedule_id: ScheduleId,
}

/// One step of an appointment's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The status that the appointment reached.
    pub status: Status,
    /// When it did.
    pub at: Timestamp,
    /// Why, where the status is `rejected` or `failed`, or `cancelled` by anybody but the person.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
}
