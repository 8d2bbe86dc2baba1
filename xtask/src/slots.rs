//! `cargo xtask slots`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use appointment::Country;
use clap::{Args, Subcommand};
use local_stack::artifacts::Artifacts;
use local_stack::catalogue::SlotsProgram;
use local_stack::running::RunningStack;
use operator::backplane::Backplane;

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Slots {
    /// Import a file of slots, NDJSON or CSV, and print the report.
    ///
    /// docs/slots.md has the fields. A file that was imported before changes nothing; what is refused is in the report, with
    /// its line and the reason. On AWS a file is put into the country's bucket instead, under slots/.
    Import {
        /// The file; `-` reads standard input.
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Announce every future slot and the catalogue anew, so that the list of free slots is made from what the country holds.
    ///
    /// Bookings go on meanwhile: a slot's later version wins, whatever order they arrive in.
    Rebuild {
        #[command(flatten)]
        place: Place,
    },
    /// List the future slots whose instant another version of the time zones' rules would change.
    CheckZones {
        #[command(flatten)]
        place: Place,
    },
}

/// Which country's database, of which local stack.
#[derive(Args)]
pub(crate) struct Place {
    /// The country: PE or CL.
    #[arg(long)]
    country: Country,
    /// The port of the local stack's application.
    #[arg(long, default_value_t = 3000)]
    port: u16,
}

pub(crate) async fn run(root: &Path, slots: &Slots) -> Result<ExitCode> {
    let (arguments, place) = match slots {
        Slots::Import { file, place } => (vec!["import".into(), file.as_os_str().to_owned()], place),
        Slots::Rebuild { place } => (vec!["rebuild".into()], place),
        Slots::CheckZones { place } => (vec!["check-zones".into()], place),
    };
    let backplane = Backplane::load(root)?;
    let running = RunningStack::on_port(root, place.port).await?;
    let country = place.country;
    let names = backplane.countries().find(|names| names.code == country.code()).context("no such country")?;
    let url = running.database_urls(&backplane)?.remove(country.code());
    let program = SlotsProgram {
        program: Artifacts::at(root).worker(&names.function),
        database_url: url.with_context(|| format!("no database of {country} is known: set DATABASE_URL_{country}"))?,
        event_bus: backplane.bus.name.clone(),
        emulator: running.endpoint()?.to_string(),
    };
    let status = program.command(arguments).status().await;
    let status = status.with_context(|| format!("cannot start {}", program.program.display()))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
