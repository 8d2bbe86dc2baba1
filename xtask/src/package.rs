//! `cargo xtask package`: what is deployed, under `target/package`.
//!
//! The same sources, `Cargo.lock` and `rustc` give the same bytes, wherever they are built: paths are remapped, and the zips
//! hold neither times nor owners. The builds have their own target folder, because their flags differ from the usual ones.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use local_stack::archive::{self, Entry};
use local_stack::artifacts::{APPLICATION_PACKAGE, PACKAGES};
use local_stack::command;
use local_stack::progress::Progress;
use local_stack::setup::{self, WASM_TARGET};
use local_stack::tools::CARGO_LAMBDA;
use object::Endianness;
use object::elf::{EM_AARCH64, EM_X86_64, FileHeader64};
use object::read::elf::FileHeader as _;
use operator::backplane::Backplane;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// The newest version of the C library that `provided.al2023` has (Amazon Linux 2023).
const GLIBC: (u32, u32) = (2, 34);

/// The zip with the Spin application.
const APPLICATION: &str = "application.zip";

/// The program that runs a component on Lambda; the two functions that are made of it are one zip.
const LAMBDA_HOST: &str = "appointment-lambda";

/// What that zip may have: Lambda fetches it before a new execution environment starts.
const FUNCTIONS_LIMIT: u64 = 12 * 1000 * 1000;

#[derive(Args, Default)]
pub(crate) struct Package {
    /// The instruction set of the functions; without this, this machine's. Terraform's variable `packages` has to name the
    /// same one, and takes arm64 by default.
    #[arg(long, value_enum)]
    architecture: Option<Architecture>,
}

/// An instruction set, as Lambda names it.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Architecture {
    #[value(name = "arm64")]
    Arm64,
    #[value(name = "x86_64")]
    X86_64,
}

impl Architecture {
    fn of_this_machine() -> Result<Self> {
        match std::env::consts::ARCH {
            "aarch64" => Ok(Self::Arm64),
            "x86_64" => Ok(Self::X86_64),
            other => bail!("Lambda has no {other}: choose with --architecture"),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::X86_64 => "x86_64",
        }
    }

    const fn target(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64-unknown-linux-gnu",
            Self::X86_64 => "x86_64-unknown-linux-gnu",
        }
    }

    /// `e_machine` of an ELF file.
    const fn machine(self) -> u16 {
        match self {
            Self::Arm64 => EM_AARCH64,
            Self::X86_64 => EM_X86_64,
        }
    }
}

/// Builds and packs everything, and prints what came out.
pub(crate) fn run(root: &Path, package: &Package) -> Result<()> {
    let architecture = package.architecture.map_or_else(Architecture::of_this_machine, Ok)?;
    let progress = Progress::steps(setup::STEPS + 3);
    setup::run(root, &progress)?;
    let build = Build::new(root, architecture)?;
    let output = root.join("target").join(PACKAGES);
    let mut files = Vec::new();

    let step = progress.step("cargo-lambda");
    step.done(&CARGO_LAMBDA.install(root, &progress)?);
    let cargo_lambda = CARGO_LAMBDA.program(root);

    let step = progress.noisy_step("application");
    let application = build.application()?;
    let entries: Vec<Entry<'_>> = application.iter().map(|(path, content)| file(path, content)).collect();
    archive::write(&output.join(APPLICATION), 9, &entries)?;
    files.push(APPLICATION.to_owned());
    let machine_code = build.machine_code(&application)?;
    step.done("");

    let step = progress.noisy_step(&format!("functions for {} (some minutes)", architecture.name()));
    for (name, binary) in build.functions(&cargo_lambda, &Backplane::load(root)?)? {
        let binary = fs::read(&binary).with_context(|| format!("cannot read {}", binary.display()))?;
        runs_on_lambda(&binary, architecture).with_context(|| name.clone())?;
        let mut entries = vec![Entry { path: "bootstrap", content: &binary, executable: true }];
        let is_host = name == LAMBDA_HOST;
        let name = if is_host { APPLICATION_PACKAGE.to_owned() } else { name };
        let zip = output.join(format!("{name}.zip"));
        if is_host {
            entries.extend(machine_code.iter().map(|(path, content)| file(path, content)));
        }
        archive::write(&zip, 9, &entries)?;
        let bytes = fs::metadata(&zip)?.len();
        ensure!(
            !is_host || bytes <= FUNCTIONS_LIMIT,
            "{} has {bytes} bytes, more than {FUNCTIONS_LIMIT}",
            zip.display()
        );
        // Terraform refuses a zip for another instruction set than its functions'.
        let beside = output.join(format!("{name}.architecture"));
        fs::write(&beside, format!("{}\n", architecture.name()))
            .with_context(|| format!("cannot write {}", beside.display()))?;
        files.push(format!("{name}.zip"));
    }
    step.done("");

    for (path, content) in &application {
        println!("  {:>9}  in {APPLICATION}: {path}", kibibytes(content.len()));
    }
    println!("{}", checksums(root, &output, &files)?);
    Ok(())
}

