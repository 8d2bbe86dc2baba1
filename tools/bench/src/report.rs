//! The figures, for people and for programs.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::booking::EntryPoint;
use crate::cold_start::ColdStart;
use crate::drain::{self, Drain};
use crate::end_to_end::{EndToEnd, Hop};
use crate::function_start::{self, FunctionStart};
use crate::growth::{self, Growth, Population};
use crate::host_calls::Counted;
use crate::intake::{Footprint, Intake, Row};
use crate::machine::Machine;
use crate::plots;
use crate::slots::Slots;
use crate::subjects::Kind;
use crate::workers::{self, Subject, Workers};

/// What the profiles showed, and what was done about it: written by hand, beside the code that it is about.
const COSTS: &str = include_str!("costs.md");

/// Everything that one run measured.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) quick: bool,
    pub(crate) intake: Option<Intake>,
    pub(crate) host_calls: Option<Vec<Counted>>,
    pub(crate) cold_start: Option<ColdStart>,
    pub(crate) function_start: Option<FunctionStart>,
    pub(crate) workers: Option<Workers>,
    pub(crate) end_to_end: Option<EndToEnd>,
    pub(crate) growth: Option<Growth>,
    pub(crate) slots: Option<Slots>,
    pub(crate) drain: Option<Drain>,
}

/// The resident memory after so many bookings.
fn after(footprint: &Footprint, bookings: u64) -> Option<f64> {
    footprint.resident_mb.iter().find(|(so_far, _)| *so_far == bookings).map(|(_, resident)| *resident)
}

fn kibibytes(bytes: u64) -> f64 {
    bytes as f64 / 1024.0
}

/// A figure that the system has to reach.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) what: &'static str,
    pub(crate) target: String,
    /// `None` where it was not measured.
    pub(crate) measured: Option<String>,
    pub(crate) met: Option<bool>,
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
        Self { what, target, measured: shown, met: measured.map(meets) }
    }
}

