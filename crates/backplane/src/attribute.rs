//! Names of the attributes of the table `appointments`, and how the value of one is read.

use appointment::ScheduleId;
use aws_http::dynamodb::{AttributeValue, Item};

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
pub(crate) const EVENT_ID: &str = "eventId";
pub(crate) const AT: &str = "at";
pub(crate) const SHARD: &str = "shard";
pub(crate) const PENDING_SHARD: &str = "pendingShard";
pub(crate) const PENDING_SINCE: &str = "pendingSince";
pub(crate) const PENDING_ATTEMPT: &str = "pendingAttempt";
pub(crate) const APPOINTMENT_ID: &str = "appointmentId";
pub(crate) const OPERATION: &str = "operation";
pub(crate) const EXPIRES_AT: &str = "expiresAt";
pub(crate) const SLOT: &str = "slot";
pub(crate) const REPLACES: &str = "replaces";
pub(crate) const REPLACED_BY: &str = "replacedBy";

/// An item of the table that is not an appointment as this version writes them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an item of the table has no valid attribute '{attribute}'")]
pub struct InvalidItem {
    /// The attribute at fault.
    pub attribute: &'static str,
}

pub(crate) fn parsed<T: std::str::FromStr>(item: &Item<'_>, attribute: &'static str) -> Result<T, InvalidItem> {
    item.s(attribute).and_then(|text| text.parse().ok()).ok_or(InvalidItem { attribute })
}

pub(crate) fn schedule_id_of(item: &Item<'_>) -> Result<ScheduleId, InvalidItem> {
    item.n::<u64>(SCHEDULE_ID).and_then(|id| id.try_into().ok()).ok_or(InvalidItem { attribute: SCHEDULE_ID })
}

/// A map among an item's attributes.
pub(crate) fn map_of<'i, 'a>(item: &'i Item<'a>, attribute: &'static str) -> Result<Option<&'i Item<'a>>, InvalidItem> {
    match item.get(attribute) {
        None => Ok(None),
        Some(AttributeValue::M(map)) => Ok(Some(map)),
        Some(_) => Err(InvalidItem { attribute }),
    }
}
