//! Where a stack keeps its logs and data: a folder under `target/local-stack` for each.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

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
