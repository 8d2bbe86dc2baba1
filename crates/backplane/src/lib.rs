//! The booking domain on AWS: how appointments lie in DynamoDB, travel over SNS and are announced on EventBridge.
//!
//! Both components of the Spin application use this crate. Therefore the shape of an item, the conditions of its writes
//! and the texts of the messages are each written once:
//!
//! - [`AppointmentsTable`]: the table `appointments`. Conditions are derived from [`appointment::StatusEvent::moves_from`].
//! - [`SlotsTable`]: the table `slots`, what people read of the countries' catalogues.
//! - [`CommandTopic`]: the topic that fans commands out to the countries.
//! - [`StatusBus`]: the bus on which changes of status are announced.
//! - [`RepublishSchedule`]: from when, and how often, an undecided command is published again; [`GivenUpSchedule`]: for how
//!   long its country is asked afterwards.

mod attribute;
mod booking;
mod bus;
mod cancellation;
mod erasure;
mod item;
mod outcome;
mod pending;
mod republish;
mod row_update;
mod slot_item;
mod slots;
mod status_change;
mod store;
mod table;
mod topic;

pub use attribute::InvalidItem;
pub use booking::{Booked, IDEMPOTENCY_PERIOD};
pub use bus::{AnnounceError, StatusBus};
pub use cancellation::Cancelled;
pub use item::{StoredAppointment, UnknownField};
pub use outcome::Applied;
pub use pending::{Due, PendingAppointment, not_processed_event_id};
pub use republish::{
    CALLS_PER_CLAIM, CLAIM_DURATION, CLAIMS_AT_ONCE, GivenUpSchedule, InvalidGivenUpSchedule, InvalidSchedule,
    InvalidShards, PendingShards, RepublishSchedule,
};
pub use slots::{SLOT_RETENTION, SlotPage, SlotPosition, SlotSearch, SlotsTable};
pub use store::{MAX_READS_PER_PAGE, StoreError};
pub use table::{AppointmentsTable, Page, PageRequest};
pub use topic::CommandTopic;
