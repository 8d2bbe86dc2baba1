//! `cargo xtask cost`: what AWS asks for a million bookings, from what a booking calls and from list prices.
//!
//! `docs/cost.md` is what this prints; a test compares the two.

use std::fmt::Write as _;

/// When the prices were looked up, and where. They were not read from AWS's own pages, which were out of reach.
const PRICES_AS_OF: &str = "list prices in USD for us-east-1, as public price guides of March to September 2026 quote them, without \
    taxes, free tiers and discounts; db.m7g.large is the price for MySQL, PostgreSQL's is a few percent more";

/// A list price.
#[derive(Clone, Copy)]
struct Price {
    what: &'static str,
    unit: &'static str,
    usd: f64,
    /// How many pieces cost that.
    pieces: f64,
}

const MILLION: f64 = 1e6;
const HOURS: f64 = 730.0;

const fn million(what: &'static str, unit: &'static str, usd: f64) -> Price {
    Price { what, unit, usd, pieces: MILLION }
}

const fn one(what: &'static str, unit: &'static str, usd: f64) -> Price {
    Price { what, unit, usd, pieces: 1.0 }
}

const HTTP_API: Price = million("API Gateway, HTTP API", "requests", 1.00);
const WRITES: Price = million("DynamoDB on demand, writes", "write request units", 0.625);
const READS: Price = million("DynamoDB on demand, reads", "read request units", 0.125);
const TABLE: Price = one("DynamoDB, storage and point-in-time recovery", "GB a month", 0.25 + 0.20);
const SNS: Price = million("SNS, standard topic", "publications", 0.50);
const SQS: Price = million("SQS, standard queue", "requests", 0.40);
const LAMBDA: Price = million("Lambda", "invocations", 0.20);
const LAMBDA_TIME: Price = one("Lambda, arm64", "GB-seconds", 0.000_013_333_4);
const EVENTS: Price = million("EventBridge, custom events", "events", 1.00);
const ARCHIVE: Price = one("EventBridge, archiving", "GB", 0.10);
const LOGS: Price = one("CloudWatch Logs, ingestion", "GB", 0.50);
const DATABASE: Price = one("RDS PostgreSQL db.t4g.small, one instance", "hours", 0.032);
const MEDIUM: Price = one("RDS PostgreSQL db.t4g.medium, one instance", "hours", 0.065);
const LARGE: Price = one("RDS PostgreSQL db.m7g.large, one instance", "hours", 0.168);
const DATABASE_STORAGE: Price = one("RDS, gp3 storage", "GB a month", 0.115);
const ENDPOINT: Price = one("VPC interface endpoint, one zone", "hours", 0.01);
const KEY: Price = one("KMS, customer-managed key", "keys a month", 1.00);
const KEY_USE: Price = million("KMS", "requests", 3.00);
const ALARM: Price = one("CloudWatch alarm, each metric", "metrics a month", 0.10);
const DASHBOARD: Price = one("CloudWatch dashboard", "dashboards a month", 3.00);
const SECRET: Price = one("Secrets Manager", "secrets a month", 0.40);
const METRIC: Price = one("CloudWatch, custom and detailed metrics", "metrics a month", 0.30);

/// What one booking uses of something, where bookings come one by one and where ten come in a batch.
struct Use {
    price: Price,
    spread: f64,
    busy: f64,
    why: &'static str,
}

const fn same(price: Price, pieces: f64, why: &'static str) -> Use {
    Use { price, spread: pieces, busy: pieces, why }
}

/// A batch of the country's queue: ten messages where the system is busy.
const fn batch(price: Price, each: f64, a_batch: f64, why: &'static str) -> Use {
    Use { price, spread: each + a_batch, busy: each + a_batch / 10.0, why }
}

