//! What `cargo xtask bench` takes. It is a crate of its own because xtask refuses a part that does not exist before it builds the
//! program that measures.

use clap::{Args, ValueEnum};

/// How much is measured.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Short rounds of unoptimised programs. The figures mean nothing.
    #[arg(long)]
    pub quick: bool,
    /// The parts to measure; all of them if none is named.
    #[arg(value_enum, value_name = "PART")]
    parts: Vec<Part>,
}

/// A part of the benchmark, with figures and a heading of its own in the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// POST /appointments: the component, its peers and the limit.
    Intake,
    /// Calls of a request to its host.
    HostCalls,
    /// Compilation and instantiation.
    ColdStart,
    /// From the start of a function's process to its first response.
    FunctionStart,
    /// The country's worker against pgbench.
    Workers,
    /// From 202 to completed on the local stack.
    EndToEnd,
    /// What operations read as the table grows.
    Growth,
    /// How soon a booked slot leaves the list, outcomes beside an import, people who move.
    Slots,
    /// How fast due commands are published after an outage.
    Drain,
}

impl Options {
    /// The parts to measure.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        if self.parts.is_empty() { Part::value_variants() } else { &self.parts }
    }

    /// The same as arguments of another program.
    pub fn arguments(&self) -> impl Iterator<Item = String> {
        let quick = self.quick.then(|| "--quick".to_owned());
        quick.into_iter().chain(self.parts.iter().map(|part| part.name()))
    }
}

impl Part {
    /// As a command line names it, for example `end-to-end`.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}
