use std::num::NonZeroU16;

use aws_http::sqs::ReceiveDelays;

use crate::login::{DatabaseLogin, DatabasePlace, DatabaseUser};
use crate::setting::{InvalidSetting, required};

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
    /// `IMPORT_DATABASE_USER`: the user that imports will connect as, `importer` where it is not set.
    pub importer: DatabaseUser,
    /// What the country decides by.
    pub rules: CountryRules,
}

/// What the import, and what else concerns slots, reads from its environment.
#[derive(Debug, Clone)]
pub struct SlotSettings {
    /// The country's database, and how to log in: as the user of imports.
    pub database: DatabaseLogin,
    /// `EVENT_BUS_NAME`: the bus that changes are told on.
    pub event_bus_name: String,
}

impl SlotSettings {
    /// Reads the settings through `variable`, which gives the value of an environment variable.
    ///
    /// # Errors
    ///
    /// Names the first variable that is missing or malformed, and shows what is expected, never what was given.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidSetting> {
        let database = DatabaseLogin::read(&variable)?;
        let event_bus_name =
            required(&variable, "EVENT_BUS_NAME", "the name of the event bus, for example appointments")?;
        Ok(Self { database, event_bus_name })
    }
}

/// What a migration sets of the rules that the country decides by; what is not set stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CountryRules {
    /// `CATALOGUE`: whether only slots of the country's own catalogue can be booked. At first the catalogue is external.
    pub catalogue: Option<CatalogueKind>,
    /// `MAX_OPEN_BOOKINGS`: how many bookings that have not ended one person may hold, where the catalogue is the country's
    /// own. At first 20.
    pub max_open_bookings: Option<u16>,
}

impl CountryRules {
    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidSetting> {
        let given = |name| variable(name).filter(|value| !value.is_empty());
        let catalogue = match given("CATALOGUE").as_deref() {
            None => None,
            Some("own") => Some(CatalogueKind::Own),
            Some("external") => Some(CatalogueKind::External),
            Some(_) => {
                let expected = "own or external, or nothing";
                return Err(InvalidSetting::Malformed { variable: "CATALOGUE", expected });
            }
        };
        let max_open_bookings = match given("MAX_OPEN_BOOKINGS").map(|number| number.parse::<NonZeroU16>()) {
            None => None,
            Some(Ok(number)) => Some(number.get()),
            Some(Err(_)) => {
                let expected = "a number from 1 to 65535, or nothing";
                return Err(InvalidSetting::Malformed { variable: "MAX_OPEN_BOOKINGS", expected });
            }
        };
        Ok(Self { catalogue, max_open_bookings })
    }
}

/// Where a country's slots are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatalogueKind {
    /// In its database, by imports: nothing else can be booked.
    Own,
    /// Elsewhere: any number is a slot, and nothing is known about it.
    External,
}

impl CatalogueKind {
    /// The text in the setting and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::External => "external",
        }
    }
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
        let worker = DatabaseUser::read(&variable)?;
        let importer = DatabaseUser::importer(&variable)?;
        Ok(Self { place, master_secret, worker, importer, rules: CountryRules::read(variable)? })
    }
}
