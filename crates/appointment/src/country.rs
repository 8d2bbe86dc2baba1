use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::UnknownValue;
use crate::unknown::passed_on_as_text;

/// Declares the countries: a further one is one line below, one entry in `infra/backplane.json` and one worker crate
/// (`docs/adding-a-country.md`).
macro_rules! countries {
    ($($name:ident = $code:literal, hours from UTC $west:literal to $east:literal;)+) => {
        /// A country whose own system decides about its appointments: an ISO 3166-1 alpha-2 code, case-sensitive.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Country {
            $(
                #[doc = concat!("`", $code, "`.")]
                #[serde(rename = $code)]
                $name,
            )+
        }

        impl Country {
            /// Every country, in the order in which they are shown.
            pub const ALL: [Self; [$($code),+].len()] = [$(Self::$name),+];

            /// The ISO 3166-1 alpha-2 code, such as `PE`.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                }
            }

            /// Between how many hours from UTC its local times lie, in any of its zones and seasons: a local date begins at
            /// the second one at the earliest, at the first one at the latest.
            #[must_use]
            pub const fn hours_from_utc(self) -> (i8, i8) {
                match self {
                    $(Self::$name => ($west, $east),)+
                }
            }
        }
    };
}

countries! {
    Peru = "PE", hours from UTC -5 to -5;
    // Easter Island in winter, the mainland in summer.
    Chile = "CL", hours from UTC -6 to -3;
}

impl Country {
    /// The codes of all countries as a sentence names them, with the word for "or" in its language: `PE or CL`.
    #[must_use]
    pub fn alternatives(or: &str) -> String {
        let codes = Self::ALL.map(Self::code);
        match codes.as_slice() {
            [first @ .., last] if !first.is_empty() => format!("{} {or} {last}", first.join(", ")),
            all => all.concat(),
        }
    }
}

impl fmt::Display for Country {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

/// The country of an appointment that is kept. Where a later version serves it and this one does not, it is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoredCountry {
    /// This version serves it.
    Known(Country),
    /// A later version serves it.
    Unknown(UnknownValue),
}

passed_on_as_text!(StoredCountry);

impl StoredCountry {
    /// The text in responses and in the table: an ISO 3166-1 alpha-2 code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(country) => country.code(),
            Self::Unknown(value) => value.as_str(),
        }
    }

    /// The country of a stored text; `None` where it has not 1 to 47 bytes.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        text.parse().ok().map(Self::Known).or_else(|| UnknownValue::new(text).map(Self::Unknown))
    }

    /// The country, where this version serves it.
    #[must_use]
    pub const fn known(self) -> Option<Country> {
        match self {
            Self::Known(country) => Some(country),
            Self::Unknown(_) => None,
        }
    }
}

impl From<Country> for StoredCountry {
    fn from(country: Country) -> Self {
        Self::Known(country)
    }
}

impl fmt::Display for StoredCountry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The text is not the code of a country that this backend serves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a supported country: expected {}, in uppercase", Country::alternatives("or"))]
pub struct UnknownCountry;

impl FromStr for Country {
    type Err = UnknownCountry;

    fn from_str(text: &str) -> Result<Self, UnknownCountry> {
        Self::ALL.into_iter().find(|country| country.code() == text).ok_or(UnknownCountry)
    }
}
