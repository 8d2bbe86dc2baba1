//! What a booking, a page and a confirmation cost as the table grows, and a page of free slots, from a store that executes them.
//!
//! The store is `dynalite`, which keeps its items in LevelDB by their keys, walks a partition as DynamoDB does, and tells
//! the capacity of each operation by DynamoDB's rules. The operations are the components' own: `backplane`, natively.
//! A new table is filled by `load.js`, and kept under `target/bench/growth` for the next run.

use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use appointment::{
    Appointment, AppointmentId, Country, InsuredId, ScheduleId, Slot, SlotState, SlotStatus, Status, Timestamp,
    TraceContext, UtcOffset,
};
use aws_http::native::NativeTransport;
use aws_http::{Client, Credentials, Endpoint, Terms, Transport, TransportError};
use backplane::{
    Applied, AppointmentsTable, CLAIM_DURATION, PageRequest, PendingShards, RepublishSchedule, SLOT_RETENTION,
    SlotSearch, SlotsTable,
};
use bytes::Bytes;
use local_stack::process::{Process, free_port, on_path};
use local_stack::progress::Progress;
use messages::{Command, Outcome, OutcomeDetail, OutcomeEvent, Version1};
use operator::backplane::Backplane;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::measure::Spread;
use crate::npm;
use crate::programs::Programs;
use crate::subjects::launch;

const REGION: &str = "us-east-1";
const PAGE: u32 = 20;
/// The operations, as the report names them.
pub(crate) const LIST: &str = "page of 20";
const BOOKING: &str = "booking";
const NOTHING_DUE: &str = "commands due, none";
const DUE: &str = "commands due, up to 20 of a shard";
const REPUBLICATION: &str = "republication";
const CONFIRMATION: &str = "confirmation";
pub(crate) const FREE_SLOTS: &str = "page of 20 free slots";
const FREE_SLOTS_OF_CENTER: &str = "page of 20 free slots of a center";
const SLOT_TAKEN: &str = "a slot leaves the list";
/// After how many loaded items the progress is shown.
const SHOWN_EVERY: usize = 250_000;
/// Persons among whom the appointments of many are spread: an insured id has five digits.
const PERSONS: usize = 100_000;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) sizes: &'static [usize],
    pub(crate) operations: usize,
}

impl Plan {
    pub(crate) const FULL: Self = Self { sizes: &[100, 10_000, 1_000_000], operations: 100 };
    pub(crate) const QUICK: Self = Self { sizes: &[100, 1_000], operations: 10 };
}

/// What fills the table: whose appointments, or slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Population {
    /// All are one person's, in one partition.
    One,
    /// They are spread over up to 100,000 persons.
    Many,
    /// Slots of one specialty, all of them free.
    Slots,
}

/// What one operation costs in a table of a size.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) population: Population,
    /// How many appointments, or slots, there are.
    pub(crate) appointments: usize,
    pub(crate) operation: String,
    /// Items that the store looked at and items that it answered, of the operation that read the most in vain.
    pub(crate) items_read: u64,
    pub(crate) items_returned: u64,
    /// DynamoDB's read or write units, of one operation at most.
    pub(crate) capacity_units: f64,
    pub(crate) milliseconds: Spread,
}

