//! Checks `infra/`: formatting, validity, Terraform's tests against mocks, and a static policy scan.
//!
//! Terraform needs the schema of hashicorp/aws. It comes from the registry where that is reachable, else from
//! `../shared/terraform-offline/tf-offline` where that exists (its README says what it cannot check), else everything
//! but the formatting is left out, and the last line says so.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Configurations that stand by themselves; the first one has the tests.
const CONFIGURATIONS: [&str; 3] = ["infra", "infra/examples/production", "infra/examples/minimal"];

/// Which program plays Terraform, and with what environment.
struct Terraform {
    program: OsString,
    /// `TF_DATA_DIR`, where the registry's provider is used: under `target/`, so that nothing is left in `infra/`.
    data: Option<PathBuf>,
}

/// Runs every check of `infra/` under the repository's root; what a check finds goes to the terminal.
///
/// # Errors
/// When a check finds something, or a program that it needs cannot be started.
pub fn run(root: &Path) -> Result<()> {
    if !starts("terraform", "version") {
        println!("terraform: LEFT OUT: no `terraform` on the PATH; install Terraform 1.10 or later to check infra/");
        return Ok(());
    }
    println!("terraform: formatting");
    let format = Terraform { program: "terraform".into(), data: None };
    format.check(root, "infra", &["fmt", "-check", "-recursive", "-diff"])?;

    match provider(root)? {
        Some(terraform) => {
            for configuration in CONFIGURATIONS {
                println!("terraform: {configuration}: validity");
                terraform.check(root, configuration, &["init", "-backend=false", "-input=false"])?;
                terraform.check(root, configuration, &["validate"])?;
            }
            println!("terraform: infra: {} assertions against mocks (about a minute)", assertions(root)?);
            terraform.check(root, "infra", &["test"])?;
        }
        None => println!(
            "terraform: LEFT OUT: validate and test: neither the provider registry nor \
             ../shared/terraform-offline/tf-offline is there"
        ),
    }
    scan(root)
}

/// The registry's provider, else the offline one, else nothing.
fn provider(root: &Path) -> Result<Option<Terraform>> {
    let data = root.join("target/terraform");
    fs::create_dir_all(&data).with_context(|| format!("cannot create {}", data.display()))?;
    let registry = Terraform { program: "terraform".into(), data: Some(data) };
    println!("terraform: looking for the provider's registry");
    if registry
        .command(root, "infra", &["init", "-backend=false", "-input=false"])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .status()?
        .success()
    {
        return Ok(Some(registry));
    }
    let offline = root.join("../shared/terraform-offline/tf-offline");
    Ok(offline.is_file().then(|| {
        println!("terraform: the registry is not reachable: against the schema only, with {}", offline.display());
        Terraform { program: offline.into(), data: None }
    }))
}

impl Terraform {
    fn command(&self, root: &Path, configuration: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg(format!("-chdir={}", root.join(configuration).display()))
            .args(arguments)
            .env("TF_IN_AUTOMATION", "1")
            .env("CHECKPOINT_DISABLE", "1");
        if let Some(data) = &self.data {
            command.env("TF_DATA_DIR", data.join(configuration));
        }
        command
    }

    fn check(&self, root: &Path, configuration: &str, arguments: &[&str]) -> Result<()> {
        let mut command = self.command(root, configuration, arguments);
        // What `init` tells is long, and of interest only where it fails.
        if arguments.first() == Some(&"init") {
            command.stdout(Stdio::null());
        }
        let status = command.status().with_context(|| format!("cannot start {}", self.program.display()))?;
        if !status.success() {
            bail!("terraform {} found faults in {configuration}: see above", arguments.join(" "));
        }
        Ok(())
    }
}

/// How many assertions Terraform's tests hold.
fn assertions(root: &Path) -> Result<usize> {
    let folder = root.join("infra/tests");
    let mut found = 0;
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "hcl") {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            found += text
                .lines()
                .filter(|line| matches!(line.trim_start().split(' ').next(), Some("assert" | "expect_failures")))
                .count();
        }
    }
    Ok(found)
}

/// checkov, in a virtual environment of its own under `target/`, which a changed pin renews.
fn scan(root: &Path) -> Result<()> {
    let environment = root.join("target/checkov");
    let program = environment.join("bin/checkov");
    let pin = fs::read_to_string(root.join("infra/requirements.txt")).context("cannot read infra/requirements.txt")?;
    let installed = environment.join("requirements.txt");
    if !program.is_file() || fs::read_to_string(&installed).ok().as_deref() != Some(pin.as_str()) {
        println!("terraform: installing {} under target/checkov (a minute or two)", pin.trim());
        execute(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
        let mut install = Command::new(environment.join("bin/pip"));
        execute(
            install
                .args(["install", "--quiet", "--disable-pip-version-check", "--requirement"])
                .arg(root.join("infra/requirements.txt")),
        )?;
        fs::write(&installed, &pin).with_context(|| format!("cannot write {}", installed.display()))?;
    }
    println!("terraform: static policy scan");
    // Its warnings on standard error are about guidelines that it would look up on the internet.
    execute(
        Command::new(program)
            .current_dir(root)
            .args(["-d", "infra", "--config-file", "infra/.checkov.yaml"])
            .env("LOG_LEVEL", "ERROR"),
    )
}

fn execute(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_owned();
    let status = command.status().with_context(|| format!("cannot start {}", name.display()))?;
    if !status.success() {
        bail!("{} failed ({status}): see above", name.display());
    }
    Ok(())
}

fn starts(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}
