//! `cargo xtask cost`: what AWS charges for a million bookings, computed from the calls of one booking and from list prices.
//!
//! `docs/cost.md` is what this prints; a test compares the two.

use std::fmt::Write as _;

/// When and where the prices were looked up. AWS's own pages were out of reach.
const PRICES_AS_OF: &str = "list prices in USD for us-east-1, as public price guides of March to September 2026 quote them, without \
    taxes, free tiers and discounts; db.m7g.large is the price for MySQL, PostgreSQL's is a few percent more";

/// A list price.
#[derive(Clone, Copy)]
struct Price {
    what: &'static str,
    unit: &'static str,
    usd: f64,
    /// How many units cost that.
    units: f64,
}

const MILLION: f64 = 1e6;
const HOURS: f64 = 730.0;

const fn million(what: &'static str, unit: &'static str, usd: f64) -> Price {
    Price { what, unit, usd, units: MILLION }
}

const fn one(what: &'static str, unit: &'static str, usd: f64) -> Price {
    Price { what, unit, usd, units: 1.0 }
}

const HTTP_API: Price = million("API Gateway, HTTP API", "requests", 1.00);
const WRITES: Price = million("DynamoDB on demand, writes", "write request units", 0.625);
const READS: Price = million("DynamoDB on demand, reads", "read request units", 0.125);
const TABLE: Price = one("DynamoDB, storage and point-in-time recovery", "GB-months", 0.25 + 0.20);
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
const DATABASE_STORAGE: Price = one("RDS, gp3 storage", "GB-months", 0.115);
const ENDPOINT: Price = one("VPC interface endpoint, one zone", "hours", 0.01);
const KEY: Price = one("KMS, customer-managed key", "keys per month", 1.00);
const KEY_USE: Price = million("KMS", "requests", 3.00);
const ALARM: Price = one("CloudWatch alarm, each metric", "metrics per month", 0.10);
const DASHBOARD: Price = one("CloudWatch dashboard", "dashboards per month", 3.00);
const SECRET: Price = one("Secrets Manager", "secrets per month", 0.40);
const METRIC: Price = one("CloudWatch, custom and detailed metrics", "metrics per month", 0.30);

/// How many units of a service one booking uses.
struct Usage {
    price: Price,
    /// Each message is a batch of its own.
    one_by_one: f64,
    /// Every batch holds ten messages.
    full_batches: f64,
    why: &'static str,
}

/// The same whatever the size of the batches.
const fn per_booking(price: Price, units: f64, why: &'static str) -> Usage {
    Usage { price, one_by_one: units, full_batches: units, why }
}

/// Some units for each booking, others once for the batch that it is in.
const fn with_batches(price: Price, per_booking: f64, per_batch: f64, why: &'static str) -> Usage {
    Usage { price, one_by_one: per_booking + per_batch, full_batches: per_booking + per_batch / 10.0, why }
}

/// In the order in which a booking uses the services.
fn booking() -> [Usage; 12] {
    [
        per_booking(HTTP_API, 4.0, "a page of free slots, one `POST`, and two looks at the person's list"),
        per_booking(LAMBDA, 4.0, "intake, one call per request"),
        per_booking(LAMBDA_TIME, 4.0 * 0.25 * 0.015, "256 MiB for 15 ms, an assumption"),
        per_booking(
            WRITES,
            5.0 + 2.0 + 4.0,
            "one transaction writes the row and the `Idempotency-Key` (two units each), and the row's entry in the index `pending`. The \
             outcome changes the row, removes that entry, and removes the slot from its three indexes. Without a key: 8",
        ),
        per_booking(
            READS,
            2.0 + 1.5,
            "a consistent query of up to 4 KB for each look at the list; a page of twenty free slots of 0.6 KB each",
        ),
        per_booking(SNS, 1.0, "the request. Deliveries to SQS are free"),
        with_batches(
            SQS,
            2.0,
            4.0,
            "the country's queue and the confirmation queue, each: one delivery per booking, one receive and one deletion per batch",
        ),
        with_batches(LAMBDA, 0.0, 2.0, "worker and confirmation, one call each per batch"),
        with_batches(LAMBDA_TIME, 0.0, 2.0 * 0.25 * 0.05, "256 MiB for 50 ms each, an assumption"),
        per_booking(EVENTS, 2.0, "the outcome, and `AppointmentStatusChanged`"),
        per_booking(ARCHIVE, 2e-6, "both events, 1 KB each"),
        per_booking(
            LOGS,
            4e-6,
            "4 KB: the functions' lines, Lambda's lines about each call, and API Gateway's access log",
        ),
    ]
}

