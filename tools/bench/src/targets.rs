//! What the system has to reach, what was measured of it, and why a figure falls short.
//!
//! The reasons are written by hand, after what [`costs.md`](COSTS) and the ADRs found; they are shown only where a target is missed.

use serde::Serialize;

use crate::booking::EntryPoint;
use crate::drain::{self, Drain};
use crate::function_start;
use crate::growth;
use crate::intake::{Footprint, Row};
use crate::population::Population;
use crate::results::{Results, kibibytes};
use crate::subjects::Kind;
use crate::workers::Subject;

/// What the profiles showed, and what was done about it: written by hand, beside the code that it is about.
pub(crate) const COSTS: &str = include_str!("costs.md");

/// A figure that the system has to reach.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) what: &'static str,
    pub(crate) target: String,
    /// `None` where it was not measured.
    pub(crate) measured: Option<String>,
    pub(crate) met: Option<bool>,
    /// Why it is missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<&'static str>,
}

impl Target {
    fn at_most(what: &'static str, limit: f64, unit: &str, decimals: usize, measured: Option<f64>) -> Self {
        Self::new(what, format!("at most {limit}{unit}"), unit, decimals, measured, |measured| measured <= limit)
    }

    fn at_least(what: &'static str, limit: f64, unit: &str, decimals: usize, measured: Option<f64>) -> Self {
        Self::new(what, format!("at least {limit}{unit}"), unit, decimals, measured, |measured| measured >= limit)
    }

    fn new(
        what: &'static str,
        target: String,
        unit: &str,
        decimals: usize,
        measured: Option<f64>,
        meets: impl Fn(f64) -> bool,
    ) -> Self {
        let shown = measured.map(|measured| format!("{measured:.decimals$}{unit}"));
        Self { what, target, measured: shown, met: measured.map(meets), why: None }
    }

    /// The reason, for when it is missed.
    fn or_because(mut self, why: &'static str) -> Self {
        self.why = (self.met != Some(true)).then_some(why);
        self
    }

    /// One that the benchmark does not measure, with the place that has its figure.
    fn elsewhere(what: &'static str, target: &str, place: &str, missed: Option<&'static str>) -> Self {
        let (target, measured) = (target.to_owned(), Some(place.to_owned()));
        Self { what, target, measured, met: Some(missed.is_none()), why: missed }
    }
}

/// The resident memory after so many bookings.
fn after(footprint: &Footprint, bookings: u64) -> Option<f64> {
    footprint.resident_mb.iter().find(|(so_far, _)| *so_far == bookings).map(|(_, resident)| *resident)
}

impl Results {
    /// The targets of what this program measures.
    pub(crate) fn targets(&self) -> Vec<Target> {
        [self.of_intake(), self.of_functions(), self.of_workers(), self.of_the_system(), self.of_growth()]
            .into_iter()
            .flatten()
            .collect()
    }

    fn of_intake(&self) -> Vec<Target> {
        let intake = self.intake.as_ref().map(|measured| &measured.figures);
        let row = |kind, connections, delay| intake.and_then(|intake| intake.find(kind, connections, delay));
        let ratio = |of: fn(&Row) -> f64, peer, connections| {
            Some(of(row(Kind::Component, connections, 0)?) / of(row(peer, connections, 0)?))
        };
        let cpu = |row: &Row| row.cpu_us_per_booking.median;
        let footprint = intake.and_then(|intake| intake.footprints.iter().find(|each| each.subject == Kind::Component));
        let memory = footprint.and_then(|footprint| after(footprint, 100_000));
        let growth = footprint.and_then(|footprint| Some(memory? / after(footprint, 50_000)?));
        let component = self.cold_start.as_ref().and_then(|cold| cold.figures.components.first());
        let calls = |request: &str| {
            let all = &self.host_calls.as_ref()?.figures;
            Some(all.iter().find(|counted| counted.request.ends_with(request))?.sum() as f64)
        };
        vec![
            Target::at_most("CPU per booking, component against the bare limit", 6.0, "x", 2, ratio(cpu, Kind::BareHyper, 16))
                .or_because("signing, JSON and two hops of HTTP cost the native peer about as many times the limit, which does none of that ([what costs](#what-costs))"),
            Target::at_most("CPU per booking, component against axum + AWS SDK", 1.0, "x", 2, ratio(cpu, Kind::AxumAwsSdk, 16))
                .or_because("the crossings between host and component, its instance and code that is built for size come on top of the same work ([what costs](#what-costs))"),
            Target::at_most("CPU per booking, component against Node.js", 0.2, "x", 3, ratio(cpu, Kind::NodeAwsSdk, 16))
                .or_because("against Node.js 24, which the benchmark brings ([ADR 165](adr/0165-the-benchmark-knows-its-parts-before-it-builds.md)); against the Node.js 20 of the machine it was 0.180x (commit 89f4e16)"),
            Target::at_most("p50 at one connection, component against axum + AWS SDK", 1.5, "x", 2, ratio(|row| row.p50_ms.median, Kind::AxumAwsSdk, 1)),
            Target::at_most("host memory after 100,000 bookings", 150.0, " MB", 1, memory),
            Target::at_most("host memory, 100,000 bookings against 50,000", 1.05, "x", 3, growth),
            Target::at_most("instantiation, p50", 60.0, " µs", 1, component.map(|each| each.instantiation_p50_us)),
            Target::at_most("size of intake.wasm", 1024.0, " KiB", 1, component.map(|each| kibibytes(each.wasm_bytes))),
            // Half of what they were at first: 123, 72 and 25.
            Target::at_most("calls to the host, per booking", 61.0, "", 0, calls("a booking")),
            Target::at_most("calls to the host, per list", 36.0, "", 0, calls("a list"))
                .or_because("what is left is each a message, a body or a header; [ADR 110](adr/0110-fewer-calls-to-the-host.md) says what the next ones would cost"),
            Target::at_most("calls to the host, per `GET /health`", 12.0, "", 0, calls("/health`"))
                .or_because("reading the request, the response and the log line are 15 of them ([ADR 110](adr/0110-fewer-calls-to-the-host.md))"),
        ]
    }

