//! The country's own system: takes the commands of one country from its queue, decides about them in the country's
//! database, and reports each outcome on the event bus. A Lambda function for SQS events with
//! `ReportBatchItemFailures`.
//!
//! A batch is one SQL round trip and one `PutEvents` for each ten outcomes:
//!
//! ```text
//! SQS batch -> inbox: read each message by itself -> fold to one command an appointment
//!           -> Decisions: SELECT * FROM decide(…)  -> one event a command
//!           -> EventBus: PutEvents                 -> the messages that have to come again
//! ```
//!
//! [`Worker::process`] is that flow, over two ports: [`Decisions`] ([`Database`] in production) and [`EventBus`]
//! ([`EventBridge`]). Nothing is acknowledged before its event is accepted, and everything may be repeated: `decide`
//! answers a repeated command from its row, and the event of a repeated outcome carries the same `eventId`.
//!
//! [`run`] is the whole program of a country's binary.

mod cli;
mod database;
mod event_bus;
mod inbox;
mod log;
mod settings;
mod worker;

pub use cli::run;
pub use database::{Database, DecideError, Decision, Decisions, MigrateError, Verdict, migrate};
pub use event_bus::{EventBridge, EventBus, NotAccepted};
pub use inbox::Unreadable;
pub use settings::{DatabaseUrl, InvalidSetting, Settings};
pub use worker::{UnidentifiedFailure, Worker};
