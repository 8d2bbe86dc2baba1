//! Measures the system: against what people would use instead, and against the limit.
//!
//! `cargo xtask bench` builds everything that this program starts, and runs it. Each part is a module of its own:
//!
//! | module | what it measures |
//! | --- | --- |
//! | [`intake`] | `POST /appointments`: the component, its peers (`peers/`), the limit; [`equal_responses`] checks them first |
//! | [`host_calls`] | what a request asks of the host, counted |
//! | [`cold_start`] | compilation and instantiation of the components |
//! | [`function_start`] | from the start of a function's process to its first response |
//! | [`workers`] | the country's worker against `pgbench`; [`batches`] makes what it processes, [`wire`] counts its calls |
//! | [`end_to_end`] | from `202` to `completed` on the local stack, through API Gateway and from the edge; [`burst`] counts messages, [`emulator_hops`] times the emulator alone |
//! | [`growth`] | what operations read as the table grows: [`population`] fills [`store`] |
//! | [`slots`] | how soon a booked slot leaves the list, outcomes beside an import; [`moves`]: people who move |
//! | [`drain`] | how fast due commands are published after an outage |
//!
//! [`report`] writes what came out, in the words of [`sections`], and [`targets`] compares it with what it must reach. A program that is compared runs as a process of its own, behind [`subjects`].

mod batches;
mod booking;
mod burst;
mod cold_start;
mod drain;
mod emulator_hops;
mod end_to_end;
mod equal_responses;
mod function_start;
mod growth;
mod host_calls;
mod intake;
mod load;
mod machine;
mod measure;
mod moves;
mod page;
mod plots;
mod population;
mod programs;
mod report;
mod results;
mod sections;
mod slots;
mod stack_log;
mod store;
mod subjects;
mod targets;
mod tokens;
mod wire;
mod workers;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use bench_options::{Options, Part};
use clap::Parser;
use local_stack::progress::Progress;

use crate::machine::{Machine, Measured};
use crate::programs::Programs;
use crate::results::Results;

/// Measure the system against what people would use instead, and against the limit.
///
/// To be started by `cargo xtask bench`, in the repository.
#[derive(Parser)]
#[command(max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Cli::parse().options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<()> {
    let root = std::env::current_dir()?;
    let folder: PathBuf = std::env::current_exe()?.parent().context("a program lies in a folder")?.to_owned();
    let scratch = root.join("target/bench");
    std::fs::create_dir_all(&scratch)?;
    let programs = Programs { root, folder, scratch };
    let (quick, parts) = (options.quick, options.parts());

    let machine = Machine::look(&programs.root);
    let (folder, mut results) = if quick || !machine.is_of_commit() {
        (programs.scratch.join("report"), Results { quick, ..Results::default() })
    } else {
        let folder = programs.root.join("docs");
        let results = Results::read(&folder)?;
        (folder, results)
    };
    let progress = Progress::steps(parts.iter().map(|part| steps(*part)).sum());
    let mut failed = Vec::new();
    for &part in parts {
        match measure(part, &programs, quick, &progress, machine.now(), &mut results).await {
            // At once: a part that fails later takes nothing away.
            Ok(()) => results.write(&folder)?,
            Err(error) => {
                eprintln!("error: {}: {error:#}", part.name());
                failed.push(part.name());
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

/// How many steps a part shows.
const fn steps(part: Part) -> u32 {
    match part {
        Part::Intake => 3,
        _ => 1,
    }
}

/// Measures a part, and puts its figures in place of those that the results have of it.
async fn measure(
    part: Part,
    programs: &Programs,
    quick: bool,
    progress: &Progress,
    machine: Machine,
    results: &mut Results,
) -> Result<()> {
    match part {
        Part::Intake => {
            let plan = if quick { intake::Plan::QUICK } else { intake::Plan::FULL };
            let figures = intake::measure(programs, plan, progress).await?;
            results.intake = Some(Measured::on(machine, figures));
        }
        Part::HostCalls => {
            let figures = host_calls::measure(programs, progress).await?;
            results.host_calls = Some(Measured::on(machine, figures));
        }
        Part::ColdStart => {
            let instantiations = if quick { 500 } else { 10_000 };
            let figures = cold_start::measure(programs, instantiations, progress).await?;
            results.cold_start = Some(Measured::on(machine, figures));
        }
        Part::FunctionStart => {
            let plan = if quick { function_start::Plan::QUICK } else { function_start::Plan::FULL };
            let figures = function_start::measure(programs, plan, progress).await?;
            results.function_start = Some(Measured::on(machine, figures));
        }
        Part::Workers => {
            let plan = if quick { workers::Plan::QUICK } else { workers::Plan::FULL };
            let figures = workers::measure(programs, plan, progress).await?;
            results.workers = Some(Measured::on(machine, figures));
        }
        Part::EndToEnd => {
            let plan = if quick { end_to_end::Plan::QUICK } else { end_to_end::Plan::FULL };
            let figures = end_to_end::measure(programs, plan, progress).await?;
            results.end_to_end = Some(Measured::on(machine, figures));
        }
        Part::Growth => {
            let plan = if quick { growth::Plan::QUICK } else { growth::Plan::FULL };
            let figures = growth::measure(programs, plan, progress).await?;
            results.growth = Some(Measured::on(machine, figures));
        }
        Part::Slots => {
            let plan = if quick { slots::Plan::QUICK } else { slots::Plan::FULL };
            let figures = slots::measure(programs, plan, progress).await?;
            results.slots = Some(Measured::on(machine, figures));
        }
        Part::Drain => {
            let rows = if quick { drain::QUICK } else { drain::FULL };
            let figures = drain::measure(programs, rows, progress).await?;
            results.drain = Some(Measured::on(machine, figures));
        }
    }
    Ok(())
}
