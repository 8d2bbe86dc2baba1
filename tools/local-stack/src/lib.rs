//! The whole system on one machine: the real components and workers, a real PostgreSQL, and an emulator of AWS.
//!
//! [`LocalStack::start`] composes the parts, [`Services::start`] all but the application; each is usable by itself. It serves
//! `cargo xtask up` and `demo`, and the pipeline tests, which start instances of their own on free ports.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`setup`], [`tools`] | what the machine needs: the Wasm target, the emulator, PostgreSQL; the tests' tools |
//! | [`artifacts`] | builds and packs the components, the functions and the embedded host |
//! | [`database`] | the countries' databases, as the functions are told of them |
//! | [`archive`] | writes zips that depend on their content alone |
//! | [`ministack`], [`postgres`] | the two servers, as child processes |
//! | [`emulator`] | the emulator as others reach it: clients, and an account for `operator` |
//! | [`mod@provision`] | creates the backplane and the functions in the emulator from `infra/backplane.json` |
//! | `schedule` | invokes the republishing function, and each importer, more often than the emulator's rules do |
//! | [`catalogue`], [`sample`] | imports slots by the countries' programs; four weeks of slots for each country |
//! | [`tokens`] | an issuer of bearer tokens |
//! | [`application`] | the Spin application at the edge, under `spin up` or in the embedded host |
//! | [`running`] | what another program needs to know of a stack that runs |
//! | [`observation`], [`fault`] | what a stack that runs holds; breaks a hop of it, and heals it |
//! | [`process`] | child processes that never outlive their program |
//!
//! Nothing outlives the program that started it: dropping a value stops what it owns, and on Linux the kernel stops
//! the children of a program that was killed.

pub mod application;
pub mod archive;
pub mod artifacts;
pub mod catalogue;
pub mod chromium;
pub mod command;
pub mod database;
pub mod emulator;
pub mod fault;
mod function_logs;
pub mod http;
mod journal;
pub mod ministack;
pub mod observation;
pub mod postgres;
pub mod process;
pub mod progress;
pub mod provision;
pub mod running;
pub mod sample;
mod schedule;
pub mod setup;
pub mod tokens;
pub mod tools;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use aws_http::{Credentials, Endpoint};
use futures::future::{try_join, try_join_all};
use operator::aws::Aws;
use operator::backplane::{Backplane, CatalogueKind};
use operator::database::given_urls;
use serde_json::json;

use crate::application::{Application, ApplicationSettings, Host};
use crate::artifacts::Artifacts;
use crate::database::Database;
use crate::function_logs::FunctionLogs;
use crate::ministack::{Ministack, REGION};
use crate::postgres::Postgres;
use crate::progress::Progress;
use crate::provision::{Api, Function, Provisioned, WorkerCode, provision, register_application, register_workers};
use crate::running::RunningStack;
use crate::schedule::Schedule;
use crate::tokens::Authentication;

/// How many steps [`LocalStack::start`] reports.
pub const STEPS: u32 = 5;

/// What to start.
pub struct Options {
    /// The repository's root.
    pub root: PathBuf,
    /// Names the folder under `target/local-stack` for logs and data; its earlier content is removed.
    pub instance: String,
    /// What to provision, usually [`Backplane::shortened`].
    pub backplane: Backplane,
    /// Where the servers listen.
    pub ports: Ports,
    /// What every program of ours gets in its environment beside its own settings: where spans go ([`telemetry`]), or nothing.
    pub telemetry: BTreeMap<String, String>,
}

/// The ports of the servers behind the application, on 127.0.0.1; a free one where `None`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ports {
    /// Of the AWS emulator.
    pub emulator: Option<u16>,
    /// Of the PostgreSQL server with the countries' databases.
    pub databases: Option<u16>,
}

impl Ports {
    /// Says clearly that a port is taken, before anything was started.
    fn require_free(self) -> Result<()> {
        if let Some(port) = self.emulator {
            ministack::require_free(port)?;
        }
        self.databases.map_or(Ok(()), postgres::require_free)
    }
}

