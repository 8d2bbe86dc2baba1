//! What both entry points have in common: why a call does not succeed, the settings, and the announcement of a new status.

use std::fmt;
use std::time::SystemTime;

use aws_http::wasi::WasiTransport;
use aws_http::{Client, Credentials, Endpoint};
use backplane::{AnnounceError, StatusBus, StoreError};
use edge_component::{Level, SettingError};
use messages::StatusChanged;

use crate::settings::{
    ACCESS_KEY_ID, APPOINTMENTS_EVENT_BUS, APPOINTMENTS_TABLE, AWS_REGION, DYNAMODB_ENDPOINT, EVENTBRIDGE_ENDPOINT,
    SECRET_ACCESS_KEY, SESSION_TOKEN,
};

/// How log lines name this component.
pub(crate) const SERVICE: &str = "confirmation";

/// Why a call does not succeed; the text is for the log.
pub(crate) enum HandlingError {
    /// It will never succeed: a queue moves the message to its dead-letter queue.
    Poison(String),
    /// It may succeed later.
    Retry(String),
    /// The component is not set up.
    Setting(SettingError),
}

impl HandlingError {
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

impl fmt::Display for HandlingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poison(error) | Self::Retry(error) => f.write_str(error),
            Self::Setting(error) => error.fmt(f),
        }
    }
}

impl From<SettingError> for HandlingError {
    fn from(error: SettingError) -> Self {
        Self::Setting(error)
    }
}

impl From<StoreError> for HandlingError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::InvalidItem(_) => Self::Poison(error.to_string()),
            StoreError::Call(_) => Self::Retry(error.to_string()),
        }
    }
}

impl From<AnnounceError> for HandlingError {
    fn from(error: AnnounceError) -> Self {
        Self::Retry(error.to_string())
    }
}

/// Where appointments are stored and changes announced, read from the variables once per call.
pub(crate) struct Settings {
    /// With the default deadline.
    pub(crate) client: Client<WasiTransport>,
    pub(crate) dynamodb: Endpoint,
    pub(crate) table: String,
    pub(crate) eventbridge: Endpoint,
    pub(crate) bus: String,
}

impl Settings {
    /// For a call that came at this instant.
    pub(crate) fn read(arrived: SystemTime) -> Result<Self, SettingError> {
        let credentials = Credentials::from_keys(
            ACCESS_KEY_ID.required_text()?,
            SECRET_ACCESS_KEY.required_text()?,
            SESSION_TOKEN.optional_text()?,
        );
        Ok(Self {
            client: Client::new(WasiTransport, AWS_REGION.text()?, credentials).with_date(arrived),
            dynamodb: DYNAMODB_ENDPOINT.parse()?,
            table: APPOINTMENTS_TABLE.text()?,
            eventbridge: EVENTBRIDGE_ENDPOINT.parse()?,
            bus: APPOINTMENTS_EVENT_BUS.text()?,
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