/// In the order in which a booking meets them.
fn a_booking() -> [Use; 12] {
    [
        same(HTTP_API, 4.0, "a page of free slots, one `POST`, and the person looks at the list twice"),
        same(LAMBDA, 4.0, "intake, for each request"),
        same(LAMBDA_TIME, 4.0 * 0.25 * 0.015, "256 MiB for 15 ms, an assumption"),
        same(
            WRITES,
            5.0 + 2.0 + 4.0,
            "a transaction of row and `Idempotency-Key` (two units each) and the row's entry in the index `pending`; the outcome \
             changes the row and removes the entry, and takes the slot out of its three indexes. Without a key: 8",
        ),
        same(
            READS,
            2.0 + 1.5,
            "a consistent query for each look at the list, of up to 4 KB; a page of twenty free slots of 0.6 KB",
        ),
        same(SNS, 1.0, "the request; deliveries to SQS are free"),
        batch(
            SQS,
            2.0,
            4.0,
            "the country's queue and the confirmation queue: a delivery for each booking, a receipt and a deletion for each batch",
        ),
        batch(LAMBDA, 0.0, 2.0, "worker and confirmation, for each batch"),
        batch(LAMBDA_TIME, 0.0, 2.0 * 0.25 * 0.05, "256 MiB for 50 ms each, an assumption"),
        same(EVENTS, 2.0, "the outcome, and `AppointmentStatusChanged`"),
        same(ARCHIVE, 2e-6, "both events, 1 KB each"),
        same(LOGS, 4e-6, "4 KB: the lines of the functions, what Lambda adds to each call, and API Gateway's"),
    ]
}

/// Requests of a visit to the page: the document and its settings each time, and its files where the browser does not have them,
/// which is every second visit, an assumption.
const VISIT: f64 = 2.0 + 11.0 / 2.0;

/// What it costs that a booking is made on the page.
fn a_visit() -> [CostLine; 4] {
    [
        cost_line(
            HTTP_API,
            VISIT * MILLION,
            "the document, its settings, and on every second visit its eleven files, an assumption",
        ),
        cost_line(LAMBDA, VISIT * MILLION, "the function of the page, for each request"),
        cost_line(LAMBDA_TIME, VISIT * MILLION * 0.25 * 0.002, "256 MiB for 2 ms, an assumption"),
        cost_line(LOGS, VISIT * 0.7, "0.7 KB for each: what Lambda adds to a call, and API Gateway's line"),
    ]
}

/// One line of a table of costs: so many pieces of something, at its price, and why.
struct CostLine {
    price: Price,
    pieces: f64,
    why: &'static str,
}

const fn cost_line(price: Price, pieces: f64, why: &'static str) -> CostLine {
    CostLine { price, pieces, why }
}

/// The metrics that the alarms for two countries watch: Terraform's tests count them too (`infra/tests/alarms.tftest.hcl`).
const ALARM_METRICS: f64 = 64.0;

/// Shards of the index `pending` that a call of the schedule reads.
const INDEX_QUERIES: f64 = 9.0;

/// The same with every size of the databases.
fn for_every_size() -> [CostLine; 9] {
    [
        cost_line(KEY_USE, 0.1 * MILLION, "SQS, SNS and DynamoDB reuse a data key for minutes"),
        cost_line(ALARM, ALARM_METRICS, "62 alarms of `infra/modules/observability`, two of them on two metrics"),
        cost_line(METRIC, 1.0, "the age of the oldest command that is due, from the republisher's line"),
        cost_line(DASHBOARD, 1.0, "in the same module"),
        cost_line(SECRET, 2.0, "the databases' master passwords"),
        cost_line(SQS, 4.0 * 5.0 * 3.0 * 60.0 * HOURS, "five long polls of 20 s at each of four queues, by Lambda"),
        cost_line(
            LAMBDA,
            2.0 * 2.0 * 60.0 * HOURS,
            "the schedules' calls: for what is unanswered, and for slots, one a minute each for each country",
        ),
        cost_line(
            READS,
            2.0 * 60.0 * HOURS * INDEX_QUERIES * 0.5,
            "what the first of them reads in the index: nine queries each, of four shards that wait, four that were given up and an earlier version's",
        ),
        cost_line(
            WRITES,
            2.0 * 10_000.0 * 4.0,
            "imports of 10,000 slots in each country: a slot, and its entry in three indexes. A bucket's files cost less than a cent",
        ),
    ]
}

