//! The booking domain: what an appointment is, how its state moves, and the messages about it.
//!
//! Nothing here does I/O, reads a clock or draws a random number, and nothing here knows of HTTP, AWS or SQL: callers
//! hand in the instant and the random bytes. That keeps every rule of the system testable as a pure function:
//!
//! - [`InsuredId`], [`ScheduleId`], [`Country`], [`AppointmentId`], [`Timestamp`], [`TraceContext`]: values whose only
//!   constructors validate, so whoever holds one need not check again.
//! - [`Status`] and [`StatusEvent`]: the state machine, one function ([`Status::on`]) from which the conditions of the
//!   database are derived ([`StatusEvent::moves_from`]).
//! - [`AppointmentMessage`]: what intake publishes for the countries; [`OutcomeEvent`]: what a country answers;
//!   [`StatusChanged`]: what the rest of the clinic may listen to.
//! - [`Slot`] and [`SlotState`]: what can be booked, and whether it can be booked now; [`SlotsChanged`] and
//!   [`CatalogueChanged`]: how a country tells of it.
//! - [`AppointmentRequest`], [`MoveRequest`] and [`InvalidRequest`]: the body of a booking or a move, with all of its faults at
//!   once.

mod country;
mod event;
mod identifiers;
mod message;
mod record;
mod request;
mod slot;
mod state;
mod timestamp;
mod trace;
mod unknown;

pub use country::{Country, StoredCountry, UnknownCountry};
pub use event::{
    Envelope, InvalidOutcomeEvent, Outcome, OutcomeDetail, OutcomeEvent, STATUS_CHANGED_DETAIL_TYPE,
    STATUS_CHANGED_SOURCE, StatusChanged,
};
pub use identifiers::{
    AppointmentId, InsuredId, InvalidAppointmentId, InvalidInsuredId, InvalidScheduleId, ScheduleId,
};
pub use message::{AppointmentMessage, Command, Version1};
pub use record::{Appointment, HistoryEntry, Original, Reason};
pub use request::{AppointmentRequest, FieldError, FieldErrorCode, InvalidRequest, MoveRequest};
pub use slot::{
    CATALOGUE_CHANGED_DETAIL_TYPE, Catalogue, CatalogueChanged, InvalidUtcOffset, MAX_SLOTS_PER_EVENT, Practitioner,
    SLOTS_CHANGED_DETAIL_TYPE, Slot, SlotState, SlotStatus, SlotsChanged, UtcOffset,
};
pub use state::{Status, StatusEvent, Transition};
pub use timestamp::{InvalidTimestamp, Timestamp};
pub use trace::{InvalidTraceparent, TraceContext};
pub use unknown::UnknownValue;