fn file<'a>(path: &'a str, content: &'a [u8]) -> Entry<'a> {
    Entry { path, content, executable: false }
}

/// How this machine builds what is deployed.
struct Build<'a> {
    root: &'a Path,
    architecture: Architecture,
    target_folder: PathBuf,
    /// Flags of `rustc` that keep this machine's paths out of what is built.
    remap: Vec<String>,
}

impl<'a> Build<'a> {
    fn new(root: &'a Path, architecture: Architecture) -> Result<Self> {
        let libraries =
            output(Command::new("rustc").args(["--print", "target-libdir", "--target", architecture.target()]))?;
        ensure!(
            Path::new(&libraries).is_dir(),
            "this toolchain has no standard library for {0}: run `rustup target add {0}`, or build on such a machine",
            architecture.target()
        );
        let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let cargo_home = cargo_home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).context("no CARGO_HOME")?;
        let mut remap = Vec::new();
        for (path, name) in [(&root.canonicalize()?, "/appointments"), (&cargo_home, "/cargo")] {
            let path = path.to_str().filter(|path| !path.contains(char::is_whitespace));
            let path = path.context("cargo's flags take no path with a space: move the repository or CARGO_HOME")?;
            remap.push(format!("--remap-path-prefix={path}={name}"));
        }
        Ok(Self { root, architecture, target_folder: root.join("target/package-build"), remap })
    }

    fn run(&self, command: &mut Command) -> Result<()> {
        let status = command
            .arg("--locked")
            .current_dir(self.root)
            .env("CARGO_TARGET_DIR", &self.target_folder)
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .status()
            .context("cannot run cargo")?;
        ensure!(status.success(), "the build failed: see above");
        Ok(())
    }

    /// Each function's executable by its crate's name. None of them has the compiler of components: that comes only with
    /// crates that are not built here.
    fn functions(&self, cargo_lambda: &Path, backplane: &Backplane) -> Result<BTreeMap<String, PathBuf>> {
        let mut names: Vec<String> = backplane.countries().map(|country| country.function).collect();
        names.push(LAMBDA_HOST.to_owned());
        let lambda_folder = self.target_folder.join("lambda");
        let mut command = Command::new(cargo_lambda);
        command.args(["lambda", "build", "--profile", "worker", "--target", self.architecture.target()]);
        // Its "optimizations" abort on a panic, which a worker has to survive. Our profile has its own.
        command.args(["--disable-optimizations", "--skip-target-check", "--lambda-dir"]).arg(&lambda_folder);
        // Its Python environment has Zig's linker.
        let programs = cargo_lambda.parent().context("cargo-lambda lies in a folder")?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(programs.to_owned()).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(path)?).env("RUSTFLAGS", self.remap.join(" "));
        for name in &names {
            command.args(["-p", name]);
        }
        self.run(&mut command)?;
        Ok(names.into_iter().map(|name| (name.clone(), lambda_folder.join(name).join("bootstrap"))).collect())
    }

    /// The files of the application: `spin.toml` unchanged, and the components where it looks for them.
    fn application(&self) -> Result<Vec<(String, Vec<u8>)>> {
        #[derive(Deserialize)]
        struct Manifest {
            component: BTreeMap<String, Component>,
        }
        #[derive(Deserialize)]
        struct Component {
            source: String,
        }

        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(["build", "--target", WASM_TARGET, "--profile", "component"]);
        // RUSTFLAGS would switch off the flags of .cargo/config.toml, and the components would not be those that are tested.
        let remap = serde_json::to_string(&self.remap)?;
        command.env_remove("RUSTFLAGS").args(["--config", &format!("target.{WASM_TARGET}.rustflags={remap}")]);
        let manifest = fs::read(self.root.join("spin.toml")).context("cannot read spin.toml")?;
        let components = toml::from_slice::<Manifest>(&manifest).context("spin.toml")?.component;
        for name in components.keys() {
            command.args(["-p", name]);
        }
        self.run(&mut command)?;
        let mut files = vec![("spin.toml".to_owned(), manifest)];
        for Component { source } in components.into_values() {
            let inside = source.strip_prefix("target/").context("spin.toml: a component that is not under target/")?;
            let built = self.target_folder.join(inside);
            files.push((source, fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?));
        }
        Ok(files)
    }

    /// What the Lambda host finds beside itself: `spin.toml` unchanged, and each component's machine code.
    fn machine_code(&self, application: &[(String, Vec<u8>)]) -> Result<Vec<(String, Vec<u8>)>> {
        let compiler = self.root.join("target");
        let mut command = command::cargo();
        command.args(["build", "--locked", "--workspace", "--bin", "edge-host", "--target-dir"]).arg(&compiler);
        ensure!(command.current_dir(self.root).status()?.success(), "the build failed: see above");

        // The application as it is packed: its spin.toml names the packed components.
        let folder = self.target_folder.join("application");
        for (path, content) in application {
            let file = folder.join(path);
            fs::create_dir_all(file.parent().context("a file lies in a folder")?)?;
            fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
        }
        let output = self.target_folder.join("machine-code").join(self.architecture.name());
        let mut command = Command::new(compiler.join("debug/edge-host"));
        command.arg("compile").arg("--from").arg(folder.join("spin.toml")).arg("--output").arg(&output);
        let printed = self::output(command.args(["--target", self.architecture.target()]))?;

        let (manifest, content) = application.first().context("the application has a manifest")?;
        let mut files = vec![(manifest.clone(), content.clone())];
        for path in printed.lines().map(Path::new) {
            let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.file_name().context("a file has a name")?.to_string_lossy().into_owned();
            is_built_for(&content, self.architecture).with_context(|| name.clone())?;
            files.push((name, content));
        }
        Ok(files)
    }
}

