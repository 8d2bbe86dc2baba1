//! The country's own system: takes the commands of one country from its queue, decides about them in the country's
//! database, and reports each outcome on the event bus. A Lambda function for SQS events with
//! `ReportBatchItemFailures`.
//!
//! A batch is one SQL round trip and one `PutEvents` for each ten outcomes:
//!
//! ```text
//! SQS batch -> inbox: read each message by itself -> fold to one command per appointment
//!           -> Decisions: SELECT * FROM decide(…)  -> one event per command
//!           -> EventBus: PutEvents                 -> the messages that have to come again
//!           -> SourceQueue: when they come, by ChangeMessageVisibility
//! ```
//!
//! [`Worker::process`] is that flow, over three ports: [`Decisions`] ([`Database`] in production), [`EventBus`]
//! ([`EventBridge`]) and [`SourceQueue`] ([`SqsQueue`]). Nothing is acknowledged before its event is accepted, and everything may be repeated: `decide`
//! repeats the decision of its row for a repeated command, and the event of a repeated outcome carries the same `eventId`.
//!
//! [`migrate`] prepares the database: it applies the migrations, and creates the user that the worker connects as.
//! [`DatabaseLogin`] is how that user gets in: on RDS with a token that is signed for each new connection.
//!
//! What can be booked comes by [`import`]: a file is streamed into the database and applied under `decide`'s locks. What changes by
//! it, and without any command, is announced through an outbox ([`drain`]). [`rebuild`] announces everything anew, and [`check_zones`] says what
//! a change of time zones' rules would do.
//!
//! [`run`] is the whole program of a country's binary.

mod aws;
mod cli;
mod database;
mod event_bus;
mod import;
mod import_line;
mod inbox;
mod local_time;
mod log;
mod login;
mod migration;
mod object;
mod outbox;
mod projection;
mod setting;
mod settings;
mod slot;
mod source_queue;
mod span;
mod worker;

pub use cli::run;
pub use database::{CommandOutcome, Database, DecideError, Decision, Decisions, Replaced, Verdict};
pub use event_bus::{Announcement, AnnouncementBus, EventBridge, EventBus, NotAccepted};
pub use import::{ImportError, RefusedLine, Report, Source, import};
pub use import_line::RefusalCode;
pub use inbox::Unreadable;
pub use local_time::{InvalidTime, Moment, Zone};
pub use login::{
    ConnectError, DatabaseLogin, DatabasePlace, DatabaseUrl, DatabaseUser, IamLogin, RDS_ROOTS, RdsAddress, TokenError,
};
pub use migration::{MigrateError, migrate};
pub use outbox::{Drained, drain};
pub use projection::{MovedByRules, check_zones, rebuild};
pub use setting::InvalidSetting;
pub use settings::{CatalogueKind, CountryRules, MigrationSettings, Settings, SlotSettings};
pub use slot::{OffsetMinutes, StoredSlot};
pub use source_queue::{Left, SourceQueue, SqsQueue};
pub use worker::{UnidentifiedFailure, Worker};
