//! Spin variables: declared in `[variables]`, given by the environment, used in templates.
//!
//! The rules are Spin's: a value comes from `SPIN_VARIABLE_<NAME>` or from the declaration's `default`; a component sees
//! only what its own `[component.<name>.variables]` table gives it, and `{{ name }}` there means the application's
//! variable.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Deserialize;

use crate::error::Error;
use crate::variable_name::environment_name;

/// One entry of the manifest's `[variables]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Declaration {
    #[serde(rename = "description")]
    _description: Option<String>,
    #[serde(default)]
    pub(crate) required: bool,
    pub(crate) default: Option<String>,
    #[serde(default)]
    pub(crate) secret: bool,
}

/// A variable's value. Its `Debug` never shows it: what is not marked secret today may be tomorrow.
#[derive(Clone)]
pub(crate) struct Value {
    text: String,
    secret: bool,
}

impl Value {
    /// The value itself.
    pub(crate) fn expose(&self) -> &str {
        &self.text
    }

    /// The value where it may be shown, for error messages.
    pub(crate) fn shown(&self) -> Option<&str> {
        (!self.secret).then_some(self.text.as_str())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Value(…)")
    }
}

/// The application's variables, each with its value.
#[derive(Debug)]
pub(crate) struct Variables(BTreeMap<String, Value>);

impl Variables {
    /// Gives each declared variable that is needed its value: from `overrides`, else from `environment`, else its default.
    pub(crate) fn resolve(
        declarations: &BTreeMap<String, Declaration>,
        is_needed: impl Fn(&str) -> bool,
        mut overrides: HashMap<String, String>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let mut values = BTreeMap::new();
        let mut missing = Vec::new();
        for (name, declaration) in declarations {
            let given = overrides.remove(name);
            if !is_needed(name) {
                continue;
            }
            let given = given.or_else(|| environment(&environment_name(name))).or_else(|| declaration.default.clone());
            match given {
                Some(text) => {
                    let secret = declaration.secret;
                    values.insert(name.clone(), Value { text, secret });
                }
                None => missing.push(name.clone()),
            }
        }
        if let Some(name) = overrides.into_keys().min() {
            return Err(Error::UndeclaredVariable { name });
        }
        if !missing.is_empty() {
            return Err(Error::MissingVariables { names: missing });
        }
        Ok(Self(values))
    }

    /// Puts the variables' values in the place of `{{ name }}`. The result is secret where one of them is.
    pub(crate) fn expand(&self, template: &str) -> Result<Value, TemplateError> {
        let mut expanded = Value { text: String::with_capacity(template.len()), secret: false };
        let mut rest = template;
        while let Some((literal, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or(TemplateError::Unmatched)?;
            let name = name.trim();
            let value = self.0.get(name).ok_or_else(|| TemplateError::Undeclared(name.to_owned()))?;
            expanded.text.push_str(literal);
            expanded.text.push_str(&value.text);
            expanded.secret |= value.secret;
            rest = after;
        }
        expanded.text.push_str(rest);
        Ok(expanded)
    }
}

/// Whether a template names the variable.
pub(crate) fn names(template: &str, variable: &str) -> bool {
    template.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).any(|(name, _)| name.trim() == variable)
}

/// Why a template cannot be expanded.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("`{{{{` without a closing `}}}}`")]
    Unmatched,
    #[error("`{{{{ {0} }}}}` names a variable that [variables] does not declare")]
    Undeclared(String),
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn declared(entries: &str) -> BTreeMap<String, Declaration> {
        toml::from_str(entries).unwrap()
    }

    #[test]
    fn a_value_comes_from_the_override_then_the_environment_then_the_default() {
        let declarations = declared(
            "a = { default = 'default' }\nb = { default = 'default' }\nc = { default = 'default', secret = true }",
        );
        let overrides = HashMap::from([("a".to_owned(), "override".to_owned())]);
        let environment = |name: &str| (name != "SPIN_VARIABLE_C").then(|| "environment".to_owned());
        let variables = Variables::resolve(&declarations, |_| true, overrides, environment).unwrap();

        let expanded = variables.expand("{{a}}/{{ b }}/x").unwrap();
        assert_eq!(expanded.expose(), "override/environment/x");
        assert_eq!(expanded.shown(), Some("override/environment/x"));

        let secret = variables.expand("{{ c }}").unwrap();
        assert_eq!((secret.expose(), secret.shown()), ("default", None));
        assert!(!format!("{variables:?}{secret:?}").contains("default"));
    }

    #[test]
    fn only_needed_variables_must_have_values() {
        let declarations = declared("a = { required = true }\nb = { required = true }");
        let resolve = |overrides: &[&str]| {
            let overrides = overrides.iter().map(|name| ((*name).to_owned(), "given".to_owned())).collect();
            Variables::resolve(&declarations, |name| names("{{ a }}/x", name), overrides, |_| None)
        };
        assert_eq!(resolve(&["a", "b"]).unwrap().expand("{{a}}").unwrap().expose(), "given");
        let missing = resolve(&["b"]).unwrap_err().to_string();
        assert!(missing.contains("`a` (set SPIN_VARIABLE_A)") && !missing.contains("`b`"), "{missing}");
        assert!(matches!(resolve(&["a", "c"]), Err(Error::UndeclaredVariable { name }) if name == "c"));
    }

    #[test]
    fn a_template_that_cannot_be_expanded_says_why() {
        let variables = Variables::resolve(&BTreeMap::new(), |_| true, HashMap::new(), |_| None).unwrap();
        assert_eq!(variables.expand("{{ a").unwrap_err(), TemplateError::Unmatched);
        assert_eq!(variables.expand("{{ a }}").unwrap_err(), TemplateError::Undeclared("a".to_owned()));
    }
}
