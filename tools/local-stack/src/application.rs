//! The Spin application as it runs at the edge: its public components, under `spin up` or in the embedded host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::process::{self, Launch, Process, free_port, on_path};

/// How long the application may take to start; the embedded host compiles the components once.
const START_LIMIT: Duration = Duration::from_secs(120);

/// The components that an application outside of AWS runs; the other one is behind the queue.
const PUBLIC_COMPONENTS: [&str; 2] = ["intake", "booking-page"];

/// What runs the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// The `spin` command.
    Spin,
    /// `crates/edge-host`.
    Embedded,
}

impl Host {
    /// `spin` where it is on the `PATH`, else the embedded host.
    #[must_use]
    pub fn detect() -> Self {
        if on_path("spin").is_some() { Self::Spin } else { Self::Embedded }
    }

    /// The environment variable by which `cargo xtask test` tells the tests which host to use.
    pub const VARIABLE: &str = "TEST_HOST";

    /// The host that a value of [`Host::VARIABLE`] means.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Spin, Self::Embedded].into_iter().find(|host| host.key() == name)
    }

    /// The value of [`Host::VARIABLE`] that means this host.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Spin => "spin",
            Self::Embedded => "embedded",
        }
    }

    /// What people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spin => "spin up",
            Self::Embedded => "the embedded host",
        }
    }
}

/// The `spin` command.
///
/// # Errors
/// When it is not on the `PATH`.
pub fn spin_program() -> Result<PathBuf> {
    on_path("spin")
        .context("`spin` is not on the PATH: install Spin (https://spinframework.dev), or use --host embedded")
}

/// As the environment names a variable of `spin.toml`.
pub(crate) fn environment_name(variable: &str) -> String {
    format!("SPIN_VARIABLE_{}", variable.to_ascii_uppercase())
}

/// Says clearly when the port that was asked for is taken.
pub(crate) fn require_free(port: u16) -> Result<()> {
    process::require_free(port, "the application", "stop it, or choose another port with --port")
}

/// The running application.
#[derive(Debug)]
pub struct Application {
    process: Process,
    port: u16,
}

/// How to start an [`Application`].
pub struct ApplicationSettings<'a> {
    /// What runs it.
    pub host: Host,
    /// The repository's root.
    pub root: &'a Path,
    /// The built embedded host.
    pub edge_host: &'a Path,
    /// The port to listen on, or a free one.
    pub port: Option<u16>,
    /// Spin variables by name, as in `spin.toml`.
    pub variables: BTreeMap<&'a str, String>,
    /// Variables of OpenTelemetry.
    pub telemetry: BTreeMap<String, String>,
    /// Where the output of the host and the components goes.
    pub log: PathBuf,
}

impl Application {
    /// Starts the application and waits until its health check succeeds.
    ///
    /// # Errors
    /// When the port is taken, `spin` was asked for and is missing, or the application does not become healthy.
    pub async fn start(settings: ApplicationSettings<'_>) -> Result<Self> {
        let ApplicationSettings { host, root, edge_host, port, variables, telemetry, log } = settings;
        let port = match port {
            Some(port) => {
                require_free(port)?;
                port
            }
            None => free_port()?,
        };
        let listen = format!("127.0.0.1:{port}");
        let manifest = root.join("spin.toml");
        let mut arguments =
            ["--from", &manifest.to_string_lossy(), "--listen", &listen].map(ToOwned::to_owned).to_vec();
        arguments.extend(PUBLIC_COMPONENTS.iter().flat_map(|name| ["--component-id".to_owned(), (*name).to_owned()]));
        let (program, args) = match host {
            Host::Embedded => {
                let cache = root.join("target/edge-host-cache").to_string_lossy().into_owned();
                (edge_host.to_owned(), arguments.into_iter().chain(["--cache".to_owned(), cache]).collect())
            }
            Host::Spin => (spin_program()?, std::iter::once("up".to_owned()).chain(arguments).collect()),
        };
        // A clean environment: a variable that somebody has set for another application must not reach this one.
        let inherited =
            ["PATH", "HOME"].into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
        let variables = variables.into_iter().map(|(name, value)| (environment_name(name), value));
        let process = Process::start(Launch {
            name: host.name(),
            program: &program,
            args,
            environment: inherited.chain(variables).chain(telemetry).collect(),
            clean_environment: true,
            account: None,
            directory: root,
            log,
            stop_signal: Signal::TERM,
        })?;
        let mut application = Self { process, port };
        let health = format!("{}/health", application.url());
        application.process.until_ready(START_LIMIT, async || crate::http::answers_success(&health).await).await?;
        Ok(application)
    }

    /// Whether it has ended by itself, and how.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.process.ended()
    }

    /// Its address, for example `http://127.0.0.1:3000`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The id of the host's process, for measurements.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }
}
