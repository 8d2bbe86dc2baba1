//! What is built from this repository and run by the local stack.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

use crate::application::Host;
use crate::archive::{self, Entry};
use crate::backplane::Backplane;
use crate::process::on_path;
use crate::setup::{WASM_TARGET, cargo};

/// The built programs, under the repository's `target` folder, where `spin.toml` looks for the components.
#[derive(Debug, Clone)]
pub struct Artifacts {
    target: PathBuf,
}

impl Artifacts {
    /// What an earlier build left; nothing is built now.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { target: root.join("target") }
    }

    /// Builds the components, the workers and, where it is used, the embedded host. What is up to date stays as it is.
    ///
    /// # Errors
    /// When something does not compile; `cargo` has said why on standard error.
    pub fn build(root: &Path, backplane: &Backplane, host: Host) -> Result<Self> {
        let artifacts = Self::at(root);
        artifacts.cargo_build(
            root,
            "the components",
            &["-p", "intake", "-p", "confirmation", "--target", WASM_TARGET, "--profile", "component"],
        )?;
        let workers: Vec<String> = backplane.countries().map(|country| country.function).collect();
        // Of the whole workspace, whose features `cargo test` unites too: else each would compile the dependencies anew.
        let mut native = vec!["--workspace"];
        native.extend(workers.iter().flat_map(|worker| ["--bin", worker.as_str()]));
        if host == Host::Embedded {
            native.extend(["--bin", "edge-host"]);
        }
        artifacts.cargo_build(root, "the native programs", &native)?;
        Ok(artifacts)
    }

    /// The embedded host.
    #[must_use]
    pub fn edge_host(&self) -> PathBuf {
        self.target.join("debug").join("edge-host")
    }

    /// A worker, which is named as its function.
    #[must_use]
    pub fn worker(&self, function: &str) -> PathBuf {
        self.target.join("debug").join(function)
    }

    /// A worker's deployment package: a zip that holds it as the executable `bootstrap`, without debug information.
    ///
    /// It is made anew when the worker is newer.
    ///
    /// # Errors
    /// When the worker has not been built, or a file cannot be written.
    pub fn worker_package(&self, function: &str) -> Result<PathBuf> {
        // Stacks that start at the same time in one process would write the same files.
        static PACKING: Mutex<()> = Mutex::new(());
        let _packing = PACKING.lock().unwrap_or_else(PoisonError::into_inner);
        let worker = self.worker(function);
        let built = modified(&worker).with_context(|| format!("{} has not been built", worker.display()))?;
        let directory = self.target.join("functions");
        let package = directory.join(format!("{function}.zip"));
        if modified(&package).is_ok_and(|packed| packed > built) {
            return Ok(package);
        }
        fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        // Under names of our own until it is whole: another process may do this at the same time.
        let unique = std::process::id();
        let stripped = directory.join(format!("{function}.{unique}.stripped"));
        let without_symbols = on_path("strip").is_some_and(|strip| {
            Command::new(strip).arg("-o").arg(&stripped).arg(&worker).status().is_ok_and(|status| status.success())
        });
        let bootstrap = fs::read(if without_symbols { &stripped } else { &worker })?;
        if without_symbols {
            fs::remove_file(&stripped)?;
        }
        archive::write(&package, 1, &[Entry { path: "bootstrap", content: &bootstrap, executable: true }])?;
        Ok(package)
    }

    fn cargo_build(&self, root: &Path, what: &str, arguments: &[&str]) -> Result<()> {
        let mut command = cargo();
        command.args(["build", "--target-dir"]).arg(&self.target).args(arguments).current_dir(root);
        let status = command.status().context("cannot run cargo")?;
        ensure!(status.success(), "{what} do not build: `cargo build {}` says why", arguments.join(" "));
        Ok(())
    }
}

fn modified(file: &Path) -> std::io::Result<std::time::SystemTime> {
    fs::metadata(file)?.modified()
}
