//! `cargo xtask demo`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::{Start, up};

pub(crate) async fn run(root: &Path, start: &Start, keep: bool) -> Result<ExitCode> {
    let _ = (root, start, keep, up::interruption()?);
    Ok(ExitCode::SUCCESS)
}
