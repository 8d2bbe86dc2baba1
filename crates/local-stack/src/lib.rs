//! The whole system on one machine: the real components and workers, a real PostgreSQL, and an emulator of AWS.
//!
//! [`LocalStack::start`] composes the parts, [`Services::start`] all but the application; each is usable by itself. It serves
//! `cargo xtask up` and `demo`, and the pipeline tests, which start instances of their own on free ports.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`backplane`] | the typed `infra/backplane.json` |
//! | [`setup`], [`tools`] | what the machine needs: the Wasm target, the emulator, PostgreSQL; the tests' tools |
//! | [`artifacts`] | builds the components, the workers and the embedded host |
//! | [`database`] | the countries' databases, as the functions are told of them |
//! | [`archive`] | writes zips that depend on their content alone |
//! | [`ministack`], [`postgres`] | the two servers, as child processes |
//! | [`provision`] | creates the backplane in the emulator from `infra/backplane.json` |
//! | [`pipe`], [`schedule`] | play the EventBridge pipe and the republish rule, which the emulator does not |
//! | [`tokens`] | an issuer of bearer tokens |
//! | [`application`] | the Spin application, under `spin up` or in the embedded host |
//! | [`queue_manifest`] | the manifest of a host that receives from SQS_CONFIRMATION itself |
//! | [`running`], [`redrive`], [`forget`] | what an operator does to a stack that runs |
//! | [`process`] | child processes that never outlive their program |
//!
//! Nothing outlives the program that started it: dropping a value stops what it stands for, and on Linux the kernel stops
//! the children of a program that was killed.

pub mod account;
pub mod application;
pub mod archive;
pub mod artifacts;
pub mod aws;
pub mod backplane;
pub mod database;
pub mod forget;
pub mod http;
mod journal;
pub mod ministack;
pub mod pipe;
pub mod postgres;
pub mod process;
pub mod progress;
pub mod provision;
pub mod queue_manifest;
pub mod reconcile;
pub mod redrive;
pub mod running;
pub mod schedule;
pub mod setup;
pub mod tokens;
pub mod tools;
mod worker_logs;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::http::HeaderValue;
use anyhow::{Context, Result};
use aws_http::{Credentials, Endpoint};
use futures::future::{try_join, try_join_all};

use crate::application::{Application, ApplicationSettings, Host};
use crate::artifacts::Artifacts;
use crate::aws::Aws;
use crate::backplane::Backplane;
use crate::database::Database;
use crate::ministack::{Ministack, REGION};
use crate::pipe::{Pipe, PipeSettings};
use crate::postgres::Postgres;
use crate::progress::Progress;
use crate::provision::{Provisioned, WorkerCode, provision, register_workers};
use crate::running::RunningStack;
use crate::schedule::{Schedule, ScheduleSettings};
use crate::tokens::Authentication;
use crate::worker_logs::WorkerLogs;

/// How many steps [`LocalStack::start`] reports.
pub const STEPS: u32 = 5;

/// How long the pipe's own receive may take: SQS's long poll and some more.
const RECEIVE_LIMIT: Duration = Duration::from_secs(30);

/// What to start.
pub struct Options {
    /// The repository's root.
    pub root: PathBuf,
    /// Names the folder under `target/local-stack` for logs and data; its earlier content is removed.
    pub instance: String,
    /// What to provision, usually [`Backplane::shortened`].
    pub backplane: Backplane,
}

/// What stands behind the application: the emulator with the provisioned backplane, the databases, and the workers.
pub struct Services {
    // Fields are dropped in this order, the reverse of their start.
    _worker_logs: WorkerLogs,
    ministack: Ministack,
    postgres: Option<Postgres>,
    databases: BTreeMap<String, Database>,
    endpoint: Endpoint,
    provisioned: Provisioned,
    backplane: Backplane,
    directory: PathBuf,
}

