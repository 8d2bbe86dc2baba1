//! What an operator does to a country's slots: the commands of the country's own program.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use appointment::Country;
use futures::future::try_join_all;
use operator::backplane::CatalogueKind;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::sleep;

use crate::artifacts::Artifacts;
use crate::ministack::REGION;
use crate::{Services, sample};

/// How long the functions may take to project the sample; they need a few seconds.
const PROJECTION_LIMIT: Duration = Duration::from_secs(300);

/// A country's program, and where its database and its bus are.
pub struct SlotsProgram {
    /// The built program.
    pub program: PathBuf,
    /// The URL of the country's database, as the user that owns it.
    pub database_url: String,
    /// The bus.
    pub event_bus: String,
    /// Where the emulator is.
    pub emulator: String,
}

impl SlotsProgram {
    /// A call of `slots` with these arguments.
    #[must_use]
    pub fn command(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("slots").args(arguments).envs([
            ("DATABASE_URL", self.database_url.as_str()),
            ("EVENT_BUS_NAME", &self.event_bus),
            ("AWS_ENDPOINT_URL", &self.emulator),
            ("AWS_REGION", REGION),
            // The emulator's root.
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ]);
        command.kill_on_drop(true);
        command
    }

    /// Imports a file's content.
    ///
    /// # Errors
    /// When the program cannot be started, or does not finish the import.
    pub async fn import(&self, file: &str) -> Result<()> {
        let name = self.program.display();
        let mut command = self.command(["import", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let mut input = child.stdin.take().context("a child without standard input")?;
        let write = async move {
            // A program that fails reads no further; what it says tells why.
            let _ = input.write_all(file.as_bytes()).await;
        };
        let ((), output) = tokio::join!(write, child.wait_with_output());
        let output = output.with_context(|| format!("{name} slots import"))?;
        let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said).into_owned()).concat();
        // It also fails where the bus did not take all events, which the next drain sends.
        let mut lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let finished = lines.any(|line| line.get("finishedAt").is_some_and(Value::is_string));
        ensure!(finished, "{name} slots import: {}: {}", output.status, said.trim());
        Ok(())
    }
}

/// Imports the [`sample`] of so many days into every country that has its own catalogue; the codes of those.
///
/// # Errors
/// When an import fails.
pub async fn import_sample(services: &Services, artifacts: &Artifacts, days: i64) -> Result<Vec<String>> {
    let today = OffsetDateTime::now_utc().date();
    let own = services.backplane().countries().filter(|country| country.catalogue == CatalogueKind::Own);
    try_join_all(own.map(async |names| {
        let country: Country = names.code.parse()?;
        let program = SlotsProgram {
            program: artifacts.worker(&names.function),
            database_url: services.database_url(&names.code)?.to_owned(),
            event_bus: services.backplane().bus.name.clone(),
            emulator: services.emulator_url(),
        };
        program.import(&sample::file(country, today, days)?).await?;
        anyhow::Ok(names.code)
    }))
    .await
}

/// Waits until people can read what was imported: until the queue of slots is empty.
///
/// # Errors
/// When it does not become empty in time, or the emulator does not respond.
pub async fn until_projected(services: &Services) -> Result<()> {
    let url = services.queue_url(&services.backplane().slots_queue.name)?;
    let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
    let question = json!({"QueueUrl": url, "AttributeNames": names});
    let started = Instant::now();
    loop {
        let response = services.aws().sqs("GetQueueAttributes", &question).await?;
        let attributes = response.get("Attributes");
        if names.iter().all(|name| attributes.and_then(|all| all.get(*name)).is_some_and(|number| number == "0")) {
            return Ok(());
        }
        ensure!(started.elapsed() < PROJECTION_LIMIT, "the slots that were imported are not projected: {response}");
        sleep(Duration::from_millis(100)).await;
    }
}
