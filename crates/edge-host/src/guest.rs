//! A component, linked once, and the instance of it that serves one request or one message.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Request;
use http_body::Body;
use tracing::Dispatch;
use tracing::instrument::WithSubscriber as _;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker, ResourceTable};
use wasmtime::{Engine, ResourceLimiter, Store, UpdateDeadline};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{HostWallClock, WasiClocks, WasiClocksView as _};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::{WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::engine::MAX_MEMORY_BYTES;
use crate::error::{Error, Trigger};
use crate::host_calls::HostCalls;
use crate::key_value::{self, KeyValueStore, KeyValueView};
use crate::logs::{ComponentOutput, LogSink};
use crate::outbound::{ConnectionPool, Outbound};
use crate::outbound_hosts::AllowedHosts;
use crate::variables::{Value, is_valid_name};

mod bindings {
    // Spin 2's and later's own text of the interface.
    wasmtime::component::bindgen!({
        inline: "
            package fermyon:spin@2.0.0;

            interface variables {
                get: func(name: string) -> result<string, error>;

                variant error {
                    invalid-name(string),
                    undefined(string),
                    provider(string),
                    other(string),
                }
            }

            world host {
                import variables;
            }
        ",
        world: "host",
        imports: { default: tracing },
    });
}

#[allow(missing_docs, reason = "generated from wit/spin-sqs, which says what the parts are")]
mod queue_bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/spin-sqs",
        world: "spin-sqs",
        exports: { default: async },
    });
}

use bindings::fermyon::spin::variables as spin_variables;
use queue_bindings::SpinSqsPre;
pub(crate) use queue_bindings::fermyon::spin_sqs::sqs_types::Error as MessageError;
pub use queue_bindings::fermyon::spin_sqs::sqs_types::{
    Message, MessageAction, MessageAttribute, MessageAttributeValue,
};

/// The interfaces of which this host provides every function, without their versions.
const PROVIDED: [&str; 19] = [
    key_value::INTERFACE,
    "fermyon:spin/variables",
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
];
/// `wasi:random` has three interfaces, all of them provided.
const PROVIDED_RANDOM: &str = "wasi:random/";

/// The export that handles a message of a queue.
const MESSAGE_HANDLER: &str = "handle-queue-message";

/// What a component may use, the same for each of its instances.
pub(crate) struct Permissions {
    /// The component's name in the manifest.
    pub(crate) name: Arc<str>,
    pub(crate) variables: HashMap<String, Value>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) allowed_hosts: AllowedHosts,
    /// Where the manifest gives it to the component.
    pub(crate) key_value: Option<KeyValueStore>,
    /// By how many seconds the wall clock runs ahead.
    pub(crate) clock_ahead: Option<Arc<AtomicU64>>,
    pub(crate) log: LogSink,
}

/// A component that is ready to be instantiated.
pub(crate) struct LinkedComponent {
    linked: InstancePre<Guest>,
    /// Where an HTTP trigger leads to it.
    http: Option<ProxyPre<Guest>>,
    /// Where it exports what an SQS trigger calls.
    sqs: Option<SpinSqsPre<Guest>>,
    /// What sees its calls to the host, where they are counted.
    pub(crate) calls_seen_by: Option<Dispatch>,
    pub(crate) permissions: Arc<Permissions>,
}

/// What the guest returns: a response, or why it gave none.
pub(crate) type GuestResponse = Result<http::Response<WasiBody>, ErrorCode>;

/// One instance's part of its store.
pub(crate) struct Guest {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outbound: Outbound,
    memory: MemoryLimit,
}

