//! The country worker over a real PostgreSQL: what it decides, what it reports, and what it does when a part fails.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use appointment::{Appointment, AppointmentId, Country, Timestamp, TraceContext};
use aws_http::sqs::ReceiveDelays;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use aws_sdk_eventbridge::config::{Credentials, Region};
use country_worker::{
    Answer, CountryRules, Database, DatabaseLogin, DatabasePlace, DatabaseUrl, DecideError, Decisions, EventBridge,
    EventBus, InvalidSetting, Left, MigrateError, MigrationSettings, NotAccepted, Settings, SourceQueue, Worker,
};
use local_stack::postgres::Postgres;
use messages::{AppointmentMessage, Command, Outcome, OutcomeEvent};
use serde_json::{Value, json};
use sqlx::{Executor as _, PgConnection, Row as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OnceCell;
use tracing_subscriber::layer::SubscriberExt as _;

/// How often the tests' queue delivers a message.
const MAX_RECEIVE_COUNT: u32 = 5;

/// An empty, migrated database of the one server of this process.
pub(crate) async fn database() -> String {
    let url = empty_database().await;
    migrate(&url, "worker").await.unwrap();
    url
}

static SERVER: OnceCell<Postgres> = OnceCell::const_new();

/// A database of the one server of this process, without a schema.
async fn empty_database() -> String {
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
async fn migrate(url: &str, worker: &str) -> Result<i64, MigrateError> {
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
fn connected(url: &str) -> Database {
    Database::new(DatabaseLogin::Url(as_user(url, "worker").parse().unwrap()))
}

pub(crate) fn as_user(url: &str, user: &str) -> String {
    let of_user = SERVER.get().unwrap().url_as(user, "");
    format!("{}@{}", of_user.split_once('@').unwrap().0, url.split_once('@').unwrap().1)
}

pub(crate) fn worker(url: &str, bus: &Bus) -> Worker<Database, Bus, Queue> {
    worker_of(connected(url), bus, &Queue::default())
}

fn worker_of<D: Decisions, B: EventBus + Clone>(decisions: D, bus: &B, queue: &Queue) -> Worker<D, B, Queue> {
    Worker::new(Country::Peru, delays(), decisions, bus.clone(), queue.clone(), || [7; 8])
}

fn delays() -> ReceiveDelays {
    let delays: ReceiveDelays = "5,30,120,300".parse().unwrap();
    assert_eq!(delays.max_receive_count(), MAX_RECEIVE_COUNT);
    delays
}

/// A queue that notes what was left: the receipt handle, and the seconds until it comes again.
#[derive(Clone, Default)]
pub(crate) struct Queue(Arc<Mutex<Vec<(String, u64)>>>);

impl Queue {
    fn left(&self) -> Vec<(String, u64)> {
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
async fn rows(url: &str) -> Vec<String> {
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
async fn insert(url: &str, rows: &[&str]) {
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

/// One run of the table below.
struct Case {
    name: &'static str,
    before: &'static [&'static str],
    /// `request a1 p1 s1`, `decision a1 p1 s1` or `cancel a1 p1 s1`.
    batch: &'static [&'static str],
    after: &'static [&'static str],
    /// The events, in the order of their appointments: `a1 AppointmentCompleted`.
    events: &'static [&'static str],
    /// The messages that come again.
    failures: &'static [&'static str],
}

const DECISIONS: &[Case] = &[
    Case {
        name: "a free slot is booked",
        before: &[],
        batch: &["request a1 p1 s1"],
        after: &["a1 p1 s1 booked"],
        events: &["a1 AppointmentCompleted"],
        failures: &[],
    },
    Case {
        name: "a redelivered request answers its row",
        before: &["a1 p1 s1 booked"],
        batch: &["request a1 p1 s1"],
        after: &["a1 p1 s1 booked"],
        events: &["a1 AppointmentCompleted"],
        failures: &[],
    },
    Case {
        name: "another person's slot is taken",
        before: &["a1 p1 s1 booked"],
        batch: &["request a2 p2 s1"],
        after: &["a1 p1 s1 booked", "a2 p2 s1 rejected slot_taken"],
        events: &["a2 AppointmentRejected slot_taken"],
        failures: &[],
    },
    Case {
        name: "the same person's slot is booked already",
        before: &["a1 p1 s1 booked"],
        batch: &["request a2 p1 s1"],
        after: &["a1 p1 s1 booked", "a2 p1 s1 rejected already_booked"],
        events: &["a2 AppointmentRejected already_booked"],
        failures: &[],
    },
    Case {
        name: "within a batch the earlier request wins, whatever the order of delivery",
        before: &[],
        batch: &["request a3 p3 s1", "request a2 p2 s1", "request a1 p1 s2"],
        after: &["a1 p1 s2 booked", "a2 p2 s1 booked", "a3 p3 s1 rejected slot_taken"],
        events: &["a1 AppointmentCompleted", "a2 AppointmentCompleted", "a3 AppointmentRejected slot_taken"],
        failures: &[],
    },
    Case {
        name: "a rejected request never competes again, also when the slot is free",
        before: &["a1 p1 s1 cancelled", "a2 p2 s1 rejected slot_taken"],
        batch: &["request a2 p2 s1"],
        after: &["a1 p1 s1 cancelled", "a2 p2 s1 rejected slot_taken"],
        events: &["a2 AppointmentRejected slot_taken"],
        failures: &[],
    },
    Case {
        name: "a cancellation frees the slot, and a later request books it",
        before: &["a1 p1 s1 booked"],
        batch: &["request a2 p2 s1", "cancel a1 p1 s1"],
        after: &["a1 p1 s1 cancelled", "a2 p2 s1 booked"],
        events: &["a1 AppointmentCancelled", "a2 AppointmentCompleted"],
        failures: &[],
    },
    Case {
        name: "a cancelled person may book the slot again",
        before: &["a1 p1 s1 cancelled"],
        batch: &["request a2 p1 s1"],
        after: &["a1 p1 s1 cancelled", "a2 p1 s1 booked"],
        events: &["a2 AppointmentCompleted"],
        failures: &[],
    },
    Case {
        name: "a cancellation that overtakes its request leaves a tombstone, and holds no slot",
        before: &["a2 p2 s1 booked"],
        batch: &["cancel a1 p1 s1"],
        after: &["a1 p1 s1 cancelled", "a2 p2 s1 booked"],
        events: &["a1 AppointmentCancelled"],
        failures: &[],
    },
    Case {
        name: "a request finds its tombstone",
        before: &["a1 p1 s1 cancelled"],
        batch: &["request a1 p1 s1"],
        after: &["a1 p1 s1 cancelled"],
        events: &["a1 AppointmentCancelled"],
        failures: &[],
    },
    Case {
        name: "a rejected appointment can be cancelled",
        before: &["a1 p1 s1 rejected slot_taken"],
        batch: &["cancel a1 p1 s1"],
        after: &["a1 p1 s1 cancelled"],
        events: &["a1 AppointmentCancelled"],
        failures: &[],
    },
    Case {
        name: "in one batch the cancellation wins over its request, and one event answers both",
        before: &[],
        batch: &["request a1 p1 s1", "cancel a1 p1 s1", "request a1 p1 s1"],
        after: &["a1 p1 s1 cancelled"],
        events: &["a1 AppointmentCancelled"],
        failures: &[],
    },
    Case {
        name: "the decision that stands is said again",
        before: &["a1 p1 s1 booked", "a2 p2 s1 rejected slot_taken", "a3 p3 s3 cancelled"],
        batch: &["decision a1 p1 s1", "decision a2 p2 s1", "decision a3 p3 s3"],
        after: &["a1 p1 s1 booked", "a2 p2 s1 rejected slot_taken", "a3 p3 s3 cancelled"],
        events: &["a1 AppointmentCompleted", "a2 AppointmentRejected slot_taken", "a3 AppointmentCancelled"],
        failures: &[],
    },
    Case {
        name: "who asks for a decision that was never made gets a refusal, and no slot, also where it is free",
        before: &["a2 p2 s2 booked"],
        batch: &["decision a1 p1 s1", "decision a3 p3 s2"],
        after: &["a1 p1 s1 rejected not_processed", "a2 p2 s2 booked", "a3 p3 s2 rejected not_processed"],
        events: &["a1 AppointmentRejected not_processed", "a3 AppointmentRejected not_processed"],
        failures: &[],
    },
    Case {
        name: "a request that comes after the refusal is not booked any more",
        before: &["a1 p1 s1 rejected not_processed"],
        batch: &["request a1 p1 s1"],
        after: &["a1 p1 s1 rejected not_processed"],
        events: &["a1 AppointmentRejected not_processed"],
        failures: &[],
    },
    Case {
        name: "in one batch the question for the decision wins over the request, whatever the order",
        before: &[],
        batch: &["request a1 p1 s1", "decision a1 p1 s1", "decision a2 p2 s2", "request a2 p2 s2"],
        after: &["a1 p1 s1 rejected not_processed", "a2 p2 s2 rejected not_processed"],
        events: &["a1 AppointmentRejected not_processed", "a2 AppointmentRejected not_processed"],
        failures: &[],
    },
    Case {
        name: "in one batch the cancellation wins over the question for the decision too",
        before: &["a2 p2 s2 booked"],
        batch: &["decision a1 p1 s1", "cancel a1 p1 s1", "request a1 p1 s1", "cancel a2 p2 s2", "decision a2 p2 s2"],
        after: &["a1 p1 s1 cancelled", "a2 p2 s2 cancelled"],
        events: &["a1 AppointmentCancelled", "a2 AppointmentCancelled"],
        failures: &[],
    },
    Case {
        name: "a row of another person or slot is no answer: both commands come again",
        before: &["a1 p1 s1 booked", "a2 p2 s2 booked"],
        batch: &["request a1 p9 s1", "cancel a2 p2 s9", "request a3 p3 s3"],
        after: &["a1 p1 s1 booked", "a2 p2 s2 booked", "a3 p3 s3 booked"],
        events: &["a3 AppointmentCompleted"],
        failures: &["m0", "m1"],
    },
    Case {
        name: "of two messages that contradict each other the second comes again",
        before: &[],
        batch: &["request a1 p1 s1", "request a1 p2 s1"],
        after: &["a1 p1 s1 booked"],
        events: &["a1 AppointmentCompleted"],
        failures: &["m1"],
    },
];

#[tokio::test]
async fn a_batch_is_decided_by_what_the_database_holds() {
    let names: HashMap<AppointmentId, u64> = (0..10).map(|number| (appointment(number), number)).collect();
    for case in DECISIONS {
        let url = database().await;
        insert(&url, case.before).await;
        let messages: Vec<AppointmentMessage> = case
            .batch
            .iter()
            .map(|text| {
                let words: Vec<&str> = text.split(' ').collect();
                let number = |word: &str| word[1..].parse().unwrap();
                let name = match words[0] {
                    "cancel" => Command::Cancellation,
                    "decision" => Command::Decision,
                    _ => Command::Request,
                };
                command(name, number(words[1]), u32::try_from(number(words[2])).unwrap(), number(words[3]))
            })
            .collect();
        let bus = Bus::default();
        let worker = worker(&url, &bus);
        // A second delivery of the same batch changes nothing and says the same.
        for delivery in 1..=2 {
            let response = worker.process(batch(&bodies(&messages), delivery)).await.unwrap();
            let mut events = std::mem::take(&mut *bus.taken.lock().unwrap());
            events.sort_by_key(|event| event.detail.appointment_id);
            let events: Vec<String> = events
                .iter()
                .map(|event| {
                    let reason = event.detail.reason.map_or(String::new(), |reason| format!(" {reason}"));
                    format!("a{} {}{reason}", names[&event.detail.appointment_id], event.outcome.detail_type())
                })
                .collect();
            assert_eq!(events, case.events, "{}, delivery {delivery}: events", case.name);
            assert_eq!(failures(&response), case.failures, "{}, delivery {delivery}: failures", case.name);
            assert_eq!(rows(&url).await, case.after, "{}, delivery {delivery}: rows", case.name);
        }
    }
}

#[tokio::test]
async fn an_event_answers_its_command_and_keeps_its_id_when_it_is_sent_again() {
    let url = database().await;
    let bus = Bus::default();
    let worker = worker(&url, &bus);
    let message = request(1, 123, 100);
    for delivery in 1..=2 {
        worker.process(batch(&bodies(std::slice::from_ref(&message)), delivery)).await.unwrap();
    }
    let [first, second] = <[OutcomeEvent; 2]>::try_from(bus.taken()).unwrap();
    assert_eq!(first, second, "a resend is the same event, the instant of the decision included");
    let detail = first.detail;
    assert_eq!(detail.event_id, OutcomeEvent::event_id(message.appointment_id, Outcome::Completed, Command::Request));
    assert_eq!(
        (detail.appointment_id, detail.insured_id, detail.schedule_id, detail.command),
        (message.appointment_id, message.insured_id, message.schedule_id, Command::Request)
    );
    assert_eq!(detail.traceparent.trace_id(), message.traceparent.trace_id(), "the trace goes on");
    assert_eq!(detail.traceparent, message.traceparent.child([7; 8]), "with a span of its own");
}

#[tokio::test]
async fn the_answer_to_a_question_for_a_decision_names_it_and_keeps_its_id() {
    let url = database().await;
    insert(&url, &["a1 p1 s1 booked"]).await;
    let bus = Bus::default();
    let worker = worker(&url, &bus);
    for (number, outcome) in [(1, Outcome::Completed), (2, Outcome::Rejected)] {
        let message = command(Command::Decision, number, u32::try_from(number).unwrap(), number);
        for delivery in 1..=2 {
            let response = worker.process(batch(&bodies(std::slice::from_ref(&message)), delivery)).await.unwrap();
            assert_eq!(failures(&response), [""; 0]);
        }
        let [first, second] = <[OutcomeEvent; 2]>::try_from(std::mem::take(&mut *bus.taken.lock().unwrap())).unwrap();
        assert_eq!(first, second);
        assert_eq!((first.outcome, first.detail.command), (outcome, Command::Decision));
        let id = OutcomeEvent::event_id(message.appointment_id, outcome, Command::Decision);
        assert_eq!(first.detail.event_id, id);
    }
}

/// The test of the one thing this system must never get wrong.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_people_ask_for_one_slot_at_once_and_one_gets_it() {
    let url = database().await;
    let bus = Bus::default();
    let messages: Vec<AppointmentMessage> = (1..=20).map(|person| request(u64::from(person), person, 100)).collect();

    let at_once = messages.iter().map(|message| {
        let (worker, event) = (worker(&url, &bus), batch(&bodies(std::slice::from_ref(message)), 1));
        tokio::spawn(async move { worker.process(event).await.unwrap() })
    });
    for response in futures::future::join_all(at_once).await {
        assert_eq!(failures(&response.unwrap()), [""; 0]);
    }
    let expected =
        BTreeMap::from([("AppointmentCompleted".to_owned(), 1), ("AppointmentRejected slot_taken".to_owned(), 19)]);
    assert_eq!(bus.tally(), expected);
    let first_rows = rows(&url).await;
    assert_eq!(first_rows.len(), 20);
    assert_eq!(first_rows.iter().filter(|row| row.ends_with("booked")).count(), 1);

    // The same batch in eight connections at once, with the messages in another order in each.
    let sort = |bus: &Bus| {
        let mut events = bus.taken();
        events.sort_by_key(|event| event.detail.appointment_id);
        events
    };
    let first_events = sort(&bus);
    let again = (0..8).map(|rotation| {
        let mut turned = messages.clone();
        turned.rotate_left(rotation * 2);
        let bus = Bus::default();
        let (worker, event) = (worker(&url, &bus), batch(&bodies(&turned), 2));
        tokio::spawn(async move {
            let response = worker.process(event).await.unwrap();
            assert_eq!(failures(&response), [""; 0]);
            bus
        })
    });
    for bus in futures::future::join_all(again).await {
        assert_eq!(sort(&bus.unwrap()), first_events, "every delivery says the same");
    }
    assert_eq!(rows(&url).await, first_rows);

    // The winner's row is cancelled by hand: its slot is free, and yet no loser's redelivery books it.
    session(&url).await.execute("UPDATE appointments SET status = 'cancelled' WHERE status = 'booked'").await.unwrap();
    let bus = Bus::default();
    worker(&url, &bus).process(batch(&bodies(&messages), 3)).await.unwrap();
    let expected =
        BTreeMap::from([("AppointmentCancelled".to_owned(), 1), ("AppointmentRejected slot_taken".to_owned(), 19)]);
    assert_eq!(bus.tally(), expected);
}

/// Eight connections deliver random overlapping batches of requests and cancellations, straight to `decide`, so that no
/// retry hides a deadlock.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_batches_never_deadlock_and_always_agree() {
    const APPOINTMENTS: u64 = 60;
    const SLOTS: u64 = 4;
    const ROUNDS: usize = 150;
    // Half of the connections are workers of the version before.
    const AS_BEFORE: &str = "SELECT appointment_id::text, outcome, reason
        FROM decide($1::text[]::uuid[], $2, $3, $4, array_fill(now(), ARRAY[cardinality($2)]))";
    const BY_JSON: &str = "SELECT appointment_id::text, outcome, reason FROM decide($1::text::jsonb)";
    let url = database().await;
    let deliver = |seed: u64| {
        let url = url.clone();
        async move {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut connection = session(&url).await;
            let mut answers = Vec::new();
            for _ in 0..ROUNDS {
                let numbers = random.choose_multiple(1..=APPOINTMENTS, 8);
                // A third of the appointments is cancelled now and then.
                let cancels = |number: u64, random: &mut fastrand::Rng| number.is_multiple_of(3) && random.u8(..8) == 0;
                let commands: Vec<&str> =
                    numbers.iter().map(|n| if cancels(*n, &mut random) { "cancel" } else { "request" }).collect();
                let decided = match seed % 2 {
                    0 => sqlx::query(AS_BEFORE)
                        .bind(numbers.iter().map(|n| appointment(*n).to_string()).collect::<Vec<_>>())
                        .bind(numbers.iter().map(|n| format!("{n:05}")).collect::<Vec<_>>())
                        .bind(numbers.iter().map(|n| i64::try_from(n % SLOTS + 1).unwrap()).collect::<Vec<_>>())
                        .bind(&commands),
                    _ => {
                        let messages = numbers.iter().zip(&commands).map(|(number, name)| {
                            let kind = match *name {
                                "cancel" => Command::Cancellation,
                                // Now and then somebody asks for the decision before, or while, it is made.
                                _ if random.u8(..8) == 0 => Command::Decision,
                                _ => Command::Request,
                            };
                            command(kind, *number, u32::try_from(*number).unwrap(), number % SLOTS + 1)
                        });
                        let messages: Vec<AppointmentMessage> = messages.collect();
                        sqlx::query(BY_JSON).bind(serde_json::to_string(&messages).unwrap())
                    }
                }
                .fetch_all(&mut connection)
                .await
                .expect("no deadlock, no conflict");
                for row in decided {
                    let (appointment, outcome): (String, String) = (row.get(0), row.get(1));
                    answers.push((appointment, outcome, row.get::<Option<String>, _>(2)));
                }
            }
            answers
        }
    };
    let deliveries: Vec<_> = (0..8).map(|seed| tokio::spawn(deliver(seed))).collect();
    let mut decisions: HashMap<String, HashSet<(String, Option<String>)>> = HashMap::new();
    for answers in futures::future::join_all(deliveries).await {
        for (appointment, outcome, reason) in answers.unwrap() {
            assert_ne!(outcome, "unclassified");
            if outcome != "cancelled" {
                decisions.entry(appointment).or_default().insert((outcome, reason));
            }
        }
    }
    for (appointment, answers) in &decisions {
        assert_eq!(answers.len(), 1, "the first decision for {appointment} stands, not {answers:?}");
    }
    let rows = rows(&url).await;
    assert_eq!(rows.len(), usize::try_from(APPOINTMENTS).unwrap());
    for slot in 1..=SLOTS {
        let booked = rows.iter().filter(|row| row.ends_with(&format!("s{slot} booked"))).count();
        assert!(booked <= 1, "slot {slot} is booked {booked} times");
    }
    assert!(rows.iter().any(|row| row.ends_with("cancelled")), "the mix held cancellations");
    assert!(decisions.values().flatten().any(|(_, reason)| reason.as_deref() == Some("slot_taken")));
}

