use std::borrow::Cow;

use appointment::{Appointment, AppointmentId, Country, InsuredId, Original, ScheduleId, Timestamp, TraceContext};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use strum::{EnumString, IntoStaticStr, VariantArray};
use uuid::Uuid;

/// Version 1 of a message's shape. Any other number is refused, because a reader must not guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Version1;

impl Serialize for Version1 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for Version1 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            1 => Ok(Self),
            other => Err(de::Error::custom(format_args!("message version {other} is not supported, only version 1"))),
        }
    }
}

/// The JSON text of a message.
#[expect(clippy::expect_used, reason = "strings, numbers and enums under string keys always serialise")]
pub(crate) fn json_text(message: &impl Serialize) -> String {
    serde_json::to_string(message).expect("a message serialises")
}

/// What a country is asked to do: the `type` of a message to it, and the `command` of its outcome.
///
/// Of several commands for one appointment the greatest is decided, and its outcome is also that of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, EnumString, IntoStaticStr, VariantArray)]
pub enum Command {
    /// Book the slot.
    #[strum(serialize = "appointment.requested")]
    Request,
    /// Book the slot in place of the slot of another appointment of the same person, which is cancelled: both, or neither.
    #[strum(serialize = "appointment.move_requested")]
    Move,
    /// Say again what was decided; where nothing was, refuse the request for good (`not_processed`) and book nothing. The
    /// person was told `failed` meanwhile, and may have booked elsewhere.
    #[strum(serialize = "appointment.decision_requested")]
    Decision,
    /// Free the slot.
    #[strum(serialize = "appointment.cancellation_requested")]
    Cancellation,
}

impl Command {
    /// Every command.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The text in messages: `appointment.requested` and so on.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl Serialize for Command {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|_| de::Error::custom("not a command that this version knows"))
    }
}

/// The message that is published on the topic for the country of an appointment, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppointmentMessage {
    /// Always 1.
    pub version: Version1,
    /// What is asked for.
    #[serde(rename = "type")]
    pub command: Command,
    /// The same for every publication of the same command of the same appointment.
    pub event_id: Uuid,
    /// The appointment.
    pub appointment_id: AppointmentId,
    /// Whose it is.
    pub insured_id: InsuredId,
    /// The slot.
    pub schedule_id: ScheduleId,
    /// The appointment whose place it takes; always with `appointment.move_requested`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub replaces: Option<Original>,
    /// The country: the topic's subscriptions filter by it.
    #[serde(rename = "countryISO")]
    pub country: Country,
    /// When the person asked.
    pub occurred_at: Timestamp,
    /// The trace of the booking.
    pub traceparent: TraceContext,
}

impl AppointmentMessage {
    /// The message that gives `command` for an appointment as it is after the person asked; `None` where only a later
    /// version serves its country.
    #[must_use]
    pub fn new(command: Command, appointment: &Appointment, traceparent: TraceContext) -> Option<Self> {
        Some(Self {
            version: Version1,
            command,
            event_id: Self::event_id(appointment.appointment_id, command),
            appointment_id: appointment.appointment_id,
            insured_id: appointment.insured_id,
            schedule_id: appointment.schedule_id,
            replaces: appointment.replaces,
            country: appointment.country.known()?,
            occurred_at: match command {
                Command::Request | Command::Move | Command::Decision => appointment.created_at,
                Command::Cancellation => appointment.updated_at,
            },
            traceparent,
        })
    }

    /// The message as it is published.
    #[must_use]
    pub fn to_json(&self) -> String {
        json_text(self)
    }

    /// SNS's message attributes, by which the subscriptions of the countries' queues filter.
    #[must_use]
    pub fn attributes(&self) -> [(&'static str, &'static str); 2] {
        [("countryISO", self.country.code()), ("type", self.command.as_str())]
    }

    /// The id of every message that gives `command` for `appointment`: a UUID version 5.
    #[must_use]
    pub fn event_id(appointment: AppointmentId, command: Command) -> Uuid {
        appointment.derive(command.as_str())
    }
}
