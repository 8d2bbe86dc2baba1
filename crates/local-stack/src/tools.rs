//! Pinned programs from the registries of Python and Node.js, each in a folder of its own under `target/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::on_path;
use crate::progress::Progress;
use crate::setup::{last_lines, put_in_place, successful};

/// A program of a Python package.
pub struct PythonTool {
    /// The package, the folder under `target/`, and the program.
    pub name: &'static str,
    /// The file in the repository that pins the package and everything that it needs.
    pub requirements: &'static str,
}

/// The AWS emulator of the local stack.
pub const MINISTACK: PythonTool =
    PythonTool { name: "ministack", requirements: "crates/local-stack/ministack-requirements.txt" };

/// What generates requests from `docs/openapi.yaml` and checks the answers.
pub const SCHEMATHESIS: PythonTool =
    PythonTool { name: "schemathesis", requirements: "tests/contract/schemathesis-requirements.txt" };

/// The static policy scan of `infra/`.
pub const CHECKOV: PythonTool = PythonTool { name: "checkov", requirements: "infra/requirements.txt" };

/// What builds the workers for Lambda, with Zig's linker beside it.
pub const CARGO_LAMBDA: PythonTool =
    PythonTool { name: "cargo-lambda", requirements: "xtask/cargo-lambda-requirements.txt" };

impl PythonTool {
    /// The program, once it is installed.
    #[must_use]
    pub fn program(&self, root: &Path) -> PathBuf {
        self.environment(root).join("bin").join(self.name)
    }

    fn environment(&self, root: &Path) -> PathBuf {
        root.join("target").join(self.name)
    }

    /// Installs it, unless exactly what is pinned is there.
    ///
    /// # Errors
    /// When Python is missing or a package cannot be had; the error says what to do.
    pub fn install(&self, root: &Path, progress: &Progress) -> Result<String> {
        let environment = self.environment(root);
        let file = root.join(self.requirements);
        let requirements = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let stamp = environment.join("installed-requirements.txt");
        let pin = format!("{}==", self.name);
        let version = requirements.lines().find(|line| line.starts_with(&pin)).unwrap_or(self.name);
        let installed = fs::read_to_string(&stamp).is_ok_and(|installed| installed == requirements);
        if installed && self.program(root).is_file() {
            return Ok(format!("{version} is there"));
        }
        let python = on_path("python3").context("`python3` is not on the PATH: install Python 3.10 or later")?;
        progress.note(&format!("creating {} and installing {version} (about half a minute)", environment.display()));
        let created = Command::new(&python).args(["-m", "venv", "--clear"]).arg(&environment).output();
        let created = created.with_context(|| format!("cannot run {}", python.display()))?;
        ensure!(
            created.status.success(),
            "`python3 -m venv` failed (on Debian and Ubuntu: `sudo apt-get install python3-venv`): {}",
            last_lines(&created)
        );
        let mut install = Command::new(environment.join("bin/python"));
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(file);
        successful(&mut install, "pip install")?;
        fs::write(&stamp, &requirements).with_context(|| format!("cannot write {}", stamp.display()))?;
        Ok(format!("{version} installed"))
    }
}

/// The linter of `docs/openapi.yaml`, a package of Node.js.
pub struct Spectral;

impl Spectral {
    /// The folder in the repository with `package.json` and the lock file, which pins everything by its hash.
    const FOLDER: &'static str = "tests/contract";

    /// The program, once it is installed.
    #[must_use]
    pub fn program(root: &Path) -> PathBuf {
        Self::place(root).join("node_modules/.bin/spectral")
    }

    fn place(root: &Path) -> PathBuf {
        root.join("target").join("spectral")
    }

    /// Installs it, unless exactly what is pinned is there.
    ///
    /// # Errors
    /// When npm is missing or a package cannot be had; the error says what to do.
    pub fn install(root: &Path, progress: &Progress) -> Result<String> {
        let place = Self::place(root);
        let files = ["package.json", "package-lock.json"].map(|name| (root.join(Self::FOLDER).join(name), name));
        let same = |(file, name): &(PathBuf, &str)| match (fs::read(file), fs::read(place.join(name))) {
            (Ok(pinned), Ok(installed)) => pinned == installed,
            _ => false,
        };
        if files.iter().all(same) && Self::program(root).is_file() {
            return Ok("spectral is there".to_owned());
        }
        let npm = on_path("npm").context(
            "`npm` is not on the PATH: install Node.js 20.17 or later (on Debian and Ubuntu: `sudo apt-get install npm`)",
        )?;
        progress.note(&format!("installing into {} (about a minute)", place.display()));
        put_in_place(&place, |place| {
            for (file, name) in &files {
                fs::copy(file, place.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
            }
            // No package may run anything of its own at its installation.
            let mut install = Command::new(npm);
            install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]).current_dir(place);
            successful(&mut install, "npm ci").map(|_output| ())
        })?;
        Ok("spectral installed".to_owned())
    }
}
