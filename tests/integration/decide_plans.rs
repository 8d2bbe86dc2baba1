//! How `decide` reads: by index, and without compiling a statement, whatever PostgreSQL's statistics say.

use std::sync::{Arc, Mutex};

use appointment::Original;
use country_worker::CatalogueKind;
use messages::{AppointmentMessage, Command};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::slots_decide::own_catalogue;
use crate::worker_fixture::{command, session};

/// The rows of each table. Without statistics, PostgreSQL takes one in two hundred to be of the same person: an estimate that is high
/// enough for its compiler.
const ROWS: u64 = 100_000;
/// A person has twenty appointments.
const PERSONS: u64 = 5_000;

/// What the server notes to this thread's connections.
#[derive(Clone, Default)]
struct Notices(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Notices {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }

            fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
                if field.name() == "message" {
                    value.clone_into(&mut self.0);
                }
            }
        }
        if event.metadata().target() == "sqlx::postgres::notice" {
            let mut text = Text(String::new());
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }
    }
}

impl Notices {
    /// The plans of the statements that ran since the last call, those within functions too, as `auto_explain` notes them.
    fn plans(&self) -> Vec<Value> {
        let notices = std::mem::take(&mut *self.0.lock().unwrap());
        let plan = |notice: &String| serde_json::from_str(notice.split_once("plan:\n")?.1).ok();
        notices.iter().filter_map(plan).collect()
    }
}

/// A request alone, requests, and those with one command of each other kind; about slots and persons from `first` on.
fn batches(first: u64) -> [Vec<AppointmentMessage>; 3] {
    let person = |number: u64| u32::try_from(number % PERSONS).unwrap();
    let of = |kind: Command, number: u64| command(kind, number, person(number), number);
    let requests = |first: u64| (first..first + 6).map(|number| of(Command::Request, number)).collect::<Vec<_>>();
    let mut mixed = requests(first + 20);
    let replaces = Some(Original { appointment_id: mixed[0].appointment_id, schedule_id: mixed[0].schedule_id });
    mixed.extend([
        of(Command::Cancellation, first + 26),
        of(Command::Decision, first + 27),
        AppointmentMessage { replaces, ..command(Command::Move, first + 28, person(first + 20), first + 28) },
    ]);
    [vec![of(Command::Request, first)], requests(first + 10), mixed]
}

async fn decide(connection: &mut PgConnection, commands: &[AppointmentMessage]) {
    sqlx::query("SELECT FROM decide($1::text::jsonb)")
        .bind(serde_json::to_string(commands).unwrap())
        .execute(connection)
        .await
        .unwrap();
}

/// The rows that the open transaction has read by scans, and by indexes.
async fn rows_read(connection: &mut PgConnection) -> (i64, i64) {
    sqlx::query_as(
        "SELECT sum(seq_tup_read)::bigint, sum(idx_tup_fetch)::bigint FROM pg_stat_xact_user_tables
         WHERE relname IN ('appointments', 'slots', 'erased_appointments')",
    )
    .fetch_one(connection)
    .await
    .unwrap()
}

#[tokio::test]
async fn decide_reads_by_index_and_compiles_nothing_when_statistics_are_stale() {
    let notices = Notices::default();
    let _listening = tracing::subscriber::set_default(tracing_subscriber::registry().with(notices.clone()));
    let url = own_catalogue(1000).await;
    let mut owner = session(&url).await;
    // As autovacuum leaves a country that waits for its first day.
    for table in ["appointments", "slots", "erased_appointments"] {
        let statements = format!("ALTER TABLE {table} SET (autovacuum_enabled = off); ANALYZE {table}");
        owner.execute(AssertSqlSafe(statements)).await.unwrap();
    }
    let mut early = session(&url).await;
    // A scan for each row of a scan would take minutes.
    early.execute("SET statement_timeout = '20s'").await.unwrap();
    for commands in batches(ROWS + 1) {
        decide(&mut early, &commands).await;
    }

    let booked = ROWS - 1000;
    let load = format!(
        "INSERT INTO slots SELECT number, 'Cardiología', 'Miraflores', 'Dra. Quispe', now() + number * interval '1 hour',
                                  now() + (number + 1) * interval '1 hour', 'America/Lima', -300, 'open', 1
         FROM generate_series(1, {ROWS}) AS number;
         INSERT INTO appointments SELECT gen_random_uuid(), lpad((number % {PERSONS})::text, 5, '0'), number, 'booked', NULL,
                                         now(), now()
         FROM generate_series(1, {booked}) AS number;
         INSERT INTO erased_appointments SELECT gen_random_uuid(), now() FROM generate_series(1, {ROWS})"
    );
    owner.execute(AssertSqlSafe(load)).await.unwrap();
    let mut late = session(&url).await;
    late.execute("SET statement_timeout = '20s'").await.unwrap();

    for (name, connection) in [("before the rows came", &mut early), ("after the rows came", &mut late)] {
        connection
            .execute(
                "LOAD 'auto_explain';
                 SET auto_explain.log_min_duration = 0;
                 SET auto_explain.log_nested_statements = on;
                 SET auto_explain.log_format = json;
                 SET auto_explain.log_level = notice",
            )
            .await
            .unwrap();
        for catalogue in [CatalogueKind::Own, CatalogueKind::External] {
            let catalogue = if catalogue == CatalogueKind::Own { "own" } else { "external" };
            for commands in batches(booked + 1) {
                let of = format!("planned {name}, {catalogue} catalogue, {} commands", commands.len());
                connection.execute("BEGIN").await.unwrap();
                let set = sqlx::query("UPDATE country_settings SET catalogue = $1").bind(catalogue);
                set.execute(&mut *connection).await.unwrap();
                notices.plans();
                decide(connection, &commands).await;
                let plans = notices.plans();
                let (scanned, by_index) = rows_read(connection).await;
                connection.execute("ROLLBACK").await.unwrap();

                assert_eq!(scanned, 0, "{of}");
                // Twice those of each person and their slots.
                assert!((1..1000).contains(&by_index), "{of}: {by_index}");
                let inner = plans.iter().filter(|plan| {
                    plan["Query Text"].as_str().is_some_and(|text| text.contains("INSERT INTO public.appointments"))
                });
                assert!(inner.count() >= 1, "{of}: auto_explain told of no statement of decide: {plans:?}");
                let compiled: Vec<&Value> = plans.iter().filter(|plan| plan.get("JIT").is_some()).collect();
                assert!(compiled.is_empty(), "{of}: {compiled:?}");
            }
        }
    }

    // Where this server has a compiler, it would have been seen.
    late.execute("SET jit = on; SET jit_above_cost = 0").await.unwrap();
    notices.plans();
    late.execute("SELECT count(*) FROM slots WHERE schedule_id > 5").await.unwrap();
    let available: bool = sqlx::query_scalar("SELECT pg_jit_available()").fetch_one(&mut late).await.unwrap();
    assert_eq!(notices.plans().iter().any(|plan| plan.get("JIT").is_some()), available);
}
