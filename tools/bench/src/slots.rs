//! Slots on the local stack: how soon a booked one leaves the list of free ones, and what an import does to the outcomes that people
//! wait for. [`moves`] is about people who move between slots, without the stack.

use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use appointment::Timestamp;
use local_stack::LocalStack;
use local_stack::artifacts::Artifacts;
use local_stack::catalogue::{SlotsProgram, until_projected};
use local_stack::progress::Progress;
use operator::backplane::{Backplane, CatalogueKind, Country};
use serde::{Deserialize, Serialize};

use crate::booking::EntryPoint;
use crate::end_to_end::{self, Row};
use crate::moves::{self, Moves};
use crate::programs::Programs;

/// How long bookings beside an import may take to be completed: the emulator, one process, serves both.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Bookings per second, and for how many seconds, where the delay of the list is measured.
    pub(crate) rate: (u32, u32),
    /// The same without an import, and again while there is one.
    pub(crate) beside_import: (u32, u32),
    /// Slots that are imported meanwhile.
    pub(crate) imported: u64,
    /// How often each of the people who move may ask for something.
    pub(crate) moves: usize,
    /// As [`end_to_end::Plan::packaged`].
    pub(crate) packaged: bool,
}

impl Plan {
    pub(crate) const FULL: Self =
        Self { rate: (50, 8), beside_import: (10, 30), imported: 20_000, moves: 300, packaged: true };
    pub(crate) const QUICK: Self =
        Self { rate: (5, 2), beside_import: (5, 2), imported: 500, moves: 20, packaged: false };
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Slots {
    /// Bookings at the rate at which the list's delay is measured.
    pub(crate) booked: Row,
    /// Bookings at a rate, with nothing else to do.
    pub(crate) before_import: Row,
    /// The same rate while slots are imported.
    pub(crate) during_import: Row,
    pub(crate) import: Import,
    pub(crate) moves: Moves,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Import {
    pub(crate) slots: u64,
    /// From the start until the country's database had all of them, and the bus their events.
    pub(crate) applied_after_s: f64,
    /// From the start until people could read all of them.
    pub(crate) projected_after_s: f64,
}

pub(crate) async fn measure(programs: &Programs, plan: Plan, progress: &Progress) -> Result<Slots> {
    let step = progress.noisy_step("slots");
    // With the durations that are deployed, as for `end_to_end`.
    let backplane = Backplane::load(&programs.root)?.with_catalogue(CatalogueKind::Own);
    let artifacts = programs.artifacts(plan.packaged, &backplane)?;
    let stack = programs.stack("bench-slots", &backplane, &artifacts).await?;

    let ((rate, seconds), (calm_rate, calm_seconds)) = (plan.rate, plan.beside_import);
    let bookings = rate * (seconds + 1) + calm_rate * (2 * calm_seconds + 1);
    progress.note(&format!("importing {bookings} slots to book"));
    // `booking::book` books even numbers in Peru, and odd ones in Chile.
    for country in backplane.countries() {
        let odd = u64::from(country.code != "PE");
        let slots = (1..=u64::from(bookings)).filter(|number| number % 2 == odd);
        program(&stack, &artifacts, &country)?.import(&file(slots)).await?;
    }
    until_projected(stack.services()).await?;

    let mut next = 1_u64;
    let mut take = |count: u32| {
        let first = next;
        next += u64::from(count);
        first
    };
    progress.note(&format!("{rate} bookings per second"));
    let edge = EntryPoint::Edge;
    let booked = end_to_end::at_rate(&stack, edge, rate, seconds, take(rate), take(rate * seconds)).await?;
    progress.note(&format!("{calm_rate} bookings per second, without an import and beside one"));
    let count = calm_rate * calm_seconds;
    let before_import =
        end_to_end::at_rate(&stack, edge, calm_rate, calm_seconds, take(calm_rate), take(count)).await?;
    let peru = backplane.countries().find(|country| country.code == "PE").context("no Peru")?;
    let importer = program(&stack, &artifacts, &peru)?;
    let import = async {
        let began = Instant::now();
        importer.import(&file(1_000_000..1_000_000 + plan.imported)).await?;
        let applied_after_s = began.elapsed().as_secs_f64();
        until_projected(stack.services()).await?;
        let projected_after_s = began.elapsed().as_secs_f64();
        anyhow::Ok(Import { slots: plan.imported, applied_after_s, projected_after_s })
    };
    let (during_import, import) =
        tokio::join!(end_to_end::bookings(&stack, edge, calm_rate, count, take(count), PATIENCE), import);
    let (during_import, import) = (during_import?, import?);
    drop(stack);

    progress.note("people who move");
    let moves = moves::measure(programs, plan.moves).await?;
    step.done("");
    Ok(Slots { booked, before_import, during_import, import, moves })
}

fn program(stack: &LocalStack, artifacts: &Artifacts, country: &Country) -> Result<SlotsProgram> {
    let services = stack.services();
    Ok(SlotsProgram {
        program: artifacts.worker(&country.function),
        database_url: services.database_url(&country.code)?.to_owned(),
        event_bus: services.backplane().bus.name.clone(),
        emulator: services.emulator_url(),
    })
}

/// A file of these slots, half an hour after half an hour from tomorrow on.
fn file(slots: impl Iterator<Item = u64>) -> String {
    let tomorrow = Timestamp::from(SystemTime::now()) + Duration::from_secs(24 * 60 * 60);
    let mut file = "scheduleId,specialty,center,practitioner,start,durationMinutes,timeZone\n".to_owned();
    for (place, slot) in (0..).zip(slots) {
        let start = (tomorrow + Duration::from_secs(place * 30 * 60)).to_string();
        // The local time of a zone that is UTC; to the minute.
        let start = start.get(..16).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(file, "{slot},Cardiología,Center {},Dr. {},{start},30,Etc/UTC", slot % 3, slot % 10);
    }
    file
}
