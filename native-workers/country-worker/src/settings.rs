use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;

/// What the worker reads from its environment, once, when it starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `DATABASE_URL`: the country's database.
    pub database_url: DatabaseUrl,
    /// `EVENT_BUS_NAME`: the bus that outcomes are reported on.
    pub event_bus_name: String,
    /// `MAX_RECEIVE_COUNT`: how often the queue delivers a message before it moves it to the dead-letter queue.
    pub max_receive_count: u32,
}

impl Settings {
    /// Reads the settings through `variable`, which gives the value of an environment variable.
    ///
    /// # Errors
    ///
    /// Names the first variable that is missing or malformed, and shows what is expected, never what was given.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidSetting> {
        let database_url = DatabaseUrl::read(&variable)?;
        let event_bus_name =
            required(&variable, "EVENT_BUS_NAME", "the name of the event bus, for example appointments")?;
        let expected = "how often the queue delivers a message, for example 5";
        let max_receive_count = match required(&variable, "MAX_RECEIVE_COUNT", expected)?.parse() {
            Ok(count) if count > 0 => count,
            _ => return Err(InvalidSetting::Malformed { variable: "MAX_RECEIVE_COUNT", expected }),
        };
        Ok(Self { database_url, event_bus_name, max_receive_count })
    }
}

/// The address of a PostgreSQL database, with the credentials to it. `Debug` shows where it is, never the password.
#[derive(Clone)]
pub struct DatabaseUrl(PgConnectOptions);

impl DatabaseUrl {
    const VARIABLE: &str = "DATABASE_URL";
    const SHAPE: &str = "postgres://USER:PASSWORD@HOST:PORT/DATABASE";

    /// Reads `DATABASE_URL`.
    ///
    /// # Errors
    ///
    /// Names the variable, and shows the expected shape.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidSetting> {
        required(variable, Self::VARIABLE, Self::SHAPE)?.parse()
    }

    /// For a session whose statements the server ends after `statement_timeout`.
    pub(crate) fn session(&self, statement_timeout: Duration) -> PgConnectOptions {
        self.0.clone().options([("statement_timeout", statement_timeout.as_millis().to_string())])
    }

    /// For a session whose statements may take as long as they need.
    pub(crate) fn unhurried_session(&self) -> PgConnectOptions {
        self.0.clone()
    }
}

impl FromStr for DatabaseUrl {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        let malformed = InvalidSetting::Malformed { variable: Self::VARIABLE, expected: Self::SHAPE };
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(malformed);
        }
        // The driver's own error may quote the text, and with it the password.
        let options: PgConnectOptions = text.parse().map_err(|_| malformed.clone())?;
        if options.get_database().is_none_or(str::is_empty) {
            return Err(malformed);
        }
        // A statement's arguments are personal data.
        Ok(Self(options.application_name("country-worker").disable_statement_logging()))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DatabaseUrl")
            .field("host", &self.0.get_host())
            .field("port", &self.0.get_port())
            .field("database", &self.0.get_database())
            .finish_non_exhaustive()
    }
}

/// A variable of the environment that the worker cannot start with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSetting {
    /// It is not set, or empty.
    #[error("the environment variable {variable} is not set: expected {expected}")]
    Missing {
        /// Its name.
        variable: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
    /// Its value is none that can be used.
    #[error("the environment variable {variable} is malformed: expected {expected}")]
    Malformed {
        /// Its name.
        variable: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
}

fn required(
    variable: impl Fn(&str) -> Option<String>,
    name: &'static str,
    expected: &'static str,
) -> Result<String, InvalidSetting> {
    variable(name).filter(|value| !value.is_empty()).ok_or(InvalidSetting::Missing { variable: name, expected })
}
