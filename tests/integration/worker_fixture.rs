//! The country worker over a real PostgreSQL: its database, its bus and its queue, and the messages that it gets.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use appointment::{Appointment, AppointmentId, Country, Timestamp, TraceContext};
use aws_http::sqs::ReceiveDelays;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use country_worker::{
    CountryRules, Database, DatabaseLogin, DatabasePlace, Decisions, EventBus, Left, MigrateError, MigrationSettings,
    NotAccepted, SourceQueue, Worker,
};
use local_stack::postgres::Postgres;
use messages::{AppointmentMessage, Command, OutcomeEvent};
use serde_json::{Value, json};
use sqlx::{Executor as _, PgConnection, Row as _};
use tokio::sync::OnceCell;

/// How often the tests' queue delivers a message.
pub(crate) const MAX_RECEIVE_COUNT: u32 = 5;

/// An empty, migrated database on this process's only server.
pub(crate) async fn database() -> String {
    let url = empty_database().await;
    migrate(&url, "worker").await.unwrap();
    url
}

pub(crate) static SERVER: OnceCell<Postgres> = OnceCell::const_new();

/// A database on this process's only server, without a schema.
pub(crate) async fn empty_database() -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let start = || async {
        let server = Postgres::start(&tests::workspace(), &tests::scratch_folder("workers")).await.unwrap();
        server.let_in("worker").await.unwrap();
        server.let_in("importer").await.unwrap();
        server
    };
    let server = SERVER.get_or_init(start).await;
    let name = format!("workers_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    server.create_database(&name).await.unwrap();
    server.url(&name)
}

/// Migrates as the owner in the URL, and creates the worker's user; the schema's version.
pub(crate) async fn migrate(url: &str, worker: &str) -> Result<i64, MigrateError> {
    migrate_with(url, worker, CountryRules::default()).await
}

pub(crate) async fn migrate_with(url: &str, worker: &str, rules: CountryRules) -> Result<i64, MigrateError> {
    let place = DatabasePlace::Url(url.parse().unwrap());
    let (worker, importer) = (worker.parse().unwrap(), "importer".parse().unwrap());
    let settings = MigrationSettings { place, master_secret: None, worker, importer, rules };
    country_worker::migrate(&settings).await
}

pub(crate) async fn session(url: &str) -> PgConnection {
    operator::database::connect(url).await.unwrap()
}

/// The database as the worker's own user.
pub(crate) fn connected(url: &str) -> Database {
    Database::new(DatabaseLogin::Url(as_user(url, "worker").parse().unwrap()))
}

pub(crate) fn as_user(url: &str, user: &str) -> String {
    let of_user = SERVER.get().unwrap().url_as(user, "");
    format!("{}@{}", of_user.split_once('@').unwrap().0, url.split_once('@').unwrap().1)
}

pub(crate) fn worker(url: &str, bus: &Bus) -> Worker<Database, Bus, Queue> {
    worker_of(connected(url), bus, &Queue::default())
}

pub(crate) fn worker_of<D: Decisions, B: EventBus + Clone>(
    decisions: D,
    bus: &B,
    queue: &Queue,
) -> Worker<D, B, Queue> {
    Worker::new(Country::Peru, delays(), decisions, bus.clone(), queue.clone(), || [7; 8])
}

pub(crate) fn delays() -> ReceiveDelays {
    let delays: ReceiveDelays = "5,30,120,300".parse().unwrap();
    assert_eq!(delays.max_receive_count(), MAX_RECEIVE_COUNT);
    delays
}

/// A queue that notes what was left: the receipt handle, and the seconds until it comes again.
#[derive(Clone, Default)]
pub(crate) struct Queue(Arc<Mutex<Vec<(String, u64)>>>);

