use aws_http::sqs::ReceiveDelays;

use crate::{DatabaseLogin, DatabasePlace, DatabaseUser};

/// What the worker reads from its environment, once, when it starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The country's database, and how to log in.
    pub database: DatabaseLogin,
    /// `EVENT_BUS_NAME`: the bus that outcomes are reported on.
    pub event_bus_name: String,
    /// `RECEIVE_DELAYS_SECONDS`: the pauses between the deliveries of a message, and so how often there is one before the
    /// queue moves it to the dead-letter queue.
    pub receive_delays: ReceiveDelays,
}

impl Settings {
    /// Reads the settings through `variable`, which gives the value of an environment variable.
    ///
    /// # Errors
    ///
    /// Names the first variable that is missing or malformed, and shows what is expected, never what was given.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidSetting> {
        let database = DatabaseLogin::read(&variable)?;
        let event_bus_name =
            required(&variable, "EVENT_BUS_NAME", "the name of the event bus, for example appointments")?;
        let (variable_name, expected) =
            ("RECEIVE_DELAYS_SECONDS", "the seconds between the deliveries of a message, for example 5,30,120");
        let receive_delays = required(&variable, variable_name, expected)?
            .parse()
            .map_err(|_| InvalidSetting::Malformed { variable: variable_name, expected })?;
        Ok(Self { database, event_bus_name, receive_delays })
    }
}

/// What a migration reads from its environment.
#[derive(Debug, Clone)]
pub struct MigrationSettings {
    /// The country's database.
    pub place: DatabasePlace,
    /// `DATABASE_MASTER_SECRET_ARN`: the secret of Secrets Manager with the user that owns the database and its password,
    /// as RDS keeps them. Without one, those of the URL are used.
    pub master_secret: Option<String>,
    /// `DATABASE_USER`: the user that the worker will connect as.
    pub worker: DatabaseUser,
}

impl MigrationSettings {
    /// Reads the settings through `variable`, which gives the value of an environment variable.
    ///
    /// # Errors
    ///
    /// Names the first variable that is missing or malformed, and shows what is expected, never what was given.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidSetting> {
        const SECRET: &str = "DATABASE_MASTER_SECRET_ARN";
        let place = DatabasePlace::read(&variable)?;
        let master_secret = match place {
            DatabasePlace::Url(_) => variable(SECRET).filter(|arn| !arn.is_empty()),
            DatabasePlace::Rds(_) => Some(required(
                &variable,
                SECRET,
                "the ARN of the secret that RDS keeps for the instance's master user",
            )?),
        };
        Ok(Self { place, master_secret, worker: DatabaseUser::read(variable)? })
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

pub(crate) fn required(
    variable: impl Fn(&str) -> Option<String>,
    name: &'static str,
    expected: &'static str,
) -> Result<String, InvalidSetting> {
    variable(name).filter(|value| !value.is_empty()).ok_or(InvalidSetting::Missing { variable: name, expected })
}
