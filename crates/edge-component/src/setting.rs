use std::str::FromStr;

use spin_sdk::variables;

/// A variable of the component, as `spin.toml` names it.
#[derive(Debug, Clone, Copy)]
pub struct Setting(pub &'static str);

/// A variable that is missing or does not have its form. It never shows the value, which may be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// The component may not read the variable, or it has no value.
    #[error("the variable '{name}' of the component cannot be read: give it a value in spin.toml ({reason})")]
    Unreadable {
        /// The variable.
        name: &'static str,
        /// The host's explanation.
        reason: String,
    },
    /// The variable's text does not have its form.
    #[error("the variable '{name}' of the component is invalid: {reason}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl Setting {
    /// The variable's text.
    ///
    /// # Errors
    ///
    /// [`SettingError::Unreadable`].
    pub fn text(self) -> Result<String, SettingError> {
        variables::get(self.0).map_err(|error| {
            let reason = match error {
                variables::Error::InvalidName(_) => "the name is invalid",
                variables::Error::Undefined(_) => "it is not defined",
                variables::Error::Provider(_) => "its provider failed",
                variables::Error::Other(_) => "the host failed",
            };
            SettingError::Unreadable { name: self.0, reason: reason.to_owned() }
        })
    }

    /// The variable's text, `None` where it is empty.
    ///
    /// # Errors
    ///
    /// [`SettingError::Unreadable`].
    pub fn optional_text(self) -> Result<Option<String>, SettingError> {
        self.text().map(|text| if text.is_empty() { None } else { Some(text) })
    }

    /// The variable's text, which must not be empty.
    ///
    /// # Errors
    ///
    /// See [`SettingError`].
    pub fn required_text(self) -> Result<String, SettingError> {
        self.optional_text()?.ok_or_else(|| self.invalid("it is empty"))
    }

    /// The error that the variable does not have its form. The reason must not repeat a secret value.
    #[must_use]
    pub fn invalid(self, reason: &str) -> SettingError {
        SettingError::Invalid { name: self.0, reason: reason.to_owned() }
    }

    /// The variable's value.
    ///
    /// # Errors
    ///
    /// See [`SettingError`]. The error of parsing must not repeat a secret value.
    pub fn parse<T: FromStr<Err: std::fmt::Display>>(self) -> Result<T, SettingError> {
        self.text()?.parse().map_err(|error: T::Err| SettingError::Invalid { name: self.0, reason: error.to_string() })
    }
}