/// The variables of OpenTelemetry (`OTEL_EXPORTER_OTLP_ENDPOINT`, …) in this program's own environment.
#[must_use]
pub fn telemetry() -> BTreeMap<String, String> {
    std::env::vars().filter(|(name, _)| name.starts_with("OTEL_EXPORTER_OTLP_")).collect()
}

/// What the application runs on: the emulator with the provisioned backplane, the databases, and the workers.
pub struct Services {
    // Fields are dropped in this order, the reverse of their start.
    _drains: Vec<Schedule>,
    _worker_logs: FunctionLogs,
    ministack: Ministack,
    postgres: Option<Postgres>,
    databases: BTreeMap<String, Database>,
    endpoint: Endpoint,
    provisioned: Provisioned,
    backplane: Backplane,
    telemetry: BTreeMap<String, String>,
    directory: PathBuf,
}

impl Services {
    /// Starts everything that the application calls; on failure, what was started is stopped again.
    ///
    /// # Errors
    /// When a part does not start; the error names it and shows the end of its log.
    pub async fn start(options: Options, artifacts: &Artifacts, progress: &Progress) -> Result<Self> {
        let Options { root, instance, backplane, ports, telemetry } = options;
        let directory = fresh_directory(&root, &instance)?;

        let step = progress.step("AWS emulator and PostgreSQL");
        let given = given_urls(&backplane)?;
        let given: BTreeMap<_, _> = given.into_iter().map(|(code, url)| (code, Database::given(url))).collect();
        let program = setup::ministack_program(&root);
        let start_postgres = async {
            let needed = backplane.countries().any(|country| !given.contains_key(&country.code));
            if needed { Postgres::start_on(&root, &directory, ports.databases).await.map(Some) } else { Ok(None) }
        };
        let (postgres, ministack) =
            try_join(start_postgres, Ministack::start(&program, ports.emulator, &directory)).await?;
        step.done(&ministack.url());

        let step = progress.step("backplane and databases");
        let endpoint = ministack.endpoint()?;
        let databases = create_databases(&backplane, given, postgres.as_ref()).await?;
        let provisioned = provision(&backplane, &endpoint, &databases).await?;
        step.done(&format!("provisioned from {}", operator::backplane::FILE));

        let step = progress.step("migrations and workers");
        let packages = worker_packages(&backplane, artifacts).await?;
        let code = packages.iter().filter_map(|(country, zip)| {
            let database = databases.get(country)?;
            Some((country.clone(), WorkerCode { zip, database }))
        });
        register_workers(&backplane, &endpoint, &provisioned, &code.collect(), &telemetry).await?;
        let workers: Vec<_> = backplane.countries().collect();
        let functions =
            workers.iter().flat_map(|country| [&country.function, &country.migration_function, &country.importer]);
        let functions: Vec<_> = functions.map(String::as_str).collect();
        let worker_log = directory.join("logs").join("workers.log");
        let worker_logs = FunctionLogs::start(emulator::root(endpoint.clone()), &functions, &worker_log)?;
        let own = workers.iter().filter(|country| country.catalogue == CatalogueKind::Own);
        let drains = own.map(|country| {
            Schedule::start(
                emulator::root(endpoint.clone()),
                Function::new(&backplane, &country.importer),
                vec![(country.drain_rule.clone(), json!({}))],
                Duration::from_secs(backplane.durations.drain_interval),
                &directory.join("logs").join("schedule.log"),
            )
        });
        let drains = drains.collect::<Result<_>>()?;
        step.done(&workers.iter().map(|country| country.function.as_str()).collect::<Vec<_>>().join(", "));

        let services = Self {
            _drains: drains,
            _worker_logs: worker_logs,
            ministack,
            postgres,
            databases,
            endpoint,
            provisioned,
            backplane,
            telemetry,
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
        emulator::root(self.endpoint.clone())
    }

    /// What was provisioned.
    #[must_use]
    pub const fn backplane(&self) -> &Backplane {
        &self.backplane
    }

    /// The access key of a principal that is a user, by its name in `infra/backplane.json`.
    ///
    /// # Errors
    /// When there is no such principal.
    pub fn credentials(&self, principal: &str) -> Result<&Credentials> {
        let credentials = self.provisioned.credentials.get(principal);
        credentials.with_context(|| format!("no access key of a principal `{principal}`"))
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

    /// The folder of the logs: `application.log`, `functions.log` (the two of the application), `workers.log`,
    /// `schedule.log`, `ministack.log`, `postgres.log`.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.directory.join("logs")
    }

    /// The file that tells other programs of this user about the services: the emulator, and the URLs of the databases of a
    /// server of our own, with their passwords.
    #[must_use]
    pub fn announcement(&self) -> PathBuf {
        self.directory.join(running::FILE)
    }

    /// The values of `spin.toml`'s variables at the edge, by name: the edge's access key, and no authentication.
    ///
    /// # Errors
    /// When the backplane has no principal `edge`.
    pub fn variables(&self) -> Result<BTreeMap<&'static str, String>> {
        self.variables_by_way_of(&self.endpoint)
    }

