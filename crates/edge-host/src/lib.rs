//! Runs the components of a Spin application on an embedded wasmtime: for HTTP requests, and for messages of SQS queues.
//!
//! It reads the same `spin.toml` (manifest v2) as the `spin` CLI and gives components what Spin gives them: WASI 0.2, Spin
//! variables, a key-value store, and outbound HTTP to the hosts that the manifest allows. It is there for tests, which start it inside their
//! own process, for local runs on a machine without the `spin` CLI (the binary `edge-host`), and for the Lambda host, which
//! hands it events without a socket between ([`EdgeHostBuilder::load`], [`Executor`]) and holds no compiler (without the
//! feature `compile`). What a manifest asks for beyond that is refused by name, never ignored.
//!
//! ```no_run
//! # async fn run() -> Result<(), edge_host::Error> {
//! use edge_host::{EdgeHost, Manifest};
//!
//! let host = EdgeHost::builder(Manifest::from_file("spin.toml")?)
//!     .variable("authentication", "none")
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
//! | [`manifest`](Manifest), `manifest_keys` | the manifest's shape, and the refusal of what is not implemented |
//! | `variables`, `variable_name` | Spin variables and templates |
//! | `outbound_hosts` | which hosts a component may call |
//! | `routes` | which component serves a path |
//! | `engine` | wasmtime's engine and its pool of instances |
//! | `compile`, `compilation_cache`, `code` | compiling components, with caches or ahead of time |
//! | `linked`, `permissions` | what a component is linked with, and may use |
//! | `guest` | one instance's state and limits |
//! | [`host_calls`](HostCalls) | counts the calls of components to the host, where it is asked to |
//! | `key_value` | Spin's key-value store, in memory |
//! | [`builder`](EdgeHostBuilder) | how an application is set up |
//! | [`application`](Application) | an application that is loaded |
//! | [`executor`](Executor) | one instance per request or message |
//! | `pending_response`, `host_response`, [`instance_error`](InstanceError) | a component's response on its way to the client, and how the host responds without one |
//! | `inbound`, [`server`](RunningHost) | connections of clients, worker threads |
//! | `outbound` | requests of components over pooled connections |
//! | `logs` | lines of components and of the host |
//! | `export` | what lines say about time, to an OpenTelemetry collector |

mod application;
mod builder;
mod code;
#[cfg(feature = "compile")]
mod compilation_cache;
#[cfg(feature = "compile")]
mod compile;
mod engine;
mod error;
mod executor;
mod export;
mod guest;
mod host_calls;
mod host_response;
mod inbound;
mod instance_error;
mod key_value;
mod linked;
mod logs;
mod manifest;
mod manifest_keys;
mod outbound;
mod outbound_hosts;
mod pending_response;
mod permissions;
mod routes;
mod server;
mod variable_name;
mod variables;

pub use crate::application::{Application, LoadedComponent};
pub use crate::builder::{DEFAULT_INSTANCES, DEFAULT_REQUEST_TIMEOUT, EdgeHost, EdgeHostBuilder};
pub use crate::code::CodeOrigin;
#[cfg(feature = "compile")]
pub use crate::compile::compile_ahead;
pub use crate::engine::WasmEngine;
pub use crate::error::{Error, ManifestError, Trigger};
pub use crate::executor::Executor;
pub use crate::export::SpanExport;
pub use crate::host_calls::HostCalls;
pub use crate::instance_error::{InstanceError, MessageFailure};
pub use crate::linked::{Message, MessageAction, MessageAttribute, MessageAttributeValue};
pub use crate::logs::{Level, LogLine, LogSink, Origin, console, host_message};
pub use crate::manifest::Manifest;
pub use crate::server::RunningHost;
