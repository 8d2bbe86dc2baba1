//! One instance's state and limits, which serves one request or one message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::clocks::HostWallClock;
use wasmtime_wasi::random::WasiRandomCtx;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::engine::MAX_MEMORY_BYTES;
use crate::key_value::KeyValueView;
use crate::logs::ComponentOutput;
use crate::outbound::{ConnectionPool, Outbound};
use crate::permissions::Permissions;
use crate::variable_name::is_valid_name;

mod bindings {
    // Spin 2's and later's own text of the interface.
    wasmtime::component::bindgen!({
        inline: "
            package fermyon:spin@2.0.0;

            interface variables {
                get: func(name: string) -> result<string, error>;

                variant error {
                    invalid-name(string),
                    undefined(string),
                    provider(string),
                    other(string),
                }
            }

            world host {
                import variables;
            }
        ",
        world: "host",
        imports: { default: tracing },
    });
}

pub(crate) use bindings::fermyon::spin::variables as spin_variables;
/// One instance's part of its store.
pub(crate) struct Guest {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outbound: Outbound,
    memory: MemoryLimit,
}

impl Guest {
    pub(crate) fn new(
        permissions: Arc<Permissions>,
        connections: Arc<ConnectionPool>,
        trace_id: Option<String>,
    ) -> Self {
        let mut wasi = WasiCtx::builder();
        wasi.stdout(ComponentOutput::stdout(permissions.name.clone(), permissions.log.clone()))
            .stderr(ComponentOutput::stderr(permissions.name.clone(), permissions.log.clone()))
            .envs(&permissions.environment);
        if let Some(ahead) = &permissions.clock_ahead {
            wasi.wall_clock(ClockAhead(ahead.clone()));
        }
        Self {
            table: ResourceTable::new(),
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            outbound: Outbound { permissions, connections, trace_id },
            memory: MemoryLimit::default(),
        }
    }

    pub(crate) fn limiter(&mut self) -> &mut dyn ResourceLimiter {
        &mut self.memory
    }

    pub(crate) fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    pub(crate) fn random(&mut self) -> &mut WasiRandomCtx {
        self.wasi.random()
    }

    pub(crate) fn key_value(&mut self) -> KeyValueView<'_> {
        KeyValueView { store: self.outbound.permissions.key_value.as_ref(), table: &mut self.table }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.outbound }
    }
}

impl spin_variables::Host for Guest {
    fn get(&mut self, name: String) -> Result<String, spin_variables::Error> {
        if !is_valid_name(&name) {
            return Err(spin_variables::Error::InvalidName(name));
        }
        match self.outbound.permissions.variables.get(&name) {
            Some(value) => Ok(value.expose().to_owned()),
            None => Err(spin_variables::Error::Undefined(format!("no variable `{name}` for this component"))),
        }
    }
}

/// The system's clock, put forward.
struct ClockAhead(Arc<AtomicU64>);

impl HostWallClock for ClockAhead {
    fn resolution(&self) -> Duration {
        Duration::from_micros(1)
    }

    fn now(&self) -> Duration {
        let ahead = Duration::from_secs(self.0.load(Ordering::Relaxed));
        SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default() + ahead
    }
}

/// Bounds the memory of one instance, all its linear memories together.
#[derive(Default)]
struct MemoryLimit {
    bytes: usize,
}

/// The error with which an instance ends that wants more memory than it may have.
#[derive(Debug, thiserror::Error)]
#[error("more than {} MiB of memory", MAX_MEMORY_BYTES >> 20)]
pub(crate) struct MemoryExceeded;

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.bytes.saturating_add(desired.saturating_sub(current));
        if total > MAX_MEMORY_BYTES {
            return Err(MemoryExceeded.into());
        }
        self.bytes = total;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        // The pool's size of a table is the limit.
        Ok(true)
    }
}