    fn of_functions(&self) -> Vec<Target> {
        let start = self.function_start.as_ref().map(|measured| &measured.figures);
        let first_response = |subject| Some(start?.find(subject)?.first_response_ms.median);
        vec![
            Target::at_most(
                "a function's start to its first response, p50",
                60.0,
                " ms",
                1,
                first_response(function_start::Subject::Appointment),
            ),
            Target::at_most(
                "the same against Node.js",
                1.0,
                "x",
                3,
                first_response(function_start::Subject::Appointment)
                    .zip(first_response(function_start::Subject::NodeAwsSdk))
                    .map(|(own, peer)| own / peer),
            ),
            Target::at_most(
                "package of the Lambda host, x86-64",
                12.0,
                " MB",
                1,
                start.map(|start| start.package_bytes as f64 / 1e6),
            ),
        ]
    }

    fn of_workers(&self) -> Vec<Target> {
        let rate = |subject, batch| {
            let rows = &self.workers.as_ref()?.figures.rows;
            let found = rows.iter().find(|row| row.subject == subject && row.batch == batch)?;
            Some(found.rows_per_second.median)
        };
        let against = |subject, peer, batch| Some(rate(subject, batch)? / rate(peer, batch)?);
        vec![
            Target::at_least("worker, batches of 100, against pgbench", 0.8, "x", 2, against(Subject::WorkerWithoutBus, Subject::Pgbench, 100))
                .or_because("over one connection, worker and PostgreSQL work in turns: it takes 40 µs per row, and the worker 8 to 10 µs to read the message and to build the event, where pgbench sends a text that was written before; neighbours on the machine move the ratio of single rounds between 0.6 and 1.2"),
            Target::at_least("the same with its PutEvents (10 calls per batch)", 0.8, "x", 2, against(Subject::Worker, Subject::Pgbench, 100))
                .or_because("pgbench reports nothing to a bus: ten HTTP calls, each signed, cost more than the hundred rows that they report"),
            Target::at_least("decide with a catalogue, batches of 10, against before slots", 0.8, "x", 2, against(Subject::PgbenchOwnCatalogue, Subject::PgbenchBeforeSlots, 10)),
            Target::at_least("the same, batches of 1", 0.8, "x", 2, against(Subject::PgbenchOwnCatalogue, Subject::PgbenchBeforeSlots, 1))
                .or_because("each decision counts the person's bookings, and writes and tells the slot's version ([ADR 161](adr/0161-a-request-that-comes-alone.md))"),
        ]
    }

