//! A country's database is restored to an earlier time, and reconciled with what people were told since.
//!
//! `cargo xtask test` does it with 120 bookings, `cargo xtask test reconcile` with 5,000; `RECONCILE_BOOKINGS` is another number.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use appointment::Timestamp;
use futures::stream::{self, StreamExt as _};
use http::{Method, StatusCode};
use local_stack::Services;
use local_stack::emulator;
use operator::database::connect;
use operator::forget::forget;
use operator::reconcile::{Reconciled, reconcile};
use serde_json::json;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use crate::faulty::{Booking, Faulty, PATIENCE, body};
use crate::race::{scan, send};

/// Requests under way at once.
const IN_FLIGHT: usize = 16;

/// A status, the person and the slot of an appointment, by its id.
type Appointments = BTreeMap<String, (String, String, u64)>;

/// Peru's appointments as the table has them.
async fn shown(services: &Services) -> Appointments {
    let input = json!({"TableName": services.backplane().table.name, "ConsistentRead": true});
    let mut found = Appointments::new();
    for item in scan(services, input).await {
        let Some(id) = item["sk"]["S"].as_str().unwrap().strip_prefix("appointment#") else { continue };
        let text = |name: &str| item[name]["S"].as_str().unwrap().to_owned();
        let slot = item["scheduleId"]["N"].as_str().unwrap().parse().unwrap();
        found.insert(id.to_owned(), (text("status"), text("insuredId"), slot));
    }
    found
}

/// Waits until no appointment awaits its country.
async fn until_final(services: &Services) -> Appointments {
    let mut last_change = Instant::now();
    let mut before = usize::MAX;
    loop {
        let shown = shown(services).await;
        let open = shown.values().filter(|(status, ..)| status == "pending" || status == "cancelling").count();
        if open == 0 {
            return shown;
        }
        if open != before {
            (last_change, before) = (Instant::now(), open);
        }
        assert!(last_change.elapsed() < PATIENCE, "{open} of {} appointments await their country", shown.len());
        // Reading all of them takes the emulator's time from what they wait for.
        tokio::time::sleep(Duration::from_millis(250) + Duration::from_micros(200) * shown.len() as u32).await;
    }
}

/// Peru's decisions: the status and the slot, by appointment.
async fn kept(services: &Services) -> BTreeMap<String, (String, u64)> {
    let mut connection = connect(services.database_url("PE").unwrap()).await.unwrap();
    let rows =
        connection.fetch_all("SELECT appointment_id::text, status, schedule_id FROM appointments").await.unwrap();
    rows.iter().map(|row| (row.get(0), (row.get(1), row.get::<i64, _>(2).unsigned_abs()))).collect()
}

/// Books a slot for each person, and tries again if a busy machine has no time for it.
async fn book(faulty: &Faulty, wishes: Vec<(String, u64)>) -> Vec<Booking> {
    stream::iter(wishes)
        .map(async |(insured, slot)| {
            let (body, key) = (body(&insured, slot).to_string(), format!("{insured}-{slot}"));
            let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
            let (status, _, accepted) = send(&faulty.stack, Method::POST, "/appointments", &headers, &body).await;
            assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
            Booking::of(&accepted)
        })
        .buffer_unordered(IN_FLIGHT)
        .collect()
        .await
}

/// Cancels, and tries again if a busy machine has no time for it: a 503 promises nothing.
async fn cancel(faulty: &Faulty, booking: &Booking) {
    let started = Instant::now();
    loop {
        match faulty.cancel(booking).await {
            StatusCode::ACCEPTED => return,
            status => assert!(status == StatusCode::SERVICE_UNAVAILABLE && started.elapsed() < PATIENCE, "{status}"),
        }
    }
}

/// What a snapshot is on RDS: the database as it is, and that put in its place again.
struct Server {
    url: String,
    database: String,
}

impl Server {
    fn of(services: &Services) -> Self {
        let (url, database) = services.database_url("PE").unwrap().rsplit_once('/').unwrap();
        Self { url: format!("{url}/postgres"), database: database.to_owned() }
    }

