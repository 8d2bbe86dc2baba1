use std::fmt;

use strum::{EnumIter, EnumString, IntoEnumIterator, IntoStaticStr, VariantArray};

use crate::UnknownValue;
use crate::unknown::passed_on_as_text;

/// The status of an appointment, written in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumIter, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Status {
    /// Accepted; the country has not decided yet.
    Pending,
    /// The country could not process the request. Not final: a redriven request overtakes it.
    Failed,
    /// The country booked the slot.
    Completed,
    /// The country refused the request, with a reason.
    Rejected,
    /// The person cancelled; the country has not confirmed yet.
    Cancelling,
    /// Cancelled; the slot is free for others.
    Cancelled,
    /// A later version put it there, and this one moves it nowhere.
    #[strum(disabled)]
    Unknown(UnknownValue),
}

passed_on_as_text!(Status);

/// Something that happened to an appointment and may move its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum StatusEvent {
    /// The country booked the slot.
    Completed,
    /// The country refused the request.
    Rejected,
    /// The country confirmed a cancellation.
    Cancelled,
    /// The country could not process the request, or there was no outcome in time.
    RequestFailed,
    /// The country could not process the cancellation.
    CancellationFailed,
    /// The person asks to cancel.
    CancellationRequested,
}

/// What an event does to a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transition {
    /// The status becomes this one.
    Moves(Status),
    /// The event is a repetition, or something later overtook it: nothing changes, and that is fine.
    Stays,
    /// Nothing changes, and the event contradicts what was decided before: a country decided twice, which is an error
    /// of the system.
    Contradicts,
    /// Nothing changes, and a person has to look: a cancellation that the country could not process.
    NeedsOperator,
    /// The person asks for what is not possible any more, to cancel what was rejected; or for what only a later version can do.
    Refused,
}

impl Status {
    /// Every status that this version knows, by rank.
    pub fn known() -> impl Iterator<Item = Self> {
        Self::iter()
    }

    /// The text in responses, in the database and in messages.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Unknown(value) => value.as_str(),
            known => known.into(),
        }
    }

    /// The status of a stored text, which a later version may have written; `None` where it has not 1 to 47 bytes.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        text.parse().ok().or_else(|| UnknownValue::new(text).map(Self::Unknown))
    }

    /// Whether a later version put it there.
    #[must_use]
    pub const fn is_unknown(self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    /// Events only move an appointment to a higher rank: every order and repetition of its events ends the same.
    const fn rank(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Failed => 1,
            Self::Completed | Self::Rejected => 2,
            Self::Cancelling => 3,
            Self::Cancelled => 4,
            Self::Unknown(_) => 5,
        }
    }

    /// What `event` does to an appointment in this status. This is the one truth about how states move.
    #[must_use]
    pub fn on(self, event: StatusEvent) -> Transition {
        let target = match event {
            StatusEvent::Completed => Self::Completed,
            StatusEvent::Rejected => Self::Rejected,
            StatusEvent::Cancelled => Self::Cancelled,
            StatusEvent::RequestFailed => Self::Failed,
            StatusEvent::CancellationFailed if self == Self::Cancelling => return Transition::NeedsOperator,
            StatusEvent::CancellationFailed => return Transition::Stays,
            StatusEvent::CancellationRequested if self == Self::Rejected || self.is_unknown() => {
                return Transition::Refused;
            }
            StatusEvent::CancellationRequested => Self::Cancelling,
        };
        if self.rank() < target.rank() {
            Transition::Moves(target)
        } else if self.rank() == target.rank() && self != target {
            Transition::Contradicts
        } else {
            Transition::Stays
        }
    }

    /// Whether the country's outcome is still missing; then the appointment is in the index `pending`.
    #[must_use]
    pub const fn awaits_country(self) -> bool {
        matches!(self, Self::Pending | Self::Cancelling)
    }
}

impl StatusEvent {
    /// Every event.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The statuses that this event moves, from which the condition of the database update is made.
    pub fn moves_from(self) -> impl Iterator<Item = Status> {
        Status::known().filter(move |status| matches!(status.on(self), Transition::Moves(_)))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
