use appointment::{
    AppointmentId, Country, InsuredId, Reason, ScheduleId, SlotState, Status, StatusEvent, Timestamp, TraceContext,
};
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};
use uuid::Uuid;

use crate::message::json_text;
use crate::{Command, Version1};

/// The source of [`StatusChanged`] on EventBridge. The rule that feeds the confirmation queue matches only the
/// workers' sources: these never come back in a loop.
pub const STATUS_CHANGED_SOURCE: &str = "appointments.confirmation";

/// The detail-type of [`StatusChanged`].
pub const STATUS_CHANGED_DETAIL_TYPE: &str = "AppointmentStatusChanged";

/// The source under which a country's worker reports on EventBridge, such as `appointments.worker.PE`.
#[must_use]
pub fn worker_source(country: Country) -> String {
    format!("appointments.worker.{country}")
}

/// An event as EventBridge delivers it to a target
/// (<https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html>); the fields that nobody here reads are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope<Detail> {
    /// Who reports.
    pub source: String,
    /// What kind of event it is.
    #[serde(rename = "detail-type")]
    pub detail_type: String,
    /// When it was put on the bus, in whole seconds: `2026-11-24T09:30:00Z`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub time: Option<String>,
    /// The event itself.
    pub detail: Detail,
}

/// The outcome of a command: the detail-type of its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumString, IntoStaticStr, VariantArray)]
pub enum Outcome {
    /// The slot is booked.
    #[strum(serialize = "AppointmentCompleted")]
    Completed,
    /// The request is refused, with a reason.
    #[strum(serialize = "AppointmentRejected")]
    Rejected,
    /// The appointment is cancelled, and its slot free.
    #[strum(serialize = "AppointmentCancelled")]
    Cancelled,
    /// The command could not be processed, however often it was tried.
    #[strum(serialize = "AppointmentFailed")]
    Failed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The detail-type on EventBridge.
    #[must_use]
    pub fn detail_type(self) -> &'static str {
        self.into()
    }
}

/// The `detail` of a country's event, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutcomeDetail {
    /// Always 1.
    pub version: Version1,
    /// The same for every resend of the same outcome of the same command ([`OutcomeEvent::event_id`]).
    pub event_id: Uuid,
    /// The appointment.
    pub appointment_id: AppointmentId,
    /// Whose it is.
    pub insured_id: InsuredId,
    /// The slot.
    pub schedule_id: ScheduleId,
    /// The country that decided.
    #[serde(rename = "countryISO")]
    pub country: Country,
    /// The command that was decided.
    pub command: Command,
    /// Why, where the outcome is `AppointmentRejected` or `AppointmentFailed`, or `AppointmentCancelled` by anybody but the
    /// person.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
    /// The appointment that took its place, where the reason is `moved`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub replaced_by: Option<AppointmentId>,
    /// The slot and its state after the decision, where the country has its own catalogue.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub slot: Option<SlotState>,
    /// When the country decided.
    pub occurred_at: Timestamp,
    /// The trace of the booking.
    pub traceparent: TraceContext,
}

impl OutcomeDetail {
    /// The detail as it is put on the bus.
    #[must_use]
    pub fn to_json(&self) -> String {
        json_text(self)
    }
}

/// A country's outcome of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeEvent {
    /// The outcome.
    pub outcome: Outcome,
    /// About which appointment, and why.
    pub detail: OutcomeDetail,
}

/// An envelope that does not hold a country's outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOutcomeEvent {
    /// The detail-type is not one of the four outcomes.
    #[error("the detail-type is not an outcome of an appointment")]
    UnknownDetailType,
    /// The source is not the worker of the country in the detail.
    #[error("the source is not the worker of the country that the detail names")]
    ForeignSource,
    /// A rejection without a reason, or a completion with one.
    #[error("a reason must be given for a rejection, and must not be given for a completion")]
    ReasonMismatch,
    /// The slot is not the one that the detail is about.
    #[error("the slot is not the one of the appointment")]
    ForeignSlot,
}

impl OutcomeEvent {
    /// The id of the event with the `outcome` of `command` for `appointment`: a UUID version 5.
    #[must_use]
    pub fn event_id(appointment: AppointmentId, outcome: Outcome, command: Command) -> Uuid {
        appointment.derive(&format!("{}/{}", outcome.detail_type(), command.as_str()))
    }

    /// What the event does to the appointment's status.
    #[must_use]
    pub const fn status_event(&self) -> StatusEvent {
        match (self.outcome, self.detail.command) {
            (Outcome::Completed, _) => StatusEvent::Completed,
            (Outcome::Rejected, _) => StatusEvent::Rejected,
            (Outcome::Cancelled, _) => StatusEvent::Cancelled,
            (Outcome::Failed, Command::Request | Command::Move | Command::Decision) => StatusEvent::RequestFailed,
            (Outcome::Failed, Command::Cancellation) => StatusEvent::CancellationFailed,
        }
    }
}

impl TryFrom<Envelope<OutcomeDetail>> for OutcomeEvent {
    type Error = InvalidOutcomeEvent;

    fn try_from(envelope: Envelope<OutcomeDetail>) -> Result<Self, InvalidOutcomeEvent> {
        let outcome: Outcome = envelope.detail_type.parse().map_err(|_| InvalidOutcomeEvent::UnknownDetailType)?;
        let detail = envelope.detail;
        if envelope.source != worker_source(detail.country) {
            return Err(InvalidOutcomeEvent::ForeignSource);
        }
        let reason_fits = match outcome {
            Outcome::Rejected => detail.reason.is_some(),
            Outcome::Failed | Outcome::Cancelled => true,
            Outcome::Completed => detail.reason.is_none(),
        };
        if !reason_fits {
            return Err(InvalidOutcomeEvent::ReasonMismatch);
        }
        if detail.slot.as_ref().is_some_and(|state| !state.slot.is(detail.country, detail.schedule_id)) {
            return Err(InvalidOutcomeEvent::ForeignSlot);
        }
        Ok(Self { outcome, detail })
    }
}

/// The `detail` of the event that tells the rest of the clinic that an appointment's status changed, as JSON.
///
/// It may be delivered more than once, with the same content each time, and out of order: consumers recognise a repetition
/// by `eventId`, and of two events about an appointment the later one by `sequence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusChanged {
    /// Always 1.
    pub version: Version1,
    /// The id of the event that changed the status; the same for every resend.
    pub event_id: Uuid,
    /// The place of the change in the appointment's history, whose first entry, `pending`, has place 1. There are gaps: what
    /// the person does is in the history, and not announced.
    pub sequence: u32,
    /// The appointment.
    pub appointment_id: AppointmentId,
    /// Whose it is.
    pub insured_id: InsuredId,
    /// The slot.
    pub schedule_id: ScheduleId,
    /// The country.
    #[serde(rename = "countryISO")]
    pub country: Country,
    /// The status that the appointment reached.
    pub status: Status,
    /// Why, where the status is `rejected` or `failed`, or `cancelled` by anybody but the person.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
    /// The appointment that took its place, where the reason is `moved`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub replaced_by: Option<AppointmentId>,
    /// When the status changed.
    pub occurred_at: Timestamp,
    /// The trace of the booking.
    pub traceparent: TraceContext,
}

impl StatusChanged {
    /// The detail as it is put on the bus.
    #[must_use]
    pub fn to_json(&self) -> String {
        json_text(self)
    }
}
