//! What tests of several areas share: WebAssembly components, which the first test that needs them builds, and a local stack.
#![expect(clippy::panic, reason = "a test that cannot be set up fails by panicking")]

mod booking;
mod browser;
mod fresh;
mod log;
pub mod module_uses;
mod processes;
mod shared;
mod stack;
mod view;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use local_stack::artifacts::COMPONENTS;

pub use booking::Booking;
pub use browser::Browser;
pub use fresh::{PATIENCE, fresh_slot};
pub use log::lines_that_name;
pub use processes::processes_with;
pub use shared::{Lease, Shared};
pub use stack::{
    SAMPLE_DAYS, artifacts, host, own_services, own_stack, own_stack_with_slots, scratch_folder, services, stack,
    stack_behind, stack_with_authentication, stack_with_collector,
};
pub use view::View;

/// The workspace's folder.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The file of a component of this workspace (by its package's name), built as it is shipped.
///
/// The components are built at most once per process, all of them at once: alone, each would unite other features, and cargo would
/// compile it and its dependencies a second time. Cargo itself sees whether anything changed since the last build. A second process
/// that builds at the same time waits for cargo's lock.
///
/// # Panics
///
/// If cargo cannot build it; the message contains cargo's.
#[must_use]
pub fn component(name: &str) -> PathBuf {
    let file = format!("{}.wasm", name.replace('-', "_"));
    let mut options = vec!["--target", "wasm32-wasip2", "--profile", "component"];
    options.extend(COMPONENTS.iter().chain(&["edge-fixture"]).flat_map(|package| ["--package", package]));
    built("the components", &options).join("wasm32-wasip2/component").join(file)
}

/// The file of a native program of this workspace (by its package's name), built as [`component`] builds, with the features
/// that `cargo test` unites over the whole workspace: with others it would compile the dependencies again.
///
/// # Panics
///
/// If cargo cannot build it; the message contains cargo's.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    built(name, &["--workspace", "--bin", name]).join("debug").join(name)
}

/// Builds something at most once per process; the folder that it was built in.
fn built(what: &str, options: &[&str]) -> PathBuf {
    static BUILT: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let target = target_folder();
    if built.contains(what) {
        return target;
    }
    let output = local_stack::command::cargo()
        .args(["build", "--quiet"])
        .args(options)
        .arg("--target-dir")
        .arg(&target)
        .current_dir(workspace())
        .output()
        .unwrap_or_else(|error| panic!("cannot run cargo: {error}"));
    if !output.status.success() {
        panic!("cannot build {what}:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    built.insert(what.to_owned());
    target
}

/// The target folder of this test program.
#[must_use]
pub fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}
