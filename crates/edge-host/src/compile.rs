//! Compiling components: for this process, with caches, and ahead of time for another machine.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use wasmtime::component::Component;
use wasmtime::{Cache, CacheConfig, Engine};

use crate::code::{CodeOrigin, LoadError};
use crate::compilation_cache::CompilationCache;
use crate::engine::{MAX_INSTANCES, WasmEngine, config, failed};
use crate::error::Error;

static ENGINES: LazyLock<Mutex<HashMap<Option<PathBuf>, WasmEngine>>> = LazyLock::new(Mutex::default);

impl WasmEngine {
    /// The process's engine for a cache folder (`None` compiles anew in every process). It lives as long as the process.
    ///
    /// # Errors
    ///
    /// [`Error::Engine`], for example where the cache's folder cannot be written.
    pub fn shared(cache_folder: Option<&Path>) -> Result<Self, Error> {
        let folder = cache_folder
            .map(std::path::absolute)
            .transpose()
            .map_err(|error| failed(cache_folder, error.to_string()))?;
        let mut engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = engines.get(&folder) {
            return Ok(engine.clone());
        }
        let engine = Self::new(folder.as_deref())?;
        engines.insert(folder, engine.clone());
        Ok(engine)
    }

    /// A separate engine, which shares only what is on disk. Most callers want [`shared`](Self::shared).
    ///
    /// # Errors
    ///
    /// [`Error::Engine`].
    pub fn new(cache_folder: Option<&Path>) -> Result<Self, Error> {
        let failed = |error: wasmtime::Error| failed(cache_folder, format!("{error:#}"));
        let cache = match cache_folder {
            Some(folder) => {
                let mut config = CacheConfig::new();
                config.with_directory(folder);
                Some(Cache::new(config).map_err(failed)?)
            }
            None => None,
        };
        let engine = Engine::new(config(MAX_INSTANCES).cache(cache.clone())).map_err(failed)?;
        Self::start(engine, CompilationCache::on_disk(cache))
    }

    /// A component's machine code, from the caches where they have it.
    pub(crate) fn load(&self, path: &Path) -> Result<(Component, CodeOrigin), LoadError> {
        self.0.compiled.load(self.engine(), path)
    }
}

/// Compiles a component for the machines of a target (a triple such as `aarch64-unknown-linux-gnu`), with no other
/// instructions than each of them has.
///
/// The result is for a program of the same version of this crate and `wasmtime`, which needs no compiler:
/// see [`EdgeHostBuilder::compiled_ahead`](crate::EdgeHostBuilder::compiled_ahead).
///
/// # Errors
///
/// What wasmtime says of the target or the component.
pub fn compile_ahead(component: &[u8], target: &str) -> Result<Vec<u8>, String> {
    let compile = || {
        let mut config = config(1);
        config.target(target)?;
        Engine::new(&config)?.precompile_component(component)
    };
    compile().map_err(|error: wasmtime::Error| format!("{error:#}"))
}
