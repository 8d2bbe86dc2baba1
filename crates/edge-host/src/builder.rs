//! How an application is set up, to be served or to be called in process.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZero;
#[cfg(feature = "compile")]
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use crate::application::{Application, Code, Settings};
use crate::engine::{MAX_INSTANCES, WasmEngine};
use crate::error::Error;
use crate::host_calls::HostCalls;
use crate::logs::{LogSink, console};
use crate::manifest::Manifest;
use crate::outbound::tls_config;
use crate::server::{RunningHost, listen, serve};
use crate::variables::Variables;

/// How long a request may take where the host is told nothing else.
pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How many instances run at once where the host is told nothing else. One that waits for its client's body holds little more
/// than its memory, so there are enough for many of them.
pub const DEFAULT_INSTANCES: u32 = 512;

/// A Spin application and how to serve it.
#[derive(Debug)]
pub struct EdgeHost(());

impl EdgeHost {
    /// Begins to set up a host for an application.
    #[must_use]
    pub fn builder(manifest: Manifest) -> EdgeHostBuilder {
        EdgeHostBuilder {
            manifest,
            variables: HashMap::new(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            threads: std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN),
            instances: DEFAULT_INSTANCES,
            request_timeout: DEFAULT_REQUEST_TIMEOUT,
            code: CodeChoice::Default,
            trusted_roots: Vec::new(),
            clock_ahead: None,
            host_calls: None,
            log: console(),
        }
    }
}

/// A host that is being set up.
pub struct EdgeHostBuilder {
    manifest: Manifest,
    variables: HashMap<String, String>,
    listen: SocketAddr,
    threads: NonZero<usize>,
    instances: u32,
    request_timeout: Duration,
    code: CodeChoice,
    trusted_roots: Vec<CertificateDer<'static>>,
    clock_ahead: Option<Arc<AtomicU64>>,
    host_calls: Option<HostCalls>,
    log: LogSink,
}

enum CodeChoice {
    /// Compiled by the process's engine for the cache folder beside the manifest.
    Default,
    /// Compiled by the process's engine for this cache folder.
    #[cfg(feature = "compile")]
    Cache(PathBuf),
    Code(Code),
}

impl EdgeHostBuilder {
    /// Gives a Spin variable its value, before the environment (`SPIN_VARIABLE_<NAME>`) and the manifest's default.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// Where to listen. Port 0, the default on 127.0.0.1, takes a free one; [`RunningHost::addr`] tells which.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// How many threads serve requests; by default as many as there are processors.
    #[must_use]
    pub fn threads(mut self, threads: NonZero<usize>) -> Self {
        self.threads = threads;
        self
    }

    /// How many instances may run at once ([`DEFAULT_INSTANCES`], at most 1024 in the whole process). A request for which
    /// there is none waits for 2 s and then gets a 503.
    #[must_use]
    pub fn instances(mut self, instances: u32) -> Self {
        self.instances = instances.clamp(1, MAX_INSTANCES);
        self
    }

