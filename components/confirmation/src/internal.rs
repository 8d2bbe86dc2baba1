//! What both ways in have in common: why a call does not succeed, the settings, and the announcement of a new status.

use std::fmt;

use appointment::StatusChanged;
use aws_http::wasi::WasiTransport;
use aws_http::{Client, Credentials, Endpoint};
use backplane::{AnnounceError, StatusBus, StoreError};
use edge_component::{Level, Setting, SettingError};

/// How log lines name this component.
pub(crate) const SERVICE: &str = "confirmation";

/// Why a call does not succeed; the text is for the log.
pub(crate) enum Failure {
    /// It will never succeed: a queue moves the message to its dead-letter queue.
    Poison(String),
    /// It may succeed later.
    Retry(String),
    /// The component is not set up.
    Setting(SettingError),
}

impl Failure {
    /// What the log says of the message that is left.
    pub(crate) const fn message(&self) -> &'static str {
        match self {
            Self::Retry(_) => "message left to the queue",
            Self::Poison(_) => "message cannot be taken",
            Self::Setting(_) => "component is not set up",
        }
    }

    /// How much attention the log asks for.
    pub(crate) const fn level(&self) -> Level {
        match self {
            Self::Poison(_) | Self::Setting(_) => Level::Error,
            Self::Retry(_) => Level::Warn,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poison(error) | Self::Retry(error) => f.write_str(error),
            Self::Setting(error) => error.fmt(f),
        }
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
            Setting("access_key_id").required_text()?,
            Setting("secret_access_key").required_text()?,
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
