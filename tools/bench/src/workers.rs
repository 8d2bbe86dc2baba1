//! The country's worker against `pgbench`: the same rows by the same statement over one connection. And `decide` with a catalogue of
//! slots against what it was before there were any.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aws_lambda_events::event::sqs::SqsEvent;
use country_worker::{
    CountryRules, Database, DatabasePlace, DatabaseUrl, EventBus, MigrationSettings, NotAccepted, Worker, migrate,
};
use local_stack::postgres::{self, Postgres};
use local_stack::progress::Progress;
use messages::AppointmentMessage;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use operator::database::connect;
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Executor as _};

use crate::batches::{self, NothingLeft, Rows};
use crate::measure::{Spread, cpu_time, cpu_time_with_children, micros};
use crate::moves;
use crate::programs::Programs;
use crate::subjects::{StandIn, event_bridge};
use crate::wire::{self, Calls};

/// Batches of 10 are what the queue delivers; the larger ones show the library.
const SIZES: [usize; 4] = [1, 10, 100, 1000];

#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// Rows that a round inserts, at most; with small batches fewer, to take as long.
    pub(crate) rows: usize,
}

impl Plan {
    pub(crate) const FULL: Self = Self { rounds: 9, rows: 8_000 };
    pub(crate) const QUICK: Self = Self { rounds: 1, rows: 2_000 };

    fn batches(self, size: usize) -> usize {
        (self.rows / size).clamp(1, self.rows / 8)
    }
}

/// Who inserts the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Subject {
    /// `Worker::process`: reads the messages, decides, and reports each outcome with `PutEvents`.
    Worker,
    /// The same without an event bus: what concerns the database.
    WorkerWithoutBus,
    /// `pgbench`, which sends the statement and drops its result.
    Pgbench,
    /// The same, in a database with a catalogue of its own.
    PgbenchOwnCatalogue,
    /// The same, in a database with the migrations from before there were slots.
    PgbenchBeforeSlots,
}

impl Subject {
    const ALL: [Self; 5] =
        [Self::Worker, Self::WorkerWithoutBus, Self::Pgbench, Self::PgbenchOwnCatalogue, Self::PgbenchBeforeSlots];
}

/// The last migration before there were slots.
const BEFORE_SLOTS: &str = "0003";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) subject: Subject,
    pub(crate) batch: usize,
    pub(crate) rows_per_second: Spread,
    /// Of the worker's process or of `pgbench`.
    pub(crate) client_cpu_us_per_row: Spread,
    /// Of PostgreSQL.
    pub(crate) server_cpu_us_per_row: Spread,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Workers {
    pub(crate) rows: Vec<Row>,
    pub(crate) calls: Vec<Calls>,
    /// Why `pgbench` was not measured.
    pub(crate) left_out: Option<String>,
}

/// A round, not summed up yet.
struct Round {
    subject: Subject,
    batch: usize,
    rows: usize,
    elapsed: Duration,
    client_cpu: Duration,
    server_cpu: Duration,
}

pub(crate) async fn measure(programs: &Programs, plan: Plan, progress: &Progress) -> Result<Workers> {
    let step = progress.step("workers");
    let stand_in = StandIn::start(programs).await?;
    let postgres = Postgres::start(&programs.root, &programs.scratch).await?;
    postgres.create_database("bench").await?;
    let url = postgres.url("bench");
    let database: DatabaseUrl = url.parse()?;
    let place = DatabasePlace::Url(database.clone());
    let (worker, importer, rules) = ("worker".parse()?, "importer".parse()?, CountryRules::default());
    migrate(&MigrationSettings { place, master_secret: None, worker, importer, rules }).await?;

    let bus = event_bridge(&stand_in)?;
    let worker = batches::worker(database.clone(), bus.clone())?;
    let without_bus = batches::worker(database.clone(), Discard)?;
    let pgbench = pgbench(&programs.root);
    let mut rounds = Vec::new();
    let mut rows = Rows(0);
    let [mut own_rows, mut rows_before] = [Rows(0), Rows(0)];
    let (own, before) = (postgres.url("own"), postgres.url("before"));
    postgres.create_database("own").await?;
    let per_round: usize = SIZES.iter().map(|size| plan.batches(*size) * size).sum();
    moves::own_catalogue(&own, (per_round * (plan.rounds + 1)) as u64).await?;
    postgres.create_database("before").await?;
    migrate_before_slots(programs, &before).await?;
    for round in 0..=plan.rounds {
        for batch in SIZES {
            let batches = plan.batches(batch);
            let mut measured =
                vec![with_worker(Subject::Worker, &worker, rows.batches(batches, batch)?, &postgres).await?];
            measured.push(
                with_worker(Subject::WorkerWithoutBus, &without_bus, rows.batches(batches, batch)?, &postgres).await?,
            );
            if let Ok(program) = &pgbench {
                for (subject, url, rows) in [
                    (Subject::Pgbench, &url, &mut rows),
                    (Subject::PgbenchOwnCatalogue, &own, &mut own_rows),
                    (Subject::PgbenchBeforeSlots, &before, &mut rows_before),
                ] {
                    let messages = rows.messages(batches, batch)?;
                    measured.push(with_pgbench(subject, programs, program, url, &messages, &postgres).await?);
                }
            }
            // The first round connects, prepares, and fills the server's caches.
            if round > 0 {
                rounds.extend(measured);
            }
        }
    }
    let mut written = 0;
    for (url, rows) in [(&url, &rows), (&own, &own_rows), (&before, &rows_before)] {
        let booked = row_count(url).await?;
        ensure!(booked == rows.0, "{} bookings were sent, and {booked} are in the table", rows.0);
        written += booked;
    }

    let mut calls = Vec::new();
    for batch in SIZES {
        calls.push(wire::count(&url, &stand_in, &bus, batch, &mut rows).await?);
    }
    step.done(&format!("{written} rows"));
    Ok(Workers { rows: summed_up(&rounds), calls, left_out: pgbench.err().map(|error| format!("{error:#}")) })
}