impl Services {
    /// Starts everything that the application calls; on failure, what was started is stopped again.
    ///
    /// # Errors
    /// When a part does not start; the error names it and shows the end of its log.
    pub async fn start(options: Options, artifacts: &Artifacts, progress: &Progress) -> Result<Self> {
        let Options { root, instance, backplane } = options;
        let directory = fresh_directory(&root, &instance)?;

        let step = progress.step("AWS emulator and PostgreSQL");
        let given = given_databases(&backplane)?;
        let program = setup::ministack_program(&root);
        let start_postgres = async {
            let needed = backplane.countries().any(|country| !given.contains_key(&country.code));
            if needed { Postgres::start(&root, &directory).await.map(Some) } else { Ok(None) }
        };
        let (postgres, ministack) = try_join(start_postgres, Ministack::start(&program, None, &directory)).await?;
        step.done(&ministack.url());

        let step = progress.step("backplane and databases");
        let endpoint = ministack.endpoint()?;
        let databases = create_databases(&backplane, given, postgres.as_ref()).await?;
        let provisioned = provision(&backplane, &endpoint, &databases).await?;
        step.done(&format!("provisioned from {}", backplane::FILE));

        let step = progress.step("migrations and workers");
        let packages = worker_packages(&backplane, artifacts).await?;
        let code = packages.iter().filter_map(|(country, zip)| {
            let database = databases.get(country)?;
            Some((country.clone(), WorkerCode { zip, database }))
        });
        register_workers(&backplane, &endpoint, &provisioned, &code.collect()).await?;
        let worker_log = directory.join("logs").join("workers.log");
        let worker_logs = WorkerLogs::start(Aws::root(endpoint.clone()), &backplane, &worker_log)?;
        step.done(&backplane.countries().map(|country| country.function).collect::<Vec<_>>().join(", "));

        let services = Self {
            _worker_logs: worker_logs,
            ministack,
            postgres,
            databases,
            endpoint,
            provisioned,
            backplane,
            directory,
        };
        RunningStack::announce(&services)?;
        Ok(services)
    }

    /// The emulator's URL.
    #[must_use]
    pub fn emulator_url(&self) -> String {
        self.ministack.url()
    }

    /// The emulator as an endpoint for `aws-http`.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Calls as root, to look at the backplane.
    #[must_use]
    pub fn aws(&self) -> Aws {
        Aws::root(self.endpoint.clone())
    }

    /// What was provisioned.
    #[must_use]
    pub const fn backplane(&self) -> &Backplane {
        &self.backplane
    }

    /// The access key of a principal that is not a role, by its name in `infra/backplane.json`.
    ///
    /// # Errors
    /// When there is no such principal.
    pub fn credentials(&self, principal: &str) -> Result<&Credentials> {
        credentials(&self.provisioned, principal)
    }

    /// The ARN of the topic.
    #[must_use]
    pub fn topic_arn(&self) -> &str {
        &self.provisioned.topic_arn
    }

    /// The URL of a queue or dead-letter queue.
    ///
    /// # Errors
    /// When there is no queue of that name.
    pub fn queue_url(&self, name: &str) -> Result<&str> {
        self.provisioned.queue_urls.get(name).map(String::as_str).with_context(|| format!("no queue {name}"))
    }

    /// The URL of every queue and dead-letter queue, by name.
    #[must_use]
    pub const fn queue_urls(&self) -> &BTreeMap<String, String> {
        &self.provisioned.queue_urls
    }

    /// The URL of a country's database, by the country's code, as the user that owns it.
    ///
    /// # Errors
    /// When there is no such country.
    pub fn database_url(&self, country: &str) -> Result<&str> {
        self.databases.get(country).map(Database::owner_url).with_context(|| format!("no database of {country}"))
    }

    /// The folder of the logs: `application.log`, `workers.log`, `pipe.log`, `schedule.log`, `ministack.log`, `postgres.log`.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.directory.join("logs")
    }

    /// The values of `spin.toml`'s variables, by name: the users' access keys, a key for the internal routes, and no
    /// authentication.
    ///
    /// # Errors
    /// When the backplane has no principal of a component's name.
    pub fn variables(&self, api_key: &str) -> Result<BTreeMap<&'static str, String>> {
        self.variables_by_way_of(&self.endpoint, api_key)
    }

    /// As [`Services::variables`], for an application that reaches AWS at `endpoint`, for example through a proxy.
    ///
    /// # Errors
    /// As [`Services::variables`].
    pub fn variables_by_way_of(&self, endpoint: &Endpoint, api_key: &str) -> Result<BTreeMap<&'static str, String>> {
        let (intake, confirmation) = (self.credentials("intake")?, self.credentials("confirmation")?);
        let endpoint = endpoint.to_string();
        let delays: Vec<String> = self.backplane.durations.republish_delays.iter().map(u64::to_string).collect();
        Ok(BTreeMap::from([
            ("aws_region", REGION.to_owned()),
            ("dynamodb_endpoint", endpoint.clone()),
            ("sns_endpoint", endpoint.clone()),
            ("eventbridge_endpoint", endpoint),
            ("appointments_table", self.backplane.table.name.clone()),
            ("appointments_topic_arn", self.topic_arn().to_owned()),
            ("appointments_event_bus", self.backplane.bus.name.clone()),
            ("republish_delays_seconds", delays.join(",")),
            ("intake_access_key_id", intake.access_key_id().to_owned()),
            ("intake_secret_access_key", intake.secret_access_key().to_owned()),
            ("confirmation_access_key_id", confirmation.access_key_id().to_owned()),
            ("confirmation_secret_access_key", confirmation.secret_access_key().to_owned()),
            ("internal_api_key", api_key.to_owned()),
            ("authentication", "none".to_owned()),
        ]))
    }

    /// A principal's identity as the environment variables that AWS's tools read.
    fn identity_variables(&self, principal: &str) -> Result<Vec<(String, String)>> {
        let credentials = self.credentials(principal)?;
        let variables = [
            ("AWS_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", credentials.access_key_id()),
            ("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key()),
            // For Spin's plugin; the embedded host takes the queue's own URL.
            ("AWS_ENDPOINT_URL", &self.endpoint.to_string()),
        ];
        Ok(variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
    }

    fn ended(&mut self) -> Option<String> {
        self.ministack.ended().or_else(|| self.postgres.as_mut().and_then(Postgres::ended))
    }
}

/// A running system.
pub struct LocalStack {
    // Fields are dropped in this order, the reverse of their dependencies.
    application: Application,
    _schedule: Schedule,
    pipe: Option<Pipe>,
    services: Services,
    api_key: String,
}

/// How SQS_CONFIRMATION reaches the confirmation component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirm {
    /// By the EventBridge pipe, over HTTP, as on AWS.
    Http,
    /// By the host's own SQS trigger.
    Sqs,
}

