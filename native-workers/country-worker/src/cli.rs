use std::env;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use appointment::{Country, TraceContext};
use aws_lambda_events::event::sqs::SqsEvent;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use spans::Exporter;
use sqlx::Connection as _;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use uuid::Uuid;

use crate::object::{BucketEvent, Objects};
use crate::{
    Database, Drained, EventBridge, ImportError, MigrationSettings, Settings, SlotSettings, Source, SqsQueue, Worker,
    check_zones, drain, import, log, migrate, rebuild,
};

/// The appointment system of one country.
///
/// Without a command it runs as an AWS Lambda function (provided.al2023) for batches of the country's SQS queue: it
/// decides about each appointment in the country's database, and reports the outcome on the event bus.
#[derive(Parser)]
#[command(version, after_long_help = ENVIRONMENT)]
struct Arguments {
    #[command(subcommand)]
    mode: Option<Mode>,
}

#[derive(Clone, Subcommand)]
enum Mode {
    /// Apply the embedded migrations to the database, create the worker's user, and exit.
    ///
    /// Safe to repeat, and at the same time from several places. Needs a user that owns the database: that of
    /// DATABASE_URL, or the one in DATABASE_MASTER_SECRET_ARN.
    Migrate,
    /// Import slots, announce them anew, or check their time zones.
    ///
    /// Needs the user of imports (or one that owns the database), and the event bus.
    #[command(subcommand)]
    Slots(Slots),
}

#[derive(Clone, Subcommand)]
enum Slots {
    /// Import slots from a file, and print the report as JSON.
    ///
    /// The file is NDJSON, or CSV whose first line names the columns: scheduleId, specialty, center, practitioner, start,
    /// end or durationMinutes, timeZone, state. Times are local, such as 2026-12-01T09:00; where the clock is set back over
    /// them, with their offset. The state is `open`, which is also the default, or `withdrawn`. An import that was interrupted
    /// goes on where it was when it is started again with the same file.
    Import {
        /// The file; `-` is the standard input.
        file: PathBuf,
    },
    /// Announce every slot that has not ended, and the catalogue: the projection is made anew.
    Rebuild,
    /// Send the events that the event bus has not taken yet.
    Drain,
    /// Print each slot that has another offset by the time-zone rules of this binary than when it was imported; the exit
    /// status is 1 if there is one.
    CheckZones,
}

const ENVIRONMENT: &str = "\
Environment:
  DATABASE_HOST, DATABASE_PORT, DATABASE_NAME
                     the country's database on RDS; connections are by TLS, and verify the server
  DATABASE_USER      the worker's database user, or that of imports: it logs in with an IAM token of the function's role
  DATABASE_URL       instead of these, for a server elsewhere: postgres://USER:PASSWORD@HOST:PORT/DATABASE, with
                     ?sslmode=verify-full unless it is on this machine
  EVENT_BUS_NAME     the EventBridge bus for outcomes, for example appointments
  RECEIVE_DELAYS_SECONDS
                     what passes between the deliveries of a message, and so how often there is one, for example
                     5,30,120; on the last delivery of a command that is undecided for certain, AppointmentFailed is
                     reported
  WORKER_MODE        `migrate`: as a Lambda function, each invocation does what the command does. `import`: as a Lambda
                     function, it imports the objects below slots/ of which S3 tells it, writes reports/<name>.json, and
                     on any other event sends what the event bus has not taken yet
  DATABASE_MASTER_SECRET_ARN
                     when migrating: the secret of Secrets Manager with the owner's name and password, as RDS keeps
                     it; with DATABASE_URL it may be left out
  IMPORT_DATABASE_USER
                     when migrating: the user that is created for imports, `importer` where it is not set
  CATALOGUE, MAX_OPEN_BOOKINGS
                     when migrating: what the country decides by. `own`: only imported slots can be booked, and one person
                     holds at most so many that have not ended (at first 20); `external` (at first): any number is a
                     slot. What is not set stays as it is
  OTEL_EXPORTER_OTLP_ENDPOINT
                     an OpenTelemetry collector that gets the spans of each batch before the function returns (OTLP over HTTP,
                     protobuf), for example http://127.0.0.1:4318; without it none are sent
  AWS_…              credentials, region and (locally) AWS_ENDPOINT_URL, as Lambda sets them

