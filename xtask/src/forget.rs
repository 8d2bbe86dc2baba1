//! `cargo xtask forget`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use appointment::InsuredId;
use local_stack::backplane::Backplane;
use local_stack::forget::forget;
use local_stack::running::RunningStack;

const DAY: u64 = 24 * 60 * 60;

pub(crate) async fn run(root: &Path, port: u16, insured_id: InsuredId) -> Result<ExitCode> {
    let backplane = Backplane::load(root)?;
    let running = RunningStack::on_port(root, port).await?;
    let urls = running.database_urls(&backplane)?;
    let forgotten = forget(insured_id, &running.endpoint()?, &backplane, &urls).await?;
    for (country, rows) in &forgotten.decisions {
        println!("database {country}: {rows} decisions erased");
    }
    println!(
        "table: {} appointments and {} idempotency keys erased",
        forgotten.appointments, forgotten.idempotency_keys
    );
    let durations = &backplane.durations;
    println!(
        "Messages cannot be picked out: queues keep them for up to {} days, dead-letter queues {}, the bus's archive {}. A \
         dead letter that is redriven brings its appointment back: run this again after a redrive (docs/privacy.md).",
        durations.queue_retention / DAY,
        durations.dead_letter_retention / DAY,
        durations.archive_retention / DAY,
    );
    Ok(ExitCode::SUCCESS)
}
