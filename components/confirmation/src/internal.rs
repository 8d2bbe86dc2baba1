//! What the internal routes have in common: who may call, what a failure answers, and the announcement of a new status.

use appointment::StatusChanged;
use aws_http::wasi::WasiTransport;
use aws_http::{Client, Credentials, Endpoint};
use backplane::{AnnounceError, StatusBus, StoreError};
use edge_component::{Language, Level, Problem, ProblemCode, Request, Response, Setting, SettingError};
use http::Method;
use subtle::ConstantTimeEq;

/// How log lines name this component.
pub(crate) const SERVICE: &str = "confirmation";

const API_KEY_HEADER: &str = "x-api-key";

/// Why a call does not succeed.
pub(crate) enum Failure {
    /// It will never succeed: a queue moves the message to its dead-letter queue.
    Poison(String),
    /// It may succeed later.
    Retry(String),
    /// The component is not set up.
    Setting(SettingError),
    /// The caller is at fault.
    Refused(Problem),
}

impl Failure {
    /// What the caller gets, how much attention the log asks for, and what it says.
    pub(crate) fn explain(self) -> (Response, Level, Option<String>) {
        let (problem, level, error) = match self {
            Self::Poison(error) => (Problem::new(ProblemCode::Internal), Level::Error, Some(error)),
            Self::Setting(error) => (Problem::new(ProblemCode::Internal), Level::Error, Some(error.to_string())),
            Self::Retry(error) => (Problem::new(ProblemCode::TemporarilyUnavailable), Level::Warn, Some(error)),
            Self::Refused(problem) => (problem, Level::Warn, None),
        };
        (problem.into_response(Language::English), level, error)
    }
}

impl From<SettingError> for Failure {
    fn from(error: SettingError) -> Self {
        Self::Setting(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::InvalidItem(_) => Self::Poison(error.to_string()),
            StoreError::Call(_) => Self::Retry(error.to_string()),
        }
    }
}

impl From<AnnounceError> for Failure {
    fn from(error: AnnounceError) -> Self {
        Self::Retry(error.to_string())
    }
}

/// Lets through who holds one of the two keys and calls the route with its one method. Two keys are accepted, so that a
/// rotation never refuses the pipe.
pub(crate) fn authorize(request: &Request, route: &str) -> Result<(), Failure> {
    let presented = request.headers().get(API_KEY_HEADER).map(|key| key.as_bytes()).unwrap_or_default();
    let current = Setting("api_key").text()?;
    let previous = Setting("api_key_previous").text()?;
    let matches = |key: &str| !key.is_empty() && bool::from(key.as_bytes().ct_eq(presented));
    if !(matches(&current) | matches(&previous)) {
        return Err(Failure::Refused(Problem::new(ProblemCode::Unauthorized)));
    }
    if request.uri().path() != route {
        return Err(Failure::Refused(Problem::new(ProblemCode::NotFound)));
    }
    if request.method() != Method::POST {
        return Err(Failure::Refused(Problem::method_not_allowed("POST")));
    }
    Ok(())
}

/// Where the appointments lie and changes are announced, read from the variables once a call.
pub(crate) struct Settings {
    /// With the default deadline.
    pub(crate) client: Client<WasiTransport>,
    pub(crate) dynamodb: Endpoint,
    pub(crate) table: String,
    pub(crate) eventbridge: Endpoint,
    pub(crate) bus: String,
}

impl Settings {
    pub(crate) fn read() -> Result<Self, SettingError> {
        let credentials = Credentials::from_keys(
            Setting("access_key_id").text()?,
            Setting("secret_access_key").text()?,
            Setting("session_token").optional_text()?,
        );
        Ok(Self {
            client: Client::new(WasiTransport, Setting("region").text()?, credentials),
            dynamodb: Setting("dynamodb_endpoint").parse()?,
            table: Setting("table").text()?,
            eventbridge: Setting("eventbridge_endpoint").parse()?,
            bus: Setting("event_bus").text()?,
        })
    }

    /// Announces a change of an appointment's status.
    pub(crate) async fn announce(
        &self,
        client: &Client<WasiTransport>,
        change: &StatusChanged,
    ) -> Result<(), AnnounceError> {
        StatusBus::new(client, &self.eventbridge, &self.bus).announce(change).await
    }
}
