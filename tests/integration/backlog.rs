//! A country falls behind, or is behind: what is published twice then, and how fast what is due is published.
//!
//! `cargo xtask test backlog` drains 6,000 rows in place of 120, and wants them within a minute and nearly all of them once, which takes a quiet machine;
//! `DRAIN_ROWS` is another number.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use ::backplane::AppointmentsTable;
use appointment::Timestamp;
use aws_http::native::NativeTransport;
use aws_http::{Client, Credentials};
use futures::stream::{self, StreamExt as _};
use http::{Method, StatusCode};
use local_stack::aws::Aws;
use local_stack::backplane::{Backplane, CatalogueKind};
use local_stack::ministack::{ACCOUNT, REGION};
use local_stack::postgres::connect;
use local_stack::{Endpoints, LocalStack};
use serde_json::{Value, json};
use sqlx::Connection as _;
use tests::{stack_behind, workspace};

use crate::confirmation::update_processes;
use crate::faulty::{Faulty, PATIENCE};
use crate::race::{rows, send};
use crate::states::{fresh_appointment, trace};

/// A second here is twenty in production: ten minutes of a backlog are half a minute.
const SCALE: u64 = 20;

/// How long the country's database is held.
const HELD: Duration = Duration::from_secs(10 * 60 / SCALE);

/// People who book meanwhile. Every third of them cancels.
const BOOKINGS: u32 = 300;

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
                let (status, _, answer) = send(stack, Method::DELETE, &path, &[], "").await;
                assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
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
    loop {
        let rows = rows(&faulty.stack).await;
        let open = rows.values().filter(|row| !["completed", "cancelled"].contains(&status(row).as_str())).count();
        if open == 0 {
            break;
        }
        assert!(released.elapsed() < PATIENCE, "{open} wait for their country");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let published = counted(faulty.proxy.taken("Publish", "").iter().map(|call| {
        let message = form_urlencoded::parse(call.as_bytes()).find(|(name, _)| name == "Message").unwrap().1;
        serde_json::from_str(&message).unwrap()
    }));
    // An outcome that comes again is announced again.
    let announced = counted(faulty.proxy.taken("PutEvents", "").iter().map(|call| {
        let call: Value = serde_json::from_str(call).unwrap();
        serde_json::from_str(call["Entries"][0]["Detail"].as_str().unwrap()).unwrap()
    }));
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
    assert_eq!(published.len(), (BOOKINGS + BOOKINGS / 3) as usize, "every command was published");
    for (what, counts) in [("commands", &published), ("outcomes", &announced)] {
        assert!(repeated(counts) * 20 <= counts.len(), "{} of {} {what} came twice", repeated(counts), counts.len());
    }
}

