//! What a machine needs before the system can be built and run: the Wasm target, the AWS emulator, PostgreSQL; and for
//! the tests, what holds the API to its description.
//!
//! Every part is looked at first, so that a second run takes no time, and put in place by a rename, so that an
//! interrupted run leaves nothing half done.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::postgres;
use crate::process::on_path;
use crate::progress::Progress;
use crate::tools::{self, Spectral};

/// The target of the components.
pub const WASM_TARGET: &str = "wasm32-wasip2";

/// How many steps [`run`] reports.
pub const STEPS: u32 = 3;

/// How long `rustup` may try to download; behind some firewalls it waits for ever.
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);

/// Debian suites in which the sources of a toolchain may be, newest stable first.
const DEBIAN_SUITES: [&[&str]; 3] = [&["trixie-backports", "trixie"], &["forky"], &["sid"]];

/// Sets the machine up, as far as that can be done without administrator's rights.
///
/// # Errors
/// When a part is missing and cannot be put in place; the error says what to do.
pub fn run(root: &Path, progress: &Progress) -> Result<()> {
    let _lock = lock(root)?;

    let step = progress.step("Wasm target");
    step.done(&wasm_target(root, progress).context("the Wasm target cannot be installed")?);

    let step = progress.step("AWS emulator");
    step.done(&tools::MINISTACK.install(root, progress).context("the AWS emulator cannot be installed")?);

    let step = progress.step("PostgreSQL");
    step.done(&match postgres::binaries() {
        Ok(directory) => directory.display().to_string(),
        Err(_) if crate::databases_are_given(root) => "the servers of DATABASE_URL_…".to_owned(),
        Err(error) => return Err(error),
    });
    Ok(())
}

/// How many steps [`run_for_tests`] reports.
pub const TEST_STEPS: u32 = STEPS + 2;

/// As [`run`], and the programs that hold the API to `docs/openapi.yaml`.
///
/// # Errors
/// As [`run`].
pub fn run_for_tests(root: &Path, progress: &Progress) -> Result<()> {
    run(root, progress)?;
    let _lock = lock(root)?;

    let step = progress.step("Schemathesis");
    step.done(&tools::SCHEMATHESIS.install(root, progress).context("Schemathesis cannot be installed")?);

    let step = progress.step("Spectral");
    step.done(&Spectral::install(root, progress).context("the linter of OpenAPI cannot be installed")?);
    Ok(())
}

/// Two set-ups at once would build the same things twice.
fn lock(root: &Path) -> Result<File> {
    let target = root.join("target");
    fs::create_dir_all(&target).with_context(|| format!("cannot create {}", target.display()))?;
    let lock = File::create(target.join(".setup.lock")).context("cannot create the set-up's lock")?;
    lock.lock().context("cannot wait for another set-up")?;
    Ok(lock)
}

/// The emulator's executable, once it is set up.
#[must_use]
pub fn ministack_program(root: &Path) -> PathBuf {
    tools::MINISTACK.program(root)
}

/// Installs the standard library of the Wasm target: by `rustup`, or else by building it from Debian's sources.
fn wasm_target(root: &Path, progress: &Progress) -> Result<String> {
    let sysroot = PathBuf::from(rustc(root, &["--print", "sysroot"])?);
    if has_target(&sysroot) {
        return Ok(format!("{WASM_TARGET} is there"));
    }
    let refused = match on_path("rustup") {
        None => "`rustup` is not on the PATH".to_owned(),
        Some(rustup) => {
            progress.note(&format!("rustup target add {WASM_TARGET}"));
            let mut add = Command::new(rustup);
            add.args(["target", "add", WASM_TARGET]).current_dir(root);
            match within(add, RUSTUP_LIMIT)? {
                Some(output) if output.status.success() && has_target(&sysroot) => {
                    return Ok(format!("{WASM_TARGET} installed by rustup"));
                }
                Some(output) => last_lines(&output),
                None => format!("`rustup` did not end within {} s", RUSTUP_LIMIT.as_secs()),
            }
        }
    };
    progress.note(&format!("not by rustup ({refused}); building it from Debian's sources (about two minutes)"));
    from_debian(root, &sysroot, progress).with_context(|| {
        format!(
            "`rustup target add {WASM_TARGET}` did not work ({refused}), nor did building it from Debian's sources; \
             install it where rustup has a network, with that command"
        )
    })?;
    ensure!(has_target(&sysroot), "the standard library of {WASM_TARGET} was built, but is not where rustc looks");
    Ok(format!("{WASM_TARGET} built from Debian's sources"))
}

