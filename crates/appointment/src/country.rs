use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A country whose own system decides about its appointments: an ISO 3166-1 alpha-2 code, case-sensitive.
///
/// A further country is one variant here, one entry in `infra/backplane.json` and one worker crate
/// (`docs/adding-a-country.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Country {
    /// Peru.
    #[serde(rename = "PE")]
    Peru,
    /// Chile.
    #[serde(rename = "CL")]
    Chile,
}

impl Country {
    /// Every country, in the order in which they are shown.
    pub const ALL: [Self; 2] = [Self::Peru, Self::Chile];

    /// The ISO 3166-1 alpha-2 code: `PE` or `CL`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Peru => "PE",
            Self::Chile => "CL",
        }
    }

    /// The source under which the country's worker reports on EventBridge: `appointments.worker.PE`.
    #[must_use]
    pub const fn event_source(self) -> &'static str {
        match self {
            Self::Peru => "appointments.worker.PE",
            Self::Chile => "appointments.worker.CL",
        }
    }
}

impl fmt::Display for Country {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

/// The text is not the code of a country that this backend serves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a supported country: expected PE or CL, in capitals")]
pub struct UnknownCountry;

impl FromStr for Country {
    type Err = UnknownCountry;

    fn from_str(text: &str) -> Result<Self, UnknownCountry> {
        Self::ALL.into_iter().find(|country| country.code() == text).ok_or(UnknownCountry)
    }
}
