//! An application that is loaded: its components, compiled and linked, with what the manifest gives each of them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use serde_json::json;
use tokio::sync::Semaphore;
use wasmtime::component::Component;

use crate::code::{CodeOrigin, LoadError};
use crate::engine::WasmEngine;
use crate::error::Error;
use crate::host_calls::HostCalls;
use crate::key_value::KeyValueStore;
use crate::linked::LinkedComponent;
use crate::logs::{Level, LogSink, host_message};
use crate::manifest::{self, Manifest};
use crate::outbound_hosts::AllowedHosts;
use crate::permissions::Permissions;
use crate::routes::Routes;
use crate::variables::Variables;

/// An application whose components are ready to be instantiated. [`Executor`](crate::Executor) runs them.
pub struct Application {
    name: String,
    public_routes: Vec<(String, String)>,
    loaded: Vec<LoadedComponent>,
    pub(crate) routes: Routes,
    pub(crate) components: Vec<Arc<LinkedComponent>>,
    /// One permit an instance.
    pub(crate) instances: Arc<Semaphore>,
    /// From instantiation to the end of the response's body, for requests that come over a socket.
    pub(crate) request_timeout: Duration,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) log: LogSink,
}

/// How a component got its machine code.
#[derive(Debug, Clone)]
pub struct LoadedComponent {
    /// Its name in the manifest.
    pub name: String,
    /// Where the code came from.
    pub origin: CodeOrigin,
    /// How long that took.
    pub duration: Duration,
}

/// Where the components' machine code comes from.
pub(crate) enum Code {
    /// Their sources, compiled by this engine.
    Sources(WasmEngine),
    /// `<component>.cwasm` in a folder, compiled before. Only [`compiled_ahead`](crate::EdgeHostBuilder::compiled_ahead)
    /// makes one, whose caller vouches for the files.
    Ahead(WasmEngine, PathBuf),
}

impl Code {
    fn engine(&self) -> &WasmEngine {
        match self {
            Self::Sources(engine) | Self::Ahead(engine, _) => engine,
        }
    }

    /// The file with a component's code.
    fn file(&self, name: &str, component: &manifest::Component) -> PathBuf {
        match self {
            Self::Sources(_) => component.source.clone(),
            Self::Ahead(_, folder) => folder.join(format!("{name}.cwasm")),
        }
    }

    #[expect(unsafe_code, reason = "machine code cannot be checked")]
    fn load(&self, file: &Path) -> Result<(Component, CodeOrigin), LoadError> {
        match self {
            #[cfg(feature = "compile")]
            Self::Sources(engine) => engine.load(file),
            #[cfg(not(feature = "compile"))]
            Self::Sources(_) => Err(LoadError::Compile(Error::NoCompiler.to_string())),
            // SAFETY: who chose the folder has promised it.
            Self::Ahead(engine, _) => unsafe { engine.load_ahead(file) }.map(|code| (code, CodeOrigin::Ahead)),
        }
    }
}

/// What an application is given besides its manifest.
pub(crate) struct Settings {
    pub(crate) variables: Variables,
    pub(crate) code: Code,
    pub(crate) instances: u32,
    pub(crate) request_timeout: Duration,
    pub(crate) tls: Arc<ClientConfig>,
    /// By how many seconds the components' wall clock runs ahead.
    pub(crate) clock_ahead: Option<Arc<AtomicU64>>,
    /// Counts what the components ask of the host.
    pub(crate) host_calls: Option<HostCalls>,
    pub(crate) log: LogSink,
}

