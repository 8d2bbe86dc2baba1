//! Measures the system: against what people would use instead, and against the limit.
//!
//! `cargo xtask bench` builds everything that this program starts, and runs it. Each part is a module of its own:
//!
//! | module | what it measures |
//! | --- | --- |
//! | [`intake`] | `POST /appointments`: the component, its peers (`peers/`), the limit; [`equal_answers`] checks them first |
//! | [`host_calls`] | what a request asks of the host, counted |
//! | [`cold_start`] | compilation and instantiation of the components |
//! | [`function_start`] | from the start of a function's process to its first response |
//! | [`workers`] | the country's worker against `pgbench` |
//! | [`end_to_end`] | from `202` to `completed` on the local stack, through API Gateway and from the edge; [`burst`] counts messages, [`emulator_hops`] times the emulator alone |
//! | [`growth`] | what operations read as the table grows |
//! | [`slots`] | how soon a booked slot leaves the list, outcomes beside an import; [`moves`]: people who move |
//! | [`drain`] | how fast due commands are published after an outage |
//!
//! [`report`] writes what came out, and [`targets`] compares it with what it must reach. A program that is compared runs as a process of its own, behind [`subjects`].

mod booking;
mod burst;
mod cold_start;
mod drain;
mod emulator_hops;
mod end_to_end;
mod equal_answers;
mod function_start;
mod growth;
mod host_calls;
mod intake;
mod load;
mod machine;
mod measure;
mod moves;
mod npm;
mod plots;
mod programs;
mod report;
mod results;
mod slots;
mod stack_log;
mod subjects;
mod targets;
mod tokens;
mod workers;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use local_stack::progress::Progress;

use crate::machine::{Machine, Measured};
use crate::programs::Programs;
use crate::results::Results;

/// Measure the system against what people would use instead, and against the limit.
///
/// To be started by `cargo xtask bench`, in the repository. Each part replaces its figures in docs/benchmarks.json and
/// writes docs/benchmarks.md with its plots anew. A quick run, and one of a tree with changes that are not committed,
/// writes to target/bench/report.
#[derive(Parser)]
#[command(name = "cargo xtask bench --", bin_name = "cargo xtask bench --", max_term_width = 100)]
struct Options {
    /// One short round of everything: shows that it works. The figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// The parts to measure; all of them where none is named.
    #[arg(value_enum)]
    parts: Vec<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
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

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<()> {
    let root = std::env::current_dir()?;
    let folder: PathBuf = std::env::current_exe()?.parent().context("a program lies in a folder")?.to_owned();
    let scratch = root.join("target/bench");
    std::fs::create_dir_all(&scratch)?;
    let programs = Programs { root, folder, scratch };
    let Options { quick, parts } = options;
    let parts = if parts.is_empty() { Part::value_variants().to_vec() } else { parts };

    let machine = Machine::look(&programs.root);
    let (folder, mut results) = if quick || !machine.is_of_commit() {
        (programs.scratch.join("report"), Results { quick, ..Results::default() })
    } else {
        let folder = programs.root.join("docs");
        let results = Results::read(&folder)?;
        (folder, results)
    };
    let progress = Progress::steps(parts.iter().map(|part| part.steps()).sum());
    let mut failed = Vec::new();
    for part in parts {
        match part.measure(&programs, quick, &progress, machine.now(), &mut results).await {
            // At once: a part that fails later takes nothing away.
            Ok(()) => results.write(&folder)?,
            Err(error) => {
                let name = part.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
                eprintln!("error: {name}: {error:#}");
                failed.push(name);
            }
        }
    }
    println!("\n{:<62} {:>20} {:>12}  met", "what", "target", "measured");
    for target in results.targets() {
        let met = target.met.map_or("not measured", |met| if met { "yes" } else { "no" });
        println!("{:<62} {:>20} {:>12}  {met}", target.what, target.target, target.measured.unwrap_or_default());
    }
    println!("\nThe report: {}", folder.join("benchmarks.md").display());
    ensure!(failed.is_empty(), "these parts failed, and the report has nothing new of them: {}", failed.join(", "));
    Ok(())
}

impl Part {
    /// How many steps it shows.
    const fn steps(self) -> u32 {
        match self {
            Self::Intake => 3,
            _ => 1,
        }
    }

    /// Measures it, and puts its figures in place of those that the results have of it.
    async fn measure(
        self,
        programs: &Programs,
        quick: bool,
        progress: &Progress,
        machine: Machine,
        results: &mut Results,
    ) -> Result<()> {
        match self {
            Self::Intake => {
                let plan = if quick { intake::Plan::QUICK } else { intake::Plan::FULL };
                let figures = intake::measure(programs, plan, progress).await?;
                results.intake = Some(Measured::on(machine, figures));
            }
            Self::HostCalls => {
                let figures = host_calls::measure(programs, progress).await?;
                results.host_calls = Some(Measured::on(machine, figures));
            }
            Self::ColdStart => {
                let instantiations = if quick { 500 } else { 10_000 };
                let figures = cold_start::measure(programs, instantiations, progress).await?;
                results.cold_start = Some(Measured::on(machine, figures));
            }
            Self::FunctionStart => {
                let plan = if quick { function_start::Plan::QUICK } else { function_start::Plan::FULL };
                let figures = function_start::measure(programs, plan, progress).await?;
                results.function_start = Some(Measured::on(machine, figures));
            }
            Self::Workers => {
                let plan = if quick { workers::Plan::QUICK } else { workers::Plan::FULL };
                let figures = workers::measure(programs, plan, progress).await?;
                results.workers = Some(Measured::on(machine, figures));
            }
            Self::EndToEnd => {
                let plan = if quick { end_to_end::Plan::QUICK } else { end_to_end::Plan::FULL };
                let figures = end_to_end::measure(programs, plan, progress).await?;
                results.end_to_end = Some(Measured::on(machine, figures));
            }
            Self::Growth => {
                let plan = if quick { growth::Plan::QUICK } else { growth::Plan::FULL };
                let figures = growth::measure(programs, plan, progress).await?;
                results.growth = Some(Measured::on(machine, figures));
            }
            Self::Slots => {
                let plan = if quick { slots::Plan::QUICK } else { slots::Plan::FULL };
                let figures = slots::measure(programs, plan, progress).await?;
                results.slots = Some(Measured::on(machine, figures));
            }
            Self::Drain => {
                let rows = if quick { drain::QUICK } else { drain::FULL };
                let figures = drain::measure(programs, rows, progress).await?;
                results.drain = Some(Measured::on(machine, figures));
            }
        }
        Ok(())
    }
}