Examples:
  DATABASE_URL=postgres://postgres:PASSWORD@127.0.0.1:5432/appointments_pe DATABASE_USER=worker appointment-pe migrate
  DATABASE_URL=postgres://importer:PASSWORD@127.0.0.1:5432/appointments_pe EVENT_BUS_NAME=appointments appointment-pe slots import slots.csv";

/// The program of the worker of `country`: reads its arguments and environment, and runs until it is stopped.
#[must_use]
pub fn run(country: Country) -> ExitCode {
    let name = format!("appointment-{}", country.code().to_ascii_lowercase());
    let matches = Arguments::command().display_name(name.clone()).bin_name(name.clone()).get_matches();
    let mode = match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => arguments.mode,
        Err(error) => error.exit(),
    };
    let exporter = log::start(name);
    let finished = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::from)
        .and_then(|runtime| runtime.block_on(start(country, mode, exporter.as_deref())));
    match finished {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(country = country.code(), error = %error, "stopped");
            ExitCode::FAILURE
        }
    }
}

/// The value of an environment variable.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

async fn start(country: Country, mode: Option<Mode>, exporter: Option<&Exporter>) -> Result<ExitCode, Error> {
    match mode {
        Some(Mode::Migrate) => {
            apply_migrations(country, &MigrationSettings::read(variable)?).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Mode::Slots(slots)) => return of_slots(country, &slots, SlotSettings::read(variable)?).await,
        None => {}
    }
    if variable("AWS_LAMBDA_RUNTIME_API").is_none() {
        return Err(
            "AWS_LAMBDA_RUNTIME_API is not set: without a command this is a Lambda function, which only Lambda \
                    starts (--help shows the commands)"
                .into(),
        );
    }
    match variable("WORKER_MODE").as_deref() {
        None | Some("") => {
            serve(country, Settings::read(variable)?, SqsQueue::read(variable)?, exporter).await?;
        }
        Some("migrate") => serve_migrations(country, MigrationSettings::read(variable)?).await?,
        Some("import") => serve_imports(country, SlotSettings::read(variable)?, Objects::read(variable)?).await?,
        Some(_) => {
            return Err(
                "the environment variable WORKER_MODE is malformed: expected migrate, import, or nothing".into()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Processes batches until Lambda stops the execution environment. Spans are sent before the response, after which Lambda freezes the
/// process.
async fn serve(
    country: Country,
    settings: Settings,
    queue: SqsQueue,
    exporter: Option<&Exporter>,
) -> Result<(), Error> {
    let bus = EventBridge::read(variable, settings.event_bus_name)?;
    let database = Database::new(settings.database);
    // A function whose start fails is throttled; a batch that fails comes again.
    if let Err(error) = database.connect().await {
        tracing::warn!(country = country.code(), error = %error, "started without a database: the next batch tries again");
    }
    let span_id = || fastrand::u64(..).to_be_bytes();
    let worker = &Worker::new(country, settings.receive_delays, database, bus, queue, span_id);
    lambda_runtime::run(service_fn(|event: LambdaEvent<SqsEvent>| async move {
        let response = worker.process(event.payload).await.map_err(Error::from);
        if let Some(exporter) = exporter
            && let Err(error) = exporter.flush().await
        {
            tracing::warn!(error = %error, "spans were not exported");
        }
        response
    }))
    .await
}

/// The response of an invocation in migrate mode; its event does not matter.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Migrated {
    schema_version: i64,
}

#[derive(Deserialize)]
struct AnyEvent {}

async fn serve_migrations(country: Country, settings: MigrationSettings) -> Result<(), Error> {
    let settings = &settings;
    lambda_runtime::run(service_fn(|_: LambdaEvent<AnyEvent>| async move {
        let schema_version = apply_migrations(country, settings).await?;
        Ok::<_, Error>(Migrated { schema_version })
    }))
    .await
}

async fn apply_migrations(country: Country, settings: &MigrationSettings) -> Result<i64, Error> {
    let schema_version = migrate(settings).await?;
    tracing::info!(country = country.code(), schema_version, "the database is up to date");
    Ok(schema_version)
}

/// A command about slots.
async fn of_slots(country: Country, slots: &Slots, settings: SlotSettings) -> Result<ExitCode, Error> {
    let mut connection = settings.database.connect_alone().await?;
    let bus = || EventBridge::read(variable, settings.event_bus_name.clone());
    let drained = match slots {
        Slots::Import { file } => {
            let bus = &bus()?;
            let (report, drained) = if file.as_os_str() == "-" {
                // It cannot be read twice, and so is never taken up again.
                let fingerprint = Uuid::from_u128(fastrand::u128(..)).to_string();
                let source = Source { name: "-".to_owned(), fingerprint, once: false };
                let reader = BufReader::new(tokio::io::stdin());
                import(&mut connection, country, bus, &source, reader, trace()).await?
            } else {
                let fingerprint = fingerprint(file).await.map_err(ImportError::Unreadable)?;
                let source = Source { name: file.display().to_string(), fingerprint, once: false };
                let reader = BufReader::new(File::open(file).await.map_err(ImportError::Unreadable)?);
                import(&mut connection, country, bus, &source, reader, trace()).await?
            };
            print(&report)?;
            drained
        }
        Slots::Rebuild => rebuild(&mut connection, country, &bus()?, trace()).await?,
        Slots::Drain => drain(&mut connection, country, &bus()?).await?,
        Slots::CheckZones => {
            let mut moved = Vec::new();
            let compared = check_zones(&mut connection, |slot| moved.push(slot)).await?;
            moved.iter().try_for_each(print)?;
            tracing::info!(country = country.code(), compared, moved = moved.len(), "zones checked");
            return Ok(if moved.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    };
    tracing::info!(country = country.code(), sent = drained.sent, left = drained.left, "told the event bus");
    // What is left goes with the next drain.
    Ok(if drained.left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(value: &impl Serialize) -> Result<(), Error> {
    let mut output = std::io::stdout().lock();
    serde_json::to_writer(&mut output, value)?;
    writeln!(output)?;
    Ok(())
}

fn trace() -> TraceContext {
    TraceContext::start(std::array::from_fn(|_| fastrand::u8(..)))
}

/// The SHA-256 of a file, in hexadecimal digits.
async fn fingerprint(file: &Path) -> std::io::Result<String> {
    let mut reader = BufReader::new(File::open(file).await?);
    let mut hash = Sha256::new();
    loop {
        let bytes = reader.fill_buf().await?;
        if bytes.is_empty() {
            break;
        }
        hash.update(bytes);
        let length = bytes.len();
        reader.consume(length);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The response of an invocation in import mode.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Imported {
    objects: usize,
    drained: Drained,
}

/// Imports what S3 announces; on any other event, as the schedule's, sends what the bus has not taken.
async fn serve_imports(country: Country, settings: SlotSettings, objects: Objects) -> Result<(), Error> {
    let bus = &EventBridge::read(variable, settings.event_bus_name)?;
    let (database, objects) = (&settings.database, &objects);
    lambda_runtime::run(service_fn(|event: LambdaEvent<BucketEvent>| async move {
        // Its own session: its end lets others import under the same name.
        let mut connection = database.connect_alone().await?;
        for created in &event.payload.records {
            objects.import(&mut connection, country, bus, created, trace()).await?;
        }
        let drained = drain(&mut connection, country, bus).await?;
        let _ = connection.close().await;
        let (country, objects) = (country.code(), event.payload.records.len());
        let Drained { sent, left } = drained;
        match (objects, sent, left) {
            // The schedule asks every few seconds.
            (0, 0, 0) => tracing::debug!(country, "nothing to tell the event bus"),
            _ => tracing::info!(country, objects, sent, left, "told the event bus"),
        }
        Ok::<_, Error>(Imported { objects, drained })
    }))
    .await
}
