//! One setting: a variable of the environment.

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
    /// Its value cannot be used.
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
