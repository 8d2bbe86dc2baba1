//! What both entry points have in common: why a call does not succeed, the settings, and the announcement of a new status.

use std::fmt;
use std::time::SystemTime;

use aws_http::{Client, Credentials, Endpoint};
use backplane::{AnnounceError, StatusBus, StoreError};
use edge_component::{Host, Level, SettingError, Variables};
use messages::StatusChanged;

use crate::settings::{
    ACCESS_KEY_ID, APPOINTMENTS_EVENT_BUS, APPOINTMENTS_TABLE, AWS_REGION, DYNAMODB_ENDPOINT, EVENTBRIDGE_ENDPOINT,
    SECRET_ACCESS_KEY, SESSION_TOKEN, SLOTS_TABLE,
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
pub(crate) struct Settings<H: Host> {
    /// With the default deadline.
    pub(crate) client: Client<H::Transport>,
    pub(crate) dynamodb: Endpoint,
    pub(crate) table: String,
    /// The name of the table of the slots.
    pub(crate) slots: String,
    eventbridge: Endpoint,
    bus: String,
}

impl<H: Host> Settings<H> {
    /// For a call that came at this instant.
    pub(crate) fn read(host: H, variables: &Variables<H>, arrived: SystemTime) -> Result<Self, SettingError> {
        let credentials = Credentials::from_keys(
            ACCESS_KEY_ID.required_text(variables)?,
            SECRET_ACCESS_KEY.required_text(variables)?,
            SESSION_TOKEN.optional_text(variables)?,
        );
        Ok(Self {
            client: Client::new(host.transport(), AWS_REGION.text(variables)?, credentials).with_date(arrived),
            dynamodb: DYNAMODB_ENDPOINT.parse(variables)?,
            table: APPOINTMENTS_TABLE.text(variables)?,
            slots: SLOTS_TABLE.text(variables)?,
            eventbridge: EVENTBRIDGE_ENDPOINT.parse(variables)?,
            bus: APPOINTMENTS_EVENT_BUS.text(variables)?,
        })
    }

    /// Announces a change of an appointment's status.
    pub(crate) async fn announce(
        &self,
        client: &Client<H::Transport>,
        change: &StatusChanged,
    ) -> Result<(), AnnounceError> {
        StatusBus::new(client, &self.eventbridge, &self.bus).announce(change).await
    }
}
