//! `cargo xtask test`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use local_stack::application::Host;
use local_stack::artifacts::Artifacts;
use local_stack::backplane::Backplane;
use local_stack::progress::Progress;
use local_stack::setup;

pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<ExitCode> {
    let progress = Progress::steps(setup::TEST_STEPS + 2);
    setup::run_for_tests(root, &progress)?;
    let backplane = Backplane::load(root)?;
    let step = progress.noisy_step("building components, workers and host");
    Artifacts::build(root, &backplane, Host::Embedded)?;
    step.done("");

    let step = progress.noisy_step("cargo test");
    let status = setup::cargo()
        .args(["test", "--workspace"])
        .args(arguments)
        .current_dir(root)
        .status()
        .context("cannot run cargo test")?;
    step.done(if status.success() { "passed" } else { "failed" });
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
