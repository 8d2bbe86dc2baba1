//! A component, linked once, and its calls: one instance per request or message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::Request;
use http_body::Body;
use tracing::Dispatch;
use tracing::instrument::WithSubscriber as _;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker, ResourceTable};
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::{WasiBody, WasiHttpView as _};

use crate::error::{Error, Trigger};
use crate::guest::{Guest, spin_variables};
use crate::host_calls::HostCalls;
use crate::key_value;
use crate::outbound::ConnectionPool;
use crate::permissions::Permissions;

#[allow(missing_docs, reason = "generated from wit/spin-sqs, which says what the parts are")]
mod queue_bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/spin-sqs",
        world: "spin-sqs",
        exports: { default: async },
    });
}

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

    /// A store for one instance of the component. The caller bounds the time; a guest that computes gives way to other
    /// tasks of the thread at every epoch tick, and sets `gave_way` each time.
    pub(crate) fn store(
        &self,
        connections: Arc<ConnectionPool>,
        trace_id: Option<String>,
        gave_way: Arc<AtomicBool>,
    ) -> Store<Guest> {
        let guest = Guest::new(self.permissions.clone(), connections, trace_id);
        let mut store = Store::new(self.linked.engine(), guest);
        store.limiter(Guest::limiter);
        store.set_epoch_deadline(1);
        // tokio's own yield lets the thread look for network events before it goes on; a plain one only lets other tasks
        // run that are ready already.
        store.epoch_deadline_callback(move |_| {
            gave_way.store(true, Ordering::Relaxed);
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        store
    }

    /// Instantiates the component in `store` and has it handle a request. `send` gets the response as soon as the
    /// guest sets it; the guest may go on writing its body after that.
    pub(crate) async fn handle<B>(
        &self,
        store: &mut Store<Guest>,
        request: Request<B>,
        send: impl FnOnce(GuestResponse) + Send + Sync + 'static,
    ) -> wasmtime::Result<()>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<wasmtime_wasi_http::Error>,
    {
        let proxy = self.http.as_ref().ok_or(NotTriggered)?.instantiate_async(&mut *store).await?;
        let scheme = if request.uri().scheme_str() == Some("https") { Scheme::Https } else { Scheme::Http };
        let mut http = store.data_mut().http();
        let request = http.new_incoming_request(scheme, request)?;
        let response = http.new_response_outparam_from_callback(send)?;
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
        let mut store = self.store(connections, None, Arc::default());
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
    wasmtime_wasi::p2::bindings::io::error::add_to_linker::<_, Tables>(l, Guest::table)?;
    wasmtime_wasi::p2::bindings::io::poll::add_to_linker::<_, Tables>(l, Guest::table)?;
    wasmtime_wasi::p2::bindings::io::streams::add_to_linker::<_, Tables>(l, Guest::table)?;
    clocks::wall_clock::add_to_linker::<_, WasiClocks>(l, Guest::clocks)?;
    clocks::monotonic_clock::add_to_linker::<_, WasiClocks>(l, Guest::clocks)?;
    random::random::add_to_linker::<_, WasiRandom>(l, Guest::random)?;
    random::insecure::add_to_linker::<_, WasiRandom>(l, Guest::random)?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(l, Guest::random)?;
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
    key_value::add_to_linker(l, Guest::key_value)?;
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

/// The imported interfaces with functions or resources that this host lacks. An interface with only types needs nothing.
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
