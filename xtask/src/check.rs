//! `cargo xtask check`: the checks that fail most often, in under a minute if little has changed.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use local_stack::command;
use local_stack::progress::Progress;

/// What is run, the cheapest first. The whole workspace each time: with other features united, cargo compiles the dependencies
/// anew. `.ci/run` runs the same with the components for WASI, and every other test.
const CHECKS: [(&str, &[&str]); 3] = [
    ("format", &["fmt", "--all", "--check"]),
    ("lints", &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    ("unit tests", &["test", "--quiet", "--workspace", "--lib", "--bins"]),
];

pub(crate) fn run(root: &Path) -> Result<ExitCode> {
    let progress = Progress::steps(u32::try_from(CHECKS.len())?);
    for (name, arguments) in CHECKS {
        let step = progress.noisy_step(name);
        let mut command = command::cargo();
        let status = command.args(arguments).current_dir(root).status().context("cannot run cargo")?;
        step.done(if status.success() { "passed" } else { "failed" });
        if !status.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