/// Refuses an executable that Lambda could not start: of another instruction set, or for a newer C library.
fn runs_on_lambda(binary: &[u8], architecture: Architecture) -> Result<()> {
    let header = is_built_for(binary, architecture)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, binary)?;
    let Some((mut libraries, strings)) = sections.gnu_verneed(endian, binary)? else { return Ok(()) };
    let strings = sections.strings(endian, binary, strings)?;
    while let Some((_, mut versions)) = libraries.next()? {
        while let Some(version) = versions.next()? {
            let name = String::from_utf8_lossy(version.name(endian, strings)?).into_owned();
            let Some(number) = name.strip_prefix("GLIBC_") else { continue };
            let mut numbers = number.split('.').map(str::parse);
            let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
                bail!("needs {name} of the C library");
            };
            ensure!((major, minor) <= GLIBC, "needs {name}, and provided.al2023 has {}.{}", GLIBC.0, GLIBC.1);
        }
    }
    Ok(())
}

/// The header of an ELF file, which a component's machine code is too, where its instruction set is the right one.
fn is_built_for(binary: &[u8], architecture: Architecture) -> Result<&FileHeader64<Endianness>> {
    let header = FileHeader64::<Endianness>::parse(binary).context("not an ELF file")?;
    ensure!(header.e_machine(header.endian()?) == architecture.machine(), "not built for {}", architecture.name());
    Ok(header)
}