#[tokio::test]
async fn a_competitor_that_rolls_back_leaves_the_slot_to_the_one_who_waited() {
    let url = database().await;
    let mut competitor = session(&url).await;
    competitor.execute("BEGIN").await.unwrap();
    let decide = format!(
        "SELECT outcome FROM decide(ARRAY['{}']::uuid[], ARRAY['00001'], ARRAY[100], ARRAY['request'], ARRAY[now()])",
        appointment(1)
    );
    let outcome: String = sqlx::query_scalar(sqlx::AssertSqlSafe(decide)).fetch_one(&mut competitor).await.unwrap();
    assert_eq!(outcome, "booked");

    let bus = Bus::default();
    let (worker, event) = (worker(&url, &bus), batch(&bodies(&[request(2, 2, 100)]), 1));
    let waiting = tokio::spawn(async move { worker.process(event).await.unwrap() });
    let mut watch = session(&url).await;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'country-worker'
                 AND datname = current_database() AND wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut watch).await.unwrap() == 0 {
        assert!(!waiting.is_finished(), "it decides while the slot is somebody's who has not committed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    competitor.execute("ROLLBACK").await.unwrap();
    assert_eq!(failures(&waiting.await.unwrap()), [""; 0]);
    assert_eq!(rows(&url).await, ["a2 p2 s100 booked"]);
}

#[tokio::test]
async fn messages_that_are_no_commands_fail_alone() {
    let good: Vec<AppointmentMessage> = (1..10).map(|n| request(n, 1, n)).collect();
    let changed = |field: &str, value: Value| {
        let mut body = serde_json::to_value(request(50, 1, 50)).unwrap();
        body[field] = value;
        body.to_string()
    };
    let table = [
        ("no JSON", "{\"version\":1,".to_owned()),
        ("empty", String::new()),
        ("another document", "[1, 2]".to_owned()),
        ("a later version", changed("version", json!(2))),
        ("an unknown command", changed("type", json!("appointment.moved"))),
        ("an insured id of six digits", changed("insuredId", json!("123456"))),
        ("no slot", changed("scheduleId", Value::Null)),
        ("Chile's", changed("countryISO", json!("CL"))),
    ];
    for (name, body) in table {
        let url = database().await;
        let bus = Bus::default();
        let mut all = bodies(&good);
        all.insert(4, body);
        // Even delivered for the last time it is nobody's appointment, and nothing is reported about it.
        let response = worker(&url, &bus).process(batch(&all, MAX_RECEIVE_COUNT)).await.unwrap();
        assert_eq!(failures(&response), ["m4"], "{name}");
        assert_eq!(rows(&url).await.len(), 9, "{name}");
        assert_eq!(bus.tally(), BTreeMap::from([("AppointmentCompleted".to_owned(), 9)]), "{name}");
    }
}

#[tokio::test]
async fn a_panic_about_one_message_does_not_take_the_batch_along() {
    let url = database().await;
    let bus = Bus::default();
    let drawn = AtomicU64::new(0);
    let span_ids = move || {
        assert_ne!(drawn.fetch_add(1, Ordering::Relaxed), 4, "the fifth span id cannot be drawn");
        [7; 8]
    };
    let worker = Worker::new(Country::Peru, delays(), connected(&url), bus.clone(), Queue::default(), span_ids);
    let messages: Vec<AppointmentMessage> = (0..10).map(|n| request(n, 1, n + 1)).collect();

    let response = worker.process(batch(&bodies(&messages), 1)).await.unwrap();
    assert_eq!(failures(&response), ["m4"]);
    assert_eq!(bus.taken().len(), 9);
    assert_eq!(rows(&url).await.len(), 10, "it was decided before");

    let response = worker.process(batch(&bodies(&messages[4..5]), 2)).await.unwrap();
    assert_eq!(failures(&response), [""; 0]);
    assert_eq!(bus.taken().last().unwrap().detail.appointment_id, appointment(4));
}

#[tokio::test]
async fn a_refused_event_comes_again_and_the_others_do_not() {
    let url = database().await;
    let bus = Bus::refusing(&[appointment(2), appointment(3)]);
    let worker = worker(&url, &bus);
    let messages: Vec<AppointmentMessage> = (1..=5).map(|n| request(n, 1, n)).collect();
    let response = worker.process(batch(&bodies(&messages), 1)).await.unwrap();
    assert_eq!(failures(&response), ["m1", "m2"]);
    assert_eq!(bus.taken().len(), 3);

    bus.recover();
    let response = worker.process(batch(&bodies(&messages[1..3]), 2)).await.unwrap();
    assert_eq!(failures(&response), [""; 0]);
    assert_eq!(bus.tally(), BTreeMap::from([("AppointmentCompleted".to_owned(), 5)]));
    assert_eq!(rows(&url).await.len(), 5);
}

#[tokio::test]
async fn a_database_that_is_down_returns_the_whole_batch_and_nothing_is_said_that_may_be_untrue() {
    // Bound, so that nobody else gets the port, and closed: connections are refused.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://nobody:secret@127.0.0.1:{}/nowhere", listener.local_addr().unwrap().port());
    drop(listener);
    let messages = [request(1, 1, 1), cancellation(2, 2, 2), request(2, 2, 2)];
    for delivery in [MAX_RECEIVE_COUNT - 1, MAX_RECEIVE_COUNT] {
        let bus = Bus::default();
        let response = worker(&url, &bus).process(batch(&bodies(&messages), delivery)).await.unwrap();
        assert_eq!(failures(&response), ["m0", "m1", "m2"], "delivery {delivery}");
        // An earlier delivery may have been decided, and its answer lost. What was not is asked for by the republisher.
        assert_eq!(bus.taken(), [], "delivery {delivery}");
    }
}

/// Relays one connection to `server` until `lose` is set: then the next question gets there, its answer does not get back,
/// and nobody can connect any more.
async fn losing_relay(server: String, lose: Arc<AtomicBool>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(server).await.unwrap();
        let (mut question, mut answer) = ([0; 65536], [0; 65536]);
        let mut lost = false;
        loop {
            tokio::select! {
                read = client.read(&mut question) => {
                    let Ok(length @ 1..) = read else { return };
                    lost = lose.load(Ordering::SeqCst);
                    server.write_all(&question[..length]).await.unwrap();
                }
                read = server.read(&mut answer) => {
                    let Ok(length @ 1..) = read else { return };
                    if lost {
                        return;
                    }
                    client.write_all(&answer[..length]).await.unwrap();
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn a_decision_whose_answer_is_lost_on_the_last_delivery_is_not_reported_as_failed() {
    let url = database().await;
    let server: String = url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
    let lose = Arc::new(AtomicBool::new(false));
    let relay = losing_relay(server.clone(), Arc::clone(&lose)).await;
    let bus = Bus::default();
    let through_relay = worker(&url.replace(&server, &relay.to_string()), &bus);
    // The connection is open, and the statement prepared.
    through_relay.process(batch(&bodies(&[request(1, 1, 1)]), 1)).await.unwrap();
    lose.store(true, Ordering::SeqCst);
    let messages = [request(2, 2, 2), cancellation(3, 3, 3)];
    let response = through_relay.process(batch(&bodies(&messages), MAX_RECEIVE_COUNT)).await.unwrap();
    assert_eq!(failures(&response), ["m0", "m1"]);
    assert_eq!(rows(&url).await, ["a1 p1 s1 booked", "a2 p2 s2 booked", "a3 p3 s3 cancelled"], "it was committed");
    assert_eq!(bus.tally(), BTreeMap::from([("AppointmentCompleted".to_owned(), 1)]), "the first one's alone");

    // After a redrive the decisions are reported.
    let bus = Bus::default();
    let response = worker(&url, &bus).process(batch(&bodies(&messages), 1)).await.unwrap();
    assert_eq!(failures(&response), [""; 0]);
    let expected = [("AppointmentCancelled".to_owned(), 1), ("AppointmentCompleted".to_owned(), 1)];
    assert_eq!(bus.tally(), BTreeMap::from(expected));
}

#[tokio::test]
async fn a_command_that_the_database_refuses_fails_alone_and_is_reported_on_the_last_delivery() {
    let url = database().await;
    insert(&url, &["a1 p1 s13 booked"]).await;
    let refuse = "ALTER TABLE appointments ADD CONSTRAINT refused CHECK (schedule_id <> 13) NOT VALID";
    session(&url).await.execute(refuse).await.unwrap();
    // a1 has its row already, which answers; a2 can never have one; a3 has nothing to do with it.
    let messages = [request(1, 1, 13), request(2, 2, 13), request(3, 3, 3), command(Command::Decision, 4, 4, 13)];
    for (delivery, failed) in [(1, None), (MAX_RECEIVE_COUNT, Some(("AppointmentFailed processing_failed", 1)))] {
        let bus = Bus::default();
        let response = worker(&url, &bus).process(batch(&bodies(&messages), delivery)).await.unwrap();
        assert_eq!(failures(&response), ["m1", "m3"], "delivery {delivery}");
        // Of a4 the person knows already that it failed.
        let expected = [("AppointmentCompleted", 2)].into_iter().chain(failed);
        let expected = expected.map(|(event, count)| (event.to_owned(), count)).collect();
        assert_eq!(bus.tally(), expected, "delivery {delivery}");
        assert_eq!(rows(&url).await, ["a1 p1 s13 booked", "a3 p3 s3 booked"], "delivery {delivery}");
    }
}

/// The lines that this thread logs: level and message.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(tracing::Level, String)>>>);

impl Lines {
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        tracing::subscriber::set_default(tracing_subscriber::registry().with(self.clone()))
    }

    fn errors(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|(level, _)| *level == tracing::Level::ERROR).map(|(_, text)| text.clone()).collect()
    }
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!("{}={value:?} ", field.name()));
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push((*event.metadata().level(), text.0));
    }
}

/// A later version wrote to the database, and then this one was rolled back to.
#[tokio::test]
async fn a_decision_of_a_later_version_comes_again_with_an_alarm_and_touches_no_other() {
    for later in ["status = 'moved', reason = NULL", "status = 'rejected', reason = 'slot_flooded'"] {
        let url = database().await;
        insert(&url, &["a1 p1 s1 booked"]).await;
        let mut owner = session(&url).await;
        owner.execute("ALTER TABLE appointments DROP CONSTRAINT appointments_sound").await.unwrap();
        owner.execute(sqlx::AssertSqlSafe(format!("UPDATE appointments SET {later}"))).await.unwrap();
        let before = rows(&url).await;
        let messages = [request(1, 1, 1), request(2, 2, 2), command(Command::Decision, 3, 3, 3)];
        for delivery in [1, MAX_RECEIVE_COUNT] {
            let (bus, lines) = (Bus::default(), Lines::default());
            let listening = lines.listen();
            let response = worker(&url, &bus).process(batch(&bodies(&messages), delivery)).await.unwrap();
            drop(listening);
            assert_eq!(failures(&response), ["m0"], "{later}, delivery {delivery}");
            let expected = ["AppointmentCompleted", "AppointmentRejected not_processed"];
            assert_eq!(bus.tally(), expected.map(|event| (event.to_owned(), 1)).into(), "{later}, delivery {delivery}");
            let [error] = <[String; 1]>::try_from(lines.errors()).unwrap();
            assert!(error.contains("unknown_decision") && error.contains(&appointment(1).to_string()), "{error}");
        }
        let after = rows(&url).await;
        assert_eq!(
            (&after[..1], &after[1..]),
            (&before[..], &["a2 p2 s2 booked".to_owned(), "a3 p3 s3 rejected not_processed".to_owned()][..])
        );
    }
}

#[tokio::test]
async fn a_message_of_a_later_version_is_read_where_it_can_be_and_else_fails_alone_with_an_alarm() {
    let changed = |number: u64, member: &str, value: Value| {
        let mut body = serde_json::to_value(request(number, 1, number)).unwrap();
        body[member] = value;
        body.to_string()
    };
    let url = database().await;
    let (bus, lines) = (Bus::default(), Lines::default());
    let bodies = [
        changed(1, "channel", json!({"name": "app"})),
        changed(2, "type", json!("appointment.waiting_requested")),
        changed(3, "version", json!(2)),
        changed(4, "scheduleId", json!("4")),
        changed(5, "priority", json!(null)),
    ];
    let listening = lines.listen();
    let response = worker(&url, &bus).process(batch(&bodies, MAX_RECEIVE_COUNT)).await.unwrap();
    drop(listening);
    assert_eq!(failures(&response), ["m1", "m2", "m3"]);
    assert_eq!(rows(&url).await, ["a1 p1 s1 booked", "a5 p1 s5 booked"]);
    assert_eq!(bus.tally(), BTreeMap::from([("AppointmentCompleted".to_owned(), 2)]));
    let errors = lines.errors();
    for (error, kind) in errors.iter().zip(["unknown_type", "unsupported_version", "not_a_command"]) {
        assert!(error.contains(kind) && !error.contains("00001"), "{kind}: {error}");
    }
    assert_eq!(errors.len(), 3, "{errors:?}");
}

/// What was erased stays so, whoever asks, and nobody hears of it; the person's new bookings are like anybody's.
#[tokio::test]
async fn an_erased_appointment_is_never_booked_again() {
    let url = database().await;
    let erase = "INSERT INTO erased_appointments VALUES ($1::text::uuid, now() + interval '18 days')";
    for number in 1..=3 {
        let mut owner = session(&url).await;
        sqlx::query(erase).bind(appointment(number).to_string()).execute(&mut owner).await.unwrap();
    }
    let bus = Bus::default();
    let messages = [
        request(1, 1, 1),
        cancellation(2, 1, 2),
        command(Command::Decision, 3, 1, 3),
        request(4, 1, 1),
        request(5, 2, 2),
    ];
    for delivery in [1, MAX_RECEIVE_COUNT] {
        let response = worker(&url, &bus).process(batch(&bodies(&messages), delivery)).await.unwrap();
        assert_eq!(failures(&response), [""; 0], "delivery {delivery}");
        assert_eq!(rows(&url).await, ["a4 p1 s1 booked", "a5 p2 s2 booked"], "delivery {delivery}");
    }
    assert_eq!(bus.tally(), BTreeMap::from([("AppointmentCompleted".to_owned(), 4)]));

    // A worker of the version before cancels what is not there, and books nothing either.
    let before = format!(
        "SELECT outcome, decided_at IS NOT NULL FROM decide(ARRAY['{}']::uuid[], ARRAY['00001'], ARRAY[9], ARRAY['request'], ARRAY[now()])",
        appointment(1)
    );
    let answer = session(&url).await.fetch_one(sqlx::AssertSqlSafe(before)).await.unwrap();
    assert_eq!((answer.get::<String, _>(0).as_str(), answer.get::<bool, _>(1)), ("cancelled", true));
    assert_eq!(rows(&url).await, ["a4 p1 s1 booked", "a5 p2 s2 booked"]);
}

/// The migrations of this repository up to a version, as a binary that was built then knows them.
async fn migrate_to(url: &str, version: i64) {
    let folder = tests::workspace().join("native-workers/country-worker/migrations");
    let all = sqlx::migrate::Migrator::new(folder.as_path()).await.unwrap();
    let known = all.iter().filter(|migration| migration.version <= version).cloned().collect();
    sqlx::migrate::Migrator::with_migrations(known).run(&mut session(url).await).await.unwrap();
}

/// What `docs/deploy.md` promises of a rollback: the schema stays, and the binary of the version before goes on.
#[tokio::test]
async fn an_older_binary_works_on_a_newer_schema() {
    let url = database().await;
    let mut owner = session(&url).await;
    owner
        .execute(
            "ALTER TABLE appointments ADD COLUMN waited_since timestamptz;
             ALTER FUNCTION decide(jsonb) RENAME TO decide_before;
             CREATE FUNCTION decide(commands jsonb)
                 RETURNS TABLE (appointment_id uuid, outcome text, reason text, decided_at timestamptz, command_id uuid,
                                schedule_id bigint, replaced_by uuid, slot json, holds jsonb)
                 LANGUAGE sql SECURITY DEFINER AS $$ SELECT *, '[]'::jsonb FROM public.decide_before(commands) $$;
             INSERT INTO _sqlx_migrations VALUES (9999, 'later', now(), true, '\\x00', 0)",
        )
        .await
        .unwrap();
    assert_eq!(migrate(&url, "worker").await.unwrap(), 9999, "the migration of this version finds nothing to do");
    let bus = Bus::default();
    let response = worker(&url, &bus).process(batch(&bodies(&[request(1, 1, 1)]), 1)).await.unwrap();
    assert_eq!(failures(&response), [""; 0]);
    assert_eq!(bus.tally(), BTreeMap::from([("AppointmentCompleted".to_owned(), 1)]));
}

/// Workers of the versions before serve before, while and after the schema is migrated, with the rights that they had.
#[tokio::test]
async fn a_worker_of_the_version_before_serves_while_the_schema_is_migrated() {
    const BY_ARRAYS: &str = "SELECT outcome FROM decide($1::text[]::uuid[], ARRAY['00002'], ARRAY[1::bigint], ARRAY['request'], ARRAY[now()])";
    const BY_JSON: &str = "SELECT outcome FROM (SELECT appointment_id, outcome, reason, decided_at FROM public.decide($1::text::jsonb)) AS d";
    let user = format!("worker_before_{}", std::process::id());
    for (version, statement) in [(2, BY_ARRAYS), (3, BY_JSON)] {
        let url = empty_database().await;
        migrate_to(&url, version).await;
        insert(&url, &["a1 p1 s1 booked"]).await;
        // As a migration of that version created it.
        let signature =
            if version == 2 { "decide(uuid[], text[], bigint[], text[], timestamptz[])" } else { "decide(jsonb)" };
        SERVER.get().unwrap().let_in(&format!("{user}_{version}")).await.unwrap();
        let grant = format!("GRANT EXECUTE ON FUNCTION {signature} TO {user}_{version}");
        session(&url).await.execute(sqlx::AssertSqlSafe(grant)).await.unwrap();
        let mut worker = session(&as_user(&url, &format!("{user}_{version}"))).await;
        let mut decide = async |number: u64| -> String {
            let query = sqlx::query_scalar(statement);
            let query = match version {
                2 => query.bind(vec![appointment(number).to_string()]),
                _ => query.bind(serde_json::to_string(&[request(number, 2, 1)]).unwrap()),
            };
            query.fetch_one(&mut worker).await.unwrap()
        };
        assert_eq!(decide(2).await, "rejected");
        // The migrations alone: the rights of this version's user are granted after them.
        migrate_to(&url, i64::MAX).await;
        assert_eq!(decide(3).await, "rejected");
        assert_eq!(decide(2).await, "rejected", "what was decided before is said again");
        let expected = ["a1 p1 s1 booked", "a2 p2 s1 rejected slot_taken", "a3 p2 s1 rejected slot_taken"];
        assert_eq!(rows(&url).await, expected);
        assert!(migrate(&url, "worker").await.unwrap() >= 4);
    }
}

#[tokio::test]
async fn a_migration_does_not_hold_up_the_worker_behind_a_lock_that_it_cannot_get() {
    let url = empty_database().await;
    migrate_to(&url, 2).await;
    let mut reader = session(&url).await;
    reader.execute("BEGIN; LOCK TABLE appointments IN ACCESS SHARE MODE").await.unwrap();
    let failed = migrate(&url, "worker").await.expect_err("the table is in use");
    let text = std::iter::successors(Some(&failed as &dyn std::error::Error), |error| error.source());
    let text: Vec<String> = text.map(ToString::to_string).collect();
    assert!(text.concat().contains("lock timeout"), "{text:?}");
    // The old schema serves on, and the next try finds nothing half done.
    let decide = "SELECT count(*) FROM decide('{}', '{}', '{}', '{}', '{}')";
    sqlx::query_scalar::<_, i64>(decide).fetch_one(&mut session(&url).await).await.unwrap();
    reader.execute("ROLLBACK").await.unwrap();
    assert!(migrate(&url, "worker").await.unwrap() >= 3);
}

#[tokio::test]
async fn a_terminated_connection_is_replaced_and_the_batch_succeeds() {
    let url = database().await;
    let bus = Bus::default();
    let worker = worker(&url, &bus);
    let deliver = async |number: u64| {
        let response = worker.process(batch(&bodies(&[request(number, 1, number)]), 1)).await.unwrap();
        assert_eq!(failures(&response), [""; 0]);
    };
    deliver(1).await;
    // One connection per execution environment. On a busy machine one that was given up may be there a little longer.
    let mut observer = session(&url).await;
    let started = std::time::Instant::now();
    loop {
        let connections: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
             WHERE application_name = 'country-worker' AND datname = current_database()",
        )
        .fetch_one(&mut observer)
        .await
        .unwrap();
        if connections == 1 {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{connections} connections of one execution environment");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let terminated: i64 = sqlx::query_scalar(
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
         WHERE application_name = 'country-worker' AND datname = current_database()",
    )
    .fetch_one(&mut observer)
    .await
    .unwrap();
    assert_eq!(terminated, 1);
    deliver(2).await;
    assert_eq!(rows(&url).await, ["a1 p1 s1 booked", "a2 p1 s2 booked"]);
}

/// A database whose batches fail, as one that finds a deadlock would.
struct Failing;

impl Decisions for Failing {
    async fn decide(&self, _: &[&AppointmentMessage]) -> Result<HashMap<AppointmentId, Answer>, DecideError> {
        Err(DecideError::TimedOut)
    }
}

/// Seconds first, minutes later; what cannot be read goes fast to the dead-letter queue; the last receive waits for nothing.
#[tokio::test]
async fn what_is_left_comes_again_by_its_receive_count() {
    let poison = "{}".to_owned();
    let (bus, queue) = (Bus::refusing(&[appointment(2)]), Queue::default());
    let url = database().await;
    let handles = |left: &[(&str, u64)]| left.iter().map(|(h, s)| ((*h).to_owned(), *s)).collect::<Vec<_>>();
    for (delivery, delay, poisoned) in [(1, 5, 5), (2, 30, 5), (3, 120, 5), (4, 300, 5), (5, 0, 0), (6, 0, 0)] {
        let mut all = bodies(&[request(1, 1, 1), request(2, 2, 2)]);
        all.push(poison.clone());
        worker_of(connected(&url), &bus, &queue).process(batch(&all, delivery)).await.unwrap();
        assert_eq!(queue.left(), handles(&[("h1", delay), ("h2", poisoned)]), "delivery {delivery}");
        worker_of(Failing, &bus, &queue).process(batch(&all, delivery)).await.unwrap();
        assert_eq!(queue.left(), handles(&[("h0", delay), ("h1", delay), ("h2", poisoned)]), "delivery {delivery}");
    }
}

#[tokio::test]
async fn a_failure_without_an_id_fails_the_invocation_and_is_never_an_empty_identifier() {
    for id in [json!(null), json!("")] {
        let mut event = serde_json::to_value(batch(&bodies(&[request(1, 1, 1), request(2, 2, 2)]), 1)).unwrap();
        event["Records"][1]["messageId"] = id;
        let event: SqsEvent = serde_json::from_value(event).unwrap();
        let queue = Queue::default();
        let worker = worker_of(Failing, &Bus::default(), &queue);
        worker.process(event).await.expect_err("the whole batch has to come again");
        assert_eq!(queue.left(), [("h0".to_owned(), 5), ("h1".to_owned(), 5)], "soon");
    }
}

#[tokio::test]
async fn a_statement_without_read_committed_is_refused() {
    let url = database().await;
    let mut connection = session(&url).await;
    for call in ["decide('[]')", "decide('{}', '{}', '{}', '{}', '{}')"] {
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
        let refused = connection.execute(sqlx::AssertSqlSafe(format!("SELECT * FROM {call}"))).await.expect_err(call);
        assert!(refused.to_string().contains("READ COMMITTED"), "{call}: {refused}");
        connection.execute("ROLLBACK").await.unwrap();
    }
}

#[tokio::test]
async fn the_worker_s_database_user_may_decide_and_nothing_else() {
    let url = database().await;
    let stranger = format!("stranger_{}", std::process::id());
    SERVER.get().unwrap().let_in(&stranger).await.unwrap();
    let refused = operator::database::connect(&as_user(&url, &stranger)).await.expect_err("nobody else may connect");
    assert!(format!("{refused:#}").contains("permission denied for database"), "{refused:#}");

    // Once more changes nothing, and takes nothing away.
    migrate(&url, "worker").await.unwrap();
    let mut worker = session(&as_user(&url, "worker")).await;
    let decide = format!(
        "SELECT outcome FROM public.decide(ARRAY['{}']::uuid[], ARRAY['00001'], ARRAY[1], ARRAY['request'], ARRAY[now()])",
        appointment(1)
    );
    let outcome: String = sqlx::query_scalar(sqlx::AssertSqlSafe(decide)).fetch_one(&mut worker).await.unwrap();
    assert_eq!(outcome, "booked");
    let by_json = "SELECT outcome FROM public.decide($1::text::jsonb)";
    let commands = serde_json::to_string(&[request(1, 1, 1)]).unwrap();
    let outcome: String = sqlx::query_scalar(by_json).bind(&commands).fetch_one(&mut worker).await.unwrap();
    assert_eq!(outcome, "booked");
    for forbidden in [
        "SELECT * FROM public.appointments",
        "SELECT * FROM public.erased_appointments",
        "DELETE FROM public.erased_appointments",
        "INSERT INTO public.appointments SELECT * FROM public.appointments",
        "UPDATE public.appointments SET status = 'cancelled'",
        "DELETE FROM public.appointments",
        "TRUNCATE public.appointments",
        "SELECT * FROM public._sqlx_migrations",
        "SELECT * FROM public.slots",
        "SELECT * FROM public.slot_states",
        "UPDATE public.slots SET state = 'withdrawn'",
        "UPDATE public.country_settings SET max_open_bookings = 1000",
        "SELECT * FROM public.outbox",
        "CREATE TABLE public.own (column_1 integer)",
        "CREATE TEMPORARY TABLE own (column_1 integer)",
        "CREATE FUNCTION public.own() RETURNS integer LANGUAGE sql RETURN 1",
        "CREATE SCHEMA own",
        "CREATE ROLE own",
    ] {
        let refused = worker.execute(forbidden).await.expect_err(forbidden);
        let code = refused.as_database_error().unwrap().code();
        assert!(matches!(code.as_deref(), Some("42501")), "{forbidden}: {refused}");
    }
}

/// Counts, on the wire, how often the worker speaks and waits for the database.
#[tokio::test]
async fn a_batch_is_one_round_trip() {
    let url = database().await;
    let server: String = url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let through_proxy = url.replace(&server, &proxy.local_addr().unwrap().to_string());
    let round_trips = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&round_trips);
    let relay = tokio::spawn(async move {
        let (mut client, _) = proxy.accept().await.unwrap();
        let mut server = TcpStream::connect(server).await.unwrap();
        let (mut question, mut answer) = ([0; 65536], [0; 65536]);
        let mut asking = false;
        loop {
            tokio::select! {
                read = client.read(&mut question) => {
                    let Ok(length @ 1..) = read else { return };
                    if !std::mem::replace(&mut asking, true) {
                        counted.fetch_add(1, Ordering::SeqCst);
                    }
                    server.write_all(&question[..length]).await.unwrap();
                }
                read = server.read(&mut answer) => {
                    let Ok(length @ 1..) = read else { return };
                    asking = false;
                    client.write_all(&answer[..length]).await.unwrap();
                }
            }
        }
    });
    let worker = worker(&through_proxy, &Bus::default());
    for round in 0..5_u64 {
        let before = round_trips.load(Ordering::SeqCst);
        let messages: Vec<AppointmentMessage> =
            (0..10).map(|n| request(round * 10 + n, 1, round * 10 + n + 1)).collect();
        let response = worker.process(batch(&bodies(&messages), 1)).await.unwrap();
        assert_eq!(failures(&response), [""; 0]);
        let spent = round_trips.load(Ordering::SeqCst) - before;
        // The first batch also connects and prepares the statement.
        assert!(round == 0 || spent == 1, "batch {round} took {spent} round trips");
    }
    assert_eq!(rows(&url).await.len(), 50);
    drop(worker);
    relay.await.unwrap();
}

