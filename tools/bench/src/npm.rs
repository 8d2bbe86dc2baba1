//! What comes from npm: copied to the scratch folder, and installed there as the lock file has it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use local_stack::process::on_path;

use crate::programs::Programs;

const LOCK: &str = "package-lock.json";

/// Where a package of [`install`] is.
pub(crate) fn folder(programs: &Programs, name: &str) -> PathBuf {
    programs.scratch.join("npm").join(name)
}

/// Why Node.js cannot be used here, in words for a report; `None` where it can.
pub(crate) fn missing() -> Option<&'static str> {
    match (on_path("node"), on_path("npm")) {
        (Some(_), Some(_)) => None,
        _ => Some("there is no `node` or no `npm` on the PATH (Debian and Ubuntu: `sudo apt-get install nodejs npm`)"),
    }
}

/// Installs the package in `source`, unless it is there as its files say.
pub(crate) fn install(programs: &Programs, source: &Path, name: &str) -> Result<PathBuf> {
    if let Some(why) = missing() {
        bail!(why);
    }
    let folder = folder(programs, name);
    fs::create_dir_all(&folder)?;
    let lock = fs::read(source.join(LOCK)).with_context(|| format!("{} has no {LOCK}", source.display()))?;
    let stamp = folder.join(".installed");
    let is_installed = fs::read(&stamp).is_ok_and(|installed| installed == lock);
    for entry in fs::read_dir(source)?.flatten() {
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), folder.join(entry.file_name()))?;
        }
    }
    if !is_installed {
        let npm = on_path("npm").context("`npm` is not on the PATH")?;
        let installed = Command::new(npm)
            .args(["ci", "--ignore-scripts", "--loglevel=error"])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&installed.stderr);
        ensure!(installed.status.success(), "`npm ci` in {} failed: {}", folder.display(), said.trim());
        fs::write(&stamp, lock)?;
    }
    Ok(folder)
}