impl LinkedComponent {
    /// Links a component with the interfaces that this host provides. `serves_http` says whether an HTTP trigger leads to it;
    /// whether it takes messages is told by its exports.
    /// `host_calls` counts what it calls.
    pub(crate) fn new(
        engine: &Engine,
        component: &Component,
        permissions: Permissions,
        serves_http: bool,
        host_calls: Option<&HostCalls>,
    ) -> Result<Self, Error> {
        let name = permissions.name.to_string();
        let refused = |trigger| {
            let component = name.clone();
            move |error: wasmtime::Error| Error::Link { trigger, component, reason: format!("{error:#}") }
        };
        let interfaces = unsupported_imports(engine, component);
        if !interfaces.is_empty() {
            return Err(Error::UnsupportedImports { component: name, interfaces });
        }
        let linked = linker(engine, host_calls)
            .and_then(|linker| linker.instantiate_pre(component))
            .map_err(|error| Error::Instantiate { component: name.clone(), reason: format!("{error:#}") })?;
        let http = serves_http.then(|| ProxyPre::new(linked.clone()).map_err(refused(Trigger::Http))).transpose()?;
        let takes_messages = component.component_type().get_export(engine, MESSAGE_HANDLER).is_some();
        let sqs = takes_messages.then(|| SpinSqsPre::new(linked.clone()).map_err(refused(Trigger::Sqs))).transpose()?;
        let calls_seen_by = host_calls.map(HostCalls::dispatch);
        Ok(Self { linked, http, sqs, calls_seen_by, permissions: Arc::new(permissions) })
    }

    /// Instantiates the component for one request. The caller bounds the time; a guest that computes gives way to other
    /// tasks of the thread at every epoch tick.
    pub(crate) fn store(&self, connections: Arc<ConnectionPool>, trace_id: Option<String>) -> Store<Guest> {
        let permissions = &self.permissions;
        let mut wasi = WasiCtx::builder();
        wasi.stdout(ComponentOutput::stdout(permissions.name.clone(), permissions.log.clone()))
            .stderr(ComponentOutput::stderr(permissions.name.clone(), permissions.log.clone()))
            .envs(&permissions.environment);
        if let Some(ahead) = &permissions.clock_ahead {
            wasi.wall_clock(ClockAhead(ahead.clone()));
        }
        let guest = Guest {
            table: ResourceTable::new(),
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            outbound: Outbound { permissions: permissions.clone(), connections, trace_id },
            memory: MemoryLimit::default(),
        };
        let mut store = Store::new(self.linked.engine(), guest);
        store.limiter(|guest| &mut guest.memory);
        store.set_epoch_deadline(1);
        // tokio's own yield lets the thread look for network events before it goes on; a plain one only lets other tasks
        // run that are ready already.
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))));
        store
    }

    /// Instantiates the component in `store` and has it handle a request. `answer` gets the response as soon as the
    /// guest sets it; the guest may go on writing its body after that.
    pub(crate) async fn handle<B>(
        &self,
        store: &mut Store<Guest>,
        request: Request<B>,
        answer: impl FnOnce(GuestResponse) + Send + Sync + 'static,
    ) -> wasmtime::Result<()>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<wasmtime_wasi_http::Error>,
    {
        let proxy = self.http.as_ref().ok_or(NotTriggered)?.instantiate_async(&mut *store).await?;
        let scheme = if request.uri().scheme_str() == Some("https") { Scheme::Https } else { Scheme::Http };
        let mut http = store.data_mut().http();
        let request = http.new_incoming_request(scheme, request)?;
        let response = http.new_response_outparam_from_callback(answer)?;
        self.seen(proxy.wasi_http_incoming_handler().call_handle(store, request, response)).await
    }

    /// Instantiates the component in `store` and has it handle a message of a queue.
    pub(crate) async fn handle_message(
        &self,
        store: &mut Store<Guest>,
        message: &Message,
    ) -> wasmtime::Result<Result<MessageAction, MessageError>> {
        let queue = self.sqs.as_ref().ok_or(NoMessageHandler)?.instantiate_async(&mut *store).await?;
        self.seen(queue.call_handle_queue_message(store, message)).await
    }

    /// Runs a call of the guest, whose own calls are counted where the host counts.
    async fn seen<F: Future>(&self, call: F) -> F::Output {
        match &self.calls_seen_by {
            Some(dispatch) => call.with_subscriber(dispatch.clone()).await,
            None => call.await,
        }
    }

    /// Instantiates the component and throws the instance away, for measurements.
    pub(crate) async fn instantiate(&self, connections: Arc<ConnectionPool>) -> wasmtime::Result<()> {
        let mut store = self.store(connections, None);
        self.linked.instantiate_async(&mut store).await?;
        Ok(())
    }
}

/// A component was handed a request although no HTTP trigger leads to it.
#[derive(Debug, thiserror::Error)]
#[error("no [[trigger.http]] leads to the component")]
struct NotTriggered;

