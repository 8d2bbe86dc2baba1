//! Where a stack keeps its logs and data: a folder under `target/local-stack` for each.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folders of an instance that hold data: of PostgreSQL's cluster, and of what the emulator and a browser keep.
const DATA: [&str; 3] = ["postgres", "tmp", "profile"];

/// The folder of the logs of the stack whose application has this port.
#[must_use]
pub fn logs_of_port(root: &Path, port: u16) -> PathBuf {
    instance_directory(root, &port.to_string()).join("logs")
}

/// The folder of an instance.
pub(crate) fn instance_directory(root: &Path, instance: &str) -> PathBuf {
    root.join("target").join("local-stack").join(instance)
}

/// Creates the instance's empty folder.
pub(crate) fn fresh_directory(root: &Path, instance: &str) -> Result<PathBuf> {
    let directory = instance_directory(root, instance);
    if directory.exists() {
        std::fs::remove_dir_all(&directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    let logs = directory.join("logs");
    std::fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
    Ok(directory)
}

/// How the folders of the tests' instances begin; the id of the test process follows, and a hyphen.
pub const TESTS: &str = "test-";

/// What is removed of the instances of test processes that have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftovers {
    /// Everything.
    All,
    /// All but the logs: a server that lives until its process ends leaves hundreds of megabytes of data.
    Data,
}

/// Removes what test processes that have ended left of their instances. What cannot be removed stays: another test process may be
/// doing the same.
pub fn remove_leftovers_of_tests(root: &Path, what: Leftovers) {
    let Ok(entries) = std::fs::read_dir(root.join("target").join("local-stack")) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(TESTS)).and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let folders = match what {
                Leftovers::All => vec![entry.path()],
                Leftovers::Data => DATA.map(|data| entry.path().join(data)).to_vec(),
            };
            for folder in folders {
                let _ = std::fs::remove_dir_all(folder);
            }
        }
    }
}
