//! What a booking, a page and a confirmation cost as the table grows, and a page of free slots, from a store that executes them
//! ([`store`](crate::store)). The operations are the components' own: `backplane`, natively. A table is kept under
//! `target/bench/growth` for the next run.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use appointment::{Appointment, Country, SlotState, SlotStatus, Timestamp, TraceContext};
use backplane::{
    Applied, AppointmentsTable, CLAIM_DURATION, PageRequest, PendingShards, RepublishSchedule, SlotSearch, SlotsTable,
};
use local_stack::progress::Progress;
use messages::{Command, Outcome, OutcomeDetail, OutcomeEvent, Version1};
use operator::backplane::Backplane;
use serde::{Deserialize, Serialize};

use crate::measure::Spread;
use crate::population::{Population, SPECIALTY, appointment, insured, item, slot, slot_item};
use crate::programs::Programs;
use crate::store::{Cost, Store};

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
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) sizes: &'static [usize],
    pub(crate) operations: usize,
}

impl Plan {
    pub(crate) const FULL: Self = Self { sizes: &[100, 10_000, 1_000_000], operations: 100 };
    pub(crate) const QUICK: Self = Self { sizes: &[100, 1_000], operations: 10 };
}

/// What one operation costs in a table of a size.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) population: Population,
    /// How many appointments, or slots, there are.
    pub(crate) appointments: usize,
    pub(crate) operation: String,
    /// Items that the store looked at and items that it returned, of the operation that read the most in vain.
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
    let mut rows = Vec::new();
    for population in [Population::One, Population::Many] {
        for &appointments in plan.sizes {
            rows.extend(table(programs, population, appointments, plan.operations, progress).await?);
        }
    }
    for &slots in plan.sizes {
        rows.extend(slots_table(programs, slots, plan.operations, progress).await?);
    }
    step.done("");
    Ok(Growth { rows })
}

/// Measures every operation in one table.
async fn table(
    programs: &Programs,
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
    let store = Store::open(programs, folder, definition, items, progress).await?;
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
async fn slots_table(programs: &Programs, slots: usize, operations: usize, progress: &Progress) -> Result<Vec<Row>> {
    let folder = programs.scratch.join("growth").join(format!("slots-{slots}"));
    let definition = Backplane::load(&programs.root)?.slots_table.definition();
    let items = (0..slots).map(|number| Ok(slot_item(&slot(number)?)));
    let store = Store::open(programs, folder, definition, items, progress).await?;
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

fn milliseconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1000.0
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
