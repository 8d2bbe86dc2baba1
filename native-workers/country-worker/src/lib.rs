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
//! answers a repeated command from its row, and the event of a repeated outcome carries the same `eventId`.
//!
//! [`migrate`] prepares the database: it applies the migrations, and creates the user that the worker connects as.
//! [`DatabaseLogin`] is how that user gets in: on RDS with a token that is signed for each new connection.
//!
//! [`run`] is the whole program of a country's binary.

mod aws;
mod cli;
mod database;
mod event_bus;
mod inbox;
mod log;
mod login;
mod migration;
mod settings;
mod source_queue;
mod worker;

pub use cli::run;
pub use database::{Answer, Database, DecideError, Decision, Decisions, Verdict};
pub use event_bus::{EventBridge, EventBus, NotAccepted};
pub use inbox::Unreadable;
pub use login::{DatabaseLogin, DatabasePlace, DatabaseUrl, DatabaseUser, IamLogin, RDS_ROOTS, RdsAddress, TokenError};
pub use migration::{MigrateError, migrate};
pub use settings::{InvalidSetting, MigrationSettings, Settings};
pub use source_queue::{Left, SourceQueue, SqsQueue};
pub use worker::{UnidentifiedFailure, Worker};
