//! `cargo xtask …`: everything that people do with this repository besides editing it.

mod account;
mod bench;
mod check;
mod cost;
mod demo;
mod forget;
mod package;
mod reconcile;
mod redrive;
mod slots;
mod spin_env;
mod status;
mod terraform;
mod test;
mod token;
mod trace;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use console::terminal::{self, Colour};
use local_stack::application::Host;
use local_stack::progress::Progress;
use local_stack::{Ports, setup};

/// Runs the medical appointment backend on this machine, and tests it.
///
/// The WebAssembly components, the countries' workers and PostgreSQL are real; only AWS is emulated. Begin with `demo`.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 80)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the machine lacks: the Wasm target, the AWS emulator, PostgreSQL.
    ///
    /// Needs rustup and Python 3 with its `venv` module. Safe to repeat: what exists is left alone. It changes only this
    /// repository's `target` folder and the Rust toolchain. The other commands do this first.
    Setup,
    /// Check format, lints and unit tests: under a minute if little has changed.
    ///
    /// Stops at the first failure. Installs and starts nothing. `cargo xtask test` runs every other test too, and `.ci/run`
    /// every check that a change must pass before it is merged.
    Check,
    /// Build and start the whole system, and leave it running until Ctrl-C.
    ///
    /// Starts the AWS emulator (which checks signatures and policies), PostgreSQL with
    /// one database per country, the functions behind their queues and API Gateway, and
    /// the application outside of them, and imports four weeks of slots. To use a
    /// PostgreSQL server that exists, name a database for each country, as a superuser:
    /// DATABASE_URL_PE, DATABASE_URL_CL. Logs are in target/local-stack/PORT/logs.
    ///
    /// Examples:
    ///   cargo xtask up
    ///   cargo xtask up --port 3100 --auth jwt     tokens: `cargo xtask token 00123`
    #[command(verbatim_doc_comment)]
    Up {
        #[command(flatten)]
        start: Start,
        #[command(flatten)]
        options: up::UpOptions,
    },
    /// Start the whole system, book one free slot in each country, and show each hop with its time.
    ///
    /// Ends with status 0 if each booking is completed and has its row in its own country's database, and if each slot has left
    /// the list of free slots. Takes ten seconds once everything is built.
    Demo {
        #[command(flatten)]
        start: Start,
        /// Leave the system running afterwards, until Ctrl-C.
        #[arg(long)]
        keep: bool,
    },
    /// Print what a million bookings cost on AWS: docs/cost.md.
    ///
    /// In USD, from the calls of one booking and from dated list prices; both are in xtask/src/cost.rs. After a change:
    /// `cargo xtask cost > docs/cost.md`.
    Cost,
    /// Print a bearer token for a local stack that `up --auth jwt` started.
    ///
    /// The issuer's keys are made when they are first needed, and are kept in
    /// target/local-stack/token-issuer.
    ///
    /// Example:
    ///   curl -H "authorization: Bearer $(cargo xtask token 00123)" \
    ///     http://127.0.0.1:3000/appointments/00123
    #[command(verbatim_doc_comment)]
    Token(token::Token),
    /// Show an appointment's way through the system as bars.
    ///
    /// Read from the logs of a local stack that `up` or `demo` started. Each hop (█)
    /// is drawn between what its message waited for (░, in brackets: the event bus, its
    /// queue, its function) and what it called (▒). An appointment that was cancelled
    /// or moved has several traces. At the end: how much of the time from 202 to
    /// completed the spans tell, and where there are gaps. In colour on a terminal,
    /// unless NO_COLOR is set.
    ///
    /// Examples:
    ///   cargo xtask trace 01890f3e-6b7c-7cc2-98c4-dc0c0c07398f   an `appointmentId`
    ///   cargo xtask trace f44af53fcfacf9aa38d2748c17b35542       a line's `trace_id`
    #[command(verbatim_doc_comment)]
    Trace(trace::Trace),
    /// Turn Terraform's outputs into the environment file of the Spin application.
    ///
    /// Also writes spin.edge.toml beside spin.toml: the manifest with the public
    /// components only. Needs the outputs of a configuration with `edge_access_keys`.
    /// The file holds secrets: it has the mode 0600; do not commit it.
    /// Each line is a `SPIN_VARIABLE_…=value` without quotes, as `docker run
    /// --env-file` and `kubectl create secret generic --from-env-file` read it.
    ///
    /// Example:
    ///   terraform -chdir=infra/examples/production output -json |
    ///     cargo xtask spin-env --output spin.env
    #[command(verbatim_doc_comment)]
    SpinEnv(spin_env::SpinEnv),
    /// Import a country's slots, announce them again, or check their time zones, on the local stack that is running.
    #[command(subcommand)]
    Slots(slots::Slots),
    /// Show the state of the local stack: queues, dead letters, what was given up, countries, errors.
    ///
    /// Needs a stack that `up` or `demo --keep` left running. The console that `up` starts shows the same, and more, in the
    /// browser. In colour on a terminal, unless NO_COLOR is set.
    Status {
        /// The port of the local stack's application.
        #[arg(long, default_value_t = 3000)]
        port: u16,
    },
    /// Put back dead letters to their queues, and undecided commands to the topic.
    ///
    /// Do this once the cause is gone. It is safe to repeat, because a country returns
    /// the same decision for a command that it has decided. Without --aws it works on
    /// the local stack that `up` or `demo --keep` left running. With --aws the
    /// credentials need sqs:StartMessageMoveTask and what it requires, dynamodb:Query,
    /// dynamodb:GetItem and sns:Publish.
    ///
    /// Examples:
    ///   cargo xtask redrive --dry-run
    ///   cargo xtask redrive --aws "$(terraform -chdir=infra/examples/production \
    ///     output -raw appointments_topic_arn)"
    #[command(verbatim_doc_comment)]
    Redrive {
        #[command(flatten)]
        place: account::Place,
        /// Only say what there is to put back; on the local stack, message by message.
        #[arg(long)]
        dry_run: bool,
    },
    /// Erase one insured person's data: country databases, table, idempotency keys.
    ///
    /// What is booked is cancelled first, which frees its slot. Messages that are still
    /// on their way, or in a dead-letter queue, do not bring the person back, and do
    /// not stop the erasure. docs/privacy.md says where else personal data is and for
    /// how long. Without --aws it works on the local stack that `up` or `demo --keep`
    /// left running. With --aws the credentials need dynamodb:Query, dynamodb:PutItem
    /// and dynamodb:DeleteItem, and DATABASE_URL_PE and so on name each country's
    /// database, as its owner.
    ///
    /// Examples:
    ///   cargo xtask forget 00123 --dry-run
    ///   DATABASE_URL_PE=… DATABASE_URL_CL=… cargo xtask forget 00123 \
    ///     --aws arn:aws:sns:us-east-1:123456789012:appointment-commands
    #[command(verbatim_doc_comment)]
    Forget {
        /// The person's code: five digits.
        insured_id: appointment::InsuredId,
        #[command(flatten)]
        place: account::Place,
        /// Only say how much there is to erase.
        #[arg(long)]
        dry_run: bool,
    },
    /// Re-enter the decisions that a restored country's database has forgotten.
    ///
    /// Stops the event source mapping of the country's queue and lets outcomes in
    /// flight arrive: puts the confirmation queue's dead letters back, and replays the
    /// bus's archive from --restored-to on. Then it enters each decision that the table
    /// shows and the database lacks, and starts the mapping. Nothing is announced. A
    /// contradiction, such as a slot that two appointments hold, is printed and left
    /// alone, and the command ends with a failure. Safe to repeat. docs/restore.md has
    /// the steps before and after.
    ///
    /// Without --aws it works on the local stack that `up` or `demo --keep` left
    /// running. With --aws the credentials need dynamodb:Scan,
    /// lambda:ListEventSourceMappings, lambda:GetEventSourceMapping,
    /// lambda:UpdateEventSourceMapping, events:StartReplay, events:DescribeReplay,
    /// sqs:GetQueueUrl, sqs:GetQueueAttributes, sqs:StartMessageMoveTask and what that
    /// requires. DATABASE_URL_PE or _CL names the restored database, as its owner.
    ///
    /// Example:
    ///   DATABASE_URL_PE=… cargo xtask reconcile --country PE --dry-run \
    ///     --restored-to 2026-11-24T09:30:00Z \
    ///     --aws arn:aws:sns:us-east-1:123456789012:appointment-commands
    #[command(verbatim_doc_comment)]
    Reconcile {
        /// The country: PE or CL.
        #[arg(long)]
        country: appointment::Country,
        /// The time to which the database was restored (RFC 3339), for example 2026-11-24T09:30:00Z.
        #[arg(long, value_name = "TIME")]
        restored_to: appointment::Timestamp,
        #[command(flatten)]
        place: account::Place,
        /// Only say what the database lacks. The mapping is not stopped, and nothing in flight is waited for.
        #[arg(long)]
        dry_run: bool,
    },
    /// Measure the system against what people would use instead, and against the limit.
    ///
    /// Builds what is deployed first (`cargo xtask package`), takes about a quarter of
    /// an hour after that, and needs the machine for itself. Writes docs/benchmarks.md
    /// with its plots, and docs/benchmarks.json: each part replaces its own figures. A
    /// quick run, and one of a tree with changes that are not committed, writes to
    /// target/bench/report instead.
    ///
    /// Examples:
    ///   cargo xtask bench                  everything
    ///   cargo xtask bench --quick          under two minutes: shows that it works
    ///   cargo xtask bench intake workers   these parts
    #[command(verbatim_doc_comment)]
    Bench(bench_options::Options),
    /// Build what is deployed into target/package: zips, application, checksums.
    ///
    /// The same sources and the same rustc give the same bytes. Beside each zip,
    /// `<name>.architecture` says for which instruction set it was built. The functions
    /// are built by cargo-lambda, which is installed under target/.
    ///
    /// Example:
    ///   cargo xtask package --architecture arm64
    #[command(verbatim_doc_comment)]
    Package(package::Package),
    /// Run every test: builds all parts, then runs `cargo test` over the workspace.
    ///
    /// Examples:
    ///   cargo xtask test                      everything
    ///   cargo xtask test pipeline:: domain::  the tests of these modules
    ///   cargo xtask test chaos                the long chaos run (CHAOS_SEED=7: again)
    ///   cargo xtask test reconcile            a restored country of 5,000 bookings
    ///   cargo xtask test -- --nocapture       with what the tests print
    ///   cargo xtask test --host spin          the tests over HTTP, on `spin up`
    #[command(verbatim_doc_comment)]
    Test {
        /// What runs the application of the tests that speak to it over HTTP; with `spin`, only these tests run.
        #[arg(long, value_enum, default_value = "embedded")]
        host: HostChoice,
        /// Parts of the names of the tests to run.
        names: Vec<String>,
        /// Options of the test program, such as `--nocapture` (`cargo test -- --help` lists them).
        #[arg(last = true, value_name = "TEST_OPTIONS")]
        options: Vec<String>,
    },
    /// Check infra/: formatting, validity, Terraform's tests against mocks, and a static policy scan by checkov.
    ///
    /// Needs `terraform` 1.9 or later on the PATH, and no account. Takes about five minutes. Terraform gets the schema of
    /// hashicorp/aws from its registry or, if that is out of reach, from ../shared/terraform-offline. The last lines say what
    /// was left out.
    Terraform,
}