    async fn execute(&self, statements: &[String]) {
        let mut owner = connect(&self.url).await.unwrap();
        let close = format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", self.database);
        owner.execute(AssertSqlSafe(close)).await.unwrap();
        let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1";
        sqlx::query(end).bind(&self.database).execute(&mut owner).await.unwrap();
        for statement in statements {
            owner.execute(AssertSqlSafe(statement.clone())).await.unwrap();
        }
        let open = format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", self.database);
        owner.execute(AssertSqlSafe(open)).await.unwrap();
    }

    async fn back_up(&self) {
        self.execute(&[format!("CREATE DATABASE backup TEMPLATE {}", self.database)]).await;
    }

    async fn restore(&self) {
        let database = &self.database;
        self.execute(&[format!("DROP DATABASE {database}"), format!("ALTER DATABASE backup RENAME TO {database}")])
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_country_forgets_nothing_that_people_were_told() {
    let bookings = std::env::var("RECONCILE_BOOKINGS").map_or(120, |number| number.parse().unwrap());
    let faulty = Faulty::start("reconcile", |durations| {
        durations.visibility_timeout = 2;
        durations.worker_timeout = 2;
        durations.receive_delays = vec![1, 1, 1, 1, 2, 2, 5];
        durations.republish_delays = vec![30; 7];
    })
    .await;
    let services = faulty.stack.services();
    let backplane = services.backplane();
    let peru = backplane.countries().next().unwrap();
    let account = emulator::account(services.endpoint(), backplane).unwrap();
    let server = Server::of(services);
    let person = |number: usize| format!("{number:05}");
    let slot = |number: usize| 2 * (1_000_000 + number as u64);

    // A slot event of the country, with the version before the loss.
    let url = services.database_url("PE").unwrap();
    let slot_told = "INSERT INTO slots VALUES (3, 'Cardiología', 'Miraflores', 'Dra. Quispe', now() + interval '1 day',
                         now() + interval '25 hours', 'America/Lima', -300, 'open', 7)";
    connect(url).await.unwrap().execute(slot_told).await.unwrap();
    // And one that was told of since, after another restore of this day: the epoch is today's already.
    let today: i32 = sqlx::query_scalar("SELECT current_date - date '2026-01-01'")
        .fetch_one(&mut connect(url).await.unwrap())
        .await
        .unwrap();
    let (key, version) =
        (json!({"S": "PE#4"}), json!({"N": ((u64::from(today.unsigned_abs()) << 40) + 9).to_string()}));
    let put = json!({"TableName": backplane.slots_table.name, "Item": {"slotKey": key, "version": version}});
    services.aws().dynamodb("PutItem", &put).await.unwrap();
    let before = book(&faulty, (0..bookings / 2).map(|n| (person(n), slot(n))).collect()).await;
    until_final(services).await;
    let restored_to = Timestamp::from(SystemTime::now());
    server.back_up().await;

    // Since then: new bookings, cancellations of old ones whose slots go to others, a person who is erased, and cancellations
    // that are still under way when the database is lost.
    let after = book(&faulty, (bookings / 2..bookings).map(|n| (person(n), slot(n))).collect()).await;
    let (cancelled, rest) = before.split_at(bookings / 8);
    for booking in cancelled {
        cancel(&faulty, booking).await;
    }
    until_final(services).await;
    let taken_over = book(&faulty, cancelled.iter().map(|b| (format!("9{}", &b.insured[1..]), b.slot)).collect()).await;
    until_final(services).await;
    let (erased, rest) = rest.split_first().unwrap();
    let urls = backplane
        .countries()
        .map(|country| (country.code.clone(), services.database_url(&country.code).unwrap().to_owned()))
        .collect();
    forget(&account, backplane, &urls, erased.insured.parse().unwrap(), false).await.unwrap();
    let (under_way, _) = rest.split_at(bookings / 20);
    for booking in under_way.iter().chain(&after[..bookings / 20]) {
        cancel(&faulty, booking).await;
    }
    server.restore().await;

    let again = async |dry_run| reconcile(&account, backplane, &peru, url, restored_to, dry_run).await.unwrap();
    let started = Instant::now();
    let done = again(false).await;
    println!("{bookings} bookings; reconciled in {} ms: {done:?}", started.elapsed().as_millis());
    assert_eq!(done.contradictions, []);
    assert!(done.re_entered >= (taken_over.len() + after.len() / 2) as u64, "{done:?}");
    assert_eq!(done.erased, 1, "{done:?}");
    // Every slot event from now on has a later version than any before the loss.
    let epochs =
        "SELECT s.version >> 40, c.epoch::bigint, (SELECT count(*) FROM outbox WHERE detail_type = 'SlotsChanged'
                      AND detail #>> '{slots,0,version}' = s.version::text)
                  FROM slots AS s, country_settings AS c";
    let row = connect(url).await.unwrap().fetch_one(epochs).await.unwrap();
    let (version_epoch, epoch, told): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    assert!(version_epoch == epoch && epoch == i64::from(today) + 1 && told == 1, "{version_epoch} {epoch} {told}");

    // It goes on: everybody wants a slot that is somebody's, and some that are free.
    let settled = until_final(services).await;
    let completed = |shown: &Appointments| -> BTreeSet<u64> {
        shown.values().filter(|(status, ..)| status == "completed").map(|(.., slot)| *slot).collect()
    };
    let held = completed(&settled);
    let wishes = held.iter().enumerate().map(|(number, slot)| (format!("8{number:04}"), *slot)).step_by(4).collect();
    let latecomers = book(&faulty, wishes).await;
    let free = book(
        &faulty,
        (bookings..bookings + 20).map(|n| (person(n), slot(n))).chain([("70000".to_owned(), erased.slot)]).collect(),
    );
    let free = free.await;
    let shown = until_final(services).await;
    let status = |booking: &Booking| shown[&booking.id.to_string()].0.as_str();
    assert!(latecomers.iter().all(|booking| status(booking) == "rejected"), "a slot that is shown as booked is taken");
    assert!(free.iter().all(|booking| status(booking) == "completed"));
    assert!(taken_over.iter().all(|booking| status(booking) == "completed"));
    assert!(cancelled.iter().chain(under_way).all(|booking| status(booking) == "cancelled"));
    assert!(!shown.contains_key(&erased.id.to_string()));

    let kept_now = kept(services).await;
    let expected = |status: &str| match status {
        "completed" => "booked",
        "rejected" => "rejected",
        "cancelled" => "cancelled",
        other => panic!("{other} is not final"),
    };
    assert_eq!(kept_now.len(), shown.len(), "one row per appointment, and none of whom was erased");
    for (id, (status, _, slot)) in &shown {
        assert_eq!(kept_now[id], (expected(status).to_owned(), *slot), "{id} is {status}");
    }
    let holders = shown.values().filter(|(status, ..)| status == "completed").count();
    assert_eq!(completed(&shown).len(), holders, "no slot is held twice");

    // Once more finds nothing to do, and takes nothing back.
    let Reconciled { appointments, cancelled: 0, re_entered: 0, erased: 0, contradictions, unknown: 0 } =
        again(true).await
    else {
        panic!("something was left")
    };
    assert_eq!((appointments, contradictions), (shown.len() as u64, vec![]));
    assert_eq!(again(false).await.re_entered, 0);

    // Two appointments that were told that they hold the same slot: told to the operator, and nothing chosen.
    let holder = &free[0];
    let mut twin = faulty.row(holder).await;
    let id = "01890f3e-6b7c-7cc2-98c4-dc0c0c07398f";
    twin["sk"]["S"] = json!(format!("appointment#{id}"));
    twin["insuredId"]["S"] = json!("99999");
    let put = json!({"TableName": backplane.table.name, "Item": twin});
    services.aws().dynamodb("PutItem", &put).await.unwrap();
    let done = again(false).await;
    let [found] = &done.contradictions[..] else { panic!("{done:?}") };
    assert_eq!((found.appointment_id.as_str(), found.schedule_id.unsigned_abs()), (id, holder.slot));
    assert_eq!((found.shown.as_str(), &found.kept, &found.holder), ("booked", &None, &Some(holder.id.to_string())));
    assert_eq!(kept(services).await, kept_now, "nothing was changed");
}