/// Whether the compiler finds a standard library for the target.
fn has_target(sysroot: &Path) -> bool {
    let library = sysroot.join("lib/rustlib").join(WASM_TARGET).join("lib");
    fs::read_dir(library).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            name.to_str().is_some_and(|name| name.starts_with("libstd-") && name.ends_with(".rlib"))
        })
    })
}

/// Fetches (without installing) Debian's `rust-src` of exactly this compiler's version and `wasi-libc` of the same suite,
/// builds the standard library, and puts both where the compiler looks.
fn from_debian(root: &Path, sysroot: &Path, progress: &Progress) -> Result<()> {
    let release = rustc(root, &["--version"])?;
    let release = release.split_whitespace().nth(1).context("rustc tells no version")?.to_owned();
    let work = root.join("target").join("wasm-target");
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;

    let packages = Packages { mirror: debian_mirror()?, work: work.clone() };
    let (suites, version) = packages.find_sources(&release, progress)?;
    let suite = suites.first().context("no suite")?;
    progress.note(&format!("fetching rust-src {version} and wasi-libc from {suite}"));
    packages.unpack(&[format!("rust-src={version}"), format!("wasi-libc/{suite}")])?;

    let library = work.join(format!("root/usr/src/rustc-{release}/library"));
    ensure!(library.is_dir(), "Debian's rust-src has no {}", library.display());
    put_in_place(&sysroot.join("lib/rustlib/src/rust/library"), |place| copy_tree(&library, place))?;

    progress.note("building the standard library");
    let crate_directory = work.join("empty");
    let built = build_standard_library(&crate_directory)?;

    let libc = work.join("root/usr/lib").join(WASM_TARGET);
    put_in_place(&sysroot.join("lib/rustlib").join(WASM_TARGET), |place| {
        let (library, self_contained) = (place.join("lib"), place.join("lib/self-contained"));
        fs::create_dir_all(&self_contained)?;
        for archive in &built {
            copy_into(archive, &library)?;
        }
        for object in ["crt1-command.o", "crt1-reactor.o", "libc.a"] {
            copy_into(&libc.join(object), &self_contained)?;
        }
        Ok(())
    })
}

/// Builds `std` for the target as a dependency of an empty crate, and returns its archives.
fn build_standard_library(crate_directory: &Path) -> Result<Vec<PathBuf>> {
    const NAME: &str = "empty";
    fs::create_dir_all(crate_directory.join("src"))?;
    let manifest = format!("[package]\nname = \"{NAME}\"\nedition = \"2024\"\n\n[workspace]\n");
    fs::write(crate_directory.join("Cargo.toml"), manifest)?;
    fs::write(crate_directory.join("src/lib.rs"), "")?;
    let target = crate_directory.join("target");
    let mut build = cargo();
    build
        .args(["build", "--release", "-Zbuild-std=std,panic_abort", "--target", WASM_TARGET, "--target-dir"])
        .arg(&target)
        .current_dir(crate_directory)
        // Unstable options of a stable compiler: the standard library is built with them everywhere.
        .env("RUSTC_BOOTSTRAP", "1")
        // Components are linked with LTO, which needs bitcode.
        .env("RUSTFLAGS", "-Cembed-bitcode=yes");
    successful(&mut build, "cargo build -Zbuild-std")?;
    let own = format!("lib{NAME}-");
    let archives: Vec<PathBuf> = fs::read_dir(target.join(WASM_TARGET).join("release/deps"))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension() == Some(OsStr::new("rlib")))
        .filter(|path| path.file_name().and_then(OsStr::to_str).is_some_and(|name| !name.starts_with(&own)))
        .collect();
    ensure!(!archives.is_empty(), "cargo built no archives of the standard library");
    Ok(archives)
}

/// `apt` with lists, cache and sources of our own: nothing of the machine's is touched.
struct Packages {
    mirror: String,
    work: PathBuf,
}