/// How to run the application over [`Services`].
pub struct Front<'a> {
    /// The repository's root.
    pub root: &'a Path,
    /// What was built.
    pub artifacts: &'a Artifacts,
    /// What runs the application.
    pub host: Host,
    /// The application's port, or a free one.
    pub port: Option<u16>,
    /// Where the application reaches AWS; the emulator itself where `None`.
    pub endpoint: Option<Endpoint>,
    /// How it learns who calls.
    pub authentication: Authentication<'a>,
    /// How outcomes reach it.
    pub confirm: Confirm,
}

impl<'a> Front<'a> {
    /// In the embedded host, on a free port, over the emulator itself; anybody acts for anybody, and the pipe brings outcomes.
    #[must_use]
    pub const fn embedded(root: &'a Path, artifacts: &'a Artifacts) -> Self {
        Self {
            root,
            artifacts,
            host: Host::Embedded,
            port: None,
            endpoint: None,
            authentication: Authentication::None,
            confirm: Confirm::Http,
        }
    }
}

impl LocalStack {
    /// Starts everything.
    ///
    /// On failure, what was started is stopped again.
    ///
    /// # Errors
    /// When a part does not start; the error names it and shows the end of its log.
    pub async fn start(options: Options, front: Front<'_>, progress: &Progress) -> Result<Self> {
        if let Some(port) = front.port {
            application::require_free(port)?;
        }
        let services = Services::start(options, front.artifacts, progress).await?;
        Self::over(services, front, progress).await
    }

    /// Starts the application, and what calls it, over services that run.
    ///
    /// # Errors
    /// When a part does not start; the error names it and shows the end of its log.
    pub async fn over(services: Services, front: Front<'_>, progress: &Progress) -> Result<Self> {
        let step = progress.step("application");
        let api_key = random_key()?;
        let endpoint = front.endpoint.as_ref().unwrap_or(services.endpoint());
        let mut variables = services.variables_by_way_of(endpoint, &api_key)?;
        variables.extend(front.authentication.variables());
        let Backplane { confirmation, confirmation_queue, durations, .. } = &services.backplane;
        let queue_url = services.queue_url(&confirmation_queue.name)?;
        let (manifest, identity) = match front.confirm {
            Confirm::Http => (front.root.join("spin.toml"), Vec::new()),
            Confirm::Sqs => {
                let path = &confirmation.pipe.path;
                let manifest = queue_manifest::write(front.root, &services.directory, path, queue_url)?;
                (manifest, services.identity_variables("queue_trigger")?)
            }
        };
        let application = Application::start(ApplicationSettings {
            host: front.host,
            root: front.root,
            manifest: &manifest,
            identity,
            edge_host: &front.artifacts.edge_host(),
            port: front.port,
            variables,
            log: services.logs().join("application.log"),
        })
        .await?;
        step.done(&format!("{} by {}", application.url(), front.host.name()));

        let step = progress.step("confirmations and schedule");
        let key = HeaderValue::from_str(&api_key).context("the API key is no header value")?;
        let answer_limit = Duration::from_secs(durations.confirmation_answer);
        let pipe = match front.confirm {
            Confirm::Sqs => None,
            Confirm::Http => {
                let credentials = services.credentials("pipe")?.clone();
                let settings = PipeSettings {
                    aws: Aws::with_limit(services.endpoint.clone(), credentials, RECEIVE_LIMIT),
                    queue_url: queue_url.to_owned(),
                    destination: format!("{}{}", application.url(), confirmation.pipe.path),
                    api_key_header: confirmation.api_key_header.clone(),
                    api_key: key.clone(),
                    answer_limit,
                };
                Some(Pipe::start(settings, &services.logs().join("pipe.log"))?)
            }
        };
        let schedule = Schedule::start(
            ScheduleSettings {
                destination: format!("{}{}", application.url(), confirmation.republish.path),
                countries: services.backplane.countries.clone(),
                interval: Duration::from_secs(durations.republish_interval),
                api_key_header: confirmation.api_key_header.clone(),
                api_key: key,
                answer_limit,
            },
            &services.logs().join("schedule.log"),
        )?;
        let way = match front.confirm {
            Confirm::Http => &confirmation.pipe.path,
            Confirm::Sqs => "the host's own SQS trigger",
        };
        let (queue, republish) = (&confirmation_queue.name, &confirmation.republish.path);
        step.done(&format!("{queue} to {way}, {} s to {republish}", durations.republish_interval));
        Ok(Self { application, _schedule: schedule, pipe, services, api_key })
    }

