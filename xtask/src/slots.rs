//! `cargo xtask slots`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result};
use appointment::Country;
use clap::{Args, Subcommand};
use local_stack::artifacts::Artifacts;
use local_stack::catalogue::SlotsProgram;
use local_stack::running::RunningStack;
use operator::backplane::Backplane;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Slots {
    /// Import a file of slots, NDJSON or CSV, and print the report.
    ///
    /// docs/slots.md has the fields. Importing a file twice changes nothing. If a line
    /// is refused, the report names line, field and reason, and the other lines are
    /// imported. On AWS, copy the file into the country's bucket instead, under slots/.
    ///
    /// Example:
    ///   cargo xtask slots import slots.csv --country PE
    #[command(verbatim_doc_comment)]
    Import {
        /// The file; `-` reads standard input.
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Announce every future slot and the catalogue again: the list of free slots is built again from the country's database.
    ///
    /// Bookings go on meanwhile, because a later version of a slot wins whatever the order of arrival.
    Rebuild {
        #[command(flatten)]
        place: Place,
    },
    /// List the future slots whose instant the installed time-zone rules would change.
    ///
    /// Nothing is changed.
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
    let mut command = program.command(arguments);
    command.stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {}", program.program.display()))?;
    let mut lines = BufReader::new(child.stdout.take().context("a child without standard output")?).lines();
    while let Some(line) = lines.next_line().await? {
        print!("{}", for_people(&line));
    }
    Ok(if child.wait().await?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a person wants to read of a line that the country's program prints: the report of an import, a slot whose instant would
/// change, or a line of its log.
fn for_people(line: &str) -> String {
    let Ok(Value::Object(fields)) = serde_json::from_str(line) else { return format!("{line}\n") };
    let text = |name: &str| text(fields.get(name)?);
    if let Some(Value::Array(refusals)) = fields.get("refusals") {
        let counts = ["lines", "changed", "unchanged", "refused", "cancelledAppointments"];
        let counts = counts.map(|name| fields.get(name).and_then(Value::as_u64).unwrap_or_default());
        return of_report(counts, refusals);
    }
    let Some(message) = text("message") else { return format!("{line}\n") };
    let details = ["error", "compared", "moved", "sent", "left"];
    let details = details.iter().filter_map(|name| Some(format!(", {name}: {}", text(name)?)));
    format!("{message}{}\n", details.collect::<String>())
}

/// The report of an import.
fn of_report([lines, changed, unchanged, refused, cancelled]: [u64; 5], refusals: &[Value]) -> String {
    let mut report = format!("{lines} lines: {changed} changed, {unchanged} unchanged, {refused} refused\n");
    // Writing to a string cannot fail.
    if cancelled > 0 {
        let _ = writeln!(report, "bookings that were cancelled because their slot was withdrawn: {cancelled}");
    }
    for refusal in refusals {
        let text = |name: &str| refusal.get(name).and_then(text);
        let (line, message) = (text("line").unwrap_or_default(), text("message").unwrap_or_default());
        let field = text("field").map(|field| format!(" {field}:")).unwrap_or_default();
        let _ = writeln!(report, "line {line}:{field} {message} ({})", text("code").unwrap_or_default());
    }
    let more = refused.saturating_sub(refusals.len() as u64);
    if more > 0 {
        let _ = writeln!(report, "… and {more} more");
    }
    report
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::for_people;

    #[test]
    fn a_report_and_a_log_are_told_in_words() {
        let report = r#"{"name":"-","lines":3,"accepted":1,"changed":1,"unchanged":0,"refused":2,"cancelledAppointments":1,
            "refusals":[{"line":3,"code":"time_in_gap","field":"start","message":"There is none."}]}"#;
        let told = "3 lines: 1 changed, 0 unchanged, 2 refused\n\
                    bookings that were cancelled because their slot was withdrawn: 1\n\
                    line 3: start: There is none. (time_in_gap)\n… and 1 more\n";
        assert_eq!(for_people(report), told);
        let log = r#"{"level":"INFO","message":"told the event bus","sent":2,"left":0}"#;
        assert_eq!(for_people(log), "told the event bus, sent: 2, left: 0\n");
        let moved = r#"{"scheduleId":7,"timeZone":"America/Santiago"}"#;
        assert_eq!(for_people(moved), format!("{moved}\n"));
    }
}