impl Results {
    pub(crate) fn targets(&self) -> Vec<Target> {
        let intake = self.intake.as_ref();
        let row = |kind, connections, delay| intake.and_then(|intake| intake.find(kind, connections, delay));
        let ratio = |of: fn(&Row) -> f64, peer, connections| {
            Some(of(row(Kind::Component, connections, 0)?) / of(row(peer, connections, 0)?))
        };
        let cpu = |row: &Row| row.cpu_us_per_booking.median;
        let footprint = intake.and_then(|intake| intake.footprints.iter().find(|each| each.subject == Kind::Component));
        let memory = footprint.and_then(|footprint| after(footprint, 100_000));
        let growth_of_memory = footprint.and_then(|footprint| Some(memory? / after(footprint, 50_000)?));
        let component = self.cold_start.as_ref().and_then(|cold| cold.components.first());
        let rate = |subject, batch| {
            let rows = &self.workers.as_ref()?.rows;
            let found = rows.iter().find(|row| row.subject == subject && row.batch == batch)?;
            Some(found.rows_per_second.median)
        };
        // The read units in the largest table against those in the smallest.
        let grown = |population, operation| {
            let rows = self.growth.as_ref()?.rows.iter();
            let mut rows = rows.filter(|row| row.population == population && row.operation == operation);
            let smallest = rows.next()?.capacity_units;
            Some(rows.next_back()?.capacity_units / smallest)
        };
        let slots = self.slots.as_ref();
        let of_worker = |subject| Some(rate(subject, 100)? / rate(Subject::Pgbench, 100)?);
        vec![
            Target::at_most(
                "CPU per booking, component against the bare limit",
                6.0,
                "x",
                2,
                ratio(cpu, Kind::BareHyper, 16),
            ),
            Target::at_most(
                "CPU per booking, component against axum + AWS SDK",
                1.0,
                "x",
                2,
                ratio(cpu, Kind::AxumAwsSdk, 16),
            ),
            Target::at_most(
                "CPU per booking, component against Node.js",
                0.2,
                "x",
                3,
                ratio(cpu, Kind::NodeAwsSdk, 16),
            ),
            Target::at_most(
                "p50 at one connection, component against axum + AWS SDK",
                1.5,
                "x",
                2,
                ratio(|row| row.p50_ms.median, Kind::AxumAwsSdk, 1),
            ),
            Target::at_most("instantiation, p50", 60.0, " µs", 1, component.map(|each| each.instantiation_p50_us)),
            Target::at_most(
                "calls to the host, per booking",
                60.0,
                "",
                0,
                self.host_calls.as_ref().and_then(|all| all.last()).map(|booking| booking.sum() as f64),
            ),
            Target::at_most(
                "a function's start to its first response, p50",
                60.0,
                " ms",
                1,
                self.function_start
                    .as_ref()
                    .and_then(|start| Some(start.find(function_start::Subject::Appointment)?.first_response_ms.median)),
            ),
            Target::at_most("size of intake.wasm", 1024.0, " KiB", 1, component.map(|each| kibibytes(each.wasm_bytes))),
            Target::at_most("host memory after 100,000 bookings", 150.0, " MB", 1, memory),
            Target::at_most("host memory, 100,000 bookings against 50,000", 1.05, "x", 3, growth_of_memory),
            Target::at_least(
                "worker, batches of 100, against pgbench",
                0.8,
                "x",
                2,
                of_worker(Subject::WorkerWithoutBus),
            ),
            Target::at_least(
                "the same with its PutEvents (10 calls per batch)",
                0.8,
                "x",
                2,
                of_worker(Subject::Worker),
            ),
            Target::at_most(
                "202 to `completed` at 50 per second through API Gateway, p50",
                300.0,
                " ms",
                0,
                self.end_to_end.as_ref().and_then(|all| Some(all.find(EntryPoint::ApiGateway, 50)?.whole.p50)),
            ),
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
                self.growth.as_ref().and_then(|growth| {
                    let ratio = |row: &growth::Row| row.items_read as f64 / row.items_returned.max(1) as f64;
                    growth.rows.iter().map(ratio).max_by(f64::total_cmp)
                }),
            ),
            Target::at_least(
                "decide with a catalogue, batches of 10, against before slots",
                0.8,
                "x",
                2,
                rate(Subject::PgbenchOwnCatalogue, 10)
                    .zip(rate(Subject::PgbenchBeforeSlots, 10))
                    .map(|(own, before)| own / before),
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
                self.drain.as_ref().filter(|drain| drain.left_out.is_none()).map(Drain::rows_per_second),
            ),
        ]
    }

    /// Writes `benchmarks.json`, `benchmarks.md` and the plots into a folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        #[derive(Serialize)]
        struct File<'a> {
            targets: Vec<Target>,
            #[serde(flatten)]
            results: &'a Results,
        }
        let json = serde_json::to_string_pretty(&File { targets: self.targets(), results: self })?;
        fs::write(folder.join("benchmarks.json"), json + "\n")?;
        if let Some(intake) = &self.intake {
            plots::draw(intake, &folder.join("benchmarks"))?;
        }
        fs::write(folder.join("benchmarks.md"), self.markdown())?;
        Ok(())
    }

    fn markdown(&self) -> String {
        let mut page = Page::default();
        page.line("# Benchmarks");
        page.line("");
        page.line("Written by `cargo xtask bench`, which measures everything in one run on one machine; do not edit. The figures as data: [benchmarks.json](benchmarks.json).");
        page.line("");
        if self.quick {
            page.line("**This is the quick form: unoptimised programs, one short round. The figures mean nothing.**");
            page.line("");
        }
        page.machine(&self.machine);
        page.line("## What it must reach");
        page.line("");
        let targets = self.targets().into_iter().map(|target| {
            let met = target.met.map_or("not measured", |met| if met { "yes" } else { "**no**" });
            vec![target.what.to_owned(), target.target, target.measured.unwrap_or_default(), met.to_owned()]
        });
        page.table(&["what", "target", "measured", "met"], targets);
        if let Some(intake) = &self.intake {
            page.intake(intake);
        }
        if let Some(host_calls) = &self.host_calls {
            page.host_calls(host_calls);
        }
        if let Some(cold_start) = &self.cold_start {
            page.cold_start(cold_start, self.intake.as_ref());
        }
        if let Some(function_start) = &self.function_start {
            page.function_start(function_start);
        }
        if let Some(workers) = &self.workers {
            page.workers(workers);
        }
        if let Some(end_to_end) = &self.end_to_end {
            page.end_to_end(end_to_end);
        }
        if let Some(growth) = &self.growth {
            page.growth(growth);
        }
        if let Some(slots) = &self.slots {
            page.slots(slots);
        }
        if let Some(drain) = &self.drain {
            page.drain(drain);
        }
        page.line(COSTS.trim_end());
        page.0
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, text: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{text}");
    }

    fn table(&mut self, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        self.line(&format!("| {} |", head.join(" | ")));
        self.line(&format!("|{}", " --- |".repeat(head.len())));
        for row in rows {
            self.line(&format!("| {} |", row.join(" | ")));
        }
        self.line("");
    }

    fn machine(&mut self, machine: &Machine) {
        let Machine { processor, processors, memory_gb, kernel, rustc, node, commit, load_before, measured_at } =
            machine;
        self.line(&format!(
            "{measured_at}, commit {commit}: {processors} processors ({processor}), {memory_gb:.0} GB, Linux {kernel}, {rustc}, Node.js {node}, load before the run {load_before}."
        ));
        self.line("");
        self.line("The programs, the stand-in for AWS and the sender of the load share these processors, so that rates and latencies are those of a machine that does all of it. The main figure is therefore **CPU time per booking of the measured process alone**, as the kernel counts it. Rounds of all subjects are interleaved; a figure is their median, with the least and the greatest in brackets, and what matters is the ratio within the run.");
        self.line("");
    }

    fn intake(&mut self, intake: &Intake) {
        self.line("## Intake: `POST /appointments`");
        self.line("");
        let sizes = intake.sizes;
        self.line(&format!(
            "Every booking is one `PutItem` ({} + {} bytes of head and body) and one `Publish` ({} + {}) against a stand-in in a process of its own, which checks the form of every signature and computes one in 64 anew. Before anything is timed, {} requests, valid and invalid, are answered equally by the component and its peers, and their calls to AWS are compared member by member. Only the component knows repeated members of a body, `Accept-Language` and `Idempotency-Key`; no timed booking has them.",
            sizes.put.0, sizes.put.1, sizes.publish.0, sizes.publish.1, intake.equal_answers,
        ));
        self.line("");
        for (kind, why) in &intake.left_out {
            self.line(&format!("Left out: {}, because {why}.", kind.label()));
            self.line("");
        }
        self.line("As fast as they are answered (`backend` is how long the stand-in waits before each answer):");
        self.line("");
        let saturated = intake.rows.iter().filter(|row| row.rate.is_none()).map(|row| {
            vec![
                row.subject.label().to_owned(),
                row.connections.to_string(),
                format!("{} ms", row.backend_ms),
                row.cpu_us_per_booking.text(0),
                row.p50_ms.text(2),
                row.p99_ms.text(2),
                row.bookings_per_second.text(0),
            ]
        });
        let head =
            ["subject", "connections", "backend", "CPU µs per booking", "p50 ms", "p99 ms", "bookings per second"];
        self.table(&head, saturated);
        self.line("![CPU per booking](benchmarks/cpu.svg)");
        self.line("");
        self.line("![Latency of the component](benchmarks/latency.svg)");
        self.line("");
        self.line("At fixed rates:");
        self.line("");
        let paced = intake.rows.iter().filter_map(|row| {
            Some(vec![
                row.subject.label().to_owned(),
                row.rate?.to_string(),
                format!("{} ms", row.backend_ms),
                row.cpu_us_per_booking.text(0),
                row.p50_ms.text(2),
                row.p99_ms.text(2),
            ])
        });
        self.table(&["subject", "per second", "backend", "CPU µs per booking", "p50 ms", "p99 ms"], paced);
        self.line(
            "From the start of the process to the answer to its first booking, and resident memory after so many:",
        );
        self.line("");
        let marks = intake.footprints.first().map(|footprint| footprint.resident_mb.len()).unwrap_or_default();
        let mut head = vec!["subject".to_owned(), "first answer ms".to_owned()];
        for mark in 0..marks {
            let bookings = intake.footprints.first().and_then(|footprint| footprint.resident_mb.get(mark));
            head.push(bookings.map_or_else(String::new, |(bookings, _)| format!("MB after {bookings}")));
        }
        let rows = intake.footprints.iter().map(|footprint| {
            let mut row = vec![footprint.subject.label().to_owned(), footprint.first_answer_ms.text(0)];
            row.extend(footprint.resident_mb.iter().map(|(_, resident)| format!("{resident:.1}")));
            row
        });
        self.table(&head.iter().map(String::as_str).collect::<Vec<_>>(), rows);
    }

    fn host_calls(&mut self, requests: &[Counted]) {
        self.line("## Calls to the host");
        self.line("");
        self.line("What a request asks of its host, counted by the embedded one; on real Spin, handling these calls is most of what a request costs. A test of the integration binary (`host_calls`) fails where a request makes more than its budget.");
        self.line("");
        let functions: std::collections::BTreeSet<&String> =
            requests.iter().flat_map(|request| request.calls.keys()).collect();
        let head: Vec<&str> = ["call"].into_iter().chain(requests.iter().map(|request| request.request)).collect();
        let row = |name: String, calls: &dyn Fn(&Counted) -> u64| {
            std::iter::once(name).chain(requests.iter().map(|request| calls(request).to_string())).collect()
        };
        let sum = row("**all**".to_owned(), &Counted::sum);
        let rows = functions.iter().map(|function| {
            row(format!("`{function}`"), &|request| request.calls.get(*function).copied().unwrap_or_default())
        });
        self.table(&head, std::iter::once(sum).chain(rows));
    }

    fn cold_start(&mut self, cold_start: &ColdStart, intake: Option<&Intake>) {
        self.line("## Cold start");
        self.line("");
        self.line(&format!(
            "Each request has a fresh instance: percentiles of {} instantiations, one after another. A component is compiled once a version and taken from the disk's cache at each later start of the host.",
            cold_start.instantiations
        ));
        self.line("");
        let rows = cold_start.components.iter().map(|component| {
            vec![
                component.name.clone(),
                format!("{:.1}", kibibytes(component.wasm_bytes)),
                format!("{:.0}", component.compile_ms),
                format!("{:.1}", component.load_ms),
                format!("{:.1}", component.instantiation_p50_us),
                format!("{:.1}", component.instantiation_p99_us),
            ]
        });
        self.table(&["component", "KiB", "compile ms", "from cache ms", "instantiation p50 µs", "p99 µs"], rows);
        let node = intake.and_then(|intake| intake.footprints.iter().find(|each| each.subject == Kind::NodeAwsSdk));
        if let Some(node) = node {
            self.line(&format!(
                "What a fresh instance is to the component, a new process is to the Node.js peer: {} ms to its first answer.",
                node.first_answer_ms.text(0)
            ));
            self.line("");
        }
    }

    fn workers(&mut self, workers: &Workers) {
        self.line("## Workers");
        self.line("");
        self.line("One connection, real PostgreSQL (without `fsync`), the same rows by the same call of `decide` with as many rows per statement. `pgbench` sends the arrays as text in the statement; the worker prepares it once. Batches of 10 are what the queue delivers; 100 and 1,000 show the library. Besides the statement the worker reads the messages, builds the outcomes and writes its log lines; *with PutEvents* it also reports them to the stand-in. *Own catalogue* knows every slot that is booked, counts the person's bookings and answers the slot with its new version; *before slots* is `decide` of migration 3.");
        self.line("");
        if let Some(why) = &workers.left_out {
            self.line(&format!("Left out: pgbench, because {why}."));
            self.line("");
        }
        let label = |subject| match subject {
            Subject::Worker => "worker, with PutEvents",
            Subject::WorkerWithoutBus => "worker",
            Subject::Pgbench => "pgbench",
            Subject::PgbenchOwnCatalogue => "pgbench, own catalogue",
            Subject::PgbenchBeforeSlots => "pgbench, before slots",
        };
        let rows = workers.rows.iter().map(|row: &workers::Row| {
            vec![
                row.batch.to_string(),
                label(row.subject).to_owned(),
                row.rows_per_second.text(0),
                row.client_cpu_us_per_row.text(1),
                row.server_cpu_us_per_row.text(1),
            ]
        });
        self.table(
            &["batch", "subject", "rows per second", "client's CPU µs per row", "PostgreSQL's CPU µs per row"],
            rows,
        );
        self.line("Counted on the wire, for one batch:");
        self.line("");
        let rows = workers.calls.iter().map(|calls| {
            vec![calls.batch.to_string(), calls.sql_round_trips.to_string(), calls.put_events.to_string()]
        });
        self.table(&["batch", "SQL round trips", "PutEvents"], rows);
    }

    fn function_start(&mut self, function_start: &FunctionStart) {
        self.line("## Start of a function");
        self.line("");
        self.line(&format!(
            "From the start of the process until the runtime API has the response to its first booking, which makes both calls to the stand-in: {} starts of each, in turn, files in the page cache. The package of `appointment` has {:.1} MB. The Node.js peer is its routes behind the runtime API (`bench/peers/node-aws-sdk/function.js`). Both have this machine's whole processor, of which Lambda gives 256 MB a seventh; and Lambda first has to find a place and to fetch the package, which this does not show. Of the address space nearly all is reserved for instances and never touched.",
            function_start.starts,
            function_start.package_bytes as f64 / 1e6,
        ));
        self.line("");
        if let Some(why) = &function_start.left_out {
            self.line(&format!("Left out: the Node.js peer, because {why}."));
            self.line("");
        }
        let rows = function_start.rows.iter().map(|row| {
            vec![
                row.subject.label().to_owned(),
                row.first_response_ms.text(1),
                row.resident_mb.text(1),
                row.address_space_gb.text(1),
            ]
        });
        self.table(&["function", "first response ms", "resident MB", "address space GB"], rows);
    }

    fn end_to_end(&mut self, end_to_end: &EndToEnd) {
        self.line("## End to end, on the local stack");
        self.line("");
        self.line("Milliseconds, p50 / p99, by the lines that intake, worker and confirmation log. After the `202` each hop begins where the one before it ends, and its share is that of its sum over all bookings; a hop that is not a function's is the emulator's. The functions are those of `cargo xtask package`, the durations are the deployed ones, and bookings of one second at the same rate went before. *Refused* are those answered 503, because the emulator took longer than intake waits; they are not timed. *Intake* is its part of the request, its two calls included; the rest is API Gateway's and Lambda's, or the host's.");
        self.line("");
        let hop = |hop: Hop| format!("{:.0} / {:.0}", hop.p50, hop.p99);
        let names = end_to_end.rows.first().into_iter().flat_map(|row| &row.hops).map(|each| each.name);
        let head: Vec<&str> =
            ["by", "per second", "accepted", "refused", "request to 202", "intake", "202 to completed"]
                .into_iter()
                .chain(names)
                .collect();
        let rows = end_to_end.rows.iter().map(|row| {
            let all = [
                row.entry_point.label().to_owned(),
                row.bookings_per_second.to_string(),
                row.bookings.to_string(),
                row.refused.to_string(),
                hop(row.accepted),
                hop(row.intake),
                hop(row.whole),
            ];
            let shares = row.hops.iter().map(|each| format!("{} ({:.0} %)", hop(each.hop), each.share * 100.0));
            all.into_iter().chain(shares).collect()
        });
        self.table(&head, rows);
        for rate in &end_to_end.not_held {
            self.line(&format!("Not held by the emulator, which shares the processors: {rate}."));
            self.line("");
        }
        let burst = &end_to_end.burst;
        self.line(&format!(
            "Messages of a booking, after a burst of {} that were sent as fast as intake took them ({:.1} s; all were completed after {:.1} s). *Published* is what SNS and EventBridge took, counted by queues of the benchmark's own behind topic and bus; *delivered* is what the functions got from their queues, by their own lines.",
            burst.bookings, burst.accepted_after_s, burst.completed_after_s
        ));
        self.line("");
        let each = |count: u64| format!("{count} ({:.3} per booking)", burst.per_booking(count));
        let rows = [
            ("commands, to the country", burst.published.commands, Some(burst.delivered.commands)),
            ("outcomes, to the confirmation", burst.published.outcomes, Some(burst.delivered.outcomes)),
            ("announcements, to whoever notifies people", burst.published.announcements, None),
        ];
        let rows = rows.map(|(name, published, delivered)| {
            vec![name.to_owned(), each(published), delivered.map(each).unwrap_or_default()]
        });
        self.table(&["message", "published", "delivered"], rows);
        self.line("What the emulator's own hops take one after another, with none of our code in them:");
        self.line("");
        let emulator = &end_to_end.emulator;
        let hops = [
            ("`Publish` until a waiting `ReceiveMessage` has it", emulator.topic_to_queue_ms),
            (
                "`SendMessage` until a function behind a mapping has it, which does nothing",
                emulator.queue_to_function_ms,
            ),
            ("`PutEvents`, through a rule, until a waiting `ReceiveMessage` has it", emulator.bus_to_queue_ms),
        ];
        self.table(&["hop", "ms"], hops.map(|(name, spread)| vec![name.to_owned(), spread.text(0)]));
    }

    fn growth(&mut self, growth: &Growth) {
        self.line("## Growth");
        self.line("");
        self.line("The components' own operations against `dynalite` (LevelDB), which executes them, counts what it reads, and computes DynamoDB's capacity units. The items are those of the operation that read the most in vain, the units the most that one took. *Commands due* is the republisher's query of one shard of the index, before and after the new bookings are due; a *republication* claims one row and sets when it is due again. *Slots* are of one specialty and all free; *a slot leaves the list* when it is booked. It counts no units for a query that finds nothing and for what a write changes in the index, for which AWS takes half a read unit and a write unit. The milliseconds are that store's, not AWS's.");
        self.line("");
        if let Some(why) = &growth.left_out {
            self.line(&format!("Left out: {why}."));
            self.line("");
            return;
        }
        let rows = growth.rows.iter().map(|row| {
            vec![
                match row.population {
                    Population::One => "one person's",
                    Population::Many => "many persons'",
                    Population::Slots => "slots",
                }
                .to_owned(),
                row.appointments.to_string(),
                row.operation.to_owned(),
                row.items_read.to_string(),
                row.items_returned.to_string(),
                format!("{:.1}", row.capacity_units),
                row.milliseconds.text(1),
            ]
        });
        let head = ["whose", "appointments or slots", "operation", "items read", "returned", "units", "ms"];
        self.table(&head, rows);
    }

    fn slots(&mut self, slots: &Slots) {
        self.line("## Slots");
        self.line("");
        let Slots { booked, before_import, during_import, import, moves } = slots;
        self.line(&format!(
            "On the local stack, with catalogues of their own, from the edge. *Written* is the end of the confirmation that wrote status and slot: from then on nobody is shown the slot as free. Meanwhile {} slots were imported: the country's database had them after {:.1} s, and people could read them after {:.1} s. The functions, the emulator and the importer share the processors here, so that an import takes from everything else; on AWS they would not.",
            import.slots, import.applied_after_s, import.projected_after_s,
        ));
        self.line("");
        let hop = |hop: Hop| format!("{:.0} / {:.0}", hop.p50, hop.p99);
        let rows = [("nothing else", booked), ("nothing else", before_import), ("an import", during_import)];
        let rows = rows.map(|(beside, row)| {
            vec![
                beside.to_owned(),
                row.bookings_per_second.to_string(),
                row.bookings.to_string(),
                row.refused.to_string(),
                hop(row.whole),
                hop(row.decided_to_written),
            ]
        });
        let head = [
            "beside",
            "per second",
            "accepted",
            "refused",
            "202 to completed, p50 / p99 ms",
            "decision to written, p50 / p99 ms",
        ];
        self.table(&head, rows);
        self.line(&format!(
            "How busy the emulator is during the import shows in what has no part in it: intake's own time, p50, was {:.0} ms instead of {:.0} ms.",
            during_import.intake.p50, before_import.intake.p50,
        ));
        self.line("");
        self.line(&format!(
            "{} people book, move and cancel among {} slots over {} connections, in batches of ten: {} commands in {:.1} s, {:.0} per second, {} of them moves that were won. Slots held twice at the end: {}; people who hold another slot than they were told: {}.",
            moves.people,
            moves.slots,
            moves.connections,
            moves.commands,
            moves.seconds,
            moves.commands_per_second(),
            moves.moved,
            moves.held_twice,
            moves.told_otherwise,
        ));
        self.line("");
    }

    fn drain(&mut self, drain: &Drain) {
        self.line("## After an outage");
        self.line("");
        if let Some(why) = &drain.left_out {
            self.line(&format!("Left out: {why}."));
            self.line("");
            return;
        }
        self.line(&format!(
            "{} commands of one country are due at once. The component, in the embedded host of one process with one thread, published them to the stand-in in {:.0} s and {} calls: {:.0} per second, where ten minutes need 100. The topic took {} publications. Each row is two writes to `dynalite`, which needs {:.0} µs of a processor for it, beside {:.0} µs of the component and its host.",
            drain.rows,
            drain.seconds,
            drain.calls,
            drain.rows_per_second(),
            drain.publications,
            drain.store_cpu_us_per_row,
            drain.cpu_us_per_row,
        ));
        self.line("");
    }
}
