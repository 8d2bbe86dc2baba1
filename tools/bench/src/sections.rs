//! What the report says of each part, in words and tables.

use crate::cold_start::ColdStart;
use crate::drain::Drain;
use crate::end_to_end::{EndToEnd, Hop};
use crate::function_start::FunctionStart;
use crate::growth::Growth;
use crate::host_calls::Counted;
use crate::intake::Intake;
use crate::machine::Machine;
use crate::page::Page;
use crate::population::Population;
use crate::results::kibibytes;
use crate::slots::Slots;
use crate::subjects::Kind;
use crate::workers::{self, Subject, Workers};

// The headings of the parts.
pub(crate) const INTAKE: &str = "Intake: `POST /appointments`";
pub(crate) const HOST_CALLS: &str = "Calls to the host";
pub(crate) const COLD_START: &str = "Cold start";
pub(crate) const FUNCTION_START: &str = "Start of a function";
pub(crate) const WORKERS: &str = "Workers";
pub(crate) const END_TO_END: &str = "End to end, on the local stack";
pub(crate) const GROWTH: &str = "Growth";
pub(crate) const SLOTS: &str = "Slots";
pub(crate) const DRAIN: &str = "After an outage";

impl Page {
    pub(crate) fn machines(&mut self, parts: &[(&'static str, &Machine)]) {
        self.heading("When, and on what");
        self.line("The programs, the stand-in for AWS and the sender of the load share the processors, and rates and latencies are those of a machine that does all of it. The main figure is therefore **CPU time per booking of the measured process alone**, as the kernel counts it. Rounds of all subjects are interleaved; a figure is their median, with the least and the greatest in brackets, and what matters is the ratio within the run. *Load* is how many threads were runnable in the minute before.");
        self.line("");
        let rows = parts.iter().map(|(part, machine)| {
            let Machine { processor, processors, memory_mb, kernel, rustc, node, commit, load_before, measured_at } =
                machine;
            let rustc = rustc.split(" (").next().unwrap_or_default();
            vec![
                (*part).to_owned(),
                measured_at.get(..16).unwrap_or(measured_at).replace('T', " "),
                format!("`{commit}`"),
                load_before.clone(),
                format!(
                    "{processors} processors ({processor}), {} GB, Linux {kernel}, {rustc}, Node.js {node}",
                    memory_mb / 1000
                ),
            ]
        });
        self.table(&["part", "from, UTC", "commit", "load", "machine"], rows);
    }

    pub(crate) fn intake(&mut self, intake: &Intake) {
        self.heading(INTAKE);
        let sizes = intake.sizes;
        self.line(&format!(
            "Every booking is one `PutItem` ({} + {} bytes of head and body) and one `Publish` ({} + {}) against a stand-in in a process of its own, which checks the form of every signature and computes one in 64 anew. Before anything is timed, {} requests, valid and invalid, have equal responses from the component and its peers, and their calls to AWS are compared field by field. Only the component knows repeated fields of a body, `Accept-Language` and `Idempotency-Key`; no timed booking has them.",
            sizes.put.0, sizes.put.1, sizes.publish.0, sizes.publish.1, intake.equal_responses,
        ));
        self.line("");
        self.line("Each connection sends the next booking when it has the response to the one before (`backend` is how long the stand-in waits before each response):");
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
            "From the start of the process to the response to its first booking, and resident memory after so many:",
        );
        self.line("");
        let marks = intake.footprints.first().map(|footprint| footprint.resident_mb.len()).unwrap_or_default();
        let mut head = vec!["subject".to_owned(), "first response ms".to_owned()];
        for mark in 0..marks {
            let bookings = intake.footprints.first().and_then(|footprint| footprint.resident_mb.get(mark));
            head.push(bookings.map_or_else(String::new, |(bookings, _)| format!("MB after {bookings}")));
        }
        let rows = intake.footprints.iter().map(|footprint| {
            let mut row = vec![footprint.subject.label().to_owned(), footprint.first_response_ms.text(0)];
            row.extend(footprint.resident_mb.iter().map(|(_, resident)| format!("{resident:.1}")));
            row
        });
        self.table(&head.iter().map(String::as_str).collect::<Vec<_>>(), rows);
    }

    pub(crate) fn host_calls(&mut self, requests: &[Counted]) {
        self.heading(HOST_CALLS);
        self.line("What a request asks of its host, counted by the embedded one; on real Spin, handling these calls is most of what a request costs. A test of the integration binary (`host_calls`) fails where a request makes more than its budget.");
        self.line("");
        let functions: std::collections::BTreeSet<&String> =
            requests.iter().flat_map(|request| request.calls.keys()).collect();
        let head: Vec<&str> =
            ["call"].into_iter().chain(requests.iter().map(|request| request.request.as_str())).collect();
        let row = |name: String, calls: &dyn Fn(&Counted) -> u64| {
            std::iter::once(name).chain(requests.iter().map(|request| calls(request).to_string())).collect()
        };
        let sum = row("**all**".to_owned(), &Counted::sum);
        let rows = functions.iter().map(|function| {
            row(format!("`{function}`"), &|request| request.calls.get(*function).copied().unwrap_or_default())
        });
        self.table(&head, std::iter::once(sum).chain(rows));
    }

    pub(crate) fn cold_start(&mut self, cold_start: &ColdStart, intake: Option<&Intake>) {
        self.heading(COLD_START);
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
                "What a fresh instance is to the component, a new process is to the Node.js peer: {} ms to its first response.",
                node.first_response_ms.text(0)
            ));
            self.line("");
        }
    }

    pub(crate) fn workers(&mut self, workers: &Workers) {
        self.heading(WORKERS);
        self.line("One connection, real PostgreSQL (without `fsync`), the same rows by the same call of `decide` with as many rows per statement. `pgbench` sends the arrays as text in the statement; the worker prepares it once. Batches of 10 are what the queue delivers; 100 and 1,000 show the library. Besides the statement the worker reads the messages and builds the outcomes (it writes log lines only in its function); *with PutEvents* it also reports them to the stand-in. *Own catalogue* knows every slot that is booked, counts the person's bookings and returns the slot with its new version; *before slots* is `decide` of migration 3.");
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

    pub(crate) fn function_start(&mut self, function_start: &FunctionStart) {
        self.heading(FUNCTION_START);
        self.line(&format!(
            "From the start of the process until the runtime API has the response to its first booking, which makes both calls to the stand-in: {} starts of each, in turn, files in the page cache. The package of `appointment` has {:.1} MB. The Node.js peer is its routes behind the runtime API (`tools/bench/peers/node-aws-sdk/function.js`). Both have this machine's whole processor, of which Lambda gives 256 MB a seventh; and Lambda first has to find a place and to fetch the package, which this does not show. Of the address space nearly all is reserved for instances and never touched.",
            function_start.starts,
            function_start.package_bytes as f64 / 1e6,
        ));
        self.line("");
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

    pub(crate) fn end_to_end(&mut self, end_to_end: &EndToEnd) {
        self.heading(END_TO_END);
        self.line("Milliseconds, p50 / p99, by the lines that intake, worker and confirmation log. After the `202` each hop begins where the one before it ends, and its share is that of its sum over all bookings; a hop that is not a function's is the emulator's. The functions are those of `cargo xtask package`, the durations are the deployed ones, and bookings of one second at the same rate went before. *Accepted* were all completed; those of which the emulator dropped a log line (it reads what a function prints for at most 250 ms after the response) are not timed. *Refused* are those with the response 503, because the emulator took longer than intake waits; they are not timed either. *Processors* is how many the emulator and everything together used while the bookings were sent; the emulator is one Python process, of which only one thread runs Python at a time. *Intake* is its part of the request, its two calls included; the rest is API Gateway's and Lambda's, or the host's.");
        self.line("");
        let hop = |hop: Hop| format!("{:.0} / {:.0}", hop.p50, hop.p99);
        let names = end_to_end.rows.first().into_iter().flat_map(|row| &row.hops).map(|each| each.name.as_str());
        let head: Vec<&str> =
            ["by", "per second", "accepted", "refused", "processors", "request to 202", "intake", "202 to completed"]
                .into_iter()
                .chain(names)
                .collect();
        let rows = end_to_end.rows.iter().map(|row| {
            let all = [
                row.entry_point.label().to_owned(),
                row.bookings_per_second.to_string(),
                match row.untimed {
                    0 => row.bookings.to_string(),
                    untimed => format!("{} ({untimed} not timed)", row.bookings),
                },
                row.refused.to_string(),
                format!("{:.2} / {:.2}", row.processors.emulator, row.processors.all),
                hop(row.accepted),
                hop(row.intake),
                hop(row.whole),
            ];
            let shares = row.hops.iter().map(|each| format!("{} ({:.0} %)", hop(each.hop), each.share * 100.0));
            all.into_iter().chain(shares).collect()
        });
        self.table(&head, rows);
        for rate in &end_to_end.not_held {
            self.line(&format!("Not in the table: {rate}."));
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

    pub(crate) fn growth(&mut self, growth: &Growth) {
        self.heading(GROWTH);
        self.line("The components' own operations against `dynalite` (LevelDB), which executes them, counts what it reads, and computes DynamoDB's capacity units. The items are those of the operation that read the most in vain, the units the most that one took. *Commands due* is the republisher's query of one shard of the index, before and after the new bookings are due; a *republication* claims one row and sets when it is due again. *Slots* are of one specialty and all free; *a slot leaves the list* when it is booked. It counts no units for a query that finds nothing and for what a write changes in the index, for which AWS takes half a read unit and a write unit. The milliseconds are that store's, not AWS's.");
        self.line("");
        let rows = growth.rows.iter().map(|row| {
            vec![
                match row.population {
                    Population::One => "one person's",
                    Population::Many => "many persons'",
                    Population::Slots => "slots",
                }
                .to_owned(),
                row.appointments.to_string(),
                row.operation.clone(),
                row.items_read.to_string(),
                row.items_returned.to_string(),
                format!("{:.1}", row.capacity_units),
                row.milliseconds.text(1),
            ]
        });
        let head = ["whose", "appointments or slots", "operation", "items read", "returned", "units", "ms"];
        self.table(&head, rows);
    }

    pub(crate) fn slots(&mut self, slots: &Slots) {
        self.heading(SLOTS);
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

    pub(crate) fn drain(&mut self, drain: &Drain) {
        self.heading(DRAIN);
        self.line(&format!(
            "{} commands of one country are due at once. The component, in the embedded host of one process with one thread, published them to the stand-in in {:.0} s and {} calls: {:.0} per second, where ten minutes need 100. The topic took {} publications: {} more than one per row, after {} calls about a row that failed. A row is published again only if the response to one of its calls is lost. Each row is two writes to `dynalite`, which needs {:.0} µs of a processor for it, beside {:.0} µs of the component and its host.",
            drain.rows,
            drain.seconds,
            drain.calls,
            drain.rows_per_second(),
            drain.publications,
            drain.repeated(),
            drain.failed,
            drain.store_cpu_us_per_row,
            drain.cpu_us_per_row,
        ));
        self.line("");
    }
}
