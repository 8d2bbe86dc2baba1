//! `cargo xtask test`.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use local_stack::application::{Host, spin_program};
use local_stack::artifacts::Artifacts;
use local_stack::progress::Progress;
use local_stack::{Leftovers, command, remove_leftovers_of_tests, setup};
use operator::backplane::Backplane;

/// The tests that speak to the application over HTTP, all of which run on any host.
const OVER_HTTP: &[&str] = &[
    "application::",
    "authentication::",
    "cancellation::",
    "components::",
    "contract::",
    "idempotency::",
    "openapi::it_is_served",
    "openapi::schemathesis",
    "race::",
    "readme::the_curl_sessions",
];

/// Asked for by name, these tests run in their long form: the name, and the variable that says how much.
const LONG_FORMS: [(&str, &str, &str); 4] = [
    ("chaos", "CHAOS_BOOKINGS", "2000"),
    ("openapi", "SCHEMATHESIS_EXAMPLES", "100"),
    ("race", "RACE_PEOPLE", "500"),
    ("reconcile", "RECONCILE_BOOKINGS", "5000"),
];

/// How many tests run at once, by the test harness's own variable.
const THREADS: &str = "RUST_TEST_THREADS";

pub(crate) fn run(root: &Path, host: Host, names: &[String], options: &[String]) -> Result<ExitCode> {
    if host == Host::Spin {
        // Before everything is built.
        spin_program()?;
    }
    let progress = Progress::steps(setup::TEST_STEPS + 2);
    setup::run_for_tests(root, &progress)?;
    let backplane = Backplane::load(root)?;
    let step = progress.noisy_step("building components, workers, host and tests");
    // At the same time, because the last steps of a component keep one processor busy. cargo locks a folder per profile.
    let mut compiling = cargo_test(root, host, &["--no-run"], names).spawn().context("cannot run cargo test")?;
    let built = Artifacts::build(root, &backplane);
    let compiled = compiling.wait().context("cannot wait for cargo test")?;
    built?;
    if !compiled.success() {
        step.done("the tests do not compile");
        return Ok(ExitCode::FAILURE);
    }
    step.done("");
    if !names.is_empty() {
        let listed = command::successful(cargo_test(root, host, &[], names).arg("--list"), "cargo test")?;
        let listed = String::from_utf8_lossy(&listed.stdout);
        let found = |name: &&String| listed.lines().any(|line| line.ends_with(": test") && line.contains(*name));
        if let Some(name) = names.iter().find(|name| !found(name)) {
            bail!("no test has {name:?} in its name");
        }
    }

    let step = progress.noisy_step("cargo test");
    let mut test = cargo_test(root, host, &[], names);
    test.args(options);
    if std::env::var_os(THREADS).is_none() {
        // The tests wait more than they compute.
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        test.env(THREADS, (2 * processors).to_string());
    }
    for (name, variable, number) in LONG_FORMS {
        if names.iter().any(|asked| asked.trim_end_matches("::") == name) && std::env::var_os(variable).is_none() {
            test.env(variable, number);
        }
    }
    let status = test.status().context("cannot run cargo test")?;
    remove_leftovers_of_tests(root, Leftovers::Data);
    step.done(if status.success() { "passed" } else { "failed" });
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `cargo test` with options of its own, of the tests with one of `names` in theirs, or of all. Options of the test program may
/// follow.
fn cargo_test(root: &Path, host: Host, options: &[&str], names: &[String]) -> Command {
    let mut test = command::cargo();
    test.args(["test", "--workspace"]).args(options);
    if host == Host::Spin && names.is_empty() {
        test.args(["--test", "integration", "--"]).args(OVER_HTTP);
    } else {
        test.arg("--").args(names);
    }
    test.env(Host::VARIABLE, host.key()).current_dir(root);
    test
}