/// Requests per visit to the page: the document and its settings each time. We assume that the browser has its eleven files on
/// every second visit.
const VISIT: f64 = 2.0 + 11.0 / 2.0;

/// What a million visits to the booking page cost.
fn visits() -> [CostLine; 4] {
    [
        cost_line(
            HTTP_API,
            VISIT * MILLION,
            "the document and its settings; its eleven files on every second visit, an assumption",
        ),
        cost_line(LAMBDA, VISIT * MILLION, "the page's function, one call per request"),
        cost_line(LAMBDA_TIME, VISIT * MILLION * 0.25 * 0.002, "256 MiB for 2 ms, an assumption"),
        cost_line(LOGS, VISIT * 0.7, "0.7 KB per request: Lambda's lines and API Gateway's access log"),
    ]
}

/// One line of a table of costs: how many units, at which price, and why.
struct CostLine {
    price: Price,
    units: f64,
    why: &'static str,
}

const fn cost_line(price: Price, units: f64, why: &'static str) -> CostLine {
    CostLine { price, units, why }
}

/// The metrics that the alarms for two countries watch: Terraform's tests count them too (`infra/tests/alarms.tftest.hcl`).
const ALARM_METRICS: f64 = 64.0;

/// Shards of the index `pending` that each scheduled call reads.
const INDEX_QUERIES: f64 = 9.0;

/// What does not depend on the size of the databases.
fn for_every_size() -> [CostLine; 9] {
    [
        cost_line(KEY_USE, 0.1 * MILLION, "SQS, SNS and DynamoDB use a data key for minutes"),
        cost_line(ALARM, ALARM_METRICS, "62 alarms of `infra/modules/observability`, two of them with two metrics"),
        cost_line(METRIC, 1.0, "the age of the oldest command that is due, from the republisher's log line"),
        cost_line(DASHBOARD, 1.0, "one, in the same module"),
        cost_line(SECRET, 2.0, "the databases' master passwords"),
        cost_line(
            SQS,
            4.0 * 5.0 * 3.0 * 60.0 * HOURS,
            "Lambda polls each of four queues by five long polls of 20 s at a time",
        ),
        cost_line(
            LAMBDA,
            2.0 * 2.0 * 60.0 * HOURS,
            "two scheduled calls per minute and country: one republishes what is undecided, one announces slots",
        ),
        cost_line(
            READS,
            2.0 * 60.0 * HOURS * INDEX_QUERIES * 0.5,
            "the first of these calls makes nine queries of the index: four shards of waiting commands, four of given-up ones, and that of an earlier version",
        ),
        cost_line(
            WRITES,
            2.0 * 10_000.0 * 4.0,
            "imports of 10,000 slots per country: each slot, and its entry in three indexes. The files in the bucket cost less than a cent",
        ),
    ]
}

fn defaults() -> [CostLine; 4] {
    [
        cost_line(DATABASE, 2.0 * 2.0 * HOURS, "two countries, two availability zones"),
        cost_line(DATABASE_STORAGE, 2.0 * 2.0 * 20.0, "20 GB per instance"),
        cost_line(ENDPOINT, 3.0 * 2.0 * HOURS, "EventBridge, Secrets Manager and SQS, two zones"),
        cost_line(KEY, 4.0 + 4.0 * 2.0, "tables, topic, queues, logs; four per country"),
    ]
}

/// `infra/examples/production`. A Multi-AZ instance uses two zones, even if the network has three.
fn production() -> [CostLine; 6] {
    [
        cost_line(LARGE, 2.0 * HOURS, "Peru, two availability zones"),
        cost_line(MEDIUM, 2.0 * HOURS, "Chile, two availability zones"),
        cost_line(DATABASE_STORAGE, 2.0 * (100.0 + 20.0), "100 GB for Peru, 20 GB for Chile, in each zone"),
        cost_line(ENDPOINT, 3.0 * 3.0 * HOURS, "EventBridge, Secrets Manager and SQS, three zones"),
        cost_line(KEY, 4.0 + 4.0 * 2.0 + 1.0, "the same, and one for the alarms' topic"),
        cost_line(METRIC, 17.0 * 6.0, "`detailed_metrics`: six for each of seventeen routes, if all are called"),
    ]
}

impl Price {
    fn of(&self, units: f64) -> f64 {
        units / self.units * self.usd
    }
}

