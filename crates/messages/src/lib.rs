//! The messages about appointments and slots, as SNS and EventBridge carry them. Nothing here does I/O.
//!
//! | from | to | message |
//! | --- | --- | --- |
//! | intake, or the republisher | a country, over SNS | [`AppointmentMessage`] with its [`attributes`](AppointmentMessage::attributes) |
//! | a country's worker | the confirmation component, over EventBridge | [`OutcomeEvent`] |
//! | a country's importer and outbox | the confirmation component, over EventBridge | [`SlotsChanged`], [`CatalogueChanged`] |
//! | the confirmation component | the rest of the clinic, over EventBridge | [`StatusChanged`] |
//!
//! [`Envelope`] is what EventBridge puts around an event, [`worker_source`] and the `…_SOURCE` who reports it, and the
//! `…_DETAIL_TYPE` what kind of event it is.

mod event;
mod message;
mod slots;

pub use event::{
    Envelope, InvalidOutcomeEvent, Outcome, OutcomeDetail, OutcomeEvent, STATUS_CHANGED_DETAIL_TYPE,
    STATUS_CHANGED_SOURCE, StatusChanged, worker_source,
};
pub use message::{AppointmentMessage, Command, Version1};
pub use slots::{
    CATALOGUE_CHANGED_DETAIL_TYPE, CatalogueChanged, MAX_SLOTS_PER_EVENT, SLOTS_CHANGED_DETAIL_TYPE, SlotsChanged,
};
