//! The browser that tests drive, and the program that drives it: Debian's, or what the machine has.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::command::successful;
use crate::process::on_path;
use crate::progress::Progress;

/// The names under which systems have Chromium, or what it became.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

const DRIVER: &str = "chromedriver";

/// Debian's packages.
const PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];

/// A browser and its driver, which have to be of one version.
#[derive(Debug, Clone)]
pub struct Chromium {
    /// The browser.
    pub browser: PathBuf,
    /// The server of its WebDriver interface.
    pub driver: PathBuf,
}

impl Chromium {
    /// What the `PATH` leads to.
    #[must_use]
    pub fn find() -> Option<Self> {
        Some(Self { browser: BROWSERS.into_iter().find_map(on_path)?, driver: on_path(DRIVER)? })
    }

    /// Installs Debian's packages where there is no browser, and this program may.
    ///
    /// # Errors
    /// When it may not, or a package cannot be had; the error says what to do.
    pub fn install(progress: &Progress) -> Result<String> {
        if let Some(found) = Self::find() {
            return Ok(format!("{} is there", found.browser.display()));
        }
        let (true, Some(apt)) = (rustix::process::getuid().is_root(), on_path("apt-get")) else {
            bail!(
                "there is no Chromium with its driver. On Debian: `sudo apt-get install {}`. Elsewhere put one of {} and the \
                 `{DRIVER}` of its version on the PATH",
                PACKAGES.join(" "),
                BROWSERS.join(", ")
            )
        };
        progress.note(&format!("apt-get install {} (about a minute)", PACKAGES.join(" ")));
        let run = |arguments: &[&str]| {
            let mut command = Command::new(&apt);
            successful(command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments), "apt-get")
        };
        run(&["update", "-q"])?;
        run(&[&["install", "-q", "-y", "--no-install-recommends"], &PACKAGES[..]].concat())?;
        Ok("Debian's Chromium installed".to_owned())
    }
}
