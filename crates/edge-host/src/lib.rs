//! Serves the components of a Spin application on an embedded wasmtime: HTTP requests, and messages of SQS queues.
//!
//! It reads the same `spin.toml` (manifest v2) as the `spin` CLI and gives components what Spin gives them: WASI 0.2, Spin
//! variables, a key-value store, and outbound HTTP to the hosts that the manifest allows. It is there for tests, which start
//! it inside their own process, and for local runs on a machine without the `spin` CLI (the binary `edge-host`). What a
//! manifest asks for beyond that is refused by name, never ignored.
//!
//! ```no_run
//! # async fn run() -> Result<(), edge_host::Error> {
//! use edge_host::{EdgeHost, Manifest};
//!
//! let host = EdgeHost::builder(Manifest::from_file("spin.toml")?)
//!     .variable("internal_api_key", "only-for-this-test")
//!     .start()
//!     .await?;
//! println!("serving {}", host.url());
//! host.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`manifest`](Manifest) | the manifest's shape, and the refusal of what is not implemented |
//! | `variables` | Spin variables and templates |
//! | `outbound_hosts` | which hosts a component may call |
//! | `routes` | which component serves a path |
//! | `engine` | wasmtime's engine, its pool of instances, the compilation cache |
//! | `guest` | what a component is linked with, and one instance's state and limits |
//! | `key_value` | Spin's key-value store, in memory |
//! | `inbound`, `server` | connections of clients, worker threads, one instance a request |
//! | `queue` | messages of a queue, one instance a message |
//! | `outbound` | requests of components over pooled connections |
//! | `logs` | lines of components and of the host |

mod engine;
mod error;
mod guest;
mod inbound;
mod key_value;
mod logs;
mod manifest;
mod outbound;
mod outbound_hosts;
mod queue;
mod routes;
mod server;
mod variables;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use serde_json::json;
use tokio::net::TcpSocket;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use crate::engine::{CodeOrigin, WasmEngine};
pub use crate::error::{Error, ManifestError, Trigger};
pub use crate::logs::{LogLine, LogSink, Origin, console};
pub use crate::manifest::Manifest;

use crate::engine::{LoadError, MAX_INSTANCES};
use crate::guest::{LinkedComponent, Permissions};
use crate::key_value::KeyValueStore;
use crate::logs::{Level, host_message};
use crate::outbound::{ConnectionPool, tls_config};
use crate::outbound_hosts::AllowedHosts;
use crate::queue::Queue;
use crate::routes::Routes;
use crate::server::{Accepted, Application, Worker, accept};
use crate::variables::Variables;

/// How long a request may take where the host is told nothing else.
pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How many instances run at once where the host is told nothing else. One that waits for its client's body holds little more
/// than its memory, so that there are enough for many of them.
pub const DEFAULT_INSTANCES: u32 = 512;

/// Connections that wait to be accepted, as many as the system lets wait.
const BACKLOG: u32 = 4096;

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
            engine: EngineChoice::Default,
            trusted_roots: Vec::new(),
            clock_ahead: None,
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
    engine: EngineChoice,
    trusted_roots: Vec<CertificateDer<'static>>,
    clock_ahead: Option<Arc<AtomicU64>>,
    log: LogSink,
}

