//! Copies what functions print from CloudWatch Logs, where Lambda puts it, to a file beside the other logs.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use operator::aws::Aws;
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::provision::log_group;

/// What passes between two questions to CloudWatch Logs, at least. Questions are most of what an idle emulator costs.
const POLL: Duration = Duration::from_secs(1);

/// How many times as long as a response took passes until the next question: meanwhile the emulator serves others.
const PAUSES: u32 = 9;

/// How far back each question reaches, in milliseconds: the emulator writes a stream's lines a moment after their time.
const OVERLAP_MS: i64 = 5_000;

/// A running copy; it stops when it is dropped.
pub(crate) struct FunctionLogs(JoinHandle<()>);

impl Drop for FunctionLogs {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    log_groups: Vec<GroupSize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GroupSize {
    log_group_name: String,
    stored_bytes: u64,
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    events: Vec<LogEvent>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogEvent {
    log_stream_name: String,
    timestamp: i64,
    message: String,
}

impl FunctionLogs {
    pub(crate) fn start(aws: Aws, functions: &[&str], log: &Path) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log);
        let mut output = output.with_context(|| format!("cannot write {}", log.display()))?;
        let groups = functions.iter().map(|function| log_group(function));
        let mut groups: Vec<Group> =
            groups.map(|name| Group { name, bytes: 0, since: 0, copied: HashSet::new() }).collect();
        Ok(Self(tokio::spawn(async move {
            loop {
                let asked = Instant::now();
                // The next round asks again, and nothing is skipped until it was written.
                let _ = copy_what_grew(&aws, &mut groups, &mut output).await;
                tokio::time::sleep(POLL.max(asked.elapsed() * PAUSES)).await;
            }
        })))
    }
}

/// Asks once for the sizes of all groups, and reads those that have more than before.
async fn copy_what_grew(aws: &Aws, groups: &mut [Group], output: &mut File) -> Result<()> {
    let question = json!({"logGroupNamePrefix": log_group("")});
    let sizes: Described = serde_json::from_value(aws.logs("DescribeLogGroups", &question).await?)?;
    for group in groups {
        // It comes with the function's first line.
        let size = sizes.log_groups.iter().find(|size| size.log_group_name == group.name);
        let Some(size) = size.filter(|size| size.stored_bytes != group.bytes) else { continue };
        group.copy(aws, output).await?;
        group.bytes = size.stored_bytes;
    }
    Ok(())
}

struct Group {
    name: String,
    /// How much it held when it was copied.
    bytes: u64,
    since: i64,
    /// Streams that were copied: the emulator writes one stream for each invocation, all at once.
    copied: HashSet<String>,
}

impl Group {
    async fn copy(&mut self, aws: &Aws, output: &mut File) -> Result<()> {
        let question = json!({"logGroupName": self.name, "startTime": self.since.saturating_sub(OVERLAP_MS).max(0)});
        let found: Found = serde_json::from_value(aws.logs("FilterLogEvents", &question).await?)?;
        let new: Vec<&LogEvent> =
            found.events.iter().filter(|event| !self.copied.contains(&event.log_stream_name)).collect();
        let mut text = String::new();
        for event in &new {
            // Lambda's own lines (START, END, REPORT) tell nothing here.
            if event.message.starts_with('{') {
                text.push_str(&event.message);
                text.push('\n');
            }
        }
        output.write_all(text.as_bytes())?;
        let (latest, streams): (Vec<i64>, Vec<String>) =
            new.iter().map(|event| (event.timestamp, event.log_stream_name.clone())).unzip();
        self.since = latest.into_iter().fold(self.since, i64::max);
        self.copied.extend(streams);
        Ok(())
    }
}
