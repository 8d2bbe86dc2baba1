//! Why an event has no response of a component, and how the host responds then.

use std::time::Duration;

use http::{Response, StatusCode};
use wasmtime::PoolConcurrencyLimitError;
use wasmtime_wasi::I32Exit;

use crate::host_response::{ResponseBody, overloaded, problem};
use crate::logs::Level;

/// Why a message has no action: it is to be handled again.
#[derive(Debug, thiserror::Error)]
pub enum MessageFailure {
    /// The application has no such component.
    #[error("the application has no component `{0}`")]
    NoComponent(String),
    /// The component responded with an error.
    #[error("{0}")]
    Handler(String),
    /// The instance ended without a response, or never began.
    #[error(transparent)]
    Instance(InstanceError),
}

/// Why a request gets no instance.
pub(crate) enum Refusal {
    NoRoute,
    NoHost,
    Overloaded,
}

impl Refusal {
    pub(crate) fn response(&self) -> Response<ResponseBody> {
        match self {
            Self::NoRoute => problem(StatusCode::NOT_FOUND, "no component has a route for this path"),
            Self::NoHost => problem(StatusCode::BAD_REQUEST, "the request has no valid Host header"),
            Self::Overloaded => overloaded(),
        }
    }
}

/// Why an instance gave no complete response.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// The guest returned without setting a response.
    #[error("it returned without a response")]
    NoResponse,
    /// All instances are in use.
    #[error("the process has no instance left")]
    NoInstance,
    /// The guest trapped or exited.
    #[error("{0}")]
    Ended(String),
    /// The time that it had is over.
    #[error("it took longer than {}", humantime::format_duration(*.0))]
    Timeout(Duration),
}

impl InstanceError {
    /// The cause of a guest's end, without a backtrace: components are stripped, so it would show nothing.
    pub(crate) fn of(error: &wasmtime::Error) -> Self {
        match error.downcast_ref::<I32Exit>() {
            Some(I32Exit(status)) => Self::Ended(format!("it exited with status {status}")),
            None if error.is::<PoolConcurrencyLimitError>() => Self::NoInstance,
            None => Self::Ended(error.root_cause().to_string()),
        }
    }

    pub(crate) fn level(&self) -> Level {
        match self {
            Self::NoInstance => Level::Warn,
            Self::NoResponse | Self::Ended(_) | Self::Timeout(_) => Level::Error,
        }
    }

    pub(crate) fn response(&self) -> Response<ResponseBody> {
        match self {
            Self::NoInstance => overloaded(),
            Self::Timeout(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the component took too long"),
            Self::NoResponse | Self::Ended(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the component failed"),
        }
    }
}
