//! How fast the commands are published that a country has not decided, once they are due: what is left of an outage.
//!
//! The component confirmation runs as it is deployed, in this process, and its call is repeated while there is more, as its
//! function repeats it. The table is a store that executes ([`store`](crate::store)), the topic is the stand-in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use appointment::{Country, Status, Timestamp};
use backplane::PendingShards;
use bytes::Bytes;
use edge_host::{DEFAULT_REQUEST_TIMEOUT, EdgeHost, Executor, Manifest};
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use local_stack::progress::Progress;
use operator::backplane::Backplane;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::measure::{cpu_time, micros};
use crate::population::{Population, appointment, insured, item};
use crate::programs::Programs;
use crate::store::Store;
use crate::subjects::{Rules, StandIn, spin_variables};

/// How long it may take; it has to take ten minutes at most.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Rows of one country that are due.
pub(crate) const FULL: usize = 60_000;
pub(crate) const QUICK: usize = 600;

/// What was drained, and how.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Drain {
    pub(crate) rows: usize,
    pub(crate) calls: u32,
    /// What the topic took.
    pub(crate) publications: u64,
    /// Rows of which the component's log says that a call failed. They came again.
    #[serde(default)]
    pub(crate) failed: u64,
    pub(crate) seconds: f64,
    /// Of the component and its host.
    pub(crate) cpu_us_per_row: f64,
    /// Of the store.
    pub(crate) store_cpu_us_per_row: f64,
}

impl Drain {
    pub(crate) fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.seconds
    }

    /// How many publications there were beyond one per row.
    pub(crate) fn repeated(&self) -> u64 {
        self.publications.saturating_sub(self.rows as u64)
    }
}

/// The response of the component.
#[derive(Deserialize)]
struct Report {
    published: u32,
}

/// The component's log line about a call.
#[derive(Deserialize)]
struct Line {
    failed: u64,
    error: Option<String>,
}

/// What the log lines say of rows whose calls failed: how many there were, and each call's first error.
#[derive(Default)]
struct Failures {
    rows: u64,
    errors: Vec<String>,
}

pub(crate) async fn measure(programs: &Programs, rows: usize, progress: &Progress) -> Result<Drain> {
    let step = progress.noisy_step("due commands");
    let folder = programs.scratch.join("drain");
    // What the run before drained is due no more.
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let definition = Backplane::load(&programs.root)?.table.definition();
    let store = Store::open(programs, folder, definition, (0..rows).map(due_item), progress).await?;

    let stand_in = StandIn::start(programs).await?;
    stand_in.set(Rules { delay_ms: 0, verify_every: 64, unsigned: false }).await?;
    let manifest = Manifest::from_file(programs.root.join("spin.toml"))?.only(&["confirmation"])?;
    let failures = Arc::new(Mutex::new(Failures::default()));
    let noted = failures.clone();
    let mut builder = EdgeHost::builder(manifest).log(Arc::new(move |line| {
        if let Ok(line) = serde_json::from_str::<Line>(line.text) {
            let mut failures = noted.lock().unwrap_or_else(PoisonError::into_inner);
            failures.rows += line.failed;
            failures.errors.extend(line.error);
        }
    }));
    // The delays are the deployed ones: with shorter ones, rows are due again before the run is over.
    let endpoint = ("dynamodb_endpoint", store.endpoint.to_string());
    for (name, value) in spin_variables(&stand_in).into_iter().chain([endpoint]) {
        builder = builder.variable(name, value);
    }
    let application = tokio::task::spawn_blocking(|| builder.load()).await??;
    let executor = Executor::new(Arc::new(application));
    let cpu = || anyhow::Ok((cpu_time(std::process::id())?, cpu_time(store.process_id())?));
    let (own, stores) = cpu()?;
    let began = Instant::now();
    let (mut published, mut calls) = (0, 0);
    while published < rows {
        ensure!(began.elapsed() < PATIENCE, "{published} of {rows} due commands after {} s", PATIENCE.as_secs());
        let request = Request::post("http://confirmation.spin.internal/internal/republish")
            .header(CONTENT_TYPE, "application/json")
            .body(Bytes::from_static(br#"{"countryISO":"PE"}"#))?;
        let response = executor.call("confirmation", request, DEFAULT_REQUEST_TIMEOUT).await;
        let response = response.context("the application has no confirmation")?;
        ensure!(
            response.status() == StatusCode::OK,
            "the status of the republisher's response is {}",
            response.status()
        );
        published += serde_json::from_slice::<Report>(response.body())?.published as usize;
        calls += 1;
    }
    let elapsed = began.elapsed();
    let (own_then, stores_then) = cpu()?;
    let seen = stand_in.seen().await?;
    seen.require_no_refusal()?;
    let failures = std::mem::take(&mut *failures.lock().unwrap_or_else(PoisonError::into_inner));
    let drain = Drain {
        rows,
        calls,
        publications: seen.calls("Publish"),
        failed: failures.rows,
        seconds: elapsed.as_secs_f64(),
        cpu_us_per_row: micros(own_then.saturating_sub(own)) / rows as f64,
        store_cpu_us_per_row: micros(stores_then.saturating_sub(stores)) / rows as f64,
    };
    // A row is published again only if a call about it failed after the topic took it.
    ensure!(
        drain.repeated() <= drain.failed,
        "{} of {rows} rows were published again, and only {} calls about a row failed: {:?}",
        drain.repeated(),
        drain.failed,
        failures.errors,
    );
    step.done(&format!("{:.0} per second", drain.rows_per_second()));
    Ok(drain)
}

/// An appointment as it lies in the table whose command was due long ago.
fn due_item(number: usize) -> Result<Value> {
    let at = Timestamp::from_unix_milliseconds(1_700_000_000_000 + i64::try_from(number)?);
    let appointment = appointment(insured(Population::Many, number)?, number, at)?;
    let shard = PendingShards::default().of(Country::Peru.into(), appointment.appointment_id);
    let mut item = item(&appointment);
    let pending = json!({ "S": Status::Pending.as_str() });
    let due = json!({
        "status": pending, "history": { "L": [{ "M": { "status": pending, "at": { "S": at.to_string() } } }] },
        "shard": { "S": shard }, "pendingShard": { "S": shard }, "pendingSince": { "S": at.to_string() },
        "pendingAttempt": { "N": "0" },
    });
    if let (Value::Object(item), Value::Object(due)) = (&mut item, due) {
        item.extend(due);
    }
    Ok(item)
}
