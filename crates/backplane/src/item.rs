//! How an appointment lies in the table.

use std::fmt;

use appointment::{
    Appointment, AppointmentId, HistoryEntry, InsuredId, Original, Reason, Status, StoredCountry, Timestamp,
    TraceContext, UnknownValue,
};
use aws_http::dynamodb::{AttributeValue, Item};
use messages::{AppointmentMessage, Command, StatusChanged, Version1};
use uuid::Uuid;

use crate::attribute::{self, InvalidItem, map_of, parsed, schedule_id_of};
use crate::slot_item::slot_of;

/// The attributes of a list's entries: everything but the history. `status` is a reserved word in expressions.
pub(crate) const LIST_PROJECTION: &str = "insuredId, sk, scheduleId, countryISO, #status, reason, createdAt, updatedAt, traceparent, slot, replaces, replacedBy";

pub(crate) const APPOINTMENT_PREFIX: &str = "appointment#";
pub(crate) const IDEMPOTENCY_PREFIX: &str = "idempotency#";

/// An appointment with what the table keeps beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAppointment {
    /// The appointment as the person sees it.
    pub appointment: Appointment,
    /// Its steps so far, oldest first; empty where a list was read.
    pub history: Vec<HistoryEntry>,
    /// The events among these steps.
    events: Vec<AppliedEvent>,
    /// The trace of the request whose outcome it awaits, or awaited.
    pub trace: TraceContext,
    /// The id of the event that changed its status last. It is all that an earlier version kept of an event.
    last_event_id: Option<Uuid>,
    /// How often its command was published again.
    pub pending_attempt: u32,
}

/// A field with a value of a later version, which this one passes on and does not act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownField {
    /// The attribute.
    pub field: &'static str,
    /// Its value.
    pub value: UnknownValue,
}

impl fmt::Display for UnknownField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the {} '{}' is of a later version", self.field, self.value.as_str())
    }
}

/// An event that made a step of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AppliedEvent {
    pub(crate) id: Uuid,
    /// The trace with which it was first delivered.
    pub(crate) trace: TraceContext,
    /// The place of its step in the history, counted from 0.
    position: usize,
}

impl StoredAppointment {
    /// Reads an item.
    ///
    /// # Errors
    ///
    /// [`InvalidItem`] names the attribute that is missing or does not have its form.
    pub fn from_item(item: &Item<'_>) -> Result<Self, InvalidItem> {
        let requested = requested_of(item, appointment_id_of(item)?, parsed(item, attribute::INSURED_ID)?)?;
        let appointment = Appointment {
            status: status_of(item)?,
            updated_at: parsed(item, attribute::UPDATED_AT)?,
            reason: reason_of(item)?,
            slot: match (map_of(item, attribute::SLOT)?, requested.country.known()) {
                (Some(map), Some(country)) => Some(slot_of(map, country, requested.schedule_id)?),
                _ => None,
            },
            replaced_by: parsed_if_any(item, attribute::REPLACED_BY)?,
            ..requested
        };
        let (mut history, mut events) = (Vec::new(), Vec::new());
        match item.get(attribute::HISTORY) {
            None => {}
            Some(AttributeValue::L(entries)) => {
                for (position, entry) in entries.iter().enumerate() {
                    let AttributeValue::M(entry) = entry else {
                        return Err(InvalidItem { attribute: attribute::HISTORY });
                    };
                    history.push(HistoryEntry {
                        status: status_of(entry)?,
                        at: parsed(entry, attribute::AT)?,
                        reason: reason_of(entry)?,
                    });
                    // What the person does is no event, and an earlier version kept none.
                    if let (Ok(id), Ok(trace)) =
                        (parsed(entry, attribute::EVENT_ID), parsed(entry, attribute::TRACEPARENT))
                    {
                        events.push(AppliedEvent { id, trace, position });
                    }
                }
            }
            Some(_) => return Err(InvalidItem { attribute: attribute::HISTORY }),
        }
        Ok(Self {
            appointment,
            history,
            events,
            trace: parsed(item, attribute::TRACEPARENT)?,
            last_event_id: parsed(item, attribute::LAST_EVENT_ID).ok(),
            pending_attempt: item.n(attribute::PENDING_ATTEMPT).unwrap_or_default(),
        })
    }