fn defaults() -> [CostLine; 4] {
    [
        cost_line(DATABASE, 2.0 * 2.0 * HOURS, "two countries, two availability zones"),
        cost_line(DATABASE_STORAGE, 2.0 * 2.0 * 20.0, "20 GB for each"),
        cost_line(ENDPOINT, 3.0 * 2.0 * HOURS, "EventBridge, Secrets Manager and SQS, two zones"),
        cost_line(KEY, 4.0 + 4.0 * 2.0, "tables, topic, queues, logs; four for each country"),
    ]
}

/// `infra/examples/production`. A Multi-AZ instance has two zones, however many the network has.
fn production() -> [CostLine; 6] {
    [
        cost_line(LARGE, 2.0 * HOURS, "Peru, two availability zones"),
        cost_line(MEDIUM, 2.0 * HOURS, "Chile, two availability zones"),
        cost_line(DATABASE_STORAGE, 2.0 * (100.0 + 20.0), "100 GB for Peru, 20 GB for Chile, in each zone"),
        cost_line(ENDPOINT, 3.0 * 3.0 * HOURS, "EventBridge, Secrets Manager and SQS, three zones"),
        cost_line(KEY, 4.0 + 4.0 * 2.0 + 1.0, "as above, and the topic of alarms"),
        cost_line(METRIC, 17.0 * 6.0, "`detailed_metrics`: six of each of seventeen routes, where all are called"),
    ]
}

impl Price {
    fn of(&self, pieces: f64) -> f64 {
        pieces / self.pieces * self.usd
    }
}

/// The page: `docs/cost.md`.
pub(crate) fn page() -> String {
    let mut page = format!(
        "# What it costs\n\n\
         Printed by `cargo xtask cost`, which holds the prices and what a booking uses; a test fails where this page differs.\n\n\
         Prices: {PRICES_AS_OF}. Put your region's in `xtask/src/cost.rs` before you rely on a sum. Traffic to the internet, \
         support and the people who operate it are not in here.\n\n\
         ## A million bookings\n\n\
         Each is sent with an `Idempotency-Key`, is decided, and is confirmed. `one by one`: every message is a batch of its own. `busy`: \
         batches are full (ten).\n\n\
         | what | of one booking, one by one | busy | USD, one by one | busy | why |\n| --- | --: | --: | --: | --: | --- |\n"
    );
    let (mut spread, mut busy) = (0.0, 0.0);
    for line in a_booking() {
        let costs = [line.spread, line.busy].map(|pieces| line.price.of(pieces * MILLION));
        spread += costs[0];
        busy += costs[1];
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "| {} | {} {} | {} | {:.2} | {:.2} | {} |",
            line.price.what,
            number(line.spread),
            line.price.unit,
            number(line.busy),
            costs[0],
            costs[1],
            line.why,
        );
    }
    let _ = write!(
        page,
        "| **together** | | | **{spread:.2}** | **{busy:.2}** | |\n\n\
         A million rows of 1 KB that are kept cost {:.2} USD a month more in the table.\n\n\
         Where each is made on the booking page, a million visits come to that:\n\n",
        TABLE.of(1.0)
    );
    cost_table(&mut page, &a_visit());
    page.push_str("\n## A month without a booking\n\nTwo countries.\n\n");
    let every = cost_table(&mut page, &for_every_size());
    page.push_str("\nTo that come, with the defaults of `infra/`:\n\n");
    let defaults = cost_table(&mut page, &defaults());
    page.push_str("\nOr, with `infra/examples/production`:\n\n");
    let production = cost_table(&mut page, &production());
    let _ = write!(
        page,
        "\nA metric that a filter makes of a log line is charged for the hours in which it has a value: nothing while nothing fails. \
         Backups beyond the size of the databases are charged too: 35 days of them, as the production example keeps, cost as much as \
         their changes.\n\n\
         Where intake runs elsewhere (Akamai Functions, SpinKube) that is another bill, and its four calls of a function are not on \
         this one.\n\n\
         ## Example\n\n\
         A million bookings a month: {:.2} to {:.2} USD with the defaults, {:.2} to {:.2} USD with the production example.\n\n\
         ## Prices\n\n| what | USD | for |\n| --- | --: | --- |\n",
        busy + every + defaults,
        spread + every + defaults,
        busy + every + production,
        spread + every + production,
    );
    for price in [
        HTTP_API,
        WRITES,
        READS,
        TABLE,
        SNS,
        SQS,
        LAMBDA,
        LAMBDA_TIME,
        EVENTS,
        ARCHIVE,
        LOGS,
        DATABASE,
        MEDIUM,
        LARGE,
        DATABASE_STORAGE,
        ENDPOINT,
        KEY,
        KEY_USE,
        ALARM,
        DASHBOARD,
        SECRET,
        METRIC,
    ] {
        let each = if price.pieces > 1.0 { "a million " } else { "" };
        let _ = writeln!(page, "| {} | {} | {each}{} |", price.what, price.usd, price.unit);
    }
    page
}