enum EngineChoice {
    /// The process's engine for the cache folder beside the manifest.
    Default,
    Cache(PathBuf),
    Engine(WasmEngine),
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
    /// there is none waits for 2 s and is then answered 503.
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
    #[must_use]
    pub fn cache_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.engine = EngineChoice::Cache(folder.into());
        self
    }

    /// Runs on this engine instead of the process's shared one.
    #[must_use]
    pub fn engine(mut self, engine: WasmEngine) -> Self {
        self.engine = EngineChoice::Engine(engine);
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

    /// Receives the lines of components and of the host, instead of the [`console`].
    #[must_use]
    pub fn log(mut self, sink: LogSink) -> Self {
        self.log = sink;
        self
    }

    /// Compiles the components, or takes them from the cache, and starts to serve. Must be called in a tokio runtime; the
    /// host itself runs on threads of its own and lives until it is shut down or dropped.
    ///
    /// # Errors
    ///
    /// [`Error`] says what is wrong with the manifest, the variables, a component or the address.
    pub async fn start(self) -> Result<RunningHost, Error> {
        let variables = Variables::resolve(&self.manifest.variables, self.variables, |name| std::env::var(name).ok())?;
        let engine = match self.engine {
            EngineChoice::Engine(engine) => engine,
            EngineChoice::Cache(folder) => WasmEngine::shared(Some(&folder))?,
            EngineChoice::Default => {
                let beside = self.manifest.path.parent().unwrap_or(Path::new("")).join("target/edge-host-cache");
                WasmEngine::shared(Some(&beside))?
            }
        };
        let tls = tls_config(self.trusted_roots).map_err(|error| Error::Tls(error.to_string()))?;
        // Before the components are compiled: what is wrong here should not take a minute to say.
        let identity = if self.manifest.queues.is_empty() { None } else { Some(queue::Identity::of_environment()?) };
        let (listener, addr) = listen(self.listen).map_err(|source| Error::Listen { address: self.listen, source })?;

        let manifest = self.manifest;
        let log = self.log.clone();
        let clock = self.clock_ahead;
        let loading =
            move || load(&manifest, &variables, &engine, clock.as_ref(), &log).map(|loaded| (loaded, manifest));
        let ((components, loaded), manifest) = tokio::task::spawn_blocking(loading)
            .await
            .map_err(|error| Error::Worker(std::io::Error::other(error)))??;

        let mut routes = Routes::default();
        for (route, component) in &manifest.routes {
            let index = components.iter().position(|each| *each.permissions.name == **component).unwrap_or(usize::MAX);
            let added = routes.add(route, index);
            added.map_err(|reason| manifest.invalid("[[trigger.http]]", "route", reason))?;
        }
        let mut queues = Vec::new();
        for trigger in &manifest.queues {
            let component = components.iter().find(|each| *each.permissions.name == *trigger.component);
            if let (Some(identity), Some(component)) = (&identity, component) {
                let queue = Queue::new(trigger, component.clone(), identity);
                queues.push(queue.map_err(|reason| manifest.invalid("[[trigger.sqs]]", "queue_url", reason))?);
            }
        }
        let application = Arc::new(Application {
            routes,
            components,
            instances: Arc::new(Semaphore::new(self.instances as usize)),
            request_timeout: self.request_timeout,
            log: self.log,
        });

        let shutdown = CancellationToken::new();
        // Whatever fails from here on, and whoever drops the host, stops its threads.
        let stop = shutdown.clone().drop_guard();
        let mut senders = Vec::new();
        let mut receivers = Vec::new();
        for _ in 0..self.threads.get() {
            let (sender, receiver) = mpsc::unbounded_channel();
            senders.push(sender);
            receivers.push(receiver);
        }
        let mut sources = Some(Sources { listener, workers: senders, queues });
        let mut workers = Vec::new();
        for (index, receiver) in receivers.into_iter().enumerate() {
            let worker = Worker {
                application: application.clone(),
                connections: Arc::new(ConnectionPool::new(tls.clone())),
                tasks: TaskTracker::new(),
                shutdown: shutdown.clone(),
            };
            // The first worker also accepts connections, for all of them, and receives from the queues.
            workers.push(spawn_worker(index, worker, receiver, sources.take())?);
        }
        Ok(RunningHost {
            addr,
            application_name: manifest.name,
            routes: manifest.routes,
            loaded,
            application,
            connections: Arc::new(ConnectionPool::new(tls)),
            workers,
            stop,
        })
    }
}

impl std::fmt::Debug for EdgeHostBuilder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the variables: they may be secret.
        formatter.debug_struct("EdgeHostBuilder").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

