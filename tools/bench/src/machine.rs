//! What the figures were measured on.

use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use appointment::Timestamp;
use local_stack::tools::node_program;
use serde::{Deserialize, Serialize};

const DIRTY: &str = "-dirty";

/// The figures of a part, and what they were measured on.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Measured<T> {
    pub(crate) machine: Machine,
    pub(crate) figures: T,
}

impl<T> Measured<T> {
    pub(crate) const fn on(machine: Machine, figures: T) -> Self {
        Self { machine, figures }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) memory_mb: u64,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
    pub(crate) node: String,
    /// Ends with `-dirty` where the tree has changes besides the report's own files.
    pub(crate) commit: String,
    /// Runnable threads in the minute before the measurement: what else the machine had to do.
    pub(crate) load_before: String,
    pub(crate) measured_at: String,
}

impl Machine {
    pub(crate) fn look(root: &Path) -> Self {
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map_or_else(
                || "unknown".to_owned(),
                |value| value.trim_start_matches([' ', '\t', ':']).trim().to_owned(),
            )
        };
        let said = |program: &Path, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).current_dir(root).output().ok();
            let output = output.filter(|output| output.status.success());
            output.map_or_else(
                || "unknown".to_owned(),
                |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            )
        };
        let memory_kib: u64 = field(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
        let changed = said("git".as_ref(), &["status", "--porcelain", "--", ".", ":(exclude)docs/benchmarks*"]);
        let dirty = if changed.is_empty() { "" } else { DIRTY };
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name"),
            processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_mb: memory_kib * 1024 / 1_000_000,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            rustc: said("rustc".as_ref(), &["--version"]),
            node: said(&node_program(root), &["--version"]),
            commit: said("git".as_ref(), &["rev-parse", "--short=12", "HEAD"]) + dirty,
            load_before: load(),
            measured_at: now(),
        }
    }

    /// The same machine and commit, as the next part finds them.
    pub(crate) fn now(&self) -> Self {
        Self { load_before: load(), measured_at: now(), ..self.clone() }
    }

    /// Whether the tree is the commit's.
    pub(crate) fn is_of_commit(&self) -> bool {
        !self.commit.ends_with(DIRTY)
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn load() -> String {
    read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned()
}

fn now() -> String {
    Timestamp::from(SystemTime::now()).to_string()
}
