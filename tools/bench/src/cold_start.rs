//! What a request pays before its component's code runs, and what a host pays before its first request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use edge_host::{EdgeHost, Manifest, WasmEngine};
use local_stack::progress::Progress;
use serde::{Deserialize, Serialize};

use crate::measure::micros;
use crate::programs::Programs;

/// Not measured: the first instances fault the pool's pages in.
const WARM_UP: usize = 500;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ColdStart {
    pub(crate) components: Vec<Component>,
    pub(crate) instantiations: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Component {
    pub(crate) name: String,
    pub(crate) wasm_bytes: u64,
    /// To machine code, once for each version of the component.
    pub(crate) compile_ms: f64,
    /// The machine code from the cache on disk, once for each start of the host.
    pub(crate) load_ms: f64,
    /// One fresh instance: its store, its memory and its start, and its end.
    pub(crate) instantiation_p50_us: f64,
    pub(crate) instantiation_p99_us: f64,
}

pub(crate) async fn measure(programs: &Programs, instantiations: usize, progress: &Progress) -> Result<ColdStart> {
    let step = progress.step("cold start");
    let cache = programs.scratch.join("compiled-components");
    let mut components = Vec::new();
    for name in ["intake", "confirmation"] {
        let compiled = host(programs, name, WasmEngine::new(None)?).await?;
        let compile_ms = loaded_ms(&compiled)?;
        compiled.shutdown().await;
        host(programs, name, WasmEngine::new(Some(&cache))?).await?.shutdown().await;
        let from_disk = host(programs, name, WasmEngine::new(Some(&cache))?).await?;
        let load_ms = loaded_ms(&from_disk)?;
        let times = instantiate(&from_disk, name, instantiations).await?;
        from_disk.shutdown().await;
        let percentile = |percent: usize| times.get(times.len() * percent / 100).copied().map(micros);
        components.push(Component {
            name: name.to_owned(),
            wasm_bytes: std::fs::metadata(programs.component(name))?.len(),
            compile_ms,
            load_ms,
            instantiation_p50_us: percentile(50).context("no instantiation")?,
            instantiation_p99_us: percentile(99).context("no instantiation")?,
        });
    }
    step.done("");
    Ok(ColdStart { components, instantiations })
}

/// A host of one component, which is never asked anything.
async fn host(programs: &Programs, name: &str, engine: WasmEngine) -> Result<edge_host::RunningHost> {
    let manifest = format!(
        "spin_manifest_version = 2\n[application]\nname = \"cold-start\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"{name}\"\n\
         [component.{name}]\nsource = {:?}",
        programs.component(name)
    );
    let manifest = Manifest::parse(&manifest, programs.root.join("spin.toml"))?;
    Ok(EdgeHost::builder(manifest).engine(engine).log(Arc::new(|_| {})).start().await?)
}

fn loaded_ms(host: &edge_host::RunningHost) -> Result<f64> {
    let loaded = host.components().first().context("a host without a component")?;
    Ok(loaded.duration.as_secs_f64() * 1000.0)
}

/// The times of instantiations, one after another, sorted.
async fn instantiate(host: &edge_host::RunningHost, name: &str, instantiations: usize) -> Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(instantiations);
    for number in 0..WARM_UP + instantiations {
        let began = Instant::now();
        host.instantiate(name).await.map_err(|reason| anyhow!("{name} cannot be instantiated: {reason}"))?;
        if number >= WARM_UP {
            times.push(began.elapsed());
        }
    }
    times.sort_unstable();
    Ok(times)
}