impl Row {
    fn new(population: Population, appointments: usize, operation: &str, times: Vec<f64>, cost: Cost) -> Result<Self> {
        let milliseconds = Spread::of(times).context("an operation was measured no time")?;
        let Cost { items_read, items_returned, capacity_units } = cost;
        let operation = operation.to_owned();
        Ok(Self { population, appointments, operation, items_read, items_returned, capacity_units, milliseconds })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Growth {
    pub(crate) rows: Vec<Row>,
}

pub(crate) async fn measure(programs: &Programs, plan: Plan, progress: &Progress) -> Result<Growth> {
    let step = progress.noisy_step("growth");
    let dynalite = npm::install(programs, &programs.root.join("tools/bench/dynalite"), "dynalite")?;
    let mut rows = Vec::new();
    for population in [Population::One, Population::Many] {
        for &appointments in plan.sizes {
            rows.extend(table(programs, &dynalite, population, appointments, plan.operations, progress).await?);
        }
    }
    for &slots in plan.sizes {
        rows.extend(slots_table(programs, &dynalite, slots, plan.operations, progress).await?);
    }
    step.done("");
    Ok(Growth { rows })
}

/// Measures every operation in one table.
async fn table(
    programs: &Programs,
    dynalite: &Path,
    population: Population,
    appointments: usize,
    operations: usize,
    progress: &Progress,
) -> Result<Vec<Row>> {
    let folder = programs.scratch.join("growth").join(format!("{population:?}-{appointments}").to_lowercase());
    let definition = Backplane::load(&programs.root)?.table.definition();
    let began: i64 = 1_700_000_000_000;
    // Appointments that were completed long ago are in no index.
    let items = (0..appointments).map(|number| {
        let at = Timestamp::from_unix_milliseconds(began + i64::try_from(number)?);
        Ok(item(&appointment(insured(population, number)?, number, at)?))
    });
    let store = Store::open(programs, dynalite, folder, definition, items, progress).await?;
    let table = AppointmentsTable::new(&store.client, &store.endpoint, &store.name);
    let schedule: RepublishSchedule = "60".parse()?;
    let trace = TraceContext::start([7; 24]);
    let mut rows = Vec::new();
    let mut summed_up = |operation, times: Vec<f64>, cost: Cost| -> Result<()> {
        rows.push(Row::new(population, appointments, operation, times, cost)?);
        Ok(())
    };

    // One person's page is the same person's each time; of many, it is another's.
    let person = |number: usize| insured(population, number.wrapping_mul(7919) % appointments);
    let mut times = Vec::new();
    for number in 0..operations {
        let began = Instant::now();
        table.list(&person(number)?, PageRequest { limit: PAGE, status: None, after: None }).await?;
        times.push(milliseconds(began));
    }
    summed_up(LIST, times, store.cost())?;

    let mut booked = Vec::new();
    let mut times = Vec::new();
    for number in 0..operations {
        let appointment = appointment(person(number)?, number, Timestamp::from(SystemTime::now()))?;
        let began = Instant::now();
        table.book(&appointment, trace, &schedule).await?;
        times.push(milliseconds(began));
        booked.push(appointment);
    }
    summed_up(BOOKING, times, store.cost())?;

    // The republisher's look at the index before anything is due, and when the new bookings are.
    let (long_ago, later) = (SystemTime::UNIX_EPOCH.into(), schedule.first(SystemTime::now().into()));
    let mut pending = Vec::new();
    for (operation, at) in [(NOTHING_DUE, long_ago), (DUE, later)] {
        let mut times = Vec::new();
        pending.clear();
        for shard in PendingShards::default().waiting(Country::Peru) {
            let began = Instant::now();
            let due = table.due(&shard, at, PAGE, None).await?;
            times.push(milliseconds(began));
            pending.extend(due.appointments);
        }
        summed_up(operation, times, store.cost())?;
        ensure!(pending.is_empty() == (operation == NOTHING_DUE), "{operation}: {} were due", pending.len());
    }
    let next = schedule.first(later);
    let mut times = Vec::new();
    for row in &pending {
        let began = Instant::now();
        let until = later + CLAIM_DURATION;
        let claimed = table.claim(row, until).await?.is_some()
            && table.reschedule(&row.clone().claimed_until(until), row.attempt + 1, next).await?;
        times.push(milliseconds(began));
        ensure!(claimed, "a command that was due was not to be had");
    }
    summed_up(REPUBLICATION, times, store.cost())?;

    let mut times = Vec::new();
    for appointment in &booked {
        let event = completed(appointment, trace);
        let began = Instant::now();
        let applied = table.apply(&event, Timestamp::from(SystemTime::now())).await?;
        times.push(milliseconds(began));
        ensure!(matches!(applied, Applied::Moved(_)), "a confirmation was not applied: {applied:?}");
    }
    summed_up(CONFIRMATION, times, store.cost())?;
    Ok(rows)
}

/// Measures a page of free slots, and what a decision writes, in one table of slots.
async fn slots_table(
    programs: &Programs,
    dynalite: &Path,
    slots: usize,
    operations: usize,
    progress: &Progress,
) -> Result<Vec<Row>> {
    let folder = programs.scratch.join("growth").join(format!("slots-{slots}"));
    let definition = Backplane::load(&programs.root)?.slots_table.definition();
    let items = (0..slots).map(|number| Ok(slot_item(&slot(number)?)));
    let store = Store::open(programs, dynalite, folder, definition, items, progress).await?;
    let table = SlotsTable::new(&store.client, &store.endpoint, &store.name);
    let mut rows = Vec::new();
    let mut summed_up = |operation, times: Vec<f64>, cost: Cost| -> Result<()> {
        rows.push(Row::new(Population::Slots, slots, operation, times, cost)?);
        Ok(())
    };
    for (operation, center) in [(FREE_SLOTS, None), (FREE_SLOTS_OF_CENTER, Some("Center 1"))] {
        let mut times = Vec::new();
        for number in 0..operations {
            let from = slot(number.wrapping_mul(7919) % (slots / 2))?.starts_at;
            let search = SlotSearch {
                country: Country::Peru,
                specialty: SPECIALTY,
                center,
                practitioner: None,
                from,
                to: from + Duration::from_secs(62 * 24 * 60 * 60),
                limit: PAGE,
                after: None,
            };
            let began = Instant::now();
            let page = table.free(&search).await?;
            times.push(milliseconds(began));
            ensure!(!page.slots.is_empty() && page.faults.is_empty(), "{operation}: a page without slots");
        }
        summed_up(operation, times, store.cost())?;
    }
    // A version for each run: the table is kept.
    let version = u64::try_from(Timestamp::from(SystemTime::now()).unix_milliseconds())?;
    let mut times = Vec::new();
    for number in 0..operations.min(slots) {
        let (slot, last) = (slot(number)?, version + 1);
        let taken = SlotState { slot: slot.clone(), version, status: SlotStatus::Busy };
        let began = Instant::now();
        ensure!(table.put(&taken).await?, "a later version was there");
        times.push(milliseconds(began));
        table.put(&SlotState { slot, version: last, status: SlotStatus::Free }).await?;
    }
    summed_up(SLOT_TAKEN, times, store.cost())?;
    Ok(rows)
}

const SPECIALTY: &str = "Cardiología";

/// Half an hour after half an hour, ten at once, at three centers.
fn slot(number: usize) -> Result<Slot> {
    let starts_at = Timestamp::from_unix_milliseconds(4_000_000_000_000 + i64::try_from(number / 10)? * 1_800_000);
    Ok(Slot {
        schedule_id: ScheduleId::try_from(number as u64 + 1)?,
        country: Country::Peru,
        specialty: SPECIALTY.to_owned(),
        center: format!("Center {}", number % 3),
        practitioner: format!("Dr. {}", number % 10),
        starts_at,
        ends_at: starts_at + Duration::from_secs(1800),
        time_zone: "America/Lima".to_owned(),
        utc_offset: UtcOffset::from_minutes(-300)?,
    })
}

/// A free slot as it lies in the table.
fn slot_item(slot: &Slot) -> Value {
    let (starts_at, number) = (slot.starts_at.to_string(), slot.schedule_id.get());
    json!({
        "slotKey": { "S": format!("PE#{number}") },
        "scheduleId": { "N": number.to_string() },
        "countryISO": { "S": "PE" },
        "version": { "N": "1" },
        "status": { "S": SlotStatus::Free.as_str() },
        "specialty": { "S": slot.specialty },
        "center": { "S": slot.center },
        "practitioner": { "S": slot.practitioner },
        "startsAt": { "S": starts_at },
        "endsAt": { "S": slot.ends_at.to_string() },
        "timeZone": { "S": slot.time_zone },
        "utcOffset": { "S": slot.utc_offset.to_string() },
        "expiresAt": { "N": (slot.ends_at + SLOT_RETENTION).unix_seconds().to_string() },
        "startsKey": { "S": format!("{starts_at}#{number:016}") },
        "freeSpecialty": { "S": format!("PE#{}", slot.specialty) },
        "freeCenter": { "S": format!("PE#{}#{}", slot.specialty, slot.center) },
        "freePractitioner": { "S": format!("PE#{}#{}", slot.specialty, slot.practitioner) },
    })
}

fn milliseconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1000.0
}

pub(crate) fn insured(population: Population, number: usize) -> Result<InsuredId> {
    let person = match population {
        Population::One => 1,
        Population::Many | Population::Slots => number % PERSONS,
    };
    Ok(format!("{person:05}").parse()?)
}

pub(crate) fn appointment(insured_id: InsuredId, number: usize, at: Timestamp) -> Result<Appointment> {
    Ok(Appointment::requested(
        AppointmentId::new(at, std::array::from_fn(|_| fastrand::u8(..))),
        insured_id,
        ScheduleId::try_from(number as u64 + 1)?,
        Country::Peru,
        at,
    ))
}

fn completed(appointment: &Appointment, trace: TraceContext) -> OutcomeEvent {
    let (outcome, command) = (Outcome::Completed, Command::Request);
    OutcomeEvent {
        outcome,
        detail: OutcomeDetail {
            version: Version1,
            event_id: OutcomeEvent::event_id(appointment.appointment_id, outcome, command),
            appointment_id: appointment.appointment_id,
            insured_id: appointment.insured_id,
            schedule_id: appointment.schedule_id,
            country: Country::Peru,
            command,
            reason: None,
            replaced_by: None,
            slot: None,
            occurred_at: Timestamp::from(SystemTime::now()),
            traceparent: trace,
        },
    }
}

/// What the operations since the last look cost: the items of the one that read the most in vain, the most units.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    items_read: u64,
    items_returned: u64,
    capacity_units: f64,
}