fn summed_up(rounds: &[Round]) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in SIZES {
        for subject in Subject::ALL {
            let of = |value: fn(&Round) -> f64| {
                let rounds = rounds.iter().filter(|round| round.batch == batch && round.subject == subject);
                Spread::of(rounds.map(value))
            };
            if let (Some(rows_per_second), Some(client_cpu_us_per_row), Some(server_cpu_us_per_row)) = (
                of(|round| round.rows as f64 / round.elapsed.as_secs_f64()),
                of(|round| micros(round.client_cpu) / round.rows as f64),
                of(|round| micros(round.server_cpu) / round.rows as f64),
            ) {
                rows.push(Row { subject, batch, rows_per_second, client_cpu_us_per_row, server_cpu_us_per_row });
            }
        }
    }
    rows
}

/// Accepts every event and forgets it.
struct Discard;

impl EventBus for Discard {
    async fn put(&self, events: &[messages::OutcomeEvent]) -> Vec<Result<(), NotAccepted>> {
        events.iter().map(|_| Ok(())).collect()
    }
}

async fn with_worker<B: EventBus>(
    subject: Subject,
    worker: &Worker<Database, B, NothingLeft>,
    batches: Vec<SqsEvent>,
    postgres: &Postgres,
) -> Result<Round> {
    let batch = batches.first().map_or(0, |event| event.records.len());
    let rows = batches.len() * batch;
    let (client, server) = (cpu_time(std::process::id())?, cpu_time_with_children(postgres.process_id())?);
    let began = Instant::now();
    for event in batches {
        let response = worker.process(event).await?;
        ensure!(response.batch_item_failures.is_empty(), "the worker sent messages back: {response:?}");
    }
    let elapsed = began.elapsed();
    Ok(Round {
        subject,
        batch,
        rows,
        elapsed,
        client_cpu: cpu_time(std::process::id())?.saturating_sub(client),
        server_cpu: cpu_time_with_children(postgres.process_id())?.saturating_sub(server),
    })
}

/// `pgbench`, beside the server's own programs or on the `PATH`.
fn pgbench(root: &Path) -> Result<PathBuf> {
    let beside = postgres::binaries(root)?.join("pgbench");
    if beside.is_file() {
        return Ok(beside);
    }
    local_stack::process::on_path("pgbench").context("there is no `pgbench` (Debian: it is in `postgresql`)")
}

/// One `pgbench` transaction whose statements are the batches, their arrays written out.
async fn with_pgbench(
    subject: Subject,
    programs: &Programs,
    program: &PathBuf,
    url: &str,
    batches: &[Vec<AppointmentMessage>],
    postgres: &Postgres,
) -> Result<Round> {
    let script = programs.scratch.join("pgbench.sql");
    std::fs::write(&script, batches.iter().map(|batch| statement(subject, batch)).collect::<Result<String>>()?)?;
    let (client, server) = (children_cpu_time()?, cpu_time_with_children(postgres.process_id())?);
    let output = Command::new(program)
        .args(["--no-vacuum", "--client=1", "--transactions=1", "--file"])
        .arg(&script)
        .arg(url)
        .output()
        .context("cannot run pgbench")?;
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "pgbench failed: {}", complained.trim());
    // Without the time to read the script and to connect.
    let latency = said.lines().find_map(|line| line.strip_prefix("latency average = ")?.strip_suffix(" ms"));
    let milliseconds: f64 = latency.context("pgbench told no latency")?.trim().parse()?;
    Ok(Round {
        subject,
        batch: batches.first().map_or(0, Vec::len),
        rows: batches.iter().map(Vec::len).sum(),
        elapsed: Duration::from_secs_f64(milliseconds / 1000.0),
        client_cpu: children_cpu_time()?.saturating_sub(client),
        server_cpu: cpu_time_with_children(postgres.process_id())?.saturating_sub(server),
    })
}

fn statement(subject: Subject, batch: &[AppointmentMessage]) -> Result<String> {
    let commands = serde_json::to_string(batch)?;
    let of_slots =
        if subject == Subject::PgbenchBeforeSlots { "" } else { ", command_id, schedule_id, replaced_by, slot::text" };
    Ok(format!(
        "SELECT appointment_id, outcome, reason, decided_at{of_slots} FROM public.decide('{commands}'::text::jsonb);\n"
    ))
}

/// Applies the migrations up to [`BEFORE_SLOTS`].
async fn migrate_before_slots(programs: &Programs, url: &str) -> Result<()> {
    let folder = programs.root.join("native-workers/country-worker/migrations");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    let mut connection = connect(url).await?;
    for file in files {
        let version = file.file_name().and_then(|name| name.to_str()).and_then(|name| name.get(..BEFORE_SLOTS.len()));
        if version.is_some_and(|version| version <= BEFORE_SLOTS) {
            connection.execute(AssertSqlSafe(std::fs::read_to_string(file)?)).await?;
        }
    }
    Ok(())
}

/// The CPU time of the children that have ended.
fn children_cpu_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let duration = |time: TimeVal| Duration::new(time.tv_sec().unsigned_abs(), time.tv_usec() as u32 * 1000);
    Ok(duration(usage.user_time()) + duration(usage.system_time()))
}

async fn row_count(url: &str) -> Result<u64> {
    let mut connection = connect(url).await?;
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM appointments WHERE status = 'booked'")
        .fetch_one(&mut connection)
        .await?;
    Ok(count.unsigned_abs())
}
