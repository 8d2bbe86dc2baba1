//! The WebAssembly engine: one per process and cache folder, shared by every host in it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use wasmtime::component::Component;
use wasmtime::{Cache, CacheConfig, Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::error::Error;

/// How often running components give way to other requests of their thread, and see that their time is over.
pub(crate) const EPOCH_TICK: Duration = Duration::from_millis(10);

/// Memory that one instance may have, in bytes, as at the edge.
pub(crate) const MAX_MEMORY_BYTES: usize = 128 << 20;

/// Instances that the process can hold at once, over all its hosts. Each reserves 4 GiB of address space and no memory.
pub(crate) const MAX_INSTANCES: u32 = 1024;

/// An engine with its compilation caches: on disk, and in memory for hosts that start later in the same process.
///
/// Cloning it is cheap and shares everything.
#[derive(Clone)]
pub struct WasmEngine(Arc<Inner>);

struct Inner {
    engine: Engine,
    cache: Option<Cache>,
    /// What was compiled or loaded, by what was read. Held while compiling, so that nothing is compiled twice.
    components: Mutex<HashMap<FileVersion, Component>>,
}

/// A component file as it was when it was read.
#[derive(Clone, PartialEq, Eq, Hash)]
struct FileVersion {
    path: PathBuf,
    modified: Option<SystemTime>,
    bytes: u64,
}

/// Where a component's machine code came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeOrigin {
    /// Compiled now.
    Compiled,
    /// The compilation cache on disk.
    DiskCache,
    /// Another host of this process had it already.
    Process,
}

/// Why a component file gives no code.
pub(crate) enum LoadError {
    Read(std::io::Error),
    Compile(String),
}

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
            .map_err(|error| Error::Engine { cache: cache_folder.map(Path::to_owned), reason: error.to_string() })?;
        let mut engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = engines.get(&folder) {
            return Ok(engine.clone());
        }
        let engine = Self::new(folder.as_deref())?;
        engines.insert(folder, engine.clone());
        Ok(engine)
    }

    /// An engine of its own, which shares only what is on disk. Most callers want [`shared`](Self::shared).
    ///
    /// # Errors
    ///
    /// [`Error::Engine`].
    pub fn new(cache_folder: Option<&Path>) -> Result<Self, Error> {
        let failed = |reason: String| Error::Engine { cache: cache_folder.map(Path::to_owned), reason };
        let cache = match cache_folder {
            Some(folder) => {
                let mut config = CacheConfig::new();
                config.with_directory(folder);
                Some(Cache::new(config).map_err(|error| failed(format!("{error:#}")))?)
            }
            None => None,
        };
        let engine = Engine::new(&config(cache.clone())).map_err(|error| failed(format!("{error:#}")))?;
        tick_epochs(&engine).map_err(|error| failed(error.to_string()))?;
        Ok(Self(Arc::new(Inner { engine, cache, components: Mutex::default() })))
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// A component's machine code, and how long it took to get it.
    pub(crate) fn load(&self, path: &Path) -> Result<(Component, CodeOrigin, Duration), LoadError> {
        let started = Instant::now();
        let metadata = std::fs::metadata(path).map_err(LoadError::Read)?;
        let version = FileVersion {
            path: std::path::absolute(path).map_err(LoadError::Read)?,
            modified: metadata.modified().ok(),
            bytes: metadata.len(),
        };
        let mut components = self.0.components.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(component) = components.get(&version) {
            return Ok((component.clone(), CodeOrigin::Process, started.elapsed()));
        }
        let wasm = std::fs::read(path).map_err(LoadError::Read)?;
        let hits = self.cache_hits();
        let component =
            Component::from_binary(&self.0.engine, &wasm).map_err(|error| LoadError::Compile(format!("{error:#}")))?;
        let origin = if self.cache_hits() > hits { CodeOrigin::DiskCache } else { CodeOrigin::Compiled };
        components.insert(version, component.clone());
        Ok((component, origin, started.elapsed()))
    }

    fn cache_hits(&self) -> usize {
        self.0.cache.as_ref().map_or(0, Cache::cache_hits)
    }
}

impl std::fmt::Debug for WasmEngine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let folder = self.0.cache.as_ref().map(Cache::directory);
        formatter.debug_struct("WasmEngine").field("cache_folder", &folder).finish_non_exhaustive()
    }
}

fn config(cache: Option<Cache>) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(MAX_INSTANCES)
        .total_stacks(MAX_INSTANCES)
        // A component of today's toolchain is one core module with a memory and a table, and two small adapters
        // around it, one of which has a table.
        .total_core_instances(MAX_INSTANCES * 4)
        .total_memories(MAX_INSTANCES)
        .total_tables(MAX_INSTANCES * 2)
        .table_elements(10_000)
        .max_memory_size(MAX_MEMORY_BYTES)
        // What an instance dirtied is cleared instead of given back to the system, which would cost the next instance a
        // page fault for each page. Linux tells which pages those are (6.7 and later; without that, the first bytes are
        // cleared whether they are dirty or not). What stays resident is bounded by the slots that are kept warm.
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(if PoolingAllocationConfig::is_pagemap_scan_available() {
            1 << 20
        } else {
            256 << 10
        })
        .table_keep_resident(16 << 10)
        .async_stack_keep_resident(16 << 10)
        .max_unused_warm_slots(64);

    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .max_wasm_stack(512 << 10)
        .async_stack_size(1 << 20)
        .cache(cache);
    config
}

/// Advances the engine's epoch until the engine is gone.
fn tick_epochs(engine: &Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    std::thread::Builder::new().name("edge-host-epoch".to_owned()).spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(EPOCH_TICK);
        }
    })?;
    Ok(())
}