/// Asks the store for the capacity of each operation, and notes it. The body is changed after it was signed, which this
/// store does not verify.
#[derive(Clone)]
struct Metered {
    transport: NativeTransport,
    cost: Arc<Mutex<Cost>>,
}

impl Transport for Metered {
    async fn send(
        &self,
        mut request: http::Request<Bytes>,
        terms: Terms,
    ) -> Result<http::Response<Bytes>, TransportError> {
        if let Ok(Value::Object(mut input)) = serde_json::from_slice(request.body()) {
            input.insert("ReturnConsumedCapacity".to_owned(), "TOTAL".into());
            *request.body_mut() = Value::Object(input).to_string().into();
        }
        let answer = self.transport.send(request, terms).await?;
        if let Ok(output) = serde_json::from_slice::<Value>(answer.body())
            && let Some(units) = output.pointer("/ConsumedCapacity/CapacityUnits").and_then(Value::as_f64)
        {
            let count = |member: &str| output.get(member).and_then(Value::as_u64);
            let mut cost = self.cost.lock().unwrap_or_else(PoisonError::into_inner);
            // A write looks at the one item that it writes.
            let (read, returned) = (count("ScannedCount").unwrap_or(1), count("Count").unwrap_or(1));
            let by_waste = |read: u64, returned: u64| (read.saturating_sub(returned), read);
            if by_waste(read, returned) > by_waste(cost.items_read, cost.items_returned) {
                (cost.items_read, cost.items_returned) = (read, returned);
            }
            cost.capacity_units = cost.capacity_units.max(units);
        }
        Ok(answer)
    }

