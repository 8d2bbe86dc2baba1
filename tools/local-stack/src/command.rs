//! Running other programs, and putting in place what they make.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

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

/// Runs a command to its end and gives what it printed.
///
/// # Errors
/// When it cannot be run, or fails; the error has the last lines of its errors.
pub fn successful(command: &mut Command, name: &str) -> Result<Output> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    ensure!(output.status.success(), "{name} failed ({}): {}", output.status, last_lines(&output));
    Ok(output)
}

/// Runs a command; nothing when it did not end in time, and was stopped.
pub(crate) fn within(mut command: Command, limit: Duration) -> Result<Option<Output>> {
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
