//! Spin's manifest, version 2 (`spin.toml`).
//!
//! What this host does not implement is refused by name: an application that runs here must behave as it does under
//! `spin up`, and a setting without effect would break that silently. Only `[component.<name>.build]` is read and not
//! acted upon, because only `spin build` uses it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Table;

use crate::error::{Error, ManifestError};
use crate::manifest_keys::check_keys;
use crate::variable_name::is_valid_name;
use crate::variables::{self, Declaration};

/// A Spin manifest that this host can serve.
#[derive(Debug)]
pub struct Manifest {
    /// The manifest's own path, for messages.
    pub(crate) path: PathBuf,
    /// The application's name.
    pub(crate) name: String,
    pub(crate) variables: BTreeMap<String, Declaration>,
    /// Public route patterns and the component that serves each, in the manifest's order.
    pub(crate) routes: Vec<(String, String)>,
    /// Components with a private route, which serve whom the host calls them for.
    pub(crate) private: Vec<String>,
    pub(crate) components: BTreeMap<String, Component>,
    /// Whether components were left out by [`only`](Self::only).
    is_part: bool,
}

/// One `[component.<name>]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Component {
    /// Relative to the manifest's folder as written; made absolute by [`Manifest::parse`].
    pub(crate) source: PathBuf,
    #[serde(rename = "description")]
    _description: Option<String>,
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) allowed_outbound_hosts: Vec<String>,
    #[serde(default)]
    pub(crate) key_value_stores: Vec<String>,
    build: Option<Build>,
}

impl Component {
    /// The command that builds the component, for the message that it is not built.
    pub(crate) fn build_command(&self) -> Option<String> {
        self.build.as_ref().map(|build| match &build.command {
            Commands::One(command) => command.clone(),
            Commands::Many(commands) => commands.join(" && "),
        })
    }
}

