//! Where the built programs are.

use std::path::PathBuf;

use anyhow::{Result, ensure};

/// Where the built programs are.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// The repository.
    pub(crate) root: PathBuf,
    /// The folder with the native programs, this one among them.
    pub(crate) folder: PathBuf,
    /// Logs and scratch files.
    pub(crate) scratch: PathBuf,
}

impl Programs {
    pub(crate) fn program(&self, name: &str) -> Result<PathBuf> {
        let program = self.folder.join(name);
        ensure!(program.is_file(), "{} has not been built: run `cargo xtask bench`", program.display());
        Ok(program)
    }

    pub(crate) fn component(&self, name: &str) -> PathBuf {
        self.root.join("target/wasm32-wasip2/component").join(format!("{name}.wasm"))
    }
}