/// A host that serves. Dropping it stops it without waiting for requests in flight.
pub struct RunningHost {
    addr: SocketAddr,
    application_name: String,
    routes: Vec<(String, String)>,
    loaded: Vec<LoadedComponent>,
    application: Arc<Application>,
    /// For [`instantiate`](Self::instantiate), outside the workers.
    connections: Arc<ConnectionPool>,
    /// Each ends with the number of tasks that it had to cut off.
    workers: Vec<oneshot::Receiver<usize>>,
    stop: DropGuard,
}

/// How a component got its machine code.
#[derive(Debug, Clone)]
pub struct LoadedComponent {
    /// Its name in the manifest.
    pub name: String,
    /// Where the code came from.
    pub origin: CodeOrigin,
    /// How long that took.
    pub duration: Duration,
}

impl RunningHost {
    /// The address that the host listens on, with the port that it got.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The application's base URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The application's name in the manifest.
    #[must_use]
    pub fn application_name(&self) -> &str {
        &self.application_name
    }

    /// Each route's pattern and the component that serves it, in the manifest's order.
    #[must_use]
    pub fn routes(&self) -> &[(String, String)] {
        &self.routes
    }

    /// The component that serves a path, or `None` where no route matches.
    #[must_use]
    pub fn component_for(&self, path: &str) -> Option<&str> {
        let component = self.application.components.get(self.application.routes.component(path)?)?;
        Some(&component.permissions.name)
    }

    /// How each component got its machine code.
    #[must_use]
    pub fn components(&self) -> &[LoadedComponent] {
        &self.loaded
    }

    /// Instantiates a component and throws the instance away: what a request costs before its component's code runs. For
    /// measurements.
    ///
    /// # Errors
    ///
    /// What wasmtime says, or that the manifest has no such component.
    pub async fn instantiate(&self, component: &str) -> Result<(), String> {
        let found = self.application.components.iter().find(|each| &*each.permissions.name == component);
        let component = found.ok_or_else(|| format!("no component `{component}`"))?;
        component.instantiate(self.connections.clone()).await.map_err(|error| format!("{error:#}"))
    }

    /// Stops to accept connections, waits up to 10 s for requests in flight, and returns how many were cut off.
    pub async fn shutdown(self) -> usize {
        self.stop.disarm().cancel();
        let mut cut_off = 0;
        for worker in self.workers {
            cut_off += worker.await.unwrap_or_default();
        }
        cut_off
    }
}

impl std::fmt::Debug for RunningHost {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RunningHost")
            .field("application", &self.application_name)
            .field("addr", &self.addr)
            .field("routes", &self.routes)
            .finish_non_exhaustive()
    }
}

type Loaded = (Vec<Arc<LinkedComponent>>, Vec<LoadedComponent>);

/// Checks, compiles and links every component of the manifest.
fn load(
    manifest: &Manifest,
    variables: &Variables,
    engine: &WasmEngine,
    clock_ahead: Option<&Arc<AtomicU64>>,
    log: &LogSink,
) -> Result<Loaded, Error> {
    // The manifest's own faults come first: they need no compiler to be seen.
    let permissions = permissions(manifest, variables, clock_ahead, log)?;
    let mut linked = Vec::new();
    let mut loaded = Vec::new();
    for (permissions, component) in permissions {
        let name = permissions.name.to_string();
        host_message(log, Level::Info, "loading a component", json!({ "component": name }));
        let (code, origin, duration) = engine.load(&component.source).map_err(|error| match error {
            LoadError::Read(source) => Error::ReadComponent {
                component: name.clone(),
                path: component.source.clone(),
                build: component.build_command(),
                source,
            },
            LoadError::Compile(reason) => {
                Error::Compile { component: name.clone(), path: component.source.clone(), reason }
            }
        })?;
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let fields = json!({ "component": name, "code": format!("{origin:?}"), "duration_ms": millis });
        host_message(log, Level::Info, "loaded a component", fields);
        let triggers = manifest.triggers_of(&name);
        linked.push(Arc::new(LinkedComponent::new(engine.engine(), &code, permissions, &triggers)?));
        loaded.push(LoadedComponent { name, origin, duration });
    }
    Ok((linked, loaded))
}

