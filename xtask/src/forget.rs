//! `cargo xtask forget`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use appointment::InsuredId;
use console::terminal::counted;
use operator::backplane::Backplane;
use operator::forget::forget;

use crate::account::Place;

const DAY: u64 = 24 * 60 * 60;

pub(crate) async fn run(root: &Path, place: &Place, insured_id: InsuredId, dry_run: bool) -> Result<ExitCode> {
    let backplane = Backplane::load(root)?;
    let (account, urls) = place.account_and_databases(root, &backplane).await?;
    let forgotten = forget(&account, &backplane, &urls, insured_id, dry_run).await?;
    let erased = if dry_run { "would be erased" } else { "erased" };
    for (country, rows) in &forgotten.decisions {
        println!("database {country}: {} {erased}", counted(*rows, "decision"));
    }
    println!(
        "table: {} and {} {erased}",
        counted(forgotten.appointments, "appointment"),
        counted(forgotten.idempotency_keys, "idempotency key"),
    );
    let durations = &backplane.durations;
    let days = |seconds: u64| counted(seconds / DAY, "day");
    println!("Messages cannot be picked out, and none brings an appointment back: queues keep");
    println!(
        "them for up to {}, dead-letter queues {}, the bus's archive {}.",
        days(durations.queue_retention),
        days(durations.dead_letter_retention),
        days(durations.archive_retention),
    );
    println!("Backups still hold the data: docs/privacy.md.");
    Ok(ExitCode::SUCCESS)
}
