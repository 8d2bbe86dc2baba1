//! `cargo xtask bench`.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use bench_options::{Options, Part};
use local_stack::artifacts::COMPONENTS;
use local_stack::progress::Progress;
use local_stack::tools::{DYNALITE, NODE_PEER};
use local_stack::{command, setup};

use crate::package::{self, Package};

/// The native programs: the one that measures, what it compares, and the embedded host.
const PROGRAMS: [&str; 7] =
    ["bench", "aws-stand-in", "axum-aws-sdk", "bare-hyper", "edge-host", "appointment-pe", "appointment-cl"];

pub(crate) fn run(root: &Path, options: &Options) -> Result<ExitCode> {
    let Options { quick, .. } = *options;
    let progress = Progress::steps(setup::STEPS + 2);
    setup::run(root, &progress)?;
    let mut packages = Vec::new();
    if options.parts().iter().any(|part| matches!(part, Part::Intake | Part::FunctionStart)) {
        packages.push(&NODE_PEER);
    }
    if options.parts().iter().any(|part| matches!(part, Part::Growth | Part::Drain)) {
        packages.push(&DYNALITE);
    }
    setup::node_packages(root, &packages, &progress)?;
    // The figures are about the programs that are deployed.
    if !quick {
        package::run(root, &Package::default())?;
    }
    // The figures of the quick form mean nothing, so the programs that the tests have built are enough.
    let (profile, folder) = if quick { ("dev", "debug") } else { ("release", "release") };
    let step = progress.noisy_step("building components, peers and host");
    let packages = COMPONENTS.iter().flat_map(|name| ["-p", name]);
    let components = packages.chain(["--target", setup::WASM_TARGET, "--profile", "component"]);
    build(root, "target", &components.collect::<Vec<_>>())?;
    // Of the whole workspace, whose features `cargo test` unites too: otherwise the quick form would compile the dependencies again.
    let native = PROGRAMS.into_iter().flat_map(|program| ["--bin", program]);
    build(root, "target", &["--workspace", "--profile", profile].into_iter().chain(native).collect::<Vec<_>>())?;
    step.done("");

    let mut bench = Command::new(root.join("target").join(folder).join("bench"));
    let status = bench.args(options.arguments()).current_dir(root).status().context("cannot run the benchmark")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn build(root: &Path, target: &str, arguments: &[&str]) -> Result<()> {
    let mut build = command::cargo();
    build.args(["build", "--target-dir"]).arg(root.join(target)).args(arguments).current_dir(root);
    let status = build.status().context("cannot run cargo")?;
    ensure!(status.success(), "`cargo build {}` failed", arguments.join(" "));
    Ok(())
}