    /// The change that an event made, as it was announced first; `None` where it has made none.
    ///
    /// An earlier version kept the id of the last event alone. `target` is the status to which such an event leads, and
    /// `trace` is used instead of the trace of its first delivery.
    #[must_use]
    pub fn change_by(&self, event_id: Uuid, target: Status, trace: TraceContext) -> Option<StatusChanged> {
        let stored = self.events.iter().find(|event| event.id == event_id);
        let (position, trace) = match stored {
            Some(event) => (event.position, event.trace),
            None if self.last_event_id == Some(event_id) => {
                (self.history.iter().rposition(|entry| entry.status == target)?, trace)
            }
            None => return None,
        };
        let entry = self.history.get(position)?;
        Some(StatusChanged {
            version: Version1,
            event_id,
            sequence: u32::try_from(position).ok()?.checked_add(1)?,
            appointment_id: self.appointment.appointment_id,
            insured_id: self.appointment.insured_id,
            schedule_id: self.appointment.schedule_id,
            country: self.appointment.country.known()?,
            status: entry.status,
            reason: entry.reason,
            // The row says it of its last step, and of no other.
            replaced_by: self.appointment.replaced_by.filter(|_| entry.status == Status::Cancelled),
            occurred_at: entry.at,
            traceparent: trace,
        })
    }

    /// A field of the row with a value of a later version, and the value.
    #[must_use]
    pub fn unknown_value(&self) -> Option<UnknownField> {
        let Appointment { status, reason, country, .. } = self.appointment;
        if let StoredCountry::Unknown(value) = country {
            return Some(UnknownField { field: attribute::COUNTRY, value });
        }
        let steps = self.history.iter().map(|entry| (entry.status, entry.reason));
        std::iter::once((status, reason)).chain(steps).find_map(|(status, reason)| match (status, reason) {
            (Status::Unknown(value), _) => Some(UnknownField { field: attribute::STATUS, value }),
            (_, Some(Reason::Unknown(value))) => Some(UnknownField { field: attribute::REASON, value }),
            _ => None,
        })
    }

    /// The command that its country has to decide; `None` if the country has decided it, or if only a later version serves it.
    ///
    /// Of a `failed` request the country is asked for its decision alone: the person was told, and may have booked elsewhere.
    #[must_use]
    pub fn undecided_command(&self) -> Option<AppointmentMessage> {
        let command = match self.appointment.status {
            Status::Pending if self.appointment.replaces.is_some() => Command::Move,
            Status::Pending => Command::Request,
            Status::Failed => Command::Decision,
            Status::Cancelling => Command::Cancellation,
            Status::Completed | Status::Rejected | Status::Cancelled | Status::Unknown(_) => return None,
        };
        AppointmentMessage::new(command, &self.appointment, self.trace)
    }
}

/// The appointment of a sort key, in an item or in a key.
pub(crate) fn appointment_id_of(item: &Item<'_>) -> Result<AppointmentId, InvalidItem> {
    item.s(attribute::SORT_KEY)
        .and_then(|key| key.strip_prefix(APPOINTMENT_PREFIX))
        .and_then(|id| id.parse().ok())
        .ok_or(InvalidItem { attribute: attribute::SORT_KEY })
}

/// The value of an attribute that an item may lack.
fn parsed_if_any<T: std::str::FromStr>(item: &Item<'_>, attribute: &'static str) -> Result<Option<T>, InvalidItem> {
    item.get(attribute).map(|_| parsed(item, attribute)).transpose()
}

/// The status of an item or of a step of its history, of a later version too.
pub(crate) fn status_of(item: &Item<'_>) -> Result<Status, InvalidItem> {
    item.s(attribute::STATUS).and_then(Status::from_stored).ok_or(InvalidItem { attribute: attribute::STATUS })
}

/// The country of an item, of a later version too.
fn country_of(item: &Item<'_>) -> Result<StoredCountry, InvalidItem> {
    item.s(attribute::COUNTRY).and_then(StoredCountry::from_stored).ok_or(InvalidItem { attribute: attribute::COUNTRY })
}