    /// As [`Services::variables`], for an application that reaches AWS at `endpoint`, for example through a proxy.
    ///
    /// # Errors
    /// As [`Services::variables`].
    pub fn variables_by_way_of(&self, endpoint: &Endpoint) -> Result<BTreeMap<&'static str, String>> {
        let edge = self.credentials("edge")?;
        let mut variables = self.shared_variables(endpoint);
        variables.extend([
            ("intake_access_key_id", edge.access_key_id().to_owned()),
            ("intake_secret_access_key", edge.secret_access_key().to_owned()),
            ("authentication", "none".to_owned()),
        ]);
        Ok(variables)
    }

    /// The variables that hold nobody's credentials.
    fn shared_variables(&self, endpoint: &Endpoint) -> BTreeMap<&'static str, String> {
        let endpoint = endpoint.to_string();
        let durations = &self.backplane.durations;
        let shards = self.backplane.table.index.shards.to_string();
        BTreeMap::from([
            ("aws_region", REGION.to_owned()),
            ("dynamodb_endpoint", endpoint.clone()),
            ("sns_endpoint", endpoint.clone()),
            ("eventbridge_endpoint", endpoint),
            ("appointments_table", self.backplane.table.name.clone()),
            ("slots_table", self.backplane.slots_table.name.clone()),
            ("appointments_topic_arn", self.topic_arn().to_owned()),
            ("appointments_event_bus", self.backplane.bus.name.clone()),
            ("republish_delays_seconds", durations.republish_delays_setting()),
            ("given_up_schedule_seconds", durations.given_up_schedule_setting()),
            ("pending_shards_written", shards.clone()),
            ("pending_shards_read", shards),
        ])
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
    _function_logs: FunctionLogs,
    api: Api,
    services: Services,
}

/// Where each component of the application reaches AWS.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// The component intake, in its function and at the edge.
    pub intake: Endpoint,
    /// The component confirmation.
    pub confirmation: Endpoint,
}

/// How to run the application over [`Services`].
pub struct ApplicationOptions<'a> {
    /// The repository's root.
    pub root: &'a Path,
    /// What was built.
    pub artifacts: &'a Artifacts,
    /// What runs the application at the edge.
    pub host: Host,
    /// The application's port, or a free one.
    pub port: Option<u16>,
    /// Where the components reach AWS; at the emulator itself where `None`.
    pub endpoints: Option<Endpoints>,
    /// How intake learns who calls.
    pub authentication: Authentication<'a>,
}

impl<'a> ApplicationOptions<'a> {
    /// On a free port, over the emulator itself; anybody acts for anybody.
    #[must_use]
    pub const fn new(root: &'a Path, artifacts: &'a Artifacts, host: Host) -> Self {
        Self { root, artifacts, host, port: None, endpoints: None, authentication: Authentication::None }
    }
}

impl LocalStack {
    /// Starts everything.
    ///
    /// On failure, what was started is stopped again.
    ///
    /// # Errors
    /// When a part does not start; the error names it and shows the end of its log.
    pub async fn start(
        options: Options,
        application_options: ApplicationOptions<'_>,
        progress: &Progress,
    ) -> Result<Self> {
        if let Some(port) = application_options.port {
            application::require_free(port)?;
        }
        options.ports.require_free()?;
        let services = Services::start(options, application_options.artifacts, progress).await?;
        Self::over(services, application_options, progress).await
    }

