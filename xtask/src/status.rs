//! `cargo xtask status`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use console::history::History;
use console::spans::LogFolder;
use console::state::Stack;
use console::terminal::{self, Colour};

pub(crate) async fn run(root: &Path, port: u16) -> Result<ExitCode> {
    let stack = Stack::on_port(root, port).await?;
    let logs = local_stack::logs_of_port(root, port);
    let mut history = History::default();
    for line in LogFolder::new(&logs).read().with_context(|| format!("cannot read {}", logs.display()))? {
        history.add(line);
    }
    print!("{}", terminal::status(&stack.look().await, &history, Colour::of_output()));
    Ok(ExitCode::SUCCESS)
}