fn reason_of(item: &Item<'_>) -> Result<Option<Reason>, InvalidItem> {
    let invalid = InvalidItem { attribute: attribute::REASON };
    match item.get(attribute::REASON) {
        None => Ok(None),
        Some(value) => value.as_s().and_then(Reason::from_stored).map(Some).ok_or(invalid),
    }
}

/// Adds what the person asked for to the key of an appointment, or of an idempotency key.
pub(crate) fn with_request<'a>(key: Item<'a>, appointment: &'a Appointment) -> Item<'a> {
    let mut item = key
        .with(attribute::SCHEDULE_ID, appointment.schedule_id.get())
        .with(attribute::COUNTRY, appointment.country.as_str())
        .with(attribute::CREATED_AT, appointment.created_at.to_string());
    if let Some(original) = appointment.replaces {
        item.insert(attribute::REPLACES, original_map(original));
    }
    item
}

/// The appointment as it was asked for: what [`with_request`] wrote.
pub(crate) fn requested_of(
    item: &Item<'_>,
    appointment_id: AppointmentId,
    insured_id: InsuredId,
) -> Result<Appointment, InvalidItem> {
    let (schedule_id, country) = (schedule_id_of(item)?, country_of(item)?);
    let created_at = parsed(item, attribute::CREATED_AT)?;
    let replaces = original_of(item)?;
    Ok(Appointment { replaces, ..Appointment::requested(appointment_id, insured_id, schedule_id, country, created_at) })
}

/// The appointment whose place the one of this item, or of this idempotency key, takes.
fn original_of(item: &Item<'_>) -> Result<Option<Original>, InvalidItem> {
    let Some(map) = map_of(item, attribute::REPLACES)? else { return Ok(None) };
    Ok(Some(Original { appointment_id: parsed(map, attribute::APPOINTMENT_ID)?, schedule_id: schedule_id_of(map)? }))
}

/// What [`original_of`] reads.
fn original_map(original: Original) -> Item<'static> {
    Item::new()
        .with(attribute::APPOINTMENT_ID, original.appointment_id.to_string())
        .with(attribute::SCHEDULE_ID, original.schedule_id.get())
}

/// A list of one history entry, as `list_append` takes it, with the event that made the step.
pub(crate) fn history_value(entry: &HistoryEntry, event: Option<(Uuid, TraceContext)>) -> AttributeValue<'static> {
    let mut map =
        Item::new().with(attribute::STATUS, entry.status.as_str().to_owned()).with(attribute::AT, entry.at.to_string());
    if let Some(reason) = entry.reason {
        map.insert(attribute::REASON, reason.as_str().to_owned());
    }
    if let Some((id, trace)) = event {
        map.insert(attribute::EVENT_ID, id.to_string());
        map.insert(attribute::TRACEPARENT, trace.to_string());
    }
    AttributeValue::L(vec![AttributeValue::M(map)])
}

/// The primary key of an appointment.
pub(crate) fn appointment_key<'a>(insured: &'a InsuredId, appointment: AppointmentId) -> Item<'a> {
    Item::new()
        .with(attribute::INSURED_ID, insured.as_str())
        .with(attribute::SORT_KEY, format!("{APPOINTMENT_PREFIX}{appointment}"))
}

/// A new appointment that awaits its country, as it is first written.
pub(crate) fn pending_item(
    appointment: &Appointment,
    trace: TraceContext,
    shard: String,
    since: Timestamp,
) -> Item<'_> {
    let first = HistoryEntry { status: Status::Pending, at: appointment.created_at, reason: None };
    with_request(appointment_key(&appointment.insured_id, appointment.appointment_id), appointment)
        .with(attribute::STATUS, appointment.status.as_str())
        .with(attribute::UPDATED_AT, appointment.updated_at.to_string())
        .with(attribute::HISTORY, history_value(&first, None))
        .with(attribute::TRACEPARENT, trace.to_string())
        // Kept for good, so a later write can put the row back into the index without reading it.
        .with(attribute::SHARD, shard.clone())
        .with(attribute::PENDING_SHARD, shard)
        .with(attribute::PENDING_SINCE, since.to_string())
        .with(attribute::PENDING_ATTEMPT, 0_u32)
}