/// The page: `docs/cost.md`.
pub(crate) fn page() -> String {
    let mut page = format!(
        "# What it costs\n\n\
         `cargo xtask cost` prints this page from the prices and quantities in `xtask/src/cost.rs`. A test fails if the page differs.\n\n\
         Prices: {PRICES_AS_OF}. Put the prices of your region into `xtask/src/cost.rs` before you rely on a sum. Not included: traffic to \
         the internet, support, and the people who operate the system.\n\n\
         ## A million bookings\n\n\
         Each booking is sent with an `Idempotency-Key`, decided and confirmed. `One by one`: each message is a batch of its own. \
         `Full batches`: each batch holds ten messages.\n\n\
         | what | per booking, one by one | full batches | USD per million, one by one | full batches | why |\n\
         | --- | --: | --: | --: | --: | --- |\n"
    );
    let (mut one_by_one, mut full_batches) = (0.0, 0.0);
    for line in booking() {
        let costs = [line.one_by_one, line.full_batches].map(|units| line.price.of(units * MILLION));
        one_by_one += costs[0];
        full_batches += costs[1];
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "| {} | {} {} | {} | {:.2} | {:.2} | {} |",
            line.price.what,
            number(line.one_by_one),
            line.price.unit,
            number(line.full_batches),
            costs[0],
            costs[1],
            line.why,
        );
    }
    let _ = write!(
        page,
        "| **sum** | | | **{one_by_one:.2}** | **{full_batches:.2}** | |\n\n\
         The table keeps the rows: a million rows of 1 KB cost {:.2} USD per month.\n\n\
         If people book on the booking page, add its visits. A million of them cost:\n\n",
        TABLE.of(1.0)
    );
    cost_table(&mut page, &visits());
    page.push_str("\n## A month without a booking\n\nFor two countries:\n\n");
    let every = cost_table(&mut page, &for_every_size());
    page.push_str("\nIn addition, with the defaults of `infra/`:\n\n");
    let defaults = cost_table(&mut page, &defaults());
    page.push_str("\nOr, instead of these, with `infra/examples/production`:\n\n");
    let production = cost_table(&mut page, &production());
    let _ = write!(
        page,
        "\nAWS charges a metric that a filter makes from log lines only for the hours in which it has a value: if nothing fails, nothing. \
         It charges backups beyond the size of the databases. The production example keeps 35 days of them; their size depends on how \
         much the databases change.\n\n\
         If intake runs elsewhere (Akamai Functions, SpinKube), its host has its own bill, and the four calls of its function are not on \
         this one.\n\n\
         ## Example\n\n\
         A million bookings per month cost {:.2} to {:.2} USD with the defaults, and {:.2} to {:.2} USD with the production example.\n\n\
         ## Prices\n\n| what | USD | for |\n| --- | --: | --- |\n",
        full_batches + every + defaults,
        one_by_one + every + defaults,
        full_batches + every + production,
        one_by_one + every + production,
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
        let each = if price.units > 1.0 { "a million " } else { "" };
        let _ = writeln!(page, "| {} | {} | {each}{} |", price.what, price.usd, price.unit);
    }
    page
}

/// Writes a table, and returns its sum in USD.
fn cost_table(page: &mut String, lines: &[CostLine]) -> f64 {
    page.push_str("| what | how much | USD | why |\n| --- | --: | --: | --- |\n");
    let mut sum = 0.0;
    for CostLine { price, units, why } in lines {
        let cost = price.of(*units);
        sum += cost;
        let _ = writeln!(page, "| {} | {} {} | {cost:.2} | {why} |", price.what, number(*units), price.unit);
    }
    let _ = writeln!(page, "| **sum** | | **{sum:.2}** | |");
    sum
}

/// A quantity rounded to six decimal places, because binary fractions would show; a very small one as `2e-6`.
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
        assert_eq!(written, page(), "write it again: cargo xtask cost > docs/cost.md");
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
            ("availability_zone_count = 3", (production()[3].units - 3.0 * 3.0 * HOURS).abs() < 1e-9),
            ("detailed_metrics = true", (production()[5].units - 17.0 * 6.0).abs() < 1e-9),
        ] {
            assert!(example.contains(setting) && priced, "{setting} in infra/examples/production, and its price here");
        }
    }

    #[test]
    fn the_schedules_queries_are_those_of_every_shard() {
        let shards = backplane::PendingShards::default();
        let queries = shards.waiting(Country::Peru).count() + shards.given_up(Country::Peru).count();
        assert!((INDEX_QUERIES - queries as f64).abs() < 1e-9, "{queries} queries per call");
    }

    #[test]
    fn a_price_is_for_its_units() {
        assert!((HTTP_API.of(3.0 * MILLION) - 3.0).abs() < 1e-9);
        assert!((DATABASE.of(2.0 * HOURS) - 46.72).abs() < 1e-9);
        // Ten messages of a batch share its receive and its deletion.
        let [_, _, _, _, _, _, queue, ..] = booking();
        assert!((queue.one_by_one - 6.0).abs() < 1e-9 && (queue.full_batches - 2.4).abs() < 1e-9);
    }
}
