use std::cell::OnceCell;
use std::str::FromStr;

use crate::Host;

/// The variable with the document: most settings of a component, one per line (`name=value`), because each variable costs a call
/// of the host. `spin.toml` makes it from the application's variables, by whose names the lines go.
const DOCUMENT: &str = "settings";

/// The variables of the component, as one request reads them: the document once, and only if it is asked for.
#[derive(Debug)]
pub struct Variables<H> {
    host: H,
    document: OnceCell<Result<String, SettingError>>,
}

impl<H: Host> Variables<H> {
    /// Those of a host, none of which is read yet.
    pub const fn of(host: H) -> Self {
        Self { host, document: OnceCell::new() }
    }

    fn document(&self, lines: &[&'static str]) -> Result<&str, SettingError> {
        let read = || self.read(DOCUMENT).and_then(|document| checked(document, lines));
        self.document.get_or_init(read).as_deref().map_err(Clone::clone)
    }

    fn read(&self, name: &'static str) -> Result<String, SettingError> {
        self.host.variable(name).map_err(|reason| SettingError::Unreadable { name, reason: reason.to_owned() })
    }
}

/// A setting of the component, by the name of the application's variable that sets it.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    name: &'static str,
    /// The names of the document's lines, if it is one of them; else it is a separate variable.
    lines: Option<&'static [&'static str]>,
}

/// Declares the lines of a component's document, in their order: a constant for each.
///
/// ```
/// edge_component::settings! {
///     AWS_REGION = "aws_region";
/// }
/// ```
///
/// A new setting is a line here, one in the component's document in `spin.toml`, and one in its `[variables]`.
#[macro_export]
macro_rules! settings {
    ($($setting:ident = $name:literal;)+) => {
        $(pub(crate) const $setting: $crate::Setting = $crate::Setting::line($name, LINES);)+
        const LINES: &[&str] = &[$($name),+];
    };
}

/// A setting that is missing or does not have its form. It never shows the value, which may be secret.
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
    /// The document does not have the lines that the component declares.
    #[error("the variable '{name}' is invalid: it holds a line break, or spin.toml does not put {next} after it")]
    Broken {
        /// The setting whose value is at fault, or the document where that begins with another line.
        name: &'static str,
        /// What should follow it.
        next: String,
    },
    /// The setting's text does not have its form.
    #[error("the variable '{name}' is invalid: {reason}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl Setting {
    /// A line of the document, of which `lines` are all. For [`settings!`](crate::settings).
    #[must_use]
    pub const fn line(name: &'static str, lines: &'static [&'static str]) -> Self {
        Self { name, lines: Some(lines) }
    }

    /// A separate variable: for a text of several lines, and for what few requests need.
    #[must_use]
    pub const fn variable(name: &'static str) -> Self {
        Self { name, lines: None }
    }

    /// The setting's text.
    ///
    /// # Errors
    ///
    /// [`SettingError::Unreadable`] and [`SettingError::Broken`].
    pub fn text(self, variables: &Variables<impl Host>) -> Result<String, SettingError> {
        let Some(lines) = self.lines else { return variables.read(self.name) };
        let values = variables.document(lines)?.split('\n');
        let value = values.filter_map(|line| line.split_once('=')).find(|(name, _)| *name == self.name);
        // `checked` has seen each of them.
        Ok(value.map(|(_, value)| value.to_owned()).unwrap_or_default())
    }

    /// The setting's text, `None` where it is empty.
    ///
    /// # Errors
    ///
    /// As [`Self::text`].
    pub fn optional_text(self, variables: &Variables<impl Host>) -> Result<Option<String>, SettingError> {
        self.text(variables).map(|text| if text.is_empty() { None } else { Some(text) })
    }

    /// The setting's text, which must not be empty.
    ///
    /// # Errors
    ///
    /// See [`SettingError`].
    pub fn required_text(self, variables: &Variables<impl Host>) -> Result<String, SettingError> {
        self.optional_text(variables)?.ok_or_else(|| self.invalid("it is empty"))
    }

    /// The error that the setting does not have its form. The reason must not repeat a secret value.
    #[must_use]
    pub fn invalid(self, reason: &str) -> SettingError {
        SettingError::Invalid { name: self.name, reason: reason.to_owned() }
    }

    /// The setting's value.
    ///
    /// # Errors
    ///
    /// See [`SettingError`]. The error of parsing must not repeat a secret value.
    pub fn parse<T: FromStr<Err: std::fmt::Display>>(
        self,
        variables: &Variables<impl Host>,
    ) -> Result<T, SettingError> {
        self.text(variables)?.parse().map_err(|error: T::Err| self.invalid(&error.to_string()))
    }
}

/// Refuses a document that does not have exactly these lines in this order: a value with a line break could otherwise cut itself
/// off, or set something else.
fn checked(document: String, names: &[&'static str]) -> Result<String, SettingError> {
    let mut lines = document.strip_suffix('\n').unwrap_or(&document).split('\n');
    let mut before = DOCUMENT;
    for name in names {
        match lines.next().and_then(|line| line.split_once('=')) {
            Some((found, _)) if found == *name => before = name,
            _ => return Err(SettingError::Broken { name: before, next: format!("'{name}'") }),
        }
    }
    match lines.next() {
        Some(_) => Err(SettingError::Broken { name: before, next: "the end".to_owned() }),
        None => Ok(document),
    }
}
