//! The WebAssembly engine: one per process and cache folder, shared by every application in it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Component;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::code::LoadError;
#[cfg(feature = "compile")]
use crate::compilation_cache::CompilationCache;
use crate::error::Error;

/// How often running components give way to other requests of their thread, and see that their time is over.
pub(crate) const EPOCH_TICK: Duration = Duration::from_millis(10);

/// Memory that one instance may have, in bytes, as at the edge.
pub(crate) const MAX_MEMORY_BYTES: usize = 128 << 20;

/// Instances that the process can hold at once, over all its hosts. Each reserves 4 GiB of address space and no memory.
pub(crate) const MAX_INSTANCES: u32 = 1024;

/// An engine with its pool of instances and, where it compiles, its compilation caches: on disk, and in memory for
/// applications that are loaded later in the same process.
///
/// Cloning it is cheap and shares everything.
#[derive(Clone)]
pub struct WasmEngine(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) engine: Engine,
    #[cfg(feature = "compile")]
    pub(crate) compiled: CompilationCache,
}

impl WasmEngine {
    /// An engine that runs what was compiled ahead of time, and holds at most `instances` at once.
    ///
    /// # Errors
    ///
    /// [`Error::Engine`].
    pub fn without_compiler(instances: u32) -> Result<Self, Error> {
        let engine = Engine::new(&config(instances)).map_err(|error| failed(None, format!("{error:#}")))?;
        Self::start(
            engine,
            #[cfg(feature = "compile")]
            CompilationCache::default(),
        )
    }

    /// Starts the clock of a new engine.
    pub(crate) fn start(engine: Engine, #[cfg(feature = "compile")] compiled: CompilationCache) -> Result<Self, Error> {
        tick_epochs(&engine).map_err(|error| failed(None, error.to_string()))?;
        Ok(Self(Arc::new(Inner {
            engine,
            #[cfg(feature = "compile")]
            compiled,
        })))
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// The machine code of a component that was compiled ahead of time.
    ///
    /// # Safety
    ///
    /// The file must be what [`compile_ahead`](crate::compile_ahead) made, and nobody may change it while the process runs:
    /// it is mapped into memory and executed.
    #[expect(unsafe_code, reason = "machine code cannot be checked; the caller vouches for the file")]
    pub(crate) unsafe fn load_ahead(&self, path: &Path) -> Result<Component, LoadError> {
        std::fs::metadata(path).map_err(LoadError::Read)?;
        // SAFETY: the caller's promise is the one that wasmtime asks for.
        let loaded = unsafe { Component::deserialize_file(&self.0.engine, path) };
        loaded.map_err(|error| LoadError::Compile(format!("{error:#}")))
    }
}

impl std::fmt::Debug for WasmEngine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("WasmEngine").finish_non_exhaustive()
    }
}

pub(crate) fn failed(cache: Option<&Path>, reason: String) -> Error {
    Error::Engine { cache: cache.map(Path::to_owned), reason }
}

/// What an engine that compiles and one that runs the result have to agree on, and a pool of `instances`.
pub(crate) fn config(instances: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_stacks(instances)
        // A component of today's toolchain is one core module with a memory and a table, and two small adapters
        // around it, one of which has a table.
        .total_core_instances(instances * 4)
        .total_memories(instances)
        .total_tables(instances * 2)
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
        .max_unused_warm_slots(instances.min(64));

    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .max_wasm_stack(512 << 10)
        .async_stack_size(1 << 20);
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
