//! What another program needs to know of a local stack that runs, such as `cargo xtask redrive`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use aws_http::Endpoint;
use operator::account::Account;
use operator::backplane::Backplane;
use operator::database::given_urls;
use serde::{Deserialize, Serialize};

use crate::database::Database;
use crate::emulator;
use crate::folders::instance_directory;

pub(crate) const FILE: &str = "stack.json";

/// A running local stack.
#[derive(Serialize, Deserialize)]
pub struct RunningStack {
    emulator: String,
    /// Of the databases that the stack started itself, with their passwords; the environment names the given ones.
    databases: BTreeMap<String, String>,
}

impl RunningStack {
    /// Tells other programs about services, in a file that only this user reads.
    pub(crate) fn announce(file: &Path, emulator: String, databases: &BTreeMap<String, Database>) -> Result<()> {
        let own = databases.iter().filter(|(_, database)| database.is_own());
        let running = Self {
            emulator,
            databases: own.map(|(country, database)| (country.clone(), database.owner_url().to_owned())).collect(),
        };
        let context = || format!("cannot write {}", file.display());
        let mut options = std::fs::File::options();
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut open = options.create(true).write(true).truncate(true).open(file).with_context(context)?;
        open.write_all(&serde_json::to_vec_pretty(&running)?).with_context(context)
    }

    /// The stack whose application has this port.
    ///
    /// # Errors
    /// When none runs there.
    pub async fn on_port(root: &Path, port: u16) -> Result<Self> {
        Self::of_instance(&instance_directory(root, &port.to_string())).await.with_context(|| {
            format!("no local stack runs on port {port}: start one with `cargo xtask up --port {port}`")
        })
    }

    /// The stack with this folder.
    ///
    /// # Errors
    /// When none runs.
    pub async fn of_instance(directory: &Path) -> Result<Self> {
        let file: PathBuf = directory.join(FILE);
        let text = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let running: Self = serde_json::from_slice(&text).with_context(|| format!("cannot read {}", file.display()))?;
        let ready = format!("{}/_ministack/ready", running.emulator);
        ensure!(crate::http::answers_success(&ready).await, "nothing responds at {}", running.emulator);
        Ok(running)
    }

    /// The emulator.
    ///
    /// # Errors
    /// When the file was changed by somebody.
    pub fn endpoint(&self) -> Result<Endpoint> {
        Endpoint::parse(&self.emulator).context("the emulator's endpoint")
    }

    /// The emulator as an operator's account.
    ///
    /// # Errors
    /// As [`RunningStack::endpoint`].
    pub fn account(&self, backplane: &Backplane) -> Result<Account> {
        emulator::account(&self.endpoint()?, backplane)
    }

    /// The URLs of the databases that the stack started itself, by the country's code.
    pub(crate) const fn own_databases(&self) -> &BTreeMap<String, String> {
        &self.databases
    }

    /// The URL of each country's database, by the country's code, as the user that owns it.
    ///
    /// # Errors
    /// When the environment names a database by a malformed URL.
    pub fn database_urls(&self, backplane: &Backplane) -> Result<BTreeMap<String, String>> {
        let given = given_urls(backplane)?.into_iter().map(|(country, url)| (country, url.into()));
        Ok(given.chain(self.databases.clone()).collect())
    }
}
