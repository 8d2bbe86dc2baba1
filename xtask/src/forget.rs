//! `cargo xtask forget`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use appointment::InsuredId;
use local_stack::backplane::Backplane;
use local_stack::forget::forget;

use crate::operator;

const DAY: u64 = 24 * 60 * 60;

pub(crate) async fn run(
    root: &Path,
    port: u16,
    topic_arn: Option<&str>,
    insured_id: InsuredId,
    dry_run: bool,
) -> Result<ExitCode> {
    let backplane = Backplane::load(root)?;
    let (account, urls) = operator::account_and_databases(root, port, topic_arn, &backplane).await?;
    let forgotten = forget(&account, &backplane, &urls, insured_id, dry_run).await?;
    let erased = if dry_run { "would be erased" } else { "erased" };
    for (country, rows) in &forgotten.decisions {
        println!("database {country}: {rows} decisions {erased}");
    }
    println!(
        "table: {} appointments and {} idempotency keys {erased}",
        forgotten.appointments, forgotten.idempotency_keys
    );
    let durations = &backplane.durations;
    println!(
        "Messages cannot be picked out: queues keep them for up to {} days, dead-letter queues {}, the bus's archive {}. None \
         brings an appointment back. Backups still hold the data: docs/privacy.md.",
        durations.queue_retention / DAY,
        durations.dead_letter_retention / DAY,
        durations.archive_retention / DAY,
    );
    Ok(ExitCode::SUCCESS)
}
