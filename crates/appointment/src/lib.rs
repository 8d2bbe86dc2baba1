//! The booking domain: what an appointment is, and how its state moves. The crate `messages` has the messages about it.
//!
//! Nothing here does I/O, reads a clock or draws a random number, and nothing here knows of HTTP, AWS or SQL: callers
//! hand in the instant and the random bytes. That keeps every rule of the system testable as a pure function:
//!
//! - [`InsuredId`], [`ScheduleId`], [`Country`], [`AppointmentId`], [`Timestamp`], [`TraceContext`], [`Text`]: values whose only
//!   constructors validate, so whoever holds one need not check again.
//! - [`Status`] and [`StatusEvent`]: the state machine, one function ([`Status::on`]) from which the conditions of the
//!   database are derived ([`StatusEvent::moves_from`]).
//! - [`Slot`] and [`SlotState`]: what can be booked, and whether it can be booked now; [`Catalogue`]: what can be asked for.
//! - [`AppointmentRequest`], [`MoveRequest`] and [`InvalidRequest`]: the body of a booking or a move, with all of its faults at
//!   once.

mod country;
mod identifiers;
mod record;
mod request;
mod slot;
mod state;
mod text;
mod timestamp;
mod trace;
mod unknown;

pub use country::{Country, StoredCountry, UnknownCountry};
pub use identifiers::{
    AppointmentId, InsuredId, InvalidAppointmentId, InvalidInsuredId, InvalidScheduleId, ScheduleId,
};
pub use record::{Appointment, HistoryEntry, Original, Reason};
pub use request::{AppointmentRequest, FieldError, FieldErrorCode, InvalidRequest, MoveRequest};
pub use slot::{Catalogue, InvalidUtcOffset, Practitioner, Slot, SlotState, SlotStatus, UtcOffset};
pub use state::{Status, StatusEvent, Transition};
pub use text::{InvalidText, Text, is_catalog_name};
pub use timestamp::{InvalidTimestamp, Timestamp};
pub use trace::{InvalidTraceparent, TraceContext};
pub use unknown::UnknownValue;