/// Writes `SHA256SUMS`, which `sha256sum --check` reads, with the compiler's version; what to tell people.
fn checksums(root: &Path, folder: &Path, files: &[String]) -> Result<String> {
    let mut sums = format!("# {}\n", output(Command::new("rustc").arg("--version").current_dir(root))?);
    let mut told = String::new();
    for file in files {
        let content = fs::read(folder.join(file)).with_context(|| format!("cannot read {file}"))?;
        let sum: String = Sha256::digest(&content).iter().fold(String::new(), |mut sum, byte| {
            let _ = write!(sum, "{byte:02x}");
            sum
        });
        writeln!(sums, "{sum}  {file}")?;
        writeln!(told, "  {:>9}  {file}  {sum}", kibibytes(content.len()))?;
    }
    let file = folder.join("SHA256SUMS");
    fs::write(&file, sums).with_context(|| format!("cannot write {}", file.display()))?;
    write!(told, "In {}, with SHA256SUMS.", folder.display())?;
    Ok(told)
}

fn kibibytes(bytes: usize) -> String {
    format!("{} KiB", bytes.div_ceil(1024))
}

fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    ensure!(output.status.success(), "{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout).with_context(|| format!("{name} answers in UTF-8"))?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// This test's own executable, with the versions of the C library that it needs renamed from `GLIBC_2.3` on.
    fn executable(prefix: &[u8; 9]) -> Vec<u8> {
        let mut binary = fs::read(std::env::current_exe().unwrap()).unwrap();
        let found: Vec<usize> =
            binary.windows(9).enumerate().filter(|(_, at)| at == b"GLIBC_2.3").map(|(index, _)| index).collect();
        assert!(!found.is_empty(), "nothing of a current C library is used");
        for index in found {
            binary[index..index + 9].copy_from_slice(prefix);
        }
        binary
    }

    #[test]
    fn what_lambda_could_not_start_is_refused() {
        let here = Architecture::of_this_machine().unwrap();
        let elsewhere = match here {
            Architecture::Arm64 => Architecture::X86_64,
            Architecture::X86_64 => Architecture::Arm64,
        };
        let old = executable(b"GLIBC_2.1");
        runs_on_lambda(&old, here).unwrap();
        for (binary, architecture, expected) in [
            (old.as_slice(), elsewhere, format!("not built for {}", elsewhere.name())),
            (&executable(b"GLIBC_2.9"), here, "provided.al2023 has 2.34".to_owned()),
            (&executable(b"GLIBC_ABI"), here, "of the C library".to_owned()),
            (b"#!/bin/sh", here, "not an ELF file".to_owned()),
        ] {
            let refused = format!("{:#}", runs_on_lambda(binary, architecture).unwrap_err());
            assert!(refused.contains(&expected), "{refused}");
        }
    }

    #[test]
    fn checksums_name_the_compiler_and_fit_sha256sum() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.zip"), "abc").unwrap();
        let told = checksums(folder.path(), folder.path(), &["a.zip".to_owned()]).unwrap();
        let sums = fs::read_to_string(folder.path().join("SHA256SUMS")).unwrap();
        let (compiler, sums) = sums.split_once('\n').unwrap();
        assert!(compiler.starts_with("# rustc 1."), "{compiler}");
        assert_eq!(sums, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a.zip\n");
        assert!(told.contains("1 KiB  a.zip"), "{told}");
    }
}
