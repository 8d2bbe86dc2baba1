//! `cargo xtask demo`: one booking of a free slot in each country, hop by hop.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::future::join_all;
use local_stack::LocalStack;
use local_stack::http::Http;
use operator::backplane::Country;
use operator::database::connect;
use serde_json::{Value, json};
use sqlx::Row;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc;

use crate::up::UpOptions;
use crate::{Start, up};

/// How long a booking may take; it takes a fifth of a second.
const PATIENCE: time::Duration = time::Duration::seconds(30);

/// How often the logs and the list are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How long a hop is held back: a line about an earlier hop may arrive later.
const SETTLE: time::Duration = time::Duration::milliseconds(600);

/// How wide a line is at most.
const WIDTH: usize = 80;

pub(crate) async fn run(root: &Path, start: &Start, keep: bool) -> Result<ExitCode> {
    let interrupted = up::interruption()?;
    tokio::pin!(interrupted);
    let shown = async {
        let stack = up::begin(root, start, &UpOptions::DEMO).await?;
        let outcome = book_everywhere(&stack).await;
        anyhow::Ok((stack, outcome))
    };
    let (mut stack, outcome) = tokio::select! {
        shown = shown => shown?,
        () = &mut interrupted => return Ok(up::stopped_early()),
    };
    match &outcome {
        Ok(()) => println!("\nEvery booking is completed."),
        Err(error) => {
            let logs = stack.services().logs();
            println!("\nNot every booking was completed: {error:#}. The logs are in {}.", logs.display());
        }
    }
    if keep {
        up::explain(&stack, &UpOptions::DEMO);
        println!("\nCtrl-C stops everything.");
        up::wait(&mut stack, interrupted).await?;
    }
    Ok(if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Something that happened to a booking.
struct Hop {
    lane: usize,
    at: OffsetDateTime,
    text: String,
}

async fn book_everywhere(stack: &LocalStack) -> Result<()> {
    let countries: Vec<Country> = stack.services().backplane().countries().collect();
    let (hops, mut happened) = mpsc::unbounded_channel::<Hop>();
    let began = OffsetDateTime::now_utc();
    println!();

    let lanes: Vec<_> = countries
        .iter()
        .enumerate()
        .map(|(lane, country)| {
            let hops = hops.clone();
            async move {
                let mut booking = Booking::new(stack, country, lane, hops);
                booking.run().await.with_context(|| country.code.clone())
            }
        })
        .collect();
    drop(hops);
    let print = async {
        let mut waiting: Vec<Hop> = Vec::new();
        loop {
            let more = tokio::time::timeout(LOOK, happened.recv()).await;
            let over = matches!(more, Ok(None));
            waiting.extend(more.ok().flatten());
            // Logs arrive late, the functions' later than the application's. Lines that are old enough are in order.
            waiting.sort_by_key(|hop| hop.at);
            let settled = OffsetDateTime::now_utc() - SETTLE;
            let count = if over { waiting.len() } else { waiting.partition_point(|hop| hop.at < settled) };
            for Hop { lane, at, text } in waiting.drain(..count) {
                let country = countries.get(lane).map(|country| country.code.as_str()).unwrap_or_default();
                print_hop((at - began).as_seconds_f64() * 1000.0, country, &text);
            }
            if over {
                break;
            }
        }
    };
    let (outcomes, ()) = tokio::join!(join_all(lanes), print);
    println!();
    let mut failed = None;
    for outcome in outcomes {
        match outcome {
            Ok(shown) => println!("{shown}"),
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(()), Err)
}

fn print_hop(milliseconds: f64, country: &str, text: &str) {
    let line = format!("{milliseconds:>6.0} ms  {country}  {text}");
    println!("{}", line.chars().take(WIDTH).collect::<String>());
}

/// One booking, observed on its way.
struct Booking<'a> {
    stack: &'a LocalStack,
    country: &'a Country,
    lane: usize,
    hops: mpsc::UnboundedSender<Hop>,
    http: Http,
    trace_id: String,
    insured_id: String,
    /// Log lines that were shown.
    seen: BTreeSet<String>,
}

impl<'a> Booking<'a> {
    fn new(stack: &'a LocalStack, country: &'a Country, lane: usize, hops: mpsc::UnboundedSender<Hop>) -> Self {
        Self {
            stack,
            country,
            lane,
            hops,
            http: Http::default(),
            trace_id: format!("{:032x}", fastrand::u128(1..)),
            insured_id: format!("{:05}", fastrand::u32(0..100_000)),
            seen: BTreeSet::new(),
        }
    }

    /// Looks for a free slot, books it, watches until the list says `completed` and offers the slot no longer, and reads the
    /// country's row; what list and row say.
    async fn run(&mut self) -> Result<String> {
        let way = if self.is_through_api_gateway() { "API Gateway" } else { "the edge" };
        let slot = self.first_free().await?;
        let schedule_id = slot.get("scheduleId").and_then(Value::as_u64).context("a slot without a number")?;
        self.hop(OffsetDateTime::now_utc(), format!("GET /slots: {schedule_id}, {}", text(&slot, "start")));
        let began = OffsetDateTime::now_utc();
        self.hop(began, format!("POST /appointments at {way}, slot {schedule_id}"));
        let accepted = self.post(schedule_id).await?;
        let appointment_id = accepted.get("appointmentId").and_then(Value::as_str).context("202 without an id")?;
        self.hop(OffsetDateTime::now_utc(), format!("202, {} {}", text(&accepted, "status"), short(appointment_id)));

        let listed = loop {
            self.look_at_logs();
            let listed = self.listed(appointment_id).await?;
            if text(&listed, "status") == "completed" {
                break listed;
            }
            let waited = OffsetDateTime::now_utc() - began;
            ensure!(waited < PATIENCE, "still {} after {} s", text(&listed, "status"), PATIENCE.whole_seconds());
            tokio::time::sleep(LOOK).await;
        };
        let completed = OffsetDateTime::now_utc();
        let shown = listed.get("slot").context("the appointment does not say when and where it is")?;
        ensure!(text(shown, "start") == text(&slot, "start"), "another slot was booked: {shown}");
        while self.is_free(&slot).await? {
            let waited = OffsetDateTime::now_utc() - completed;
            ensure!(waited < PATIENCE, "slot {schedule_id} is still offered");
            tokio::time::sleep(LOOK).await;
        }
        let gone = OffsetDateTime::now_utc();
        // The functions' lines come through the emulator's CloudWatch Logs, a little later.
        for _ in 0..25 {
            self.look_at_logs();
            tokio::time::sleep(LOOK).await;
        }
        self.hop(
            completed,
            format!("GET /appointments/…: completed, after {:.0} ms", {
                (completed - began).as_seconds_f64() * 1000.0
            }),
        );
        self.hop(gone, format!("GET /slots: {schedule_id} is gone"));
        let row = self.row(appointment_id).await?;
        self.hop(OffsetDateTime::now_utc(), format!("row: {row}"));
        let list = format!("{}, slot {schedule_id}, {}", text(&listed, "status"), text(shown, "start"));
        Ok(format!("{}  list: {list}\n    row:  {row}\n    id:   {appointment_id}", self.country.code))
    }

    /// Countries take turns: through Spin's manifest at the edge, and through API Gateway and Lambda.
    const fn is_through_api_gateway(&self) -> bool {
        self.lane % 2 == 1
    }

    fn request(&self, path: &str) -> http::request::Builder {
        if self.is_through_api_gateway() {
            self.stack.api().request(path)
        } else {
            http::Request::builder().uri(format!("{}{path}", self.stack.url()))
        }
    }

    /// The JSON of a `200` response; `None` for any other status.
    async fn get(&self, path: &str) -> Result<Option<Value>> {
        let response = self.http.send(self.request(path).body(Bytes::new())?).await.with_context(|| path.to_owned())?;
        if response.status() != http::StatusCode::OK {
            return Ok(None);
        }
        serde_json::from_slice(response.body()).map(Some).with_context(|| format!("the response to GET {path}"))
    }

    /// The first free slot of the country's first specialty, once what was imported can be seen.
    async fn first_free(&self) -> Result<Value> {
        let began = OffsetDateTime::now_utc();
        loop {
            let catalog = self.get(&format!("/catalog/{}", self.country.code)).await?;
            let specialty =
                catalog.as_ref().and_then(|catalog| catalog.pointer("/specialties/0")).and_then(Value::as_str);
            if let Some(slot) = self.free(specialty.unwrap_or_default()).await?.into_iter().next() {
                return Ok(slot);
            }
            let waited = OffsetDateTime::now_utc() - began;
            ensure!(waited < PATIENCE, "no slot is free after {} s", PATIENCE.whole_seconds());
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn free(&self, specialty: &str) -> Result<Vec<Value>> {
        let specialty = form_urlencoded::byte_serialize(specialty.as_bytes()).collect::<String>();
        let path = format!("/slots?countryISO={}&specialty={specialty}", self.country.code);
        let page = self.get(&path).await?;
        Ok(page.as_ref().and_then(|page| page.get("slots")).and_then(Value::as_array).cloned().unwrap_or_default())
    }

    /// Whether a slot is still offered.
    async fn is_free(&self, slot: &Value) -> Result<bool> {
        let free = self.free(text(slot, "specialty")).await?;
        Ok(free.iter().any(|other| other.get("scheduleId") == slot.get("scheduleId")))
    }

    async fn post(&self, schedule_id: u64) -> Result<Value> {
        let body = json!({
            "insuredId": self.insured_id,
            "scheduleId": schedule_id,
            "countryISO": self.country.code,
        });
        let request = self
            .request("/appointments")
            .method(http::Method::POST)
            .header("content-type", "application/json")
            .header("traceparent", format!("00-{}-{:016x}-01", self.trace_id, fastrand::u64(1..)))
            .body(Bytes::from(body.to_string()))?;
        let response = self.http.send(request).await.context("POST /appointments")?;
        let body = String::from_utf8_lossy(response.body()).into_owned();
        ensure!(response.status() == http::StatusCode::ACCEPTED, "POST /appointments: {}: {body}", response.status());
        serde_json::from_str(&body).context("the response to POST /appointments")
    }

    /// The appointment as the person's list shows it.
    async fn listed(&self, appointment_id: &str) -> Result<Value> {
        let request = self.request(&format!("/appointments/{}", self.insured_id)).body(Bytes::new())?;
        let response = self.http.send(request).await?;
        let list: Value = serde_json::from_slice(response.body()).context("the list")?;
        let appointments = list.get("appointments").and_then(Value::as_array).context("no list")?;
        let found = appointments.iter().find(|appointment| text(appointment, "appointmentId") == appointment_id);
        Ok(found.context("the appointment is not in the list")?.clone())
    }

    /// The decision in the country's own database.
    async fn row(&self, appointment_id: &str) -> Result<String> {
        let mut connection = connect(self.stack.services().database_url(&self.country.code)?).await?;
        let id: uuid::Uuid = appointment_id.parse().context("an appointment id is a UUID")?;
        let query = "SELECT status, schedule_id, practitioner, center FROM appointments JOIN slots USING (schedule_id) WHERE appointment_id = $1";
        let row = sqlx::query(query).bind(id).fetch_one(&mut connection).await.context("the country's row")?;
        let (status, slot): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        let (practitioner, center): (String, String) = (row.try_get(2)?, row.try_get(3)?);
        ensure!(status == "booked", "the country's row says {status}");
        Ok(format!("{status}, slot {slot}, {practitioner}, {center}"))
    }

    /// Shows the log lines of this booking that are new.
    fn look_at_logs(&mut self) {
        let logs: PathBuf = self.stack.services().logs();
        for file in ["application.log", "functions.log", "workers.log"] {
            let Ok(log) = std::fs::read_to_string(logs.join(file)) else { continue };
            for line in log.lines().filter(|line| line.contains(&self.trace_id)) {
                // The host puts the component's name before its lines.
                let Some(line) = line.find('{').and_then(|start| line.get(start..)) else { continue };
                let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
                // A batch's line names the traces of all its messages, each of which has its own line.
                if text(&entry, "trace_id") != self.trace_id || !self.seen.insert(line.to_owned()) {
                    continue;
                }
                let at = OffsetDateTime::parse(text(&entry, "timestamp"), &Rfc3339);
                let what = match text(&entry, "outcome") {
                    "" => text(&entry, "message"),
                    outcome => outcome,
                };
                self.hop(
                    at.unwrap_or_else(|_| OffsetDateTime::now_utc()),
                    format!("{}: {what}", text(&entry, "service")),
                );
            }
        }
    }

    fn hop(&self, at: OffsetDateTime, text: String) {
        // The receiver is dropped only when the demonstration is over.
        let _ = self.hops.send(Hop { lane: self.lane, at, text });
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The end of an id, which tells two of the same moment apart.
fn short(id: &str) -> String {
    format!("…{}", id.get(id.len().saturating_sub(12)..).unwrap_or(id))
}
