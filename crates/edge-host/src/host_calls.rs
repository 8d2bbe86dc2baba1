//! How often components call the host, by interface and function: what a request costs beside its own code.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Metadata, Subscriber};
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::p2::bindings::io::poll::HostPollable;
use wasmtime_wasi::p2::bindings::io::streams::{HostInputStream, HostOutputStream};
use wasmtime_wasi::p2::bindings::io::{error, poll, streams};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::p2::bindings::http::types;

use crate::guest::Guest;

/// The span that wasmtime's bindings open around each function of the host that a component calls.
const SPAN: &str = "wit-bindgen import";

/// Counts the calls of a host's components. Cloning it is cheap and shares the counts.
///
/// Only a host that is given one counts ([`count_host_calls`](crate::EdgeHostBuilder::count_host_calls)): it makes each call dearer.
#[derive(Clone, Default)]
pub struct HostCalls(Arc<Mutex<BTreeMap<String, u64>>>);

impl HostCalls {
    /// How often each function was called since the last time; the keys are like `wasi:io/streams output-stream.write`.
    #[must_use]
    pub fn take(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, interface: &str, function: &str) {
        let name = format!("{interface} {function}");
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
    }

    /// What sees the spans of an instance that runs under it.
    pub(crate) fn dispatch(&self) -> Dispatch {
        Dispatch::new(Spans(self.clone()))
    }

    /// Counts what components give back as well.
    pub(crate) fn count_drops(&self, linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
        /// One resource: its interface, name and type, and how the bindings drop it.
        macro_rules! counted {
            ($($interface:literal $name:literal $type:ty: |$guest:ident, $own:ident| $drop:expr;)*) => {$({
                let calls = self.clone();
                let mut interface = linker.instance(concat!($interface, "@0.2.12"))?;
                interface.resource_async($name, ResourceType::host::<$type>(), move |mut store, index| {
                    calls.add($interface, concat!($name, ".drop"));
                    Box::new(async move {
                        let ($guest, $own) = (store.data_mut(), Resource::<$type>::new_own(index));
                        $drop
                    })
                })?;
            })*};
        }
        // In place of the bindings' own functions, which make no span.
        linker.allow_shadowing(true);
        counted! {
            "wasi:io/error" "error" streams::Error: |guest, own| error::HostError::drop(guest.ctx().table, own);
            "wasi:io/poll" "pollable" poll::Pollable: |guest, own| HostPollable::drop(guest.ctx().table, own);
            "wasi:io/streams" "input-stream" DynInputStream: |guest, own| {
                HostInputStream::drop(guest.ctx().table, own).await
            };
            "wasi:io/streams" "output-stream" DynOutputStream: |guest, own| {
                HostOutputStream::drop(guest.ctx().table, own).await
            };
            "wasi:http/types" "fields" types::Fields: |guest, own| types::HostFields::drop(&mut guest.http(), own);
            "wasi:http/types" "incoming-request" types::IncomingRequest: |guest, own| {
                types::HostIncomingRequest::drop(&mut guest.http(), own)
            };
            "wasi:http/types" "outgoing-request" types::OutgoingRequest: |guest, own| {
                types::HostOutgoingRequest::drop(&mut guest.http(), own)
            };
            "wasi:http/types" "request-options" types::RequestOptions: |guest, own| {
                types::HostRequestOptions::drop(&mut guest.http(), own)
            };
            "wasi:http/types" "response-outparam" types::ResponseOutparam: |guest, own| {
                types::HostResponseOutparam::drop(&mut guest.http(), own)
            };
            "wasi:http/types" "incoming-response" types::IncomingResponse: |guest, own| {
                types::HostIncomingResponse::drop(&mut guest.http(), own)
            };
            "wasi:http/types" "incoming-body" types::IncomingBody: |guest, own| {
                types::HostIncomingBody::drop(&mut guest.http(), own)
            };
            "wasi:http/types" "future-trailers" types::FutureTrailers: |guest, own| {
                types::HostFutureTrailers::drop(&mut guest.http(), own)
            };
            "wasi:http/types" "outgoing-response" types::OutgoingResponse: |guest, own| {
                types::HostOutgoingResponse::drop(&mut guest.http(), own)
            };
            "wasi:http/types" "outgoing-body" types::OutgoingBody: |guest, own| {
                types::HostOutgoingBody::drop(&mut guest.http(), own)
            };
            "wasi:http/types" "future-incoming-response" types::FutureIncomingResponse: |guest, own| {
                types::HostFutureIncomingResponse::drop(&mut guest.http(), own)
            };
        }
        linker.allow_shadowing(false);
        Ok(())
    }
}

impl fmt::Debug for HostCalls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("HostCalls").finish_non_exhaustive()
    }
}

/// Sees the bindings' spans, and nothing else.
struct Spans(HostCalls);

impl Subscriber for Spans {
    /// Asked anew each time: other hosts of the process do not count.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.name() == SPAN
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut function = Function::default();
        span.record(&mut function);
        self.0.add(&interface(span.metadata().target()), &function.0);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The interface of the module that the bindings generate for it: `…::wasi::io::streams` is `wasi:io/streams`.
fn interface(module: &str) -> String {
    let mut parts = module.rsplit("::").map(|part| part.replace('_', "-"));
    let (name, package, namespace) = (parts.next(), parts.next(), parts.next());
    format!("{}:{}/{}", namespace.unwrap_or_default(), package.unwrap_or_default(), name.unwrap_or_default())
}

/// The function that a span is about, without what kind of function it is.
#[derive(Default)]
struct Function(String);

impl Visit for Function {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "function" {
            value.rsplit(']').next().unwrap_or_default().clone_into(&mut self.0);
            if value.starts_with("[constructor]") {
                self.0.push_str(".new");
            }
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}
