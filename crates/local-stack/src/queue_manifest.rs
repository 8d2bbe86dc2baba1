//! `spin.sqs.toml`: the application for a host that receives from SQS_CONFIRMATION itself.
//!
//! A trigger's `queue_url` takes no variables, so that the file is made for one queue, out of `spin.toml`: the route of the
//! pipe gives way to an SQS trigger of the same component.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use toml::{Table, Value};

/// Writes the manifest into `folder`. Sources are absolute in it, since `spin.toml` names them relative to itself.
///
/// # Errors
/// When `spin.toml` cannot be read or has no trigger of the pipe's route, or the file cannot be written.
pub fn write(root: &Path, folder: &Path, pipe_path: &str, queue_url: &str) -> Result<PathBuf> {
    let source = root.join("spin.toml");
    let text = fs::read_to_string(&source).with_context(|| format!("cannot read {}", source.display()))?;
    let rendered = render(&text, root, pipe_path, queue_url).with_context(|| source.display().to_string())?;
    let file = folder.join("spin.sqs.toml");
    fs::write(&file, rendered).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

fn render(manifest: &str, root: &Path, pipe_path: &str, queue_url: &str) -> Result<String> {
    let mut manifest: Table = manifest.parse()?;
    let triggers = manifest.get_mut("trigger").and_then(Value::as_table_mut).context("it has no triggers")?;
    let http = triggers.get_mut("http").and_then(Value::as_array_mut).context("it has no HTTP triggers")?;
    let is_pipes = |trigger: &Value| trigger.get("route").and_then(Value::as_str) == Some(pipe_path);
    let component = http.iter().find(|trigger| is_pipes(trigger)).and_then(|trigger| trigger.get("component"));
    let component = component.with_context(|| format!("it has no HTTP trigger of the route {pipe_path}"))?.clone();
    http.retain(|trigger| !is_pipes(trigger));
    let trigger = Table::from_iter([
        ("component".to_owned(), component),
        ("queue_url".to_owned(), Value::String(queue_url.to_owned())),
    ]);
    let earlier = triggers.insert("sqs".to_owned(), Value::Array(vec![Value::Table(trigger)]));
    ensure!(earlier.is_none(), "it has SQS triggers of its own");

    let components = manifest.get_mut("component").and_then(Value::as_table_mut).context("it has no components")?;
    for (_, component) in components {
        if let Some(Value::String(source)) = component.get_mut("source") {
            *source = root.join(&*source).to_string_lossy().into_owned();
        }
    }
    Ok(toml::to_string(&manifest)?)
}
