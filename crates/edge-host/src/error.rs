//! Everything that keeps the host from starting. Each text says what to change.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::variable_name::environment_name;

/// Why a host did not start.
///
/// No message holds the value of a variable that the manifest marks `secret`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The manifest cannot be read.
    #[error("cannot read the manifest {path}: {source} (give its path with --from)", path = path.display())]
    ReadManifest {
        /// The path that was tried.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },

    /// The manifest is not a Spin manifest v2, or asks for what this host does not implement.
    #[error("{path}: {source}", path = path.display())]
    Manifest {
        /// The manifest's path.
        path: PathBuf,
        /// What is wrong with it.
        source: ManifestError,
    },

    /// Variables that the manifest marks `required` have no value.
    #[error("variables without a value: {}", missing_variables(names))]
    MissingVariables {
        /// The variables' names in the manifest, all of them, in alphabetical order.
        names: Vec<String>,
    },

    /// A value was given through [`variable`](crate::EdgeHostBuilder::variable) for a variable that the manifest lacks.
    #[error("the manifest declares no variable `{name}` in [variables]")]
    UndeclaredVariable {
        /// The name that was given.
        name: String,
    },

    /// A component's file cannot be read.
    #[error(
        "component `{component}`: cannot read its source {path}: {source}{hint}",
        path = path.display(),
        hint = build_hint(build.as_deref())
    )]
    ReadComponent {
        /// The component's name.
        component: String,
        /// The path in the manifest, resolved against the manifest's folder.
        path: PathBuf,
        /// The manifest's command that builds it, where it has one.
        build: Option<String>,
        /// What the system says.
        source: io::Error,
    },

    /// A component's file is no component, or wasmtime cannot compile it.
    #[error("component `{component}`: cannot compile {path}: {reason}", path = path.display())]
    Compile {
        /// The component's name.
        component: String,
        /// The file.
        path: PathBuf,
        /// What wasmtime says.
        reason: String,
    },

    /// A component imports functions of interfaces that this host does not provide.
    #[error(
        "component `{component}` imports what edge-host does not provide: {}; run the application under `spin up`",
        interfaces.join(", ")
    )]
    UnsupportedImports {
        /// The component's name.
        component: String,
        /// The interfaces, with versions, as the component names them.
        interfaces: Vec<String>,
    },

    /// A component does not fit what this host provides.
    #[error("component `{component}` cannot be instantiated: {reason}")]
    Instantiate {
        /// The component's name.
        component: String,
        /// What wasmtime says.
        reason: String,
    },

    /// A component does not fit the world of a trigger.
    #[error("component `{component}` cannot serve {}: {reason}", trigger.events())]
    Link {
        /// The trigger.
        trigger: Trigger,
        /// The component's name.
        component: String,
        /// What wasmtime says.
        reason: String,
    },

    /// The WebAssembly engine or its compilation cache cannot be set up.
    #[error("cannot set up the WebAssembly engine{}: {reason}", cache_hint(cache.as_ref()))]
    Engine {
        /// The folder of the compilation cache, where one is used.
        cache: Option<PathBuf>,
        /// What wasmtime says.
        reason: String,
    },

    /// The one component that was asked for is not in the manifest.
    #[error("{path} has no component `{component}`; it has {known}", path = path.display())]
    NoComponent {
        /// The manifest's path.
        path: PathBuf,
        /// The name that was given.
        component: String,
        /// The names of the components that it has.
        known: String,
    },

    /// This program was built without the compiler, and was given no components that are compiled already.
    #[error("this program cannot compile components: build edge-host with its feature `compile`")]
    NoCompiler,

    /// A certificate that is to be trusted is not one.
    #[error("cannot set up TLS: {0}")]
    Tls(String),

    /// The address to listen on cannot be used.
    #[error("cannot listen on {address}: {source} (choose another address with --listen, port 0 takes a free one)")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },

    /// A thread or its runtime cannot be started.
    #[error("cannot start a worker thread: {0}")]
    Worker(#[source] io::Error),
}

/// What makes the host run a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// `[[trigger.http]]`: the world `wasi:http/proxy`.
    Http,
    /// A queue of SQS: the world `fermyon:spin-sqs/spin-sqs`.
    Sqs,
}

impl Trigger {
    const fn events(self) -> &'static str {
        match self {
            Self::Http => "HTTP requests",
            Self::Sqs => "messages of a queue",
        }
    }
}

/// What is wrong with a manifest. `place` is the table as the manifest writes it, for example `[component.intake]`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Not TOML, or a value of the wrong type.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),

    /// The manifest is not of version 2.
    #[error("`spin_manifest_version` is {found}; edge-host reads version 2")]
    Version {
        /// What is there.
        found: String,
    },

    /// A key that Spin knows and this host does not implement.
    #[error(
        "{place} uses `{key}`, which edge-host does not implement; remove it or run the application under `spin up`"
    )]
    Unsupported {
        /// The table.
        place: String,
        /// The key.
        key: String,
    },

    /// A key that Spin does not know either.
    #[error("{place} has the unknown key `{key}`; it takes {known}")]
    Unknown {
        /// The table.
        place: String,
        /// The key.
        key: String,
        /// The keys that the table takes.
        known: String,
    },

    /// A key's value that Spin refuses too.
    #[error("{place} `{key}`: {reason}")]
    Invalid {
        /// The table.
        place: String,
        /// The key.
        key: String,
        /// Why the value cannot be used.
        reason: String,
    },
}

fn missing_variables(names: &[String]) -> String {
    let each: Vec<String> = names.iter().map(|name| format!("`{name}` (set {})", environment_name(name))).collect();
    each.join(", ")
}

fn build_hint(build: Option<&str>) -> String {
    build.map_or_else(String::new, |command| format!(" (build it with `{command}`)"))
}

fn cache_hint(cache: Option<&PathBuf>) -> String {
    cache.map_or_else(String::new, |path| format!(" with its cache in {}", path.display()))
}
