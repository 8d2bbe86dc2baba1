//! A country falls behind: what is published twice then.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use http::{Method, StatusCode};
use operator::backplane::Backplane;
use operator::database::connect;
use serde_json::{Value, json};
use sqlx::Connection as _;
use tests::workspace;

use crate::faulty::{Faulty, PATIENCE};
use crate::race::{rows, send};

/// A second here is twenty in production: half a minute is a backlog of ten minutes.
const SCALE: u64 = 20;

/// How long the country's database is held.
const HELD: Duration = Duration::from_secs(10 * 60 / SCALE);

/// People who book meanwhile. Every third of them cancels.
const BOOKINGS: u32 = 150;

/// The database of a country is held for what is ten minutes, bookings and cancellations flow in, and it is let go.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_backlog_of_ten_minutes_at_most_one_command_in_twenty_is_published_twice() {
    let faulty = Faulty::start("backlog", |durations| {
        let deployed = Backplane::load(&workspace()).unwrap().durations;
        let scaled = |seconds: &u64| (seconds / SCALE).max(1);
        durations.republish_delays = deployed.republish_delays.iter().map(scaled).collect();
        durations.receive_delays = deployed.receive_delays.iter().map(scaled).collect();
        // What a worker waits for its database is not scaled.
        durations.worker_timeout = deployed.worker_timeout;
        durations.visibility_timeout = deployed.worker_timeout;
    })
    .await;
    let mut holder = connect(faulty.stack.services().database_url("PE").unwrap()).await.unwrap();
    let mut held = holder.begin().await.unwrap();
    sqlx::query("LOCK TABLE appointments IN ACCESS EXCLUSIVE MODE").execute(&mut *held).await.unwrap();

    let started = tokio::time::Instant::now();
    let people = stream::iter(0..BOOKINGS).map(|number| {
        let stack = &faulty.stack;
        async move {
            tokio::time::sleep_until(started + HELD * number / BOOKINGS).await;
            let insured = format!("{number:05}");
            let body = json!({"insuredId": insured, "scheduleId": number + 1, "countryISO": "PE"}).to_string();
            let headers = [("content-type", "application/json"), ("idempotency-key", "backlog")];
            let (status, _, accepted) = send(stack, Method::POST, "/appointments", &headers, &body).await;
            assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
            if number.is_multiple_of(3) {
                let path = format!("/appointments/{insured}/{}", accepted["appointmentId"].as_str().unwrap());
                let (status, _, response) = send(stack, Method::DELETE, &path, &[], "").await;
                assert_eq!(status, StatusCode::ACCEPTED, "{response}");
            }
        }
    });
    people.buffer_unordered(BOOKINGS as usize).collect::<Vec<()>>().await;
    tokio::time::sleep_until(started + HELD).await;
    let status = |row: &Value| row["status"]["S"].as_str().unwrap().to_owned();
    let waiting = rows(&faulty.stack).await;
    assert_eq!(waiting.len(), BOOKINGS as usize);
    assert!(
        waiting.values().all(|row| ["pending", "cancelling"].contains(&status(row).as_str())),
        "nothing is decided"
    );
    held.rollback().await.unwrap();

    let released = Instant::now();
    let rows = loop {
        let rows = rows(&faulty.stack).await;
        let open = rows.values().filter(|row| !["completed", "cancelled"].contains(&status(row).as_str())).count();
        if open == 0 {
            break rows;
        }
        assert!(released.elapsed() < PATIENCE, "{open} wait for their country");
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    let taken = faulty.proxy.taken("Publish", "");
    let commands = taken.iter().map(|call| {
        let message = form_urlencoded::parse(call.as_bytes()).find(|(name, _)| name == "Message").unwrap().1;
        serde_json::from_str(&message).unwrap()
    });
    let commands: Vec<Value> = commands.collect();
    let published = counted(commands.iter());
    // An outcome that comes again is announced again.
    let outcomes = faulty.proxy.taken("PutEvents", "").into_iter().map(|call| {
        let call: Value = serde_json::from_str(&call).unwrap();
        serde_json::from_str(call["Entries"][0]["Detail"].as_str().unwrap()).unwrap()
    });
    let announced = counted(outcomes.collect::<Vec<Value>>().iter());
    let repeated = |counts: &BTreeMap<String, u32>| counts.values().filter(|count| **count > 1).count();
    println!(
        "{BOOKINGS} bookings while their country was held for {} s: {} commands, of which {} were published twice; {} outcomes, of \
         which {} came twice; all final {} s after",
        HELD.as_secs(),
        published.len(),
        repeated(&published),
        announced.len(),
        repeated(&announced),
        released.elapsed().as_secs(),
    );
    // A cancellation may overtake a request that a busy machine had no time to publish at once.
    for (id, row) in &rows {
        let kind = if status(row) == "completed" { "requested" } else { "cancellation_requested" };
        let is_its =
            |command: &Value| command["appointmentId"] == **id && command["type"] == format!("appointment.{kind}");
        assert!(commands.iter().any(is_its), "the last command of {id} was published: {row}");
    }
    for (what, counts) in [("commands", &published), ("outcomes", &announced)] {
        assert!(repeated(counts) * 20 <= counts.len(), "{} of {} {what} came twice", repeated(counts), counts.len());
    }
}

/// How often each event id occurs.
fn counted<'a>(messages: impl Iterator<Item = &'a Value>) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for message in messages {
        *counts.entry(message["eventId"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}
