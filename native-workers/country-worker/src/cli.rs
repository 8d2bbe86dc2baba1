use std::env;
use std::process::ExitCode;

use appointment::Country;
use aws_lambda_events::event::sqs::SqsEvent;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::{Deserialize, Serialize};

use crate::{Database, EventBridge, MigrationSettings, Settings, SqsQueue, Worker, log, migrate};

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

#[derive(Clone, Copy, Subcommand)]
enum Mode {
    /// Apply the embedded migrations to the database, create the worker's user, and exit.
    ///
    /// Safe to repeat, and at the same time from several places. Needs a user that owns the database: that of
    /// DATABASE_URL, or the one in DATABASE_MASTER_SECRET_ARN.
    Migrate,
}

const ENVIRONMENT: &str = "\
Environment:
  DATABASE_HOST, DATABASE_PORT, DATABASE_NAME
                     the country's database on RDS; connections are by TLS, and verify the server
  DATABASE_USER      the worker's database user: it logs in with an IAM token of the function's role
  DATABASE_URL       instead of these, for a server elsewhere: postgres://USER:PASSWORD@HOST:PORT/DATABASE, with
                     ?sslmode=verify-full unless it is on this machine
  EVENT_BUS_NAME     the EventBridge bus for outcomes, for example appointments
  RECEIVE_DELAYS_SECONDS
                     what passes between the deliveries of a message, and so how often there is one, for example
                     5,30,120; on the last delivery of a command that is undecided for certain, AppointmentFailed is
                     reported
  WORKER_MODE        `migrate`: as a Lambda function, each invocation does what the command does
  DATABASE_MASTER_SECRET_ARN
                     when migrating: the secret of Secrets Manager with the owner's name and password, as RDS keeps
                     it; with DATABASE_URL it may be left out
  AWS_…              credentials, region and (locally) AWS_ENDPOINT_URL, as Lambda sets them

Examples:
  DATABASE_URL=postgres://postgres:PASSWORD@127.0.0.1:5432/appointments_pe DATABASE_USER=worker appointment-pe migrate";

/// The program of the worker of `country`: reads its arguments and environment, and runs until it is stopped.
#[must_use]
pub fn run(country: Country) -> ExitCode {
    let name = format!("appointment-{}", country.code().to_ascii_lowercase());
    let matches = Arguments::command().display_name(name.clone()).bin_name(name.clone()).get_matches();
    let mode = match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => arguments.mode,
        Err(error) => error.exit(),
    };
    log::start(name);
    let finished = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::from)
        .and_then(|runtime| runtime.block_on(start(country, mode)));
    match finished {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(country = country.code(), error = %error, "stopped");
            ExitCode::FAILURE
        }
    }
}

async fn start(country: Country, mode: Option<Mode>) -> Result<(), Error> {
    let variable = |name: &str| env::var(name).ok();
    if let Some(Mode::Migrate) = mode {
        return apply_migrations(country, &MigrationSettings::read(variable)?).await.map(|_| ());
    }
    if variable("AWS_LAMBDA_RUNTIME_API").is_none() {
        return Err(
            "AWS_LAMBDA_RUNTIME_API is not set: without a command this is a Lambda function, which only Lambda \
                    starts (--help shows the commands)"
                .into(),
        );
    }
    match variable("WORKER_MODE").as_deref() {
        None | Some("") => serve(country, Settings::read(variable)?, SqsQueue::read(variable)?).await,
        Some("migrate") => serve_migrations(country, MigrationSettings::read(variable)?).await,
        Some(_) => Err("the environment variable WORKER_MODE is malformed: expected migrate, or nothing".into()),
    }
}

/// Processes batches until Lambda stops the execution environment.
async fn serve(country: Country, settings: Settings, queue: SqsQueue) -> Result<(), Error> {
    let database = Database::new(settings.database);
    // A function whose start fails is throttled; a batch that fails comes again.
    let (connected, bus) =
        futures::future::join(database.connect(), EventBridge::from_environment(settings.event_bus_name)).await;
    if let Err(error) = connected {
        tracing::warn!(country = country.code(), error = %error, "started without a database: the next batch tries again");
    }
    let span_id = || fastrand::u64(..).to_be_bytes();
    let worker = &Worker::new(country, settings.receive_delays, database, bus, queue, span_id);
    lambda_runtime::run(service_fn(|event: LambdaEvent<SqsEvent>| async move {
        worker.process(event.payload).await.map_err(Error::from)
    }))
    .await
}

/// What an invocation in migrate mode answers; what it is asked does not matter.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Migrated {
    schema_version: i64,
}

#[derive(Deserialize)]
struct Anything {}

async fn serve_migrations(country: Country, settings: MigrationSettings) -> Result<(), Error> {
    let settings = &settings;
    lambda_runtime::run(service_fn(|_: LambdaEvent<Anything>| async move {
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
