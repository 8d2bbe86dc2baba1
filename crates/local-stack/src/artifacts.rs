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

/// The crate and the program that run a component on Lambda.
const LAMBDA_HOST: &str = "appointment";

/// The built programs, under the repository's `target` folder, where `spin.toml` looks for the components.
#[derive(Debug, Clone)]
pub struct Artifacts {
    target: PathBuf,
    profile: Profile,
}

/// How the native programs are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As the tests are.
    Dev,
    /// As what is deployed is: for measurements.
    Release,
}

impl Profile {
    const fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Release => "release",
        }
    }

    /// The folder of its programs under `target`.
    const fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }
}

impl Artifacts {
    /// What an earlier build left; nothing is built now.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { target: root.join("target"), profile: Profile::Dev }
    }

    /// Builds the components, the workers and, where it is used, the embedded host. What is up to date stays as it is.
    ///
    /// # Errors
    /// When something does not compile; `cargo` has said why on standard error.
    pub fn build(root: &Path, backplane: &Backplane, host: Host) -> Result<Self> {
        Self::build_with(root, backplane, host, Profile::Dev)
    }

    /// As [`Artifacts::build`], with the native programs built in a profile of one's own.
    ///
    /// # Errors
    /// As [`Artifacts::build`].
    pub fn build_with(root: &Path, backplane: &Backplane, host: Host, profile: Profile) -> Result<Self> {
        let artifacts = Self { profile, ..Self::at(root) };
        artifacts.cargo_build(
            root,
            "the components",
            &["-p", "intake", "-p", "confirmation", "--target", WASM_TARGET, "--profile", "component"],
        )?;
        let workers: Vec<String> = backplane.countries().map(|country| country.function).collect();
        // Of the whole workspace, whose features `cargo test` unites too: else each would compile the dependencies anew.
        let mut native = vec!["--workspace", "--profile", profile.name(), "--bin", LAMBDA_HOST];
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
        self.program("edge-host")
    }

    /// A worker, which is named as its function.
    #[must_use]
    pub fn worker(&self, function: &str) -> PathBuf {
        self.program(function)
    }

    fn program(&self, name: &str) -> PathBuf {
        self.target.join(self.profile.folder()).join(name)
    }

    /// A worker's deployment package: a zip that holds it as the executable `bootstrap`, without debug information.
    ///
    /// It is made anew when the worker is newer.
    ///
    /// # Errors
    /// When the worker has not been built, or a file cannot be written.
    pub fn worker_package(&self, function: &str) -> Result<PathBuf> {
        self.package(function, &[], |_| Ok(Vec::new()))
    }

    /// The deployment package of the application's functions: the host that runs the components on Lambda as `bootstrap`,
    /// `spin.toml`, and the components.
    ///
    /// It is made anew when a part is newer.
    ///
    /// # Errors
    /// When a part has not been built, or a file cannot be written.
    pub fn application_package(&self) -> Result<PathBuf> {
        todo!()
    }

    /// A zip of a native program as `bootstrap` and of what `content` makes of other files.
    fn package(
        &self,
        program: &str,
        others: &[PathBuf],
        content: impl FnOnce(&Path) -> Result<Vec<(String, Vec<u8>)>>,
    ) -> Result<PathBuf> {
        // Stacks that start at the same time in one process would write the same files.
        static PACKING: Mutex<()> = Mutex::new(());
        let _packing = PACKING.lock().unwrap_or_else(PoisonError::into_inner);
        let binary = self.program(program);
        let parts = others.iter().chain([&binary]);
        let newest = parts.map(|part| modified(part).with_context(|| format!("{} has not been built", part.display())));
        let built = newest.collect::<Result<Vec<_>>>()?.into_iter().max();
        let directory = self.target.join(self.profile.folder()).join("functions");
        let package = directory.join(format!("{program}.zip"));
        if modified(&package).is_ok_and(|packed| Some(packed) > built) {
            return Ok(package);
        }
        fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        // Under names of our own until it is whole: another process may do this at the same time.
        let unique = std::process::id();
        let stripped = directory.join(format!("{program}.{unique}.stripped"));
        let without_symbols = on_path("strip").is_some_and(|strip| {
            Command::new(strip).arg("-o").arg(&stripped).arg(&binary).status().is_ok_and(|status| status.success())
        });
        let bootstrap = fs::read(if without_symbols { &stripped } else { &binary })?;
        if without_symbols {
            fs::remove_file(&stripped)?;
        }
        let content = content(&directory)?;
        let bootstrap = Entry { path: "bootstrap", content: &bootstrap, executable: true };
        let others = content.iter().map(|(path, content)| Entry { path, content, executable: false });
        archive::write(&package, 1, &std::iter::once(bootstrap).chain(others).collect::<Vec<_>>())?;
        Ok(package)
    }

    fn cargo_build(&self, root: &Path, what: &str, arguments: &[&str]) -> Result<()> {
        let mut command = cargo();
        command.args(["build", "--quiet", "--target-dir"]).arg(&self.target).args(arguments).current_dir(root);
        let status = command.status().context("cannot run cargo")?;
        ensure!(status.success(), "{what} do not build: `cargo build {}` says why", arguments.join(" "));
        Ok(())
    }
}

fn modified(file: &Path) -> std::io::Result<std::time::SystemTime> {
    fs::metadata(file)?.modified()
}