/// What `spin build` and `spin watch` do.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Build {
    command: Commands,
    #[serde(rename = "workdir")]
    _workdir: Option<String>,
    #[serde(default, rename = "watch")]
    _watch: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Commands {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct Document {
    application: Application,
    #[serde(default)]
    variables: BTreeMap<String, Declaration>,
    #[serde(default)]
    trigger: Triggers,
    #[serde(default)]
    component: BTreeMap<String, Component>,
}

#[derive(Deserialize)]
struct Application {
    name: String,
}

#[derive(Default, Deserialize)]
struct Triggers {
    #[serde(default)]
    http: Vec<HttpTrigger>,
}

#[derive(Deserialize)]
struct HttpTrigger {
    route: RouteReference,
    component: ComponentReference,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RouteReference {
    Public(String),
    /// `{ private = true }`.
    Private {
        private: bool,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ComponentReference {
    Name(String),
    Inline(Box<Component>),
}

/// Under this prefix Spin itself responds.
const RESERVED_ROUTES: &str = "/.well-known/spin";

impl Manifest {
    /// Reads a manifest from its file.
    ///
    /// # Errors
    ///
    /// [`Error::ReadManifest`] and [`Error::Manifest`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::ReadManifest { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Reads a manifest from its text. Component sources are relative to the folder of `path`.
    ///
    /// # Errors
    ///
    /// [`Error::Manifest`].
    pub fn parse(text: &str, path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        let at_path = |source| Error::Manifest { path: path.clone(), source };

        let table: Table = text.parse().map_err(|error| at_path(ManifestError::Toml(error)))?;
        check_keys(&table).map_err(at_path)?;
        let document: Document = toml::from_str(text).map_err(|error| at_path(ManifestError::Toml(error)))?;
        check_variables(&document).map_err(at_path)?;
        let (application, variables) = (document.application, document.variables);
        let mut manifest = Self {
            path: path.clone(),
            name: application.name,
            variables,
            routes: Vec::new(),
            private: Vec::new(),
            components: document.component,
            is_part: false,
        };
        manifest.add_triggers(document.trigger.http).map_err(at_path)?;
        for component in manifest.components.values_mut() {
            component.source = folder.join(&component.source);
        }
        Ok(manifest)
    }

    /// Leaves some components and their routes: of the others neither sources nor values of variables are needed any more.
    ///
    /// # Errors
    ///
    /// [`Error::NoComponent`].
    pub fn only(mut self, components: &[&str]) -> Result<Self, Error> {
        if let Some(unknown) = components.iter().find(|name| !self.components.contains_key(**name)) {
            let names: Vec<String> = self.components.keys().map(|name| format!("`{name}`")).collect();
            let (path, component) = (self.path, (*unknown).to_owned());
            return Err(Error::NoComponent { path, component, known: names.join(", ") });
        }
        self.components.retain(|name, _| components.contains(&name.as_str()));
        self.routes.retain(|(_, name)| components.contains(&name.as_str()));
        self.private.retain(|name| components.contains(&name.as_str()));
        self.is_part = true;
        Ok(self)
    }

    /// Whether `[variables]` declares the variable.
    #[must_use]
    pub fn declares(&self, variable: &str) -> bool {
        self.variables.contains_key(variable)
    }

    /// The names of the components and their sources, relative to the current folder.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.components.iter().map(|(name, component)| (name.as_str(), component.source.as_path()))
    }

    /// Whether a variable must have a value: of a whole manifest each, as in Spin; of a part the ones that it names.
    pub(crate) fn needs(&self, variable: &str) -> bool {
        let named = |template: &String| variables::names(template, variable);
        !self.is_part
            || self.components.values().any(|component| {
                component.variables.values().any(named) || component.allowed_outbound_hosts.iter().any(named)
            })
    }

    /// The error that a key's value cannot be used, for values that are only known once variables are put in.
    pub(crate) fn invalid(&self, place: &str, key: &str, reason: String) -> Error {
        let source = ManifestError::Invalid { place: place.to_owned(), key: key.to_owned(), reason };
        Error::Manifest { path: self.path.clone(), source }
    }

    /// Whether an HTTP trigger leads to a component, of a public or a private route.
    pub(crate) fn serves_http(&self, component: &str) -> bool {
        self.routes.iter().map(|(_, name)| name).chain(&self.private).any(|name| name == component)
    }

    /// Gives inline components a name, and checks that no two routes are the same and that their components exist.
    fn add_triggers(&mut self, triggers: Vec<HttpTrigger>) -> Result<(), ManifestError> {
        for (index, trigger) in triggers.into_iter().enumerate() {
            let place = match &trigger.route {
                RouteReference::Public(route) => format!("[[trigger.http]] of route \"{route}\""),
                RouteReference::Private { .. } => "[[trigger.http]] of a private route".to_owned(),
            };
            let invalid = |key: &str, reason: String| ManifestError::Invalid {
                place: place.clone(),
                key: key.to_owned(),
                reason,
            };
            let name = match trigger.component {
                ComponentReference::Name(name) if self.components.contains_key(&name) => name,
                ComponentReference::Name(name) => {
                    return Err(invalid("component", format!("there is no [component.{name}]")));
                }
                ComponentReference::Inline(component) => {
                    let name = format!("inline-{index}");
                    self.components.insert(name.clone(), *component);
                    name
                }
            };
            match trigger.route {
                RouteReference::Public(route) if route.starts_with(RESERVED_ROUTES) => {
                    return Err(invalid("route", format!("{RESERVED_ROUTES} is Spin's own")));
                }
                RouteReference::Public(route) if self.routes.iter().any(|(each, _)| *each == route) => {
                    return Err(invalid("route", "another trigger has the same route".to_owned()));
                }
                RouteReference::Public(route) => self.routes.push((route, name)),
                RouteReference::Private { private: true } => self.private.push(name),
                RouteReference::Private { private: false } => {
                    return Err(invalid("route.private", "a route is `{ private = true }` or a path".to_owned()));
                }
            }
        }
        Ok(())
    }
}

fn check_variables(document: &Document) -> Result<(), ManifestError> {
    let name_rule = "a variable's name is lower_snake_case and starts with a letter";
    for (name, declaration) in &document.variables {
        let invalid = |reason: &str| ManifestError::Invalid {
            place: "[variables]".to_owned(),
            key: name.clone(),
            reason: reason.to_owned(),
        };
        if !is_valid_name(name) {
            return Err(invalid(name_rule));
        }
        if !declaration.required && declaration.default.is_none() {
            return Err(invalid("a variable is `required = true` or has a `default`"));
        }
    }
    for (component, declared) in &document.component {
        if let Some(name) = declared.variables.keys().find(|name| !is_valid_name(name)) {
            let place = format!("[component.{component}.variables]");
            return Err(ManifestError::Invalid { place, key: name.clone(), reason: name_rule.to_owned() });
        }
    }
    Ok(())
}
