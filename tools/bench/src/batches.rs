//! Batches of bookings, as SQS hands them to a worker, and a worker in this process.

use std::time::SystemTime;

use anyhow::{Context, Result};
use appointment::{Appointment, AppointmentId, Country, InsuredId, ScheduleId, Timestamp, TraceContext};
use aws_lambda_events::event::sqs::SqsEvent;
use country_worker::{Database, DatabaseLogin, DatabaseUrl, EventBus, Left, SourceQueue, Worker};
use messages::{AppointmentMessage, Command};
use serde_json::json;

const RECEIVE_DELAYS: &str = "5,30,120,300,600,600,600";

/// The queue of batches that never fail.
pub(crate) struct NothingLeft;

impl SourceQueue for NothingLeft {
    async fn leave(&self, _: &[Left]) {}
}

pub(crate) fn worker<B: EventBus>(database: DatabaseUrl, bus: B) -> Result<Worker<Database, B, NothingLeft>> {
    let database = Database::new(DatabaseLogin::Url(database));
    Ok(Worker::new(Country::Peru, RECEIVE_DELAYS.parse()?, database, bus, NothingLeft, span_id))
}

fn span_id() -> [u8; 8] {
    fastrand::u64(1..).to_be_bytes()
}

/// Bookings that no other has the slot or the id of. It counts them.
pub(crate) struct Rows(pub(crate) u64);

impl Rows {
    pub(crate) fn messages(&mut self, batches: usize, size: usize) -> Result<Vec<Vec<AppointmentMessage>>> {
        (0..batches).map(|_| (0..size).map(|_| self.message()).collect()).collect()
    }

    fn message(&mut self) -> Result<AppointmentMessage> {
        self.0 += 1;
        let now = Timestamp::from(SystemTime::now());
        let appointment_id = AppointmentId::new(now, fastrand::u128(..).to_be_bytes()[..10].try_into()?);
        let insured_id: InsuredId = format!("{:05}", self.0 % 100_000).parse()?;
        let trace = TraceContext::start(std::array::from_fn(|_| fastrand::u8(..)));
        let slot = ScheduleId::try_from(self.0)?;
        let appointment = Appointment::requested(appointment_id, insured_id, slot, Country::Peru, now);
        AppointmentMessage::new(Command::Request, &appointment, trace).context("Peru is known")
    }

    /// As SQS hands them to the function.
    pub(crate) fn batches(&mut self, batches: usize, size: usize) -> Result<Vec<SqsEvent>> {
        self.messages(batches, size)?.iter().map(|messages| event(messages)).collect()
    }
}

fn event(messages: &[AppointmentMessage]) -> Result<SqsEvent> {
    let records: Vec<_> = messages
        .iter()
        .map(|message| {
            json!({
                "messageId": message.event_id,
                "body": message.to_json(),
                "attributes": { "ApproximateReceiveCount": "1" },
                "messageAttributes": {},
            })
        })
        .collect();
    Ok(serde_json::from_value(json!({ "Records": records }))?)
}
