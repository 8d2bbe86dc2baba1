//! What is built from this repository and run by the local stack.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use operator::backplane::Backplane;

use crate::archive::{self, Entry};
use crate::command::cargo;
use crate::setup::WASM_TARGET;

/// The program that runs a component on Lambda.
const LAMBDA_HOST: &str = "appointment-lambda";

/// The embedded host, which also compiles components ahead of time.
const EDGE_HOST: &str = "edge-host";

/// The components of `spin.toml`.
pub const COMPONENTS: [&str; 3] = ["intake", "booking-page", "confirmation"];

/// The zip of the application's functions in [`PACKAGES`], without its ending.
pub const APPLICATION_PACKAGE: &str = "appointment";

/// Where `cargo xtask package` puts what is deployed, under `target`.
pub const PACKAGES: &str = "package";

/// Held while a package is made: stacks that start at the same time in one process would write the same files.
static PACKING: Mutex<()> = Mutex::new(());

/// The built programs, under the repository's `target` folder, where `spin.toml` looks for the components.
#[derive(Debug, Clone)]
pub struct Artifacts {
    target: PathBuf,
    /// The functions are those of [`PACKAGES`], and the embedded host is optimised.
    packaged: bool,
}

impl Artifacts {
    /// What an earlier build left; nothing is built now.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { target: root.join("target"), packaged: false }
    }

    /// What is deployed, as `cargo xtask package` has packed it, and the embedded host of the profile `release`: for
    /// measurements. Nothing is built now.
    #[must_use]
    pub fn packaged(root: &Path) -> Self {
        Self { packaged: true, ..Self::at(root) }
    }

    /// Builds the components, the functions and the embedded host. What is up to date stays as it is.
    ///
    /// # Errors
    /// When something does not compile; `cargo` has said why on standard error.
    pub fn build(root: &Path, backplane: &Backplane) -> Result<Self> {
        let artifacts = Self::at(root);
        let mut components = vec!["--target", WASM_TARGET, "--profile", "component"];
        components.extend(COMPONENTS.iter().flat_map(|name| ["-p", name]));
        artifacts.cargo_build(root, "the components", &components)?;
        let workers: Vec<String> = backplane.countries().map(|country| country.function).collect();
        // Of the whole workspace, whose features `cargo test` unites too: else each would compile the dependencies anew.
        let mut native = vec!["--workspace", "--bin", LAMBDA_HOST, "--bin", EDGE_HOST];
        native.extend(workers.iter().flat_map(|worker| ["--bin", worker.as_str()]));
        artifacts.cargo_build(root, "the native programs", &native)?;
        Ok(artifacts)
    }

    /// The embedded host.
    #[must_use]
    pub fn edge_host(&self) -> PathBuf {
        self.program(EDGE_HOST)
    }

    /// A worker, which is named as its function.
    #[must_use]
    pub fn worker(&self, function: &str) -> PathBuf {
        self.program(function)
    }

    /// The folder of the native programs.
    fn programs(&self) -> PathBuf {
        self.target.join(if self.packaged { "release" } else { "debug" })
    }

    fn program(&self, name: &str) -> PathBuf {
        self.programs().join(name)
    }

    /// A worker's deployment package, whose `bootstrap` starts the worker where cargo built it.
    ///
    /// # Errors
    /// When the worker has not been built, or a file cannot be written.
    pub fn worker_package(&self, function: &str) -> Result<PathBuf> {
        if self.packaged {
            return self.deployed_package(function);
        }
        let _packing = PACKING.lock().unwrap_or_else(PoisonError::into_inner);
        self.package(function, Vec::new())
    }

    /// The deployment package of the application's functions: a `bootstrap` that starts the host which runs a component on
    /// Lambda, `spin.toml`, and the components' machine code.
    ///
    /// # Errors
    /// When a part has not been built, or a file cannot be written.
    pub fn application_package(&self, root: &Path) -> Result<PathBuf> {
        if self.packaged {
            return self.deployed_package(APPLICATION_PACKAGE);
        }
        let _packing = PACKING.lock().unwrap_or_else(PoisonError::into_inner);
        let manifest = root.join("spin.toml");
        let folder = self.target.join(WASM_TARGET).join("component");
        let mut parts = vec![manifest.clone(), self.edge_host(), self.program(LAMBDA_HOST)];
        parts.extend(COMPONENTS.map(|name| folder.join(format!("{}.wasm", name.replace('-', "_")))));
        let newest = parts.iter().map(|part| built(part)).collect::<Result<Vec<_>>>()?.into_iter().max();
        let package = self.packages().join(format!("{LAMBDA_HOST}.zip"));
        if modified(&package).is_ok_and(|packed| Some(packed) > newest) {
            return Ok(package);
        }
        let folder = self.packages().join(format!("components.{}", std::process::id()));
        let mut compile = Command::new(self.edge_host());
        compile.arg("compile").arg("--from").arg(&manifest).arg("--output").arg(&folder);
        let compiled = compile.output().context("cannot run edge-host")?;
        ensure!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let mut files = vec![("spin.toml".to_owned(), fs::read(&manifest)?)];
        for name in COMPONENTS.map(|name| format!("{name}.cwasm")) {
            let content = fs::read(folder.join(&name))?;
            files.push((name, content));
        }
        fs::remove_dir_all(&folder)?;
        self.package(LAMBDA_HOST, files)
    }

    fn deployed_package(&self, name: &str) -> Result<PathBuf> {
        let package = self.target.join(PACKAGES).join(format!("{name}.zip"));
        ensure!(package.is_file(), "{} is missing: run `cargo xtask package`", package.display());
        Ok(package)
    }

    /// The folder of the packages.
    fn packages(&self) -> PathBuf {
        self.programs().join("functions")
    }

    /// A zip of files and of a `bootstrap` that becomes a native program. The unoptimised programs have 30 MB and more: to
    /// pack, upload and unpack them for each function of each stack costs more than the tests that use them.
    fn package(&self, program: &str, files: Vec<(String, Vec<u8>)>) -> Result<PathBuf> {
        let binary = self.program(program);
        built(&binary)?;
        let path = binary.to_str().with_context(|| format!("{} is not UTF-8", binary.display()))?;
        let script = format!("#!/bin/sh\nexec {}\n", shell_words::quote(path));
        let bootstrap = Entry { path: "bootstrap", content: script.as_bytes(), executable: true };
        let files = files.iter().map(|(path, content)| Entry { path, content, executable: false });
        let package = self.packages().join(format!("{program}.zip"));
        archive::write(&package, 1, &std::iter::once(bootstrap).chain(files).collect::<Vec<_>>())?;
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

/// When something was built, which must be.
fn built(part: &Path) -> Result<SystemTime> {
    modified(part).with_context(|| format!("{} has not been built", part.display()))
}

fn modified(file: &Path) -> std::io::Result<SystemTime> {
    fs::metadata(file)?.modified()
}