/// A component was handed a message although it does not take any.
#[derive(Debug, thiserror::Error)]
#[error("the component has no export `{MESSAGE_HANDLER}`")]
struct NoMessageHandler;

fn linker(engine: &Engine, host_calls: Option<&HostCalls>) -> wasmtime::Result<Linker<Guest>> {
    use wasmtime_wasi::p2::bindings::{cli, clocks, random};

    let mut linker = Linker::<Guest>::new(engine);
    let l = &mut linker;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(l)?;
    wasmtime_wasi::p2::bindings::io::error::add_to_linker::<_, Tables>(l, |guest| &mut guest.table)?;
    wasmtime_wasi::p2::bindings::io::poll::add_to_linker::<_, Tables>(l, |guest| &mut guest.table)?;
    wasmtime_wasi::p2::bindings::io::streams::add_to_linker::<_, Tables>(l, |guest| &mut guest.table)?;
    clocks::wall_clock::add_to_linker::<_, WasiClocks>(l, Guest::clocks)?;
    clocks::monotonic_clock::add_to_linker::<_, WasiClocks>(l, Guest::clocks)?;
    random::random::add_to_linker::<_, WasiRandom>(l, |guest| guest.wasi.random())?;
    random::insecure::add_to_linker::<_, WasiRandom>(l, |guest| guest.wasi.random())?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(l, |guest| guest.wasi.random())?;
    cli::environment::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::exit::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::stdin::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::stdout::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::stderr::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    spin_variables::add_to_linker::<_, HasSelf<Guest>>(l, |guest| guest)?;
    key_value::add_to_linker(l, |guest| KeyValueView {
        store: guest.outbound.permissions.key_value.as_ref(),
        table: &mut guest.table,
    })?;
    if let Some(calls) = host_calls {
        calls.count_drops(&mut linker)?;
    }
    Ok(linker)
}

/// Marks a function of the linker as one that needs only the table of resources.
struct Tables;

impl wasmtime::component::HasData for Tables {
    type Data<'a> = &'a mut ResourceTable;
}

/// The imported interfaces with functions or resources that this host lacks. An interface of types alone needs nothing.
fn unsupported_imports(engine: &Engine, component: &Component) -> Vec<String> {
    component
        .component_type()
        .imports(engine)
        .filter(|(name, item)| {
            let interface = name.split_once('@').map_or(*name, |(interface, _)| interface);
            !PROVIDED.contains(&interface)
                && !interface.starts_with(PROVIDED_RANDOM)
                && needs_definition(engine, &item.ty)
        })
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn needs_definition(engine: &Engine, item: &ComponentItem) -> bool {
    match item {
        ComponentItem::ComponentInstance(instance) => {
            instance.exports(engine).any(|(_, item)| needs_definition(engine, &item.ty))
        }
        ComponentItem::Type(_) => false,
        _ => true,
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.outbound }
    }
}

impl spin_variables::Host for Guest {
    fn get(&mut self, name: String) -> Result<String, spin_variables::Error> {
        if !is_valid_name(&name) {
            return Err(spin_variables::Error::InvalidName(name));
        }
        match self.outbound.permissions.variables.get(&name) {
            Some(value) => Ok(value.expose().to_owned()),
            None => Err(spin_variables::Error::Undefined(format!("no variable `{name}` for this component"))),
        }
    }
}

/// The system's clock, put forward.
struct ClockAhead(Arc<AtomicU64>);

impl HostWallClock for ClockAhead {
    fn resolution(&self) -> Duration {
        Duration::from_micros(1)
    }

    fn now(&self) -> Duration {
        let ahead = Duration::from_secs(self.0.load(Ordering::Relaxed));
        SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default() + ahead
    }
}

/// Bounds the memory of one instance, all its linear memories together.
#[derive(Default)]
struct MemoryLimit {
    bytes: usize,
}

/// The error with which an instance ends that wants more memory than it may have.
#[derive(Debug, thiserror::Error)]
#[error("more than {} MiB of memory", MAX_MEMORY_BYTES >> 20)]
pub(crate) struct MemoryExceeded;

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.bytes.saturating_add(desired.saturating_sub(current));
        if total > MAX_MEMORY_BYTES {
            return Err(MemoryExceeded.into());
        }
        self.bytes = total;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        // The pool's size of a table is the limit.
        Ok(true)
    }
}