/// Stands in for EventBridge: keeps the entries of each call, and answers each with an error for the appointments it refuses.
async fn event_bridge(refused: Vec<AppointmentId>) -> (EventBridge, Arc<Mutex<Vec<Vec<Value>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let calls: Arc<Mutex<Vec<Vec<Value>>>> = Arc::default();
    let kept = Arc::clone(&calls);
    let refused: Arc<HashSet<String>> = Arc::new(refused.iter().map(ToString::to_string).collect());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (kept, refused) = (Arc::clone(&kept), Arc::clone(&refused));
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                while let Ok(1..) = stream.read_buf(&mut bytes).await {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let head = head.to_ascii_lowercase();
                    let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
                    if body.len() < length.trim().parse().unwrap() {
                        continue;
                    }
                    assert!(head.contains("x-amz-target: awsevents.putevents"), "{head}");
                    assert!(head.contains("authorization: aws4-hmac-sha256"), "{head}");
                    let body: Value = serde_json::from_str(body).unwrap();
                    let entries = body["Entries"].as_array().unwrap().clone();
                    let answers: Vec<Value> = entries
                        .iter()
                        .map(|entry| {
                            let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
                            if refused.contains(detail["appointmentId"].as_str().unwrap()) {
                                json!({ "ErrorCode": "ThrottlingException", "ErrorMessage": "slow down" })
                            } else {
                                json!({ "EventId": "1" })
                            }
                        })
                        .collect();
                    kept.lock().unwrap().push(entries);
                    let answer = json!({ "FailedEntryCount": refused.len(), "Entries": answers }).to_string();
                    let head = format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
                        answer.len()
                    );
                    stream.write_all(format!("{head}{answer}").as_bytes()).await.unwrap();
                    bytes.clear();
                }
            });
        }
    });
    let config = aws_sdk_eventbridge::Config::builder()
        .behavior_version_latest()
        .endpoint_url(format!("http://{address}"))
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    (EventBridge::new(aws_sdk_eventbridge::Client::from_conf(config), "appointments".to_owned()), calls)
}