    fn of_the_system(&self) -> Vec<Target> {
        let end_to_end = self.end_to_end.as_ref().map(|measured| &measured.figures);
        let whole = |entry_point| Some(end_to_end?.find(entry_point, 50)?.whole.p50);
        let slots = self.slots.as_ref().map(|measured| &measured.figures);
        vec![
            Target::at_most(
                "202 to `completed` at 50 per second through API Gateway, p50",
                300.0,
                " ms",
                0,
                whole(EntryPoint::ApiGateway),
            )
            .or_because("the emulator does not hold that rate ([end to end](#end-to-end-on-the-local-stack))"),
            Target::at_most("the same from the edge", 300.0, " ms", 0, whole(EntryPoint::Edge)),
            Target::at_most(
                "commands published per booking of a burst",
                1.05,
                "",
                3,
                end_to_end.map(|all| all.burst.per_booking(all.burst.published.commands)),
            ),
            Target::at_most(
                "a decision until its slot leaves the list, at 50 per second, p99",
                2000.0,
                " ms",
                0,
                slots
                    .map(|slots| &slots.booked)
                    .filter(|row| row.bookings_per_second == 50)
                    .map(|row| row.decided_to_written.p99),
            ),
            Target::at_most(
                "slots held twice after 500 people moved over 50",
                0.0,
                "",
                0,
                slots.map(|slots| (slots.moves.held_twice + slots.moves.told_otherwise) as f64),
            ),
            Target::at_least(
                "due commands of a country published per second",
                drain::FULL as f64 / 600.0,
                "",
                0,
                self.drain.as_ref().map(|measured| Drain::rows_per_second(&measured.figures)),
            ),
        ]
    }

    fn of_growth(&self) -> Vec<Target> {
        let rows = || self.growth.as_ref().map(|measured| measured.figures.rows.iter());
        // The read units in the largest table against those in the smallest.
        let grown = |population, operation| {
            let mut rows = rows()?.filter(|row| row.population == population && row.operation == operation);
            let smallest = rows.next()?.capacity_units;
            Some(rows.next_back()?.capacity_units / smallest)
        };
        let in_vain = |row: &growth::Row| row.items_read as f64 / row.items_returned.max(1) as f64;
        vec![
            Target::at_most(
                "a page's read units in the largest table against the smallest",
                1.2,
                "x",
                2,
                grown(Population::One, growth::LIST),
            ),
            Target::at_most(
                "the same of a page of free slots",
                1.2,
                "x",
                2,
                grown(Population::Slots, growth::FREE_SLOTS),
            ),
            Target::at_most(
                "items that an operation reads, against what it returns",
                1.0,
                "x",
                2,
                rows().and_then(|rows| rows.map(in_vain).max_by(f64::total_cmp)),
            ),
        ]
    }
}

/// The targets of what is measured elsewhere, or held by a test.
pub(crate) fn elsewhere() -> Vec<Target> {
    const FRESH_CLONE: &str = "[CONTRIBUTING.md](../CONTRIBUTING.md#what-it-takes)";
    let test = |name: &str| format!("`{name}`");
    vec![
        Target::elsewhere("`cargo xtask demo`, nothing built", "at most 9 min and 15 CPU min", FRESH_CLONE, None),
        Target::elsewhere("disk after it", "at most 2 GB", FRESH_CLONE, None),
        Target::elsewhere("`cargo xtask test` after it", "at most 10 min", FRESH_CLONE, None),
        Target::elsewhere("`cargo xtask test`, warm, one changed line of `intake`", "at most 4 min", FRESH_CLONE, None),
        Target::elsewhere(
            "`cargo xtask check`, warm",
            "at most 1 min",
            "[CONTRIBUTING.md](../CONTRIBUTING.md#the-inner-loop)",
            None,
        ),
        Target::elsewhere(
            "a new optional field of an appointment",
            "at most 12 files, 80 lines",
            "[adding-a-field.md](adding-a-field.md)",
            None,
        ),
        Target::elsewhere(
            "a booking beside a database that is away for ten seconds",
            "less than a minute late",
            &test("pipeline::a_database_that_is_away_for_ten_seconds_delays_a_booking_by_less_than_a_minute"),
            None,
        ),
        Target::elsewhere(
            "commands published twice of a backlog of ten minutes",
            "at most 5 %",
            &test("backlog::of_a_backlog_of_ten_minutes_at_most_one_command_in_twenty_is_published_twice"),
            None,
        ),
        Target::elsewhere(
            "a crash between write and publication is repaired",
            "within 45 min",
            &test("backplane::republishing_feeds_no_overload_and_repairs_a_crash_within_45_minutes"),
            None,
        ),
        Target::elsewhere(
            "an outage of a database that fails nobody",
            "at least 30 min",
            &test("backplane::an_outage_of_half_an_hour_fails_nobody"),
            None,
        ),
        Target::elsewhere(
            "`GET /health` beside 300 bodies that trickle",
            "less than 50 ms",
            &test("contract::three_hundred_bodies_that_trickle_leave_the_service_to_others"),
            None,
        ),
        Target::elsewhere(
            "the booking page as it is sent",
            "at most 100 KB",
            &test("page_over_http::everything_is_compressed_validated_and_within_its_weight"),
            None,
        ),
        Target::elsewhere(
            "time from 202 to `completed` that spans explain",
            "at least 95 %",
            &test("traces::a_bookings_time_is_explained_by_spans"),
            None,
        ),
    ]
}
