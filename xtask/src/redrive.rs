//! `cargo xtask redrive`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use local_stack::account::Account;
use local_stack::backplane::Backplane;
use local_stack::redrive::Moved;
use local_stack::running::RunningStack;

use crate::operator;

pub(crate) async fn run(root: &Path, port: u16, topic_arn: Option<&str>, dry_run: bool) -> Result<ExitCode> {
    let backplane = Backplane::load(root)?;
    let account = match topic_arn {
        Some(topic_arn) => operator::account(topic_arn, &backplane)?,
        None => Account::emulator(&RunningStack::on_port(root, port).await?.endpoint()?, &backplane),
    };
    let redriven = account.redrive(&backplane, dry_run).await?;
    for (queue, moved) in &redriven.queues {
        match moved {
            Moved::Done { put_back, dropped: 0 } => println!("{queue}: {put_back} messages put back"),
            Moved::Done { put_back, dropped } => {
                println!("{queue}: {put_back} messages put back, {dropped} about erased appointments dropped");
            }
            Moved::WouldMove { messages } => println!("{queue}: about {messages} messages would be put back"),
            Moved::Started => {
                println!(
                    "{queue}: SQS is moving its messages back; the functions drop those about erased appointments"
                );
            }
            Moved::Refused(error) => println!("{queue}: NOT put back, try again later: {error}"),
        }
    }
    let published = if dry_run { "would be published" } else { "published" };
    println!("given up: {} commands {published} again", redriven.published);
    Ok(if redriven.is_partial() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
