//! `cargo xtask terraform`: formatting, validity, Terraform's tests against mocks, and a static policy scan of `infra/`.
//!
//! Terraform needs the schema of hashicorp/aws. It comes from the registry or, if that is out of reach, from
//! `../shared/terraform-offline/tf-offline` if that exists (its README says what it cannot check). The last lines of the output say what
//! was left out.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use local_stack::progress::Progress;
use local_stack::tools::CHECKOV;
use tempfile::TempDir;

/// Complete configurations; the first one has the tests.
const CONFIGURATIONS: [&str; 3] = ["infra", "infra/examples/production", "infra/examples/minimal"];

/// Which program plays Terraform, and with what environment.
struct Terraform {
    program: OsString,
    /// `TMPDIR`, empty at first: providers listen on sockets there, and leave them behind when Terraform kills them. In a
    /// folder that outlives the run, a later provider with the process id of an earlier one finds its address in use.
    sockets: TempDir,
    /// `TF_DATA_DIR`, for the registry's provider: under `target/`, because nothing should be left in `infra/`.
    data: Option<PathBuf>,
}

/// Runs every check of `infra/` under the repository's root; what a check finds goes to the terminal.
pub(crate) fn run(root: &Path) -> Result<()> {
    let progress = Progress::steps(4);
    let mut left_out = Vec::new();
    if starts("terraform", "version") {
        let step = progress.noisy_step("formatting");
        let format = Terraform::new("terraform", None)?;
        format.check(root, "infra", &["fmt", "-check", "-recursive", "-diff"])?;
        step.done("as `terraform fmt` writes it");

        match provider(root, &progress)? {
            Some(terraform) => {
                let step = progress.noisy_step("validity");
                for configuration in CONFIGURATIONS {
                    terraform.check(root, configuration, &["init", "-backend=false", "-input=false"])?;
                    terraform.check(root, configuration, &["validate"])?;
                }
                step.done(&CONFIGURATIONS.join(", "));

                let step = progress.noisy_step("tests against mocks (about a minute)");
                terraform.check(root, "infra", &["test"])?;
                step.done(&format!("{} assertions", assertions(root)?));
            }
            None => left_out.push(
                "`terraform validate` and `terraform test`: neither the provider's registry nor \
                 ../shared/terraform-offline/tf-offline is there",
            ),
        }
    } else {
        left_out.push("all of Terraform's own checks: no `terraform` on the PATH; install version 1.10 or later");
    }
    let step = progress.noisy_step("static policy scan");
    scan(root, &progress)?;
    step.done("checkov has no objection");
    for what in left_out {
        println!("LEFT OUT: {what}");
    }
    Ok(())
}

/// The registry's provider, else the offline one, else nothing.
fn provider(root: &Path, progress: &Progress) -> Result<Option<Terraform>> {
    let data = root.join("target/terraform");
    fs::create_dir_all(&data).with_context(|| format!("cannot create {}", data.display()))?;
    let registry = Terraform::new("terraform", Some(data))?;
    progress.note("looking for the provider's registry");
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
    if !offline.is_file() {
        return Ok(None);
    }
    progress.note(&format!("the registry is not reachable: against the schema only, with {}", offline.display()));
    Ok(Some(Terraform::new(offline, None)?))
}

impl Terraform {
    fn new(program: impl Into<OsString>, data: Option<PathBuf>) -> Result<Self> {
        let sockets =
            tempfile::Builder::new().prefix("terraform-").tempdir().context("cannot create a folder for sockets")?;
        Ok(Self { program: program.into(), sockets, data })
    }

    fn command(&self, root: &Path, configuration: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg(format!("-chdir={}", root.join(configuration).display()))
            .args(arguments)
            .env("TF_IN_AUTOMATION", "1")
            .env("CHECKPOINT_DISABLE", "1")
            .env("TMPDIR", self.sockets.path());
        if let Some(data) = &self.data {
            command.env("TF_DATA_DIR", data.join(configuration));
        }
        command
    }

    fn check(&self, root: &Path, configuration: &str, arguments: &[&str]) -> Result<()> {
        let mut command = self.command(root, configuration, arguments);
        // The output of `init` is long, and matters only if it fails.
        if arguments.first() == Some(&"init") {
            command.stdout(Stdio::null());
        }
        let status = command.status().with_context(|| format!("cannot start {}", self.program.display()))?;
        ensure!(status.success(), "terraform {} found faults in {configuration}: see above", arguments.join(" "));
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

/// checkov, with what is left out of it in `infra/.checkov.yaml`.
fn scan(root: &Path, progress: &Progress) -> Result<()> {
    CHECKOV.install(root, progress)?;
    execute(Command::new(CHECKOV.program(root)).current_dir(root).args([
        "-d",
        "infra",
        "--config-file",
        "infra/.checkov.yaml",
    ]))
}

fn execute(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_owned();
    let status = command.status().with_context(|| format!("cannot start {}", name.display()))?;
    ensure!(status.success(), "{} failed ({status}): see above", name.display());
    Ok(())
}

fn starts(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}
