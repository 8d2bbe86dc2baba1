//! What the application runs on.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_http::{Credentials, Endpoint};
use futures::future::{try_join, try_join_all};
use operator::aws::Aws;
use operator::backplane::{self, Backplane, CatalogueKind};
use operator::database::given_urls;
use serde_json::json;

use crate::artifacts::Artifacts;
use crate::database::{Database, create_all};
use crate::folders::fresh_directory;
use crate::function_logs::FunctionLogs;
use crate::ministack::{Ministack, REGION};
use crate::postgres::Postgres;
use crate::progress::Progress;
use crate::provision::{Function, Provisioned, WorkerCode, provision, register_workers};
use crate::running::{self, RunningStack};
use crate::schedule::Schedule;
use crate::{emulator, ministack, postgres, setup};

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
    pub(crate) fn require_free(self) -> Result<()> {
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
    pub(crate) telemetry: BTreeMap<String, String>,
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
        let databases = create_all(&backplane, given, postgres.as_ref()).await?;
        let provisioned = provision(&backplane, &endpoint, &databases).await?;
        step.done(&format!("provisioned from {}", backplane::FILE));

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
        RunningStack::announce(&services.announcement(), services.emulator_url(), &services.databases)?;
        Ok(services)
    }

    /// The emulator's URL.
    #[must_use]
    pub fn emulator_url(&self) -> String {
        self.ministack.url()
    }

    /// The emulator's process id.
    #[must_use]
    pub fn emulator_process_id(&self) -> u32 {
        self.ministack.process_id()
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
    pub(crate) fn shared_variables(&self, endpoint: &Endpoint) -> BTreeMap<&'static str, String> {
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

    pub(crate) fn ended(&mut self) -> Option<String> {
        self.ministack.ended().or_else(|| self.postgres.as_mut().and_then(Postgres::ended))
    }
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