impl Packages {
    /// The first suites that have `rust-src` of exactly this version, and the package's version.
    fn find_sources(&self, release: &str, progress: &Progress) -> Result<(&'static [&'static str], String)> {
        for suites in DEBIAN_SUITES {
            progress.note(&format!("looking for rust-src {release} in {}", suites.join(", ")));
            self.write_sources(suites)?;
            successful(&mut self.apt("apt-get", &["update", "--quiet"]), "apt-get update")?;
            let listed = successful(&mut self.apt("apt-cache", &["madison", "rust-src"]), "apt-cache madison")?;
            let version = String::from_utf8_lossy(&listed.stdout)
                .lines()
                .filter_map(|line| line.split('|').nth(1).map(|version| version.trim().to_owned()))
                .find(|version| version.split('+').next() == Some(release));
            if let Some(version) = version {
                return Ok((suites, version));
            }
        }
        bail!("no Debian suite has rust-src {release}")
    }

    fn write_sources(&self, suites: &[&str]) -> Result<()> {
        let keyring = ["gpg", "pgp"]
            .map(|ending| format!("/usr/share/keyrings/debian-archive-keyring.{ending}"))
            .into_iter()
            .find(|keyring| Path::new(keyring).is_file())
            .context("Debian's archive keyring is missing")?;
        let sources = format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\nSigned-By: {keyring}\n",
            self.mirror,
            suites.join(" ")
        );
        for directory in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(self.work.join(directory))?;
        }
        fs::write(self.work.join("own.sources"), sources).context("cannot write the list of sources")
    }

    fn unpack(&self, packages: &[String]) -> Result<()> {
        let mut arguments = vec!["download", "--quiet"];
        arguments.extend(packages.iter().map(String::as_str));
        successful(&mut self.apt("apt-get", &arguments), "apt-get download")?;
        for entry in fs::read_dir(&self.work)?.flatten() {
            if entry.path().extension() == Some(OsStr::new("deb")) {
                let mut unpack = Command::new("dpkg");
                unpack.arg("-x").arg(entry.path()).arg(self.work.join("root"));
                successful(&mut unpack, "dpkg -x")?;
            }
        }
        Ok(())
    }

    fn apt(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        let option = |name: &str, path: &str| format!("{name}={}", self.work.join(path).display());
        for option in [
            option("Dir::Etc::SourceList", "own.sources"),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            option("Dir::State::Lists", "lists"),
            option("Dir::Cache", "cache"),
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command.args(arguments).current_dir(&self.work);
        command
    }
}

/// The mirror from which this machine installs Debian's own packages.
fn debian_mirror() -> Result<String> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(SITE) $(ORIGIN) $(COMPONENT) $(SUITE)", "Created-By: Packages"]);
    let listed = successful(&mut targets, "apt-get indextargets")
        .context("the way without rustup needs a Debian system with `apt-get`")?;
    String::from_utf8_lossy(&listed.stdout)
        .lines()
        .filter_map(|line| {
            let (site, rest) = line.split_once(' ')?;
            (rest.starts_with("Debian main") && !rest.contains("security")).then(|| site.to_owned())
        })
        .next()
        .context("apt knows no mirror of Debian: run `apt-get update` first")
}

fn rustc(root: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("rustc");
    command.args(arguments).current_dir(root);
    let output = successful(&mut command, "rustc").context("is a Rust toolchain installed?")?;
    Ok(String::from_utf8(output.stdout).context("rustc answers in UTF-8")?.trim().to_owned())
}

/// The `cargo` that runs us, or the one on the `PATH`, as a shell would start it.
///
/// A program that cargo runs inherits what cargo tells about that program's package. Build scripts that ask to run again
/// when such a variable changes (ring's does) would do so at every change between a shell, `cargo run` and `cargo test`,
/// and most of the dependencies would be compiled anew.
#[must_use]
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let told = |name: &OsStr| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| told(name)) {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end; its output stands in the error when it fails.
pub(crate) fn successful(command: &mut Command, name: &str) -> Result<Output> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    ensure!(output.status.success(), "{name} failed ({}): {}", output.status, last_lines(&output));
    Ok(output)
}

/// Runs a command; nothing when it did not end in time, and was stopped.
fn within(mut command: Command, limit: Duration) -> Result<Option<Output>> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let started = Instant::now();
    while child.try_wait()?.is_none() {
        if started.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(Some(child.wait_with_output()?))
}

pub(crate) fn last_lines(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.get(lines.len().saturating_sub(5)..).unwrap_or_default().join("\n")
}

/// Lets `fill` fill a directory beside `place`, then renames it to `place`.
pub(crate) fn put_in_place(place: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let parent = place.parent().context("a place has a parent")?;
    let name = place.file_name().and_then(OsStr::to_str).context("a place has a name")?;
    let temporary = parent.join(format!(".{name}.new"));
    remove(&temporary)?;
    fs::create_dir_all(&temporary).with_context(|| format!("cannot write to {}", parent.display()))?;
    fill(&temporary)?;
    remove(place)?;
    fs::rename(&temporary, place).with_context(|| format!("cannot create {}", place.display()))
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let destination = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &destination)?;
        } else {
            copy_into(&entry.path(), to)?;
        }
    }
    Ok(())
}

fn copy_into(file: &Path, directory: &Path) -> Result<()> {
    let name = file.file_name().context("a file has a name")?;
    fs::copy(file, directory.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
    Ok(())
}
