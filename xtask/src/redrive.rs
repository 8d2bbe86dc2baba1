//! `cargo xtask redrive`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use console::state::Stack;
use console::terminal::counted;
use operator::backplane::Backplane;
use operator::redrive::Moved;

use crate::account::Place;

pub(crate) async fn run(root: &Path, place: &Place, dry_run: bool) -> Result<ExitCode> {
    let backplane = Backplane::load(root)?;
    let account = place.account(root, &backplane).await?;
    let redriven = account.redrive(&backplane, dry_run).await?;
    for (queue, moved) in &redriven.queues {
        match moved {
            Moved::Done { put_back, dropped: 0 } => println!("{queue}: {} put back", counted(*put_back, "message")),
            Moved::Done { put_back, dropped } => {
                println!("{queue}: {} put back,", counted(*put_back, "message"));
                println!("  {dropped} about erased appointments dropped");
            }
            Moved::WouldMove { messages } => {
                println!("{queue}: about {} would be put back", counted(*messages, "message"));
            }
            Moved::Started => {
                println!("{queue}: SQS is moving its messages back;");
                println!("  the functions drop those about erased appointments");
            }
            Moved::Refused(error) => println!("{queue}: NOT put back, try again later: {error}"),
        }
    }
    let published = if dry_run { "would be published" } else { "published" };
    println!("given up: {} {published} again", counted(redriven.published, "command"));
    if dry_run && place.is_local() {
        tell_one_by_one(&Stack::on_port(root, place.port).await?).await?;
    }
    Ok(if redriven.is_partial() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What would become of each message. Only the emulator shows messages that nobody receives.
async fn tell_one_by_one(stack: &Stack) -> Result<()> {
    for step in stack.redrive_steps(None).await? {
        println!("  {step}");
    }
    Ok(())
}
