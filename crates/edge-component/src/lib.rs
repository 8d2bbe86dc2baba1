//! What the Wasm components share at their edge. The rest of them knows nothing of WASI:
//!
//! - [`Host`] is what a component has of its host, and [`Body`] the body of a request. Both are parameters, so a test runs a component natively.
//! - `WasiHost` is the host of production. `serve` turns one call of it into an [`http::Request`] and the response back into one write.
//! - [`Problem`] is an error as a client sees it (RFC 9457), and [`status_text`] an appointment's status, in Spanish or English.
//! - [`Setting`] reads the application's [`Variables`], most of which come as one document; [`LogLine`] writes one JSON line for each outcome.
//! - [`caller`] and [`has_tag`] read headers that every component heeds.
//! - [`RequestEntropy`] draws the random bytes of a request in one call of the host.
//!
//! Moving to WASI 0.3 touches this crate, the transport of `aws-http` and nothing else
//! (`docs/adr/0001-wasi-0.2-for-now.md`).

mod entropy;
mod headers;
mod host;
mod language;
mod log;
mod problem;
mod request;
mod setting;
mod status_text;
#[cfg(target_os = "wasi")]
mod wasi;

#[cfg(target_os = "wasi")]
pub use self::wasi::{IncomingBody, WasiHost, serve};
#[cfg(target_os = "wasi")]
pub use aws_http::wasi::run;
pub use entropy::RequestEntropy;
pub use headers::{caller, has_tag};
pub use host::{Host, KeyValueStore};
pub use language::Language;
pub use log::{Hop, Level, LogLine};
pub use problem::{Problem, ProblemCode};
pub use request::{BODY_DEADLINE, Body, BodyError, Response};
pub use setting::{Setting, SettingError, Variables};
pub use status_text::status_text;