#[tokio::test]
async fn put_events_takes_ten_entries_per_call_and_tells_the_refused_ones() {
    for (count, expected_calls) in [(1, vec![1]), (10, vec![10]), (25, vec![10, 10, 5])] {
        let url = database().await;
        let (bus, calls) = event_bridge(vec![appointment(1)]).await;
        let worker = worker_of(connected(&url), &bus, &Queue::default());
        let messages: Vec<AppointmentMessage> = (1..=count).map(|n| request(n, 1, n)).collect();
        let response = worker.process(batch(&bodies(&messages), 1)).await.unwrap();
        assert_eq!(failures(&response), ["m0"], "{count} messages");

        let calls = calls.lock().unwrap();
        let mut sizes: Vec<usize> = calls.iter().map(Vec::len).collect();
        sizes.sort_unstable_by(|one, other| other.cmp(one));
        assert_eq!(sizes, expected_calls, "{count} messages");
        let entry = calls.iter().flatten().next().unwrap();
        assert_eq!(entry["EventBusName"], "appointments");
        assert_eq!(entry["Source"], "appointments.worker.PE");
        assert_eq!(entry["DetailType"], "AppointmentCompleted");
        let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
        assert_eq!(detail["version"], 1);
        assert_eq!(detail["insuredId"], "00001");
        assert_eq!(detail["command"], "appointment.requested");
    }
}