impl Queue {
    pub(crate) fn left(&self) -> Vec<(String, u64)> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl SourceQueue for Queue {
    async fn leave(&self, messages: &[Left]) {
        for left in messages {
            assert_eq!(left.queue_arn, "arn:aws:sqs:us-east-1:000000000000:SQS_PE");
            self.0.lock().unwrap().push((left.receipt_handle.clone(), left.delay.as_secs()));
        }
    }
}

/// The appointment that the tests call `a<number>`; a larger number was asked for later.
pub(crate) fn appointment(number: u64) -> AppointmentId {
    let number = i64::try_from(number).unwrap();
    AppointmentId::new(Timestamp::from_unix_milliseconds(1_700_000_000_000 + number), [0; 10])
}

pub(crate) fn command(command: Command, appointment_number: u64, person: u32, slot: u64) -> AppointmentMessage {
    let appointment_id = appointment(appointment_number);
    let mut trace = [1; 24];
    trace[..8].copy_from_slice(&appointment_number.to_be_bytes());
    let (person, slot) = (format!("{person:05}").parse().unwrap(), slot.try_into().unwrap());
    let asked_at = "2026-11-24T09:30:00.000Z".parse().unwrap();
    let appointment = Appointment::requested(appointment_id, person, slot, Country::Peru, asked_at);
    AppointmentMessage::new(command, &appointment, TraceContext::start(trace)).unwrap()
}

pub(crate) fn request(appointment_number: u64, person: u32, slot: u64) -> AppointmentMessage {
    command(Command::Request, appointment_number, person, slot)
}

pub(crate) fn cancellation(appointment_number: u64, person: u32, slot: u64) -> AppointmentMessage {
    command(Command::Cancellation, appointment_number, person, slot)
}

/// A batch as Lambda hands it over; the messages are called `m0`, `m1` and so on.
pub(crate) fn batch(bodies: &[String], receive_count: u32) -> SqsEvent {
    let records: Vec<Value> = bodies
        .iter()
        .enumerate()
        .map(|(number, body)| {
            json!({
                "messageId": format!("m{number}"),
                "receiptHandle": format!("h{number}"),
                "body": body,
                "attributes": { "ApproximateReceiveCount": receive_count.to_string() },
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:SQS_PE",
                "awsRegion": "us-east-1",
            })
        })
        .collect();
    serde_json::from_value(json!({ "Records": records })).unwrap()
}

pub(crate) fn bodies(messages: &[AppointmentMessage]) -> Vec<String> {
    messages.iter().map(|message| serde_json::to_string(message).unwrap()).collect()
}

pub(crate) fn failures(response: &SqsBatchResponse) -> Vec<&str> {
    response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect()
}

/// A bus that keeps what it takes, and refuses the events about some appointments.
#[derive(Clone, Default)]
pub(crate) struct Bus {
    pub(crate) taken: Arc<Mutex<Vec<OutcomeEvent>>>,
    refused: Arc<Mutex<HashSet<AppointmentId>>>,
}

impl Bus {
    pub(crate) fn refusing(appointments: &[AppointmentId]) -> Self {
        let bus = Self::default();
        bus.refused.lock().unwrap().extend(appointments);
        bus
    }

    pub(crate) fn recover(&self) {
        self.refused.lock().unwrap().clear();
    }

    pub(crate) fn taken(&self) -> Vec<OutcomeEvent> {
        self.taken.lock().unwrap().clone()
    }

    /// How many events there are of each outcome and reason.
    pub(crate) fn tally(&self) -> BTreeMap<String, usize> {
        let mut tally = BTreeMap::new();
        for event in self.taken() {
            let reason = event.detail.reason.map_or(String::new(), |reason| format!(" {reason}"));
            *tally.entry(format!("{}{reason}", event.outcome.detail_type())).or_default() += 1;
        }
        tally
    }
}

impl EventBus for Bus {
    async fn put(&self, events: &[OutcomeEvent]) -> Vec<Result<(), NotAccepted>> {
        let refused = self.refused.lock().unwrap();
        let mut taken = self.taken.lock().unwrap();
        events
            .iter()
            .map(|event| {
                if refused.contains(&event.detail.appointment_id) {
                    return Err(NotAccepted { code: "ThrottlingException".to_owned() });
                }
                taken.push(event.clone());
                Ok(())
            })
            .collect()
    }
}

/// The rows of a database, in the order of their appointments: `a1 p1 s1 booked`.
pub(crate) async fn rows(url: &str) -> Vec<String> {
    let names: HashMap<String, u64> = (0..2000).map(|number| (appointment(number).to_string(), number)).collect();
    session(url)
        .await
        .fetch_all(
            "SELECT appointment_id::text, insured_id::int, schedule_id, concat_ws(' ', status, reason)
             FROM appointments ORDER BY appointment_id",
        )
        .await
        .unwrap()
        .iter()
        .map(|row| {
            let (appointment, person): (String, i32) = (row.get(0), row.get(1));
            let (slot, status): (i64, String) = (row.get(2), row.get(3));
            format!("a{} p{person} s{slot} {status}", names[&appointment])
        })
        .collect()
}

/// Puts rows as [`rows`] writes them.
pub(crate) async fn insert(url: &str, rows: &[&str]) {
    let mut connection = session(url).await;
    for row in rows {
        let words: Vec<&str> = row.split(' ').collect();
        let number = |word: &str| word[1..].parse::<u64>().unwrap();
        sqlx::query("INSERT INTO appointments VALUES ($1::text::uuid, $2, $3, $4, $5, now(), now())")
            .bind(appointment(number(words[0])).to_string())
            .bind(format!("{:05}", number(words[1])))
            .bind(i64::try_from(number(words[2])).unwrap())
            .bind(words[3])
            .bind(words.get(4))
            .execute(&mut connection)
            .await
            .unwrap();
    }
}