impl Application {
    /// Checks, compiles and links every component of the manifest.
    pub(crate) fn load(manifest: Manifest, settings: Settings) -> Result<Self, Error> {
        let Settings { variables, code, instances, request_timeout, tls, clock_ahead, host_calls, log } = settings;
        // The manifest's own faults come first: they need no compiler to be seen.
        let permissions = permissions(&manifest, &variables, clock_ahead.as_ref(), &log)?;
        let mut components = Vec::new();
        let mut loaded = Vec::new();
        for (permissions, component) in permissions {
            let name = permissions.name.to_string();
            host_message(&log, Level::Info, "loading a component", json!({ "component": name }));
            let started = Instant::now();
            let path = code.file(&name, component);
            let (machine_code, origin) = code.load(&path).map_err(|error| match error {
                LoadError::Read(source) => {
                    let build = component.build_command();
                    Error::ReadComponent { component: name.clone(), path: path.clone(), build, source }
                }
                LoadError::Compile(reason) => Error::Compile { component: name.clone(), path: path.clone(), reason },
            })?;
            let duration = started.elapsed();
            let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            let fields = json!({ "component": name, "code": format!("{origin:?}"), "duration_ms": millis });
            host_message(&log, Level::Info, "loaded a component", fields);
            let serves_http = manifest.serves_http(&name);
            let engine = code.engine().engine();
            let component = LinkedComponent::new(engine, &machine_code, permissions, serves_http, host_calls.as_ref())?;
            components.push(Arc::new(component));
            loaded.push(LoadedComponent { name, origin, duration });
        }
        let mut routes = Routes::default();
        for (route, component) in &manifest.routes {
            let index = loaded.iter().position(|each| each.name == *component).unwrap_or(usize::MAX);
            let added = routes.add(route, index);
            added.map_err(|reason| manifest.invalid("[[trigger.http]]", "route", reason))?;
        }
        Ok(Self {
            name: manifest.name,
            public_routes: manifest.routes,
            loaded,
            routes,
            components,
            instances: Arc::new(Semaphore::new(instances as usize)),
            request_timeout,
            tls,
            log,
        })
    }

    /// The application's name in the manifest.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Each public route's pattern and the component that serves it, in the manifest's order.
    #[must_use]
    pub fn routes(&self) -> &[(String, String)] {
        &self.public_routes
    }

    /// How each component got its machine code.
    #[must_use]
    pub fn loaded(&self) -> &[LoadedComponent] {
        &self.loaded
    }

    pub(crate) fn component(&self, name: &str) -> Option<Arc<LinkedComponent>> {
        self.components.iter().find(|each| *each.permissions.name == *name).cloned()
    }
}

/// What the manifest gives each of its components, with the variables' values put in.
fn permissions<'a>(
    manifest: &'a Manifest,
    variables: &Variables,
    clock_ahead: Option<&Arc<AtomicU64>>,
    log: &LogSink,
) -> Result<Vec<(Permissions, &'a manifest::Component)>, Error> {
    let mut all = Vec::new();
    let key_value = KeyValueStore::default();
    for (name, component) in &manifest.components {
        let place = format!("[component.{name}]");
        let invalid = |key: &str, reason: String| manifest.invalid(&place, key, reason);

        let mut own_variables = HashMap::new();
        for (variable, template) in &component.variables {
            let key = format!("variables.{variable}");
            let value = variables.expand(template).map_err(|error| invalid(&key, error.to_string()))?;
            own_variables.insert(variable.clone(), value);
        }
        let mut allowed_hosts = AllowedHosts::default();
        for template in &component.allowed_outbound_hosts {
            let key = "allowed_outbound_hosts";
            let entry = variables.expand(template).map_err(|error| invalid(key, error.to_string()))?;
            allowed_hosts.add(entry.expose()).map_err(|reason| {
                // A secret value stays out of the message, and so does a reason that may quote it.
                let detail = match entry.shown() {
                    Some(shown) if shown == template.as_str() => format!("\"{template}\": {reason}"),
                    Some(shown) => format!("\"{template}\", which is \"{shown}\": {reason}"),
                    None => format!("\"{template}\" is no entry of the form scheme://host[:port]"),
                };
                invalid(key, detail)
            })?;
        }
        let permissions = Permissions {
            name: name.as_str().into(),
            variables: own_variables,
            environment: component.environment.clone().into_iter().collect(),
            allowed_hosts,
            key_value: (!component.key_value_stores.is_empty()).then(|| key_value.clone()),
            clock_ahead: clock_ahead.cloned(),
            log: log.clone(),
        };
        all.push((permissions, component));
    }
    Ok(all)
}