    async fn sleep(&self, duration: Duration) {
        self.transport.sleep(duration).await;
    }
}

/// `dynalite` with one table, which it keeps in a folder.
pub(crate) struct Store {
    process: Process,
    client: Client<Metered>,
    pub(crate) endpoint: Endpoint,
    cost: Arc<Mutex<Cost>>,
    /// The table's, as `infra/backplane.json` has it.
    name: String,
}

impl Store {
    /// Starts the store with a table that has these items. They are only asked for where the folder has no such table yet.
    pub(crate) async fn open(
        programs: &Programs,
        dynalite: &Path,
        folder: PathBuf,
        definition: Value,
        items: impl ExactSizeIterator<Item = Result<Value>>,
        progress: &Progress,
    ) -> Result<Self> {
        let node = on_path("node").context("`node` is not on the PATH")?;
        let name = definition.get("TableName").and_then(Value::as_str).context("a table without a name")?.to_owned();
        let (loaded, store) = (folder.join("loaded"), folder.join("items"));
        if !is_loaded(&loaded, &definition) {
            if folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
            fs::create_dir_all(&folder)?;
            load(&node, dynalite, &store, &definition, items, progress)?;
            fs::write(&loaded, definition.to_string())?;
        }
        let port = free_port()?;
        let endpoint: Endpoint = format!("http://127.0.0.1:{port}").parse()?;
        let program = dynalite.join("node_modules/dynalite/cli.js").to_string_lossy().into_owned();
        let (path, port) = (store.to_string_lossy().into_owned(), port.to_string());
        let arguments = [program.as_str(), "--port", &port, "--path", &path, "--host", "127.0.0.1"];
        let mut process = launch(programs, "dynalite", &node, arguments.map(str::to_owned).to_vec(), Vec::new())?;
        let address = format!("127.0.0.1:{port}");
        let listens = async || tokio::net::TcpStream::connect(&address).await.is_ok();
        process.until_ready(Duration::from_secs(60), listens).await?;

        let cost = Arc::new(Mutex::new(Cost::default()));
        let transport = Metered { transport: NativeTransport::new(), cost: cost.clone() };
        let limit = Duration::from_secs(60);
        let client = Client::new(transport, REGION, Credentials::from_keys("bench", "bench", None))
            .with_deadline(limit)
            .with_attempt_limit(limit)
            .with_verbatim_rejections();
        Ok(Self { process, client, endpoint, cost, name })
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// What the operations since the last call cost.
    fn cost(&self) -> Cost {
        std::mem::take(&mut *self.cost.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Fills a new store by `load.js`.
fn load(
    node: &Path,
    dynalite: &Path,
    store: &Path,
    definition: &Value,
    items: impl ExactSizeIterator<Item = Result<Value>>,
    progress: &Progress,
) -> Result<()> {
    let mut script = Program::new(node);
    script.arg("load.js").arg(store).current_dir(dynalite).stdin(Stdio::piped());
    let mut script = script.spawn().context("cannot run load.js")?;
    let mut lines = BufWriter::new(script.stdin.take().context("load.js without an input")?);
    let count = items.len();
    let write = || -> Result<()> {
        writeln!(lines, "{definition}")?;
        for (number, item) in items.enumerate() {
            if number.is_multiple_of(SHOWN_EVERY) {
                progress.note(&format!("loading: {number} of {count} items"));
            }
            writeln!(lines, "{}", item?)?;
        }
        Ok(lines.flush()?)
    };
    let written = write();
    // The end of its input, after which it ends.
    drop(lines);
    let status = script.wait()?;
    ensure!(status.success(), "load.js: {status}");
    written
}

/// Whether a table was loaded whole, with the definition that it has to have.
fn is_loaded(loaded: &Path, definition: &Value) -> bool {
    let found = fs::read(loaded).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    found.as_ref() == Some(definition)
}

/// An appointment as it lies in the table once its country has completed it.
pub(crate) fn item(appointment: &Appointment) -> Value {
    let at = appointment.created_at.to_string();
    json!({
        "insuredId": { "S": appointment.insured_id.as_str() },
        "sk": { "S": format!("appointment#{}", appointment.appointment_id) },
        "scheduleId": { "N": appointment.schedule_id.to_string() },
        "countryISO": { "S": appointment.country.as_str() },
        "status": { "S": Status::Completed.as_str() },
        "createdAt": { "S": at },
        "updatedAt": { "S": at },
        "history": { "L": [
            { "M": { "status": { "S": "pending" }, "at": { "S": at } } },
            { "M": { "status": { "S": "completed" }, "at": { "S": at } } },
        ] },
        "traceparent": { "S": "00-07070707070707070707070707070707-0707070707070707-01" },
        "shard": { "S": "PE#0" },
    })
}
