//! What was compiled: on disk, and in memory for applications that are loaded later in the same process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use wasmtime::component::Component;
use wasmtime::{Cache, Engine};

use crate::code::{CodeOrigin, LoadError};

/// The caches of an engine that compiles.
#[derive(Default)]
pub(crate) struct CompilationCache {
    cache: Option<Cache>,
    /// What was compiled or loaded, by what was read. Held while compiling: nothing is compiled twice.
    components: Mutex<HashMap<FileVersion, Component>>,
}

/// A component file as it was when it was read.
#[derive(Clone, PartialEq, Eq, Hash)]
struct FileVersion {
    path: PathBuf,
    modified: Option<SystemTime>,
    bytes: u64,
}

impl CompilationCache {
    /// With a cache on disk, where there is one.
    pub(crate) fn on_disk(cache: Option<Cache>) -> Self {
        Self { cache, components: Mutex::default() }
    }

    /// A component's machine code, from the caches where they have it.
    pub(crate) fn load(&self, engine: &Engine, path: &Path) -> Result<(Component, CodeOrigin), LoadError> {
        let metadata = std::fs::metadata(path).map_err(LoadError::Read)?;
        let version = FileVersion {
            path: std::path::absolute(path).map_err(LoadError::Read)?,
            modified: metadata.modified().ok(),
            bytes: metadata.len(),
        };
        let mut components = self.components.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(component) = components.get(&version) {
            return Ok((component.clone(), CodeOrigin::Process));
        }
        let wasm = std::fs::read(path).map_err(LoadError::Read)?;
        let hits = self.cache_hits();
        let component =
            Component::from_binary(engine, &wasm).map_err(|error| LoadError::Compile(format!("{error:#}")))?;
        let origin = if self.cache_hits() > hits { CodeOrigin::DiskCache } else { CodeOrigin::Compiled };
        components.insert(version, component.clone());
        Ok((component, origin))
    }

    fn cache_hits(&self) -> usize {
        self.cache.as_ref().map_or(0, Cache::cache_hits)
    }
}
