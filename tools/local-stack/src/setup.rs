//! What a machine needs before the system can be built and run: the Wasm target, the AWS emulator, PostgreSQL; and for
//! the tests, what holds the API to its description. A Rust toolchain and Python are all that must be there before.
//!
//! Every part is looked at first: a second run takes no time. It is put in place by a rename: an interrupted run leaves
//! nothing half done.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::chromium::Chromium;
use crate::command::{last_lines, successful, within};
use crate::database;
use crate::postgres;
use crate::process::on_path;
use crate::progress::Progress;
use crate::tools::{self, NodePackages, OpenApiTools};

/// The target of the components.
pub const WASM_TARGET: &str = "wasm32-wasip2";

/// How many steps [`run`] reports.
pub const STEPS: u32 = 3;

/// How long `rustup` may try to download; behind some firewalls it waits for ever.
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);

/// Sets the machine up, as far as that can be done without administrator's rights.
///
/// # Errors
/// When a part is missing and cannot be put in place; the error says what to do.
pub fn run(root: &Path, progress: &Progress) -> Result<()> {
    let _lock = lock(root)?;

    let step = progress.step("Wasm target");
    step.done(&wasm_target(root, progress).context("the Wasm target cannot be installed")?);

    let step = progress.step("AWS emulator");
    step.done(&tools::MINISTACK.install(root, progress).context("the AWS emulator cannot be installed")?);

    let step = progress.step("PostgreSQL");
    step.done(&if database::are_given(root) {
        "the servers of DATABASE_URL_…".to_owned()
    } else if let Some(directory) = postgres::machine_binaries() {
        directory.display().to_string()
    } else {
        tools::POSTGRESQL.install(root, progress).context("PostgreSQL cannot be installed")?
    });
    Ok(())
}

/// How many steps [`run_for_tests`] reports.
pub const TEST_STEPS: u32 = STEPS + 4;

/// As [`run`], and what the tests need beside: the programs that hold the API to `docs/openapi.yaml`, and a browser.
///
/// # Errors
/// As [`run`].
pub fn run_for_tests(root: &Path, progress: &Progress) -> Result<()> {
    run(root, progress)?;
    let _lock = lock(root)?;

    let step = progress.step("Chromium");
    step.done(&Chromium::install(progress).context("the browser cannot be installed")?);

    let step = progress.step("Schemathesis");
    step.done(&tools::SCHEMATHESIS.install(root, progress).context("Schemathesis cannot be installed")?);

    let step = progress.step("openapi-python-client");
    let installed = tools::OPENAPI_PYTHON_CLIENT.install(root, progress);
    step.done(&installed.context("the generator of a Python client cannot be installed")?);

    let step = progress.step("linters of OpenAPI, and openapi-typescript");
    let installed = OpenApiTools::install(root, progress);
    step.done(&installed.context("the programs of Node.js for docs/openapi.yaml cannot be installed")?);
    Ok(())
}

/// Installs packages from npm on the pinned Node.js, in one step.
///
/// # Errors
/// As [`run`].
pub fn node_packages(root: &Path, packages: &[&NodePackages], progress: &Progress) -> Result<()> {
    let _lock = lock(root)?;
    let step = progress.step("packages of Node.js");
    let installed = packages.iter().map(|each| each.install(root, progress)).collect::<Result<Vec<_>>>();
    let installed = installed.context("packages of Node.js cannot be installed")?;
    step.done(&if installed.is_empty() { "none needed".to_owned() } else { installed.join(", ") });
    Ok(())
}

/// The browser for tests, installed where it is missing and this program may.
///
/// # Errors
/// As [`Chromium::install`].
pub fn browser(root: &Path) -> Result<Chromium> {
    let _lock = lock(root)?;
    Chromium::install(&Progress::silent())?;
    Chromium::find().context("the packages of the browser hold no browser")
}

/// Two set-ups at once would build the same things twice.
fn lock(root: &Path) -> Result<File> {
    let target = root.join("target");
    fs::create_dir_all(&target).with_context(|| format!("cannot create {}", target.display()))?;
    let lock = File::create(target.join(".setup.lock")).context("cannot create the set-up's lock")?;
    lock.lock().context("cannot wait for another set-up")?;
    Ok(lock)
}

/// The emulator's executable, once it is set up.
#[must_use]
pub fn ministack_program(root: &Path) -> PathBuf {
    tools::MINISTACK.program(root)
}

/// Installs the standard library of the Wasm target.
fn wasm_target(root: &Path, progress: &Progress) -> Result<String> {
    let sysroot = PathBuf::from(rustc(root, &["--print", "sysroot"])?);
    if has_target(&sysroot) {
        return Ok(format!("{WASM_TARGET} is there"));
    }
    let refused = match on_path("rustup") {
        None => "`rustup` is not on the PATH".to_owned(),
        Some(rustup) => {
            progress.note(&format!("rustup target add {WASM_TARGET}"));
            let mut add = Command::new(rustup);
            add.args(["target", "add", WASM_TARGET]).current_dir(root);
            match within(add, RUSTUP_LIMIT)? {
                Some(output) if output.status.success() && has_target(&sysroot) => {
                    return Ok(format!("{WASM_TARGET} installed by rustup"));
                }
                Some(output) => last_lines(&output),
                None => format!("`rustup` did not end within {} s", RUSTUP_LIMIT.as_secs()),
            }
        }
    };
    bail!(
        "`rustup target add {WASM_TARGET}` did not work ({refused}): run it where rustup has a network, or put the \
         target's standard library of this compiler's version into {}",
        sysroot.join("lib/rustlib").join(WASM_TARGET).display()
    )
}

/// Whether the compiler finds a standard library for the target.
fn has_target(sysroot: &Path) -> bool {
    let library = sysroot.join("lib/rustlib").join(WASM_TARGET).join("lib");
    fs::read_dir(library).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            name.to_str().is_some_and(|name| name.starts_with("libstd-") && name.ends_with(".rlib"))
        })
    })
}

fn rustc(root: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("rustc");
    command.args(arguments).current_dir(root);
    let output = successful(&mut command, "rustc").context("is a Rust toolchain installed?")?;
    Ok(String::from_utf8(output.stdout).context("rustc answers in UTF-8")?.trim().to_owned())
}