#[derive(Args)]
struct Start {
    /// The application's port on 127.0.0.1.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// What runs the application; by default `spin` if it is installed, otherwise the embedded host.
    #[arg(long, value_enum)]
    host: Option<HostChoice>,
    /// The AWS emulator's port on 127.0.0.1, instead of a free one.
    #[arg(long, env = "EMULATOR_PORT")]
    emulator_port: Option<u16>,
    /// The port of the databases' server on 127.0.0.1, instead of a free one.
    #[arg(long, env = "DATABASE_PORT")]
    database_port: Option<u16>,
}

#[derive(Clone, Copy, ValueEnum)]
enum HostChoice {
    /// `spin up`, as in production.
    Spin,
    /// crates/edge-host, which needs nothing installed.
    Embedded,
}

impl Start {
    fn host(&self) -> Host {
        self.host.map_or_else(Host::detect, Host::from)
    }

    const fn ports(&self) -> Ports {
        Ports { emulator: self.emulator_port, databases: self.database_port }
    }
}

impl From<HostChoice> for Host {
    fn from(choice: HostChoice) -> Self {
        match choice {
            HostChoice::Spin => Self::Spin,
            HostChoice::Embedded => Self::Embedded,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let task = match Cli::try_parse() {
        Ok(Cli { task }) => task,
        Err(told) => return tell(&told),
    };
    match run(task).await {
        Ok(status) => status,
        Err(error) => {
            eprint!("{}", terminal::error(&format!("error: {error:#}")));
            ExitCode::FAILURE
        }
    }
}

/// Prints what clap tells in place of a task: the help, or what is wrong with the arguments.
fn tell(told: &clap::Error) -> ExitCode {
    if !told.use_stderr() {
        // An error means that the output is closed.
        let _ = told.print();
        return ExitCode::SUCCESS;
    }
    let text = match Colour::of_errors() {
        Colour::On => told.render().ansi().to_string(),
        Colour::Off => told.render().to_string(),
    };
    eprint!("{}", terminal::error(text.trim_end()));
    // The exit code of clap.
    ExitCode::from(2)
}

async fn run(task: Task) -> Result<ExitCode> {
    let root = root()?;
    match task {
        Task::Setup => {
            setup::run(&root, &Progress::steps(setup::STEPS))?;
            println!("This machine is ready: try `cargo xtask demo`.");
            Ok(ExitCode::SUCCESS)
        }
        Task::Check => check::run(&root),
        Task::Up { start, options } => up::run(&root, &start, &options).await,
        Task::Token(token) => token::run(&root, &token),
        Task::Trace(options) => trace::run(&root, &options),
        Task::Demo { start, keep } => demo::run(&root, &start, keep).await,
        Task::Cost => {
            print!("{}", cost::page());
            Ok(ExitCode::SUCCESS)
        }
        Task::SpinEnv(options) => spin_env::run(&root, &options),
        Task::Slots(slots) => slots::run(&root, &slots).await,
        Task::Status { port } => status::run(&root, port).await,
        Task::Redrive { place, dry_run } => redrive::run(&root, &place, dry_run).await,
        Task::Forget { insured_id, place, dry_run } => forget::run(&root, &place, insured_id, dry_run).await,
        Task::Reconcile { country, restored_to, place, dry_run } => {
            reconcile::run(&root, &place, country, restored_to, dry_run).await
        }
        Task::Bench(options) => bench::run(&root, &options),
        Task::Test { host, names, options } => test::run(&root, host.into(), &names, &options),
        Task::Package(package) => package::run(&root, &package).map(|()| ExitCode::SUCCESS),
        Task::Terraform => terraform::run(&root).map(|()| ExitCode::SUCCESS),
    }
}

/// The repository's root: xtask is built inside it.
fn root() -> Result<PathBuf> {
    let manifest = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(manifest.parent().context("xtask lies in a folder of the repository")?.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_help_of_every_command_fits_80_columns() {
        fn helps(command: &mut clap::Command, all: &mut Vec<String>) {
            all.push(command.render_help().to_string());
            all.push(command.render_long_help().to_string());
            command.get_subcommands_mut().for_each(|command| helps(command, all));
        }
        let mut command = Cli::command();
        command.build();
        let mut all = Vec::new();
        helps(&mut command, &mut all);
        assert!(all.len() > 30, "{}", all.len());
        let wide: Vec<&str> =
            all.iter().flat_map(|help| help.lines()).filter(|line| line.chars().count() > terminal::WIDTH).collect();
        assert!(wide.is_empty(), "{wide:#?}");
    }
}