/// What the manifest gives each of its components, with the variables' values put in.
fn permissions<'a>(
    manifest: &'a Manifest,
    variables: &Variables,
    clock_ahead: Option<&Arc<AtomicU64>>,
    log: &LogSink,
) -> Result<Vec<(Permissions, &'a manifest::Component)>, Error> {
    let mut all = Vec::new();
    let key_value = KeyValueStore::default();
    for (name, component) in &manifest.components {
        let place = format!("[component.{name}]");
        let invalid = |key: &str, reason: String| manifest.invalid(&place, key, reason);

        let mut own_variables = HashMap::new();
        for (variable, template) in &component.variables {
            let key = format!("variables.{variable}");
            let value = variables.expand(template).map_err(|error| invalid(&key, error.to_string()))?;
            own_variables.insert(variable.clone(), value);
        }
        let mut allowed_hosts = AllowedHosts::default();
        for template in &component.allowed_outbound_hosts {
            let key = "allowed_outbound_hosts";
            let entry = variables.expand(template).map_err(|error| invalid(key, error.to_string()))?;
            allowed_hosts.add(entry.expose()).map_err(|reason| {
                // A secret value stays out of the message, and so does a reason that may quote it.
                let detail = match entry.shown() {
                    Some(shown) if shown == template.as_str() => format!("\"{template}\": {reason}"),
                    Some(shown) => format!("\"{template}\", which is \"{shown}\": {reason}"),
                    None => format!("\"{template}\" is no entry of the form scheme://host[:port]"),
                };
                invalid(key, detail)
            })?;
        }
        let permissions = Permissions {
            name: name.as_str().into(),
            variables: own_variables,
            environment: component.environment.clone().into_iter().collect(),
            allowed_hosts,
            key_value: (!component.key_value_stores.is_empty()).then(|| key_value.clone()),
            clock_ahead: clock_ahead.cloned(),
            log: log.clone(),
        };
        all.push((permissions, component));
    }
    Ok(all)
}

/// Binds the address, so that a port that is taken is known at once.
fn listen(address: SocketAddr) -> std::io::Result<(std::net::TcpListener, SocketAddr)> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A port that the last run's connections still linger on is free; one that another process listens on is not.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    // As a plain socket it can go to the runtime of the thread that accepts.
    let listener = socket.listen(BACKLOG)?.into_std()?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Where the host's work comes from.
struct Sources {
    listener: std::net::TcpListener,
    /// Each takes its share of the connections.
    workers: Vec<mpsc::UnboundedSender<Accepted>>,
    queues: Vec<Queue>,
}

/// Starts a worker's thread with a runtime of its own. The receiver gets what [`Worker::run`] returns.
fn spawn_worker(
    index: usize,
    worker: Worker,
    connections: mpsc::UnboundedReceiver<Accepted>,
    sources: Option<Sources>,
) -> Result<oneshot::Receiver<usize>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Worker)?;
    let sources = sources
        .map(|Sources { listener, workers, queues }| {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map(|listener| (listener, workers, queues))
        })
        .transpose()
        .map_err(Error::Worker)?;
    let (finished, done) = oneshot::channel();
    let serve = move || {
        let worker = Arc::new(worker);
        if let Some((listener, workers, queues)) = sources {
            runtime.spawn(accept(listener, workers, worker.shutdown.clone()));
            for queue in queues {
                worker.tasks.spawn_on(worker.clone().consume(queue), runtime.handle());
            }
        }
        let cut_off = runtime.block_on(worker.run(connections));
        // Blocking tasks are only name look-ups; none is worth waiting for.
        runtime.shutdown_background();
        // Nobody waits where the host was dropped.
        let _ = finished.send(cut_off);
    };
    std::thread::Builder::new().name(format!("edge-host-{index}")).spawn(serve).map_err(Error::Worker)?;
    Ok(done)
}
