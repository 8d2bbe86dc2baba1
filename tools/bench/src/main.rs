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
//! [`report`] writes what came out. A program that is compared runs as a process of its own, behind [`subjects`].

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
mod slots;
mod stack_log;
mod subjects;
mod tokens;
mod workers;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use local_stack::progress::Progress;

use crate::machine::Machine;
use crate::programs::Programs;
use crate::report::Results;

/// Measure the system against what people would use instead, and against the limit.
///
/// To be started by `cargo xtask bench`, in the repository. A run of everything writes docs/benchmarks.md with its plots
/// and docs/benchmarks.json; a quick one, or one of some parts only, writes to target/bench/report.
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

    let wanted = |part| options.parts.is_empty() || options.parts.contains(&part);
    let steps = [
        (Part::Intake, 3),
        (Part::HostCalls, 1),
        (Part::ColdStart, 1),
        (Part::FunctionStart, 1),
        (Part::Workers, 1),
        (Part::EndToEnd, 1),
        (Part::Growth, 1),
        (Part::Slots, 1),
        (Part::Drain, 1),
    ];
    let progress = Progress::steps(steps.iter().filter(|(part, _)| wanted(*part)).map(|(_, steps)| steps).sum());
    let quick = options.quick;
    let mut results = Results {
        machine: Machine::look(&programs.root),
        quick,
        intake: None,
        host_calls: None,
        cold_start: None,
        function_start: None,
        workers: None,
        end_to_end: None,
        growth: None,
        slots: None,
        drain: None,
    };
    let mut failures = Failures::default();
    if wanted(Part::Intake) {
        let plan = if quick { intake::Plan::QUICK } else { intake::Plan::FULL };
        results.intake = failures.keep(Part::Intake, intake::measure(&programs, plan, &progress).await);
    }
    if wanted(Part::HostCalls) {
        results.host_calls = failures.keep(Part::HostCalls, host_calls::measure(&programs, &progress).await);
    }
    if wanted(Part::ColdStart) {
        let instantiations = if quick { 500 } else { 10_000 };
        results.cold_start =
            failures.keep(Part::ColdStart, cold_start::measure(&programs, instantiations, &progress).await);
    }
    if wanted(Part::FunctionStart) {
        let plan = if quick { function_start::Plan::QUICK } else { function_start::Plan::FULL };
        results.function_start =
            failures.keep(Part::FunctionStart, function_start::measure(&programs, plan, &progress).await);
    }
    if wanted(Part::Workers) {
        let plan = if quick { workers::Plan::QUICK } else { workers::Plan::FULL };
        results.workers = failures.keep(Part::Workers, workers::measure(&programs, plan, &progress).await);
    }
    if wanted(Part::EndToEnd) {
        let plan = if quick { end_to_end::Plan::QUICK } else { end_to_end::Plan::FULL };
        results.end_to_end = failures.keep(Part::EndToEnd, end_to_end::measure(&programs, plan, &progress).await);
    }
    if wanted(Part::Growth) {
        let plan = if quick { growth::Plan::QUICK } else { growth::Plan::FULL };
        results.growth = failures.keep(Part::Growth, growth::measure(&programs, plan, &progress).await);
    }
    if wanted(Part::Slots) {
        let plan = if quick { slots::Plan::QUICK } else { slots::Plan::FULL };
        results.slots = failures.keep(Part::Slots, slots::measure(&programs, plan, &progress).await);
    }
    if wanted(Part::Drain) {
        let rows = if quick { drain::QUICK } else { drain::FULL };
        results.drain = failures.keep(Part::Drain, drain::measure(&programs, rows, &progress).await);
    }

    let is_whole = options.parts.is_empty() && !quick && failures.0.is_empty();
    let folder = if is_whole { programs.root.join("docs") } else { programs.scratch.join("report") };
    results.write(&folder)?;
    println!("\n{:<62} {:>20} {:>12}  met", "what", "target", "measured");
    for target in results.targets() {
        let met = target.met.map_or("not measured", |met| if met { "yes" } else { "no" });
        println!("{:<62} {:>20} {:>12}  {met}", target.what, target.target, target.measured.unwrap_or_default());
    }
    println!("\nThe report: {}", folder.join("benchmarks.md").display());
    ensure!(failures.0.is_empty(), "these parts failed, and the report lacks them: {}", failures.0.join(", "));
    Ok(())
}

/// The parts that could not be measured. What others took minutes to measure is reported all the same.
#[derive(Default)]
struct Failures(Vec<String>);

impl Failures {
    fn keep<T>(&mut self, part: Part, measured: Result<T>) -> Option<T> {
        measured
            .inspect_err(|error| {
                let name = part.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
                eprintln!("error: {name}: {error:#}");
                self.0.push(name);
            })
            .ok()
    }
}