    /// What stands behind the application.
    #[must_use]
    pub const fn services(&self) -> &Services {
        &self.services
    }

    /// The application, for example `http://127.0.0.1:3000`.
    #[must_use]
    pub fn url(&self) -> String {
        self.application.url()
    }

    /// The key with which the pipe calls the confirmation component.
    #[must_use]
    pub fn api_key(&self) -> &str {
        &self.api_key
    }

    /// Waits until a part ends by itself, and says which and why.
    pub async fn until_a_part_ends(&mut self) -> String {
        const LOOK: Duration = Duration::from_millis(250);
        loop {
            if let Some(ended) = self.application.ended().or_else(|| self.services.ended()) {
                return ended;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Stops everything in good order: first the pipe, which finishes the requests in flight.
    pub async fn stop(self) {
        let Self { pipe, .. } = self;
        if let Some(pipe) = pipe {
            pipe.stop().await;
        }
    }
}

/// Whether the environment names a database server for every country, so that none of our own is needed.
#[must_use]
pub fn databases_are_given(root: &Path) -> bool {
    Backplane::load(root).is_ok_and(|backplane| {
        given_databases(&backplane).is_ok_and(|given| given.len() == backplane.countries().count())
    })
}

/// The URLs of the databases that the environment names, by country: `DATABASE_URL_PE` and so on.
///
/// # Errors
/// When one is malformed.
pub fn given_database_urls(backplane: &Backplane) -> Result<BTreeMap<String, String>> {
    let given = given_databases(backplane)?.into_iter();
    Ok(given.map(|(country, database)| (country, database.owner_url().to_owned())).collect())
}

/// The databases that the environment names, by country.
fn given_databases(backplane: &Backplane) -> Result<BTreeMap<String, Database>> {
    let mut given = BTreeMap::new();
    for country in backplane.countries() {
        let variable = format!("DATABASE_URL_{}", country.code);
        if let Ok(url) = std::env::var(&variable) {
            given.insert(country.code, Database::given(&url).context(variable)?);
        }
    }
    Ok(given)
}

/// Each country's database, created unless one is given.
async fn create_databases(
    backplane: &Backplane,
    mut databases: BTreeMap<String, Database>,
    postgres: Option<&Postgres>,
) -> Result<BTreeMap<String, Database>> {
    for country in backplane.countries() {
        if let (None, Some(postgres)) = (databases.get(&country.code), postgres) {
            postgres.create_database(&country.database).await?;
            databases.insert(country.code.clone(), Database::of(postgres, &country)?);
        }
    }
    Ok(databases)
}

async fn worker_packages(backplane: &Backplane, artifacts: &Artifacts) -> Result<BTreeMap<String, PathBuf>> {
    try_join_all(backplane.countries().map(async |country| {
        let artifacts = artifacts.clone();
        let packed = tokio::task::spawn_blocking(move || artifacts.worker_package(&country.function)).await??;
        Ok((country.code, packed))
    }))
    .await
    .map(|packages| packages.into_iter().collect())
}

fn credentials<'a>(provisioned: &'a Provisioned, principal: &str) -> Result<&'a Credentials> {
    provisioned.credentials.get(principal).with_context(|| format!("no access key of a principal `{principal}`"))
}

/// The folder of an instance.
fn instance_directory(root: &Path, instance: &str) -> PathBuf {
    root.join("target").join("local-stack").join(instance)
}

/// Creates the instance's empty folder.
fn fresh_directory(root: &Path, instance: &str) -> Result<PathBuf> {
    let directory = instance_directory(root, instance);
    if directory.exists() {
        std::fs::remove_dir_all(&directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    let logs = directory.join("logs");
    std::fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
    Ok(directory)
}

/// 256 random bits in hexadecimal.
fn random_key() -> Result<String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("the system gives no random bytes: {error}"))?;
    Ok(bytes.iter().fold(String::new(), |mut key, byte| {
        let _ = write!(key, "{byte:02x}");
        key
    }))
}