    /// How long a request may take, from its instance's start to the end of its response ([`DEFAULT_REQUEST_TIMEOUT`]).
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// The folder of the compilation cache; by default `target/edge-host-cache` beside the manifest. Hosts of one process
    /// with the same folder share their compiled components in memory as well.
    #[cfg(feature = "compile")]
    #[must_use]
    pub fn cache_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.code = CodeChoice::Cache(folder.into());
        self
    }

    /// Runs on this engine instead of the process's shared one.
    #[must_use]
    pub fn engine(mut self, engine: WasmEngine) -> Self {
        self.code = CodeChoice::Code(Code::Sources(engine));
        self
    }

    /// Takes each component's machine code from `<component>.cwasm` in `folder`, which [`compile_ahead`](crate::compile_ahead)
    /// made, and runs it on `engine`. The components' sources are not read.
    ///
    /// # Safety
    ///
    /// The files must be what `compile_ahead` made, and nobody may change them while the process runs: they are mapped into
    /// memory and executed, with all rights of the process.
    #[must_use]
    #[expect(unsafe_code, reason = "machine code cannot be checked; the caller vouches for the folder")]
    pub unsafe fn compiled_ahead(mut self, folder: impl Into<PathBuf>, engine: WasmEngine) -> Self {
        self.code = CodeChoice::Code(Code::Ahead(engine, folder.into()));
        self
    }

    /// Trusts servers whose certificates lead to this one, besides Mozilla's roots. For servers of tests.
    #[must_use]
    pub fn trust_root(mut self, certificate: CertificateDer<'static>) -> Self {
        self.trusted_roots.push(certificate);
        self
    }

    /// Lets the components' wall clock run ahead by so many seconds, which may change meanwhile. For tests of what a
    /// component does when time has passed.
    #[must_use]
    pub fn clock_ahead(mut self, seconds: Arc<AtomicU64>) -> Self {
        self.clock_ahead = Some(seconds);
        self
    }

    /// Counts the components' calls to the host, for measurements and tests.
    #[must_use]
    pub fn count_host_calls(mut self, calls: HostCalls) -> Self {
        self.host_calls = Some(calls);
        self
    }

    /// Receives the lines of components and of the host, instead of the [`console`].
    #[must_use]
    pub fn log(mut self, sink: LogSink) -> Self {
        self.log = sink;
        self
    }

    /// Compiles the components, or takes them from the cache, for a caller that hands them events itself
    /// ([`Executor`](crate::Executor)). It blocks for as long as that takes.
    ///
    /// # Errors
    ///
    /// [`Error`] says what is wrong with the manifest, the variables or a component.
    pub fn load(self) -> Result<Application, Error> {
        let manifest = self.manifest;
        let environment = |name: &str| std::env::var(name).ok();
        let needed = |name: &str| manifest.needs(name);
        let variables = Variables::resolve(&manifest.variables, needed, self.variables, environment)?;
        let tls = tls_config(self.trusted_roots).map_err(|error| Error::Tls(error.to_string()))?;
        let code = self.code.resolve(&manifest)?;
        let Self { instances, request_timeout, clock_ahead, host_calls, log, .. } = self;
        let settings = Settings { variables, code, instances, request_timeout, tls, clock_ahead, host_calls, log };
        Application::load(manifest, settings)
    }

    /// Loads the application and starts to serve it. Must be called in a tokio runtime; the host itself runs on threads of
    /// its own and lives until it is shut down or dropped.
    ///
    /// # Errors
    ///
    /// [`Error`] says what is wrong with the manifest, the variables, a component or the address.
    pub async fn start(self) -> Result<RunningHost, Error> {
        let (address, threads) = (self.listen, self.threads);
        let listener = listen(address)?;
        let application = tokio::task::spawn_blocking(|| self.load())
            .await
            .map_err(|error| Error::Worker(std::io::Error::other(error)))??;
        serve(Arc::new(application), listener, threads)
    }
}

impl CodeChoice {
    #[cfg(feature = "compile")]
    fn resolve(self, manifest: &Manifest) -> Result<Code, Error> {
        let folder = match self {
            Self::Code(code) => return Ok(code),
            Self::Cache(folder) => folder,
            Self::Default => manifest.path.parent().unwrap_or(Path::new("")).join("target/edge-host-cache"),
        };
        WasmEngine::shared(Some(&folder)).map(Code::Sources)
    }

    #[cfg(not(feature = "compile"))]
    fn resolve(self, _: &Manifest) -> Result<Code, Error> {
        match self {
            Self::Code(code) => Ok(code),
            Self::Default => Err(Error::NoCompiler),
        }
    }
}

impl std::fmt::Debug for EdgeHostBuilder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the variables: they may be secret.
        formatter.debug_struct("EdgeHostBuilder").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}