/// Writes a table; its sum.
fn cost_table(page: &mut String, lines: &[CostLine]) -> f64 {
    page.push_str("| what | how much | USD | why |\n| --- | --: | --: | --- |\n");
    let mut sum = 0.0;
    for CostLine { price, pieces, why } in lines {
        let cost = price.of(*pieces);
        sum += cost;
        let _ = writeln!(page, "| {} | {} {} | {cost:.2} | {why} |", price.what, number(*pieces), price.unit);
    }
    let _ = writeln!(page, "| **together** | | **{sum:.2}** | |");
    sum
}

/// A quantity as people write it, without what a binary fraction adds.
fn number(value: f64) -> String {
    if value != 0.0 && value < 1e-3 { format!("{value:e}") } else { ((value * 1e6).round() / 1e6).to_string() }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use appointment::Country;

    use super::*;

    #[test]
    fn the_page_is_what_is_computed() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cost.md");
        let written = std::fs::read_to_string(path).unwrap();
        assert_eq!(written, page(), "write it anew: cargo xtask cost > docs/cost.md");
    }

    #[test]
    fn the_production_example_is_the_one_that_is_priced() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/examples/production/main.tf");
        let example = std::fs::read_to_string(path).unwrap();
        for (setting, priced) in [
            (r#"database           = { instance_class = "db.t4g.medium","#, MEDIUM.what.contains("db.t4g.medium")),
            (
                r#"PE = { instance_class = "db.m7g.large", allocated_storage_gib = 100,"#,
                LARGE.what.contains("db.m7g.large"),
            ),
            ("availability_zone_count = 3", (production()[3].pieces - 3.0 * 3.0 * HOURS).abs() < 1e-9),
            ("detailed_metrics = true", (production()[5].pieces - 17.0 * 6.0).abs() < 1e-9),
        ] {
            assert!(example.contains(setting) && priced, "{setting} in infra/examples/production, and its price here");
        }
    }

    #[test]
    fn the_schedules_queries_are_those_of_every_shard() {
        let shards = backplane::PendingShards::default();
        let queries = shards.waiting(Country::Peru).count() + shards.given_up(Country::Peru).count();
        assert!((INDEX_QUERIES - queries as f64).abs() < 1e-9, "{queries} queries a call");
    }

    #[test]
    fn a_price_is_for_its_pieces() {
        assert!((HTTP_API.of(3.0 * MILLION) - 3.0).abs() < 1e-9);
        assert!((DATABASE.of(2.0 * HOURS) - 46.72).abs() < 1e-9);
        // Ten in a batch share its receipt and its deletion.
        let [_, _, _, _, _, _, queue, ..] = a_booking();
        assert!((queue.spread - 6.0).abs() < 1e-9 && (queue.busy - 2.4).abs() < 1e-9);
    }
}
