//! Which messages of a batch are delivered again, and when.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};

use appointment::{AppointmentId, Country};
use aws_lambda_events::event::sqs::SqsEvent;
use country_worker::{CommandOutcome, DecideError, Decisions, Worker};
use messages::{AppointmentMessage, Command};
use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::worker_fixture::{
    Bus, MAX_RECEIVE_COUNT, Queue, appointment, batch, bodies, command, connected, database, delays, failures, insert,
    request, rows, session, worker, worker_of,
};

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
async fn a_command_that_the_database_refuses_fails_alone_and_is_reported_on_the_last_delivery() {
    let url = database().await;
    insert(&url, &["a1 p1 s13 booked"]).await;
    let refuse = "ALTER TABLE appointments ADD CONSTRAINT refused CHECK (schedule_id <> 13) NOT VALID";
    session(&url).await.execute(refuse).await.unwrap();
    // a1 has its row already, which gives the outcome; a2 can never have one; a3 is not affected.
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

/// A database whose batches fail, as one that finds a deadlock would.
struct Failing;

impl Decisions for Failing {
    async fn decide(&self, _: &[&AppointmentMessage]) -> Result<HashMap<AppointmentId, CommandOutcome>, DecideError> {
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
