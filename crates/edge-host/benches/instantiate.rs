//! How long an instance takes to start once its component is compiled, and what the host holds at idle.
//!
//! `cargo bench -p edge-host` measures the built intake; `EDGE_HOST_BENCH_COMPONENT=file.wasm` another component. Prints
//! percentiles of 10,000 instantiations, one after another, each with its store and thrown away after it, as for a request.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_host::{EdgeHost, Manifest};

const INSTANTIATIONS: usize = 10_000;
/// Not measured: the first ones fault the pool's pages in.
const WARM_UP: usize = 500;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match measure().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("instantiate: {reason}");
            ExitCode::FAILURE
        }
    }
}

async fn measure() -> Result<(), String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let component = std::env::var_os("EDGE_HOST_BENCH_COMPONENT")
        .map_or_else(|| workspace.join("target/wasm32-wasip2/component/intake.wasm"), PathBuf::from);
    let text = format!(
        "spin_manifest_version = 2\n[application]\nname = \"bench\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"measured\"\n\
         [component.measured]\nsource = {:?}\nbuild = {{ command = \"cargo build -p intake --target wasm32-wasip2 --profile component\" }}",
        std::path::absolute(&component).map_err(|error| error.to_string())?
    );
    let manifest = Manifest::parse(&text, workspace.join("spin.toml")).map_err(|error| error.to_string())?;
    let host = EdgeHost::builder(manifest).log(Arc::new(|_| {})).start().await.map_err(|error| error.to_string())?;
    println!("component      {}", component.display());
    for loaded in host.components() {
        println!("machine code   {:?} in {:.1} ms", loaded.origin, loaded.duration.as_secs_f64() * 1e3);
    }
    println!("resident       {} at idle", resident());

    let mut times = Vec::with_capacity(INSTANTIATIONS);
    for index in 0..WARM_UP + INSTANTIATIONS {
        let started = Instant::now();
        host.instantiate("measured").await?;
        if index >= WARM_UP {
            times.push(started.elapsed());
        }
    }
    times.sort_unstable();
    let percentile = |share: usize| times.get(times.len() * share / 100).map_or(0.0, micros);
    println!("instantiation  p50 {:.1} us, p99 {:.1} us, of {INSTANTIATIONS}", percentile(50), percentile(99));
    println!("resident       {} afterwards", resident());
    host.shutdown().await;
    Ok(())
}

fn micros(time: &Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The process's resident memory, as Linux tells it.
fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map_or_else(|| "unknown".to_owned(), |value| value.trim().to_owned())
}
