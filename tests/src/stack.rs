//! One local stack for all tests of the pipeline: they keep apart by the people and the slots they book.

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Once};

use local_stack::application::Host;
use local_stack::artifacts::Artifacts;
use local_stack::backplane::Backplane;
use local_stack::progress::Progress;
use local_stack::{LocalStack, Options};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use crate::workspace;

/// Runs what a shared stack does in the background; the runtime of a single test ends with that test.
static BACKGROUND: LazyLock<Runtime> = LazyLock::new(|| match Runtime::new() {
    Ok(runtime) => runtime,
    Err(error) => panic!("no runtime: {error}"),
});

/// The running system, started by the first test that asks for it.
///
/// It has the durations of the `local` block. Its children end with this process, by the kernel's parent-death signal.
///
/// # Panics
///
/// Where a part cannot be built or started.
pub async fn stack() -> &'static LocalStack {
    static STACK: OnceCell<LocalStack> = OnceCell::const_new();
    STACK
        .get_or_init(async || match tokio::task::spawn_blocking(|| BACKGROUND.block_on(start())).await {
            Ok(Ok(stack)) => stack,
            Ok(Err(error)) => panic!("the local stack does not start: {error:#}"),
            Err(error) => panic!("the local stack does not start: {error}"),
        })
        .await
}

async fn start() -> anyhow::Result<LocalStack> {
    let root = workspace();
    let backplane = Backplane::load(&root)?.shortened()?;
    let artifacts = Artifacts::build(&root, &backplane, Host::Embedded)?;
    let instance = instance("pipeline");
    let options = Options { root, instance, host: Host::Embedded, port: None, backplane };
    LocalStack::start(options, &artifacts, &Progress::silent()).await
}

/// An empty folder for what one test starts: logs, data.
///
/// # Panics
///
/// Where it cannot be created.
#[must_use]
pub fn scratch_folder(name: &str) -> PathBuf {
    let folder = instances().join(instance(name));
    match std::fs::create_dir_all(&folder) {
        Ok(()) => folder,
        Err(error) => panic!("cannot create {}: {error}", folder.display()),
    }
}

/// A name for an instance of this process.
fn instance(name: &str) -> String {
    static TIDY: Once = Once::new();
    TIDY.call_once(remove_what_earlier_runs_left);
    format!("{PREFIX}{}-{name}", std::process::id())
}

const PREFIX: &str = "test-";

fn instances() -> PathBuf {
    workspace().join("target/local-stack")
}

/// Removes the folders of test processes that have ended; those of the last run stay until the next, to be looked at.
fn remove_what_earlier_runs_left() {
    let Ok(entries) = std::fs::read_dir(instances()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            // Another test process may be doing the same.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
