use appointment::{Catalogue, Country, SlotState, Timestamp, TraceContext};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Version1;
use crate::message::json_text;

/// The detail-type of [`SlotsChanged`] on EventBridge.
pub const SLOTS_CHANGED_DETAIL_TYPE: &str = "SlotsChanged";

/// The detail-type of [`CatalogueChanged`] on EventBridge.
pub const CATALOGUE_CHANGED_DETAIL_TYPE: &str = "CatalogueChanged";

/// The most slots that one [`SlotsChanged`] carries: one message of its queue stays small, and is done within its time.
pub const MAX_SLOTS_PER_EVENT: usize = 25;

/// The `detail` of the event by which a country tells how slots changed that no command asked for, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotsChanged {
    /// Always 1.
    pub version: Version1,
    /// The same for every resend.
    pub event_id: Uuid,
    /// The country.
    #[serde(rename = "countryISO")]
    pub country: Country,
    /// At most [`MAX_SLOTS_PER_EVENT`] slots.
    pub slots: Vec<SlotState>,
    /// When they changed.
    pub occurred_at: Timestamp,
    /// The trace of the import.
    pub traceparent: TraceContext,
}

/// The `detail` of the event by which a country tells what can be booked there, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogueChanged {
    /// Always 1.
    pub version: Version1,
    /// The same for every resend.
    pub event_id: Uuid,
    /// What can be booked.
    #[serde(flatten)]
    pub catalogue: Catalogue,
    /// When it changed.
    pub occurred_at: Timestamp,
    /// The trace of the import.
    pub traceparent: TraceContext,
}

impl SlotsChanged {
    /// The detail as it is put on the bus.
    #[must_use]
    pub fn to_json(&self) -> String {
        json_text(self)
    }
}

impl CatalogueChanged {
    /// The detail as it is put on the bus.
    #[must_use]
    pub fn to_json(&self) -> String {
        json_text(self)
    }
}
