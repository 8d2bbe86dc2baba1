//! Where the built programs are, and a local stack of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use local_stack::application::Host;
use local_stack::artifacts::Artifacts;
use local_stack::progress::Progress;
use local_stack::{ApplicationOptions, LocalStack, Options, Ports};
use operator::backplane::Backplane;

/// Where the built programs are.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// The repository.
    pub(crate) root: PathBuf,
    /// The folder with the native programs, this one among them.
    pub(crate) folder: PathBuf,
    /// Logs and scratch files.
    pub(crate) scratch: PathBuf,
}

impl Programs {
    pub(crate) fn program(&self, name: &str) -> Result<PathBuf> {
        let program = self.folder.join(name);
        ensure!(program.is_file(), "{} has not been built: run `cargo xtask bench`", program.display());
        Ok(program)
    }

    /// What a local stack runs: the packages that are deployed, or what the tests build.
    pub(crate) fn artifacts(&self, packaged: bool, backplane: &Backplane) -> Result<Artifacts> {
        if packaged { Ok(Artifacts::packaged(&self.root)) } else { Artifacts::build(&self.root, backplane) }
    }

    /// A local stack of its own, with the embedded host at the edge.
    pub(crate) async fn stack(
        &self,
        instance: &str,
        backplane: &Backplane,
        artifacts: &Artifacts,
    ) -> Result<LocalStack> {
        let options = Options {
            root: self.root.clone(),
            instance: instance.to_owned(),
            backplane: backplane.clone(),
            ports: Ports::default(),
            telemetry: BTreeMap::new(),
        };
        let application_options = ApplicationOptions::new(&self.root, artifacts, Host::Embedded);
        LocalStack::start(options, application_options, &Progress::silent()).await
    }

    pub(crate) fn component(&self, name: &str) -> PathBuf {
        self.root.join("target/wasm32-wasip2/component").join(format!("{name}.wasm"))
    }
}
