//! How an appointment lies in the table.

use appointment::{
    Appointment, AppointmentId, AppointmentMessage, Command, HistoryEntry, InsuredId, ScheduleId, Status, Timestamp,
    TraceContext,
};
use aws_http::dynamodb::{AttributeValue, Item};

/// Names of the table's attributes.
pub(crate) mod attribute {
    pub(crate) const INSURED_ID: &str = "insuredId";
    pub(crate) const SORT_KEY: &str = "sk";
    pub(crate) const SCHEDULE_ID: &str = "scheduleId";
    pub(crate) const COUNTRY: &str = "countryISO";
    pub(crate) const STATUS: &str = "status";
    pub(crate) const REASON: &str = "reason";
    pub(crate) const CREATED_AT: &str = "createdAt";
    pub(crate) const UPDATED_AT: &str = "updatedAt";
    pub(crate) const HISTORY: &str = "history";
    pub(crate) const TRACEPARENT: &str = "traceparent";
    pub(crate) const LAST_EVENT_ID: &str = "lastEventId";
    pub(crate) const SHARD: &str = "shard";
    pub(crate) const PENDING_SHARD: &str = "pendingShard";
    pub(crate) const PENDING_SINCE: &str = "pendingSince";
    pub(crate) const PENDING_ATTEMPT: &str = "pendingAttempt";
    pub(crate) const APPOINTMENT_ID: &str = "appointmentId";
    pub(crate) const OPERATION: &str = "operation";
    pub(crate) const EXPIRES_AT: &str = "expiresAt";
}

pub(crate) const APPOINTMENT_PREFIX: &str = "appointment#";
pub(crate) const IDEMPOTENCY_PREFIX: &str = "idempotency#";

/// An appointment with what the table keeps beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAppointment {
    /// The appointment as the person sees it.
    pub appointment: Appointment,
    /// Its steps so far, oldest first; empty where a list was read.
    pub history: Vec<HistoryEntry>,
    /// The trace of the request that it awaits, or awaited, an answer to.
    pub trace: TraceContext,
    /// The id of the event that changed its status last, as text.
    pub last_event_id: Option<String>,
    /// How often its command was published again.
    pub pending_attempt: u32,
}

/// An item of the table that is not an appointment as this version writes them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an item of the table has no valid attribute '{attribute}'")]
pub struct InvalidItem {
    /// The attribute at fault.
    pub attribute: &'static str,
}

impl KeptAppointment {
    /// Reads an item.
    ///
    /// # Errors
    ///
    /// [`InvalidItem`] names the attribute that is missing or does not have its form.
    pub(crate) fn from_item(item: &Item<'_>) -> Result<Self, InvalidItem> {
        let appointment = Appointment {
            appointment_id: appointment_id_of(item)?,
            insured_id: parsed(item, attribute::INSURED_ID)?,
            schedule_id: schedule_id_of(item)?,
            country: parsed(item, attribute::COUNTRY)?,
            status: parsed(item, attribute::STATUS)?,
            created_at: parsed(item, attribute::CREATED_AT)?,
            updated_at: parsed(item, attribute::UPDATED_AT)?,
            reason: match item.get(attribute::REASON) {
                None => None,
                Some(_) => Some(parsed(item, attribute::REASON)?),
            },
        };
        let history = match item.get(attribute::HISTORY) {
            None => Vec::new(),
            Some(AttributeValue::L(entries)) => {
                entries.iter().map(history_from_value).collect::<Result<_, InvalidItem>>()?
            }
            Some(_) => return Err(InvalidItem { attribute: attribute::HISTORY }),
        };
        Ok(Self {
            appointment,
            history,
            trace: parsed(item, attribute::TRACEPARENT)?,
            last_event_id: item.s(attribute::LAST_EVENT_ID).map(str::to_owned),
            pending_attempt: item.n(attribute::PENDING_ATTEMPT).unwrap_or_default(),
        })
    }

    /// The command that its country has to answer, as it was published first; `None` where the country has answered.
    ///
    /// A `failed` request counts as unanswered: only an operator publishes it again, and the answer overtakes the failure.
    #[must_use]
    pub fn unanswered_command(&self) -> Option<AppointmentMessage> {
        let command = match self.appointment.status {
            Status::Pending | Status::Failed => Command::Request,
            Status::Cancelling => Command::Cancellation,
            Status::Completed | Status::Rejected | Status::Cancelled => return None,
        };
        Some(AppointmentMessage::new(command, &self.appointment, self.trace))
    }
}

/// The appointment of a sort key, in an item or in a key.
pub(crate) fn appointment_id_of(item: &Item<'_>) -> Result<AppointmentId, InvalidItem> {
    item.s(attribute::SORT_KEY)
        .and_then(|key| key.strip_prefix(APPOINTMENT_PREFIX))
        .and_then(|id| id.parse().ok())
        .ok_or(InvalidItem { attribute: attribute::SORT_KEY })
}

pub(crate) fn schedule_id_of(item: &Item<'_>) -> Result<ScheduleId, InvalidItem> {
    item.n::<u64>(attribute::SCHEDULE_ID)
        .and_then(|id| id.try_into().ok())
        .ok_or(InvalidItem { attribute: attribute::SCHEDULE_ID })
}

pub(crate) fn parsed<T: std::str::FromStr>(item: &Item<'_>, attribute: &'static str) -> Result<T, InvalidItem> {
    item.s(attribute).and_then(|text| text.parse().ok()).ok_or(InvalidItem { attribute })
}

fn history_from_value(value: &AttributeValue<'_>) -> Result<HistoryEntry, InvalidItem> {
    let AttributeValue::M(entry) = value else { return Err(InvalidItem { attribute: attribute::HISTORY }) };
    Ok(HistoryEntry {
        status: parsed(entry, attribute::STATUS)?,
        at: parsed(entry, "at")?,
        reason: entry.s(attribute::REASON).and_then(|reason| reason.parse().ok()),
    })
}

/// A list of one history entry, as `list_append` takes it.
pub(crate) fn history_value(entry: &HistoryEntry) -> AttributeValue<'static> {
    let mut map = Item::new().with(attribute::STATUS, entry.status.as_str()).with("at", entry.at.to_string());
    if let Some(reason) = entry.reason {
        map.insert(attribute::REASON, reason.as_str());
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
    let created_at = appointment.created_at;
    let first = HistoryEntry { status: Status::Pending, at: created_at, reason: None };
    appointment_key(&appointment.insured_id, appointment.appointment_id)
        .with(attribute::SCHEDULE_ID, appointment.schedule_id.get())
        .with(attribute::COUNTRY, appointment.country.code())
        .with(attribute::STATUS, appointment.status.as_str())
        .with(attribute::CREATED_AT, created_at.to_string())
        .with(attribute::UPDATED_AT, appointment.updated_at.to_string())
        .with(attribute::HISTORY, history_value(&first))
        .with(attribute::TRACEPARENT, trace.to_string())
        // Kept for good, so that a later write can put the row back into the index without reading it.
        .with(attribute::SHARD, shard.clone())
        .with(attribute::PENDING_SHARD, shard)
        .with(attribute::PENDING_SINCE, since.to_string())
        .with(attribute::PENDING_ATTEMPT, 0_u32)
}