/// How often each event id occurs.
fn counted(messages: impl Iterator<Item = Value>) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for message in messages {
        *counts.entry(message["eventId"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

/// Stops the worker of a country: the event source mapping of its queue.
async fn stop_worker(stack: &LocalStack, queue: &str) {
    let aws = stack.services().aws();
    let path = format!("/2015-03-31/event-source-mappings/?EventSourceArn=arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}");
    let found = aws.lambda_call(Method::GET, &path, None).await.unwrap();
    let id = found["EventSourceMappings"][0]["UUID"].as_str().unwrap_or_else(|| panic!("no mapping: {found}"));
    let path = format!("/2015-03-31/event-source-mappings/{id}");
    aws.lambda_call(Method::PUT, &path, Some(&json!({"Enabled": false}))).await.unwrap();
    let started = Instant::now();
    while aws.lambda_call(Method::GET, &path, None).await.unwrap()["State"] != "Disabled" {
        assert!(started.elapsed() < PATIENCE, "the mapping of {queue} does not stop");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What the processes of `appointment-update` have used so far (`proc_pid_stat(5)`: user and system time, of which Linux tells
/// 100 a second).
fn processor_time(stack: &LocalStack) -> Duration {
    let processes = update_processes(stack, stack.services().endpoint());
    let ticks = processes.iter().filter_map(|process| std::fs::read_to_string(format!("/proc/{process}/stat")).ok());
    let ticks = ticks.map(|stat| {
        let fields = stat.rsplit(')').next().unwrap().split_whitespace();
        fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>()
    });
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// As many rows as a country has that is due after an outage, and one in ten more that come meanwhile: the function publishes
/// them as its rule invokes it, and loses none.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_drained_while_more_comes_in() {
    let wanted = std::env::var("DRAIN_ROWS").ok().map(|text| text.parse::<usize>().unwrap());
    let due = wanted.unwrap_or(120);
    let direct = async |emulator: aws_http::Endpoint| Endpoints { intake: emulator.clone(), confirmation: emulator };
    let stack = stack_behind(
        "drain",
        CatalogueKind::External,
        |durations| {
            let deployed = Backplane::load(&workspace()).unwrap().durations;
            durations.confirmation_timeout = deployed.confirmation_timeout;
            durations.republish_delays = deployed.republish_delays;
            // This test invokes the function, in the place of its rule.
            durations.republish_interval = 3600;
        },
        direct,
    )
    .await;
    let services = stack.services();
    let peru = services.backplane().countries().next().unwrap();
    stop_worker(&stack, &peru.queue).await;
    let client = Client::new(NativeTransport::new(), REGION, Credentials::from_keys("test", "test", None))
        .with_deadline(PATIENCE);
    let table = AppointmentsTable::new(&client, services.endpoint(), &services.backplane().table.name);
    // Due since a minute ago.
    let book = async || {
        let mut appointment = fresh_appointment();
        appointment.created_at = Timestamp::from(SystemTime::now() - Duration::from_secs(61));
        appointment.updated_at = appointment.created_at;
        table.book(&appointment, trace(), &"1".parse().unwrap()).await.unwrap();
        (appointment.insured_id, appointment.appointment_id)
    };
    let mut booked: Vec<_> = stream::iter(0..due).map(|_| book()).buffer_unordered(16).collect().await;

    let invoke = async || {
        let Backplane { confirmation, function_alias, .. } = services.backplane();
        let path = format!("/2015-03-31/functions/{}/invocations?Qualifier={function_alias}", confirmation.function);
        let aws = Aws::root_with_limit(services.endpoint().clone(), PATIENCE);
        aws.lambda(&path, &json!({"countryISO": "PE"})).await.unwrap()
    };
    let (started, used) = (Instant::now(), processor_time(&stack));
    let (mut published, mut calls, mut invocations) = (0, 0, 0);
    let draining = async {
        loop {
            let report = invoke().await;
            let number = |name: &str| report[name].as_u64().unwrap_or_else(|| panic!("{report}"));
            published += number("published");
            calls += number("calls");
            invocations += 1;
            if report["more"] == false && published >= due as u64 {
                return started.elapsed();
            }
            assert!(started.elapsed() < 5 * PATIENCE, "{published} of {due} after {invocations} invocations");
        }
    };
    let coming = stream::iter(0..due / 10).map(|_| book()).buffer_unordered(1).collect::<Vec<_>>();
    let (took, came) = futures::join!(draining, coming);
    booked.extend(came);
    while published < booked.len() as u64 {
        published += invoke().await["published"].as_u64().unwrap();
    }
    let rate = due as f64 / took.as_secs_f64();
    let used = (processor_time(&stack) - used) / u32::try_from(booked.len()).unwrap();
    println!(
        "{due} rows that were due, and {} that came meanwhile, in {} ms by {calls} calls in {invocations} invocations: {rate:.0} \
         rows per second, {used:?} of processor time per row",
        due / 10,
        took.as_millis(),
    );
    let names = ["ApproximateNumberOfMessages"];
    let asked = json!({"QueueUrl": services.queue_url(&peru.queue).unwrap(), "AttributeNames": names});
    let waiting = services.aws().sqs("GetQueueAttributes", &asked).await.unwrap();
    let waiting: usize = waiting["Attributes"][names[0]].as_str().unwrap().parse().unwrap();
    assert!(waiting >= booked.len(), "{waiting} publications of {}", booked.len());
    for (insured, id) in &booked {
        assert!(table.get(insured, *id).await.unwrap().unwrap().pending_attempt >= 1, "{id}");
    }
    if wanted.is_some() {
        // One whose publication a busy machine had no time to count comes again.
        assert!(waiting * 20 <= booked.len() * 21, "{waiting} publications of {}", booked.len());
        assert!(rate >= 100.0, "60,000 rows take more than ten minutes at {rate:.0} rows per second");
    }
}