/// Reads variables from a table, with one of them changed.
fn changed<'a>(
    good: &'a [(&'a str, &'a str)],
    variable: &'a str,
    value: Option<&'a str>,
) -> impl Fn(&str) -> Option<String> + 'a {
    move |name| {
        let good = good.iter().find(|(variable, _)| *variable == name).map(|(_, value)| *value);
        if name == variable { value } else { good }.map(ToOwned::to_owned)
    }
}

#[test]
fn a_wrong_environment_is_told_by_the_variable_and_never_shown() {
    const BY_URL: &[(&str, &str)] = &[
        ("DATABASE_URL", "postgres://worker:secret@db.example:5432/appointments_pe?sslmode=verify-full"),
        ("DATABASE_USER", "worker"),
        ("EVENT_BUS_NAME", "appointments"),
        ("RECEIVE_DELAYS_SECONDS", "5,30,120,300"),
    ];
    const ON_RDS: &[(&str, &str)] = &[
        ("DATABASE_HOST", "db.example"),
        ("DATABASE_PORT", "5432"),
        ("DATABASE_NAME", "appointments_pe"),
        ("DATABASE_USER", "worker"),
        ("DATABASE_MASTER_SECRET_ARN", "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds!db-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "secret"),
        ("AWS_REGION", "sa-east-1"),
        ("EVENT_BUS_NAME", "appointments"),
        ("RECEIVE_DELAYS_SECONDS", "5,30,120,300"),
    ];
    for good in [BY_URL, ON_RDS] {
        let shown = [
            format!("{:?}", Settings::read(changed(good, "", None)).unwrap()),
            format!("{:?}", MigrationSettings::read(changed(good, "", None)).unwrap()),
        ];
        assert!(!shown.concat().contains("secret\""), "{shown:?}");
        assert!(!shown.concat().contains(":secret@"), "{shown:?}");
    }
    type Variables = [(&'static str, &'static str)];
    type Read = fn(&'static Variables, &'static str, Option<&'static str>) -> Result<(), InvalidSetting>;
    let of_worker: Read = |good, variable, value| Settings::read(changed(good, variable, value)).map(drop);
    let of_migration: Read = |good, variable, value| MigrationSettings::read(changed(good, variable, value)).map(drop);
    let table: [(Read, &'static Variables, &'static str, &[Option<&'static str>]); 13] = [
        (
            of_worker,
            BY_URL,
            "DATABASE_URL",
            &[
                Some("secret"),
                Some("mysql://worker:secret@db.example/appointments_pe"),
                Some("postgres://worker:secret@db.example:port/appointments_pe"),
                Some("postgres://worker:secret@db.example:5432"),
                Some("postgres://worker:secret@db.example:5432/appointments_pe"),
                Some("postgres://worker:secret@db.example:5432/appointments_pe?sslmode=require"),
                Some("postgres://worker:secret@db.example:5432/appointments_pe?sslmode=verify-ca"),
                Some("postgres://worker:secret@10.0.0.7/appointments_pe?sslmode=prefer"),
                // What the driver connects to counts, and not what stands before it.
                Some("postgres://worker:secret@localhost/appointments_pe?host=db.example"),
                Some("postgres://worker:secret@127.0.0.1/appointments_pe?hostaddr=10.0.0.7"),
                Some("postgres://worker:secret@localhost.example/appointments_pe"),
            ],
        ),
        (of_worker, BY_URL, "EVENT_BUS_NAME", &[None]),
        (of_worker, BY_URL, "RECEIVE_DELAYS_SECONDS", &[None, Some("0"), Some("5,many"), Some("5,,30")]),
        (of_worker, ON_RDS, "DATABASE_HOST", &[None, Some("")]),
        (of_worker, ON_RDS, "DATABASE_PORT", &[None, Some("0"), Some("65536"), Some("secret")]),
        (of_worker, ON_RDS, "DATABASE_NAME", &[None]),
        (
            of_worker,
            ON_RDS,
            "DATABASE_USER",
            &[None, Some("secret\"; DROP"), Some("Worker"), Some("1secret"), Some("é")],
        ),
        (of_worker, ON_RDS, "AWS_ACCESS_KEY_ID", &[None, Some("")]),
        (of_worker, ON_RDS, "AWS_SECRET_ACCESS_KEY", &[None]),
        (of_worker, ON_RDS, "AWS_REGION", &[None]),
        (of_migration, ON_RDS, "DATABASE_MASTER_SECRET_ARN", &[None, Some("")]),
        (of_migration, ON_RDS, "DATABASE_USER", &[None]),
        (of_migration, BY_URL, "DATABASE_USER", &[None]),
    ];
    for (read, good, variable, values) in table {
        for value in values {
            let error = read(good, variable, *value).expect_err(variable).to_string();
            assert!(error.contains(variable) && error.contains("expected"), "{variable}={value:?}: {error}");
            assert!(!error.contains("secret@") && !error.contains("secret\""), "{error}");
        }
    }
    // With neither, the answer names both ways.
    let error = Settings::read(|_| None).unwrap_err().to_string();
    assert!(error.contains("DATABASE_HOST") && error.contains("DATABASE_URL"), "{error}");
    MigrationSettings::read(changed(BY_URL, "", None)).expect("a URL holds the owner's credentials itself");
    for sound in [
        "postgres://worker:secret@localhost/appointments_pe",
        "postgres://worker:secret@127.0.0.2:5433/appointments_pe",
        "postgres://worker:secret@[::1]/appointments_pe?sslmode=disable",
        "postgres://worker:secret@%2Fvar%2Frun%2Fpostgresql/appointments_pe",
        "postgres://worker:secret@db.example/appointments_pe?sslmode=verify-full&sslrootcert=roots.pem",
    ] {
        sound.parse::<DatabaseUrl>().unwrap_or_else(|error| panic!("{sound}: {error}"));
    }
    let error = "postgres://worker:secret@db.example/appointments_pe".parse::<DatabaseUrl>().unwrap_err().to_string();
    assert!(error.contains("?sslmode=verify-full"), "the remedy: {error}");
    let error = "postgres:///".parse::<DatabaseUrl>().unwrap_err().to_string();
    assert!(error.contains("postgres://USER:PASSWORD@HOST:PORT/DATABASE"), "{error}");
}