    /// Starts the application over services that run: its functions behind the API, the queue and the schedule, and its
    /// public component at the edge.
    ///
    /// # Errors
    /// When a part does not start; the error names it and shows the end of its log.
    pub async fn over(
        services: Services,
        application_options: ApplicationOptions<'_>,
        progress: &Progress,
    ) -> Result<Self> {
        let step = progress.step("the application's functions");
        let backplane = &services.backplane;
        let endpoints = application_options.endpoints.clone().unwrap_or_else(|| Endpoints {
            intake: services.endpoint.clone(),
            confirmation: services.endpoint.clone(),
        });
        let authentication = application_options.authentication.variables();
        let (artifacts, root) = (application_options.artifacts.clone(), application_options.root.to_owned());
        let package = tokio::task::spawn_blocking(move || artifacts.application_package(&root)).await??;
        let api = register_application(backplane, &services.endpoint, &package, |component| {
            let endpoint = if component == "confirmation" { &endpoints.confirmation } else { &endpoints.intake };
            // The page calls nobody.
            let mut variables =
                if component == "booking-page" { BTreeMap::new() } else { services.shared_variables(endpoint) };
            variables.insert("authentication", "none".to_owned());
            variables.extend(authentication.clone());
            let variables = variables.into_iter().map(|(name, value)| (application::environment_name(name), value));
            let host = [
                ("SPIN_COMPONENT", component.to_owned()),
                ("AWS_ENDPOINT_URL", endpoint.to_string()),
                // Only the function behind the queue uses it.
                ("RECEIVE_DELAYS_SECONDS", backplane.durations.receive_delays_setting()),
            ];
            let host = host.into_iter().map(|(name, value)| (name.to_owned(), value));
            Ok(host.chain(variables).chain(services.telemetry.clone()).collect())
        })
        .await?;
        let [intake, page, confirmation] =
            [&backplane.intake.function, &backplane.booking_page.function, &backplane.confirmation.function];
        let function_log = services.logs().join("functions.log");
        let function_logs = FunctionLogs::start(services.aws(), &[intake, page, confirmation], &function_log)?;
        let schedule = Schedule::start(
            services.aws(),
            Function::new(backplane, confirmation),
            backplane.countries().map(|country| backplane.republish_rule(&country)).collect(),
            Duration::from_secs(backplane.durations.republish_interval),
            &services.logs().join("schedule.log"),
        )?;
        step.done(&format!("{intake}, {page}, {confirmation}"));

        let step = progress.step("the application at the edge");
        let mut variables = services.variables_by_way_of(&endpoints.intake)?;
        variables.extend(authentication);
        let application = Application::start(ApplicationSettings {
            host: application_options.host,
            root: application_options.root,
            edge_host: &application_options.artifacts.edge_host(),
            port: application_options.port,
            variables,
            telemetry: services.telemetry.clone(),
            log: services.logs().join("application.log"),
        })
        .await?;
        step.done(&format!("{} by {}", application.url(), application_options.host.name()));
        Ok(Self { application, _schedule: schedule, _function_logs: function_logs, api, services })
    }

    /// What the application runs on.
    #[must_use]
    pub const fn services(&self) -> &Services {
        &self.services
    }

    /// The application at the edge, for example `http://127.0.0.1:3000`.
    #[must_use]
    pub fn url(&self) -> String {
        self.application.url()
    }

    /// The API in front of the function `appointment`.
    #[must_use]
    pub const fn api(&self) -> &Api {
        &self.api
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
}

/// Whether the environment names a database server for every country, so none of our own is needed.
#[must_use]
pub fn databases_are_given(root: &Path) -> bool {
    Backplane::load(root)
        .is_ok_and(|backplane| given_urls(&backplane).is_ok_and(|given| given.len() == backplane.countries().count()))
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
            // Before the migration, which finds it there: two at once would change one role at once.
            postgres.let_in(&country.database_user).await?;
            postgres.let_in(&country.importer_user).await?;
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

/// The folder of the logs of the stack whose application has this port.
#[must_use]
pub fn logs_of_port(root: &Path, port: u16) -> PathBuf {
    instance_directory(root, &port.to_string()).join("logs")
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
