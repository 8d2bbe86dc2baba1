//! `cargo xtask cost`: what AWS asks for a million bookings, from what a booking calls and from list prices.
//!
//! `docs/cost.md` is what this prints; a test compares the two.

use std::fmt::Write as _;

/// When the prices were looked up, and where. They were not read from AWS's own pages, which were out of reach.
const PRICES_AS_OF: &str = "list prices in USD for us-east-1, as public price guides of March to September 2026 quote them, without \
    taxes, free tiers and discounts";

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
const PIPES: Price = million("EventBridge Pipes", "requests", 0.40);
const DESTINATIONS: Price = million("EventBridge, API destinations", "calls", 0.20);
const LOGS: Price = one("CloudWatch Logs, ingestion", "GB", 0.50);
const DATABASE: Price = one("RDS PostgreSQL db.t4g.small, one instance", "hours", 0.032);
const DATABASE_STORAGE: Price = one("RDS, gp3 storage", "GB a month", 0.115);
const ENDPOINT: Price = one("VPC interface endpoint, one zone", "hours", 0.01);
const KEY: Price = one("KMS, customer-managed key", "keys a month", 1.00);
const KEY_USE: Price = million("KMS", "requests", 3.00);
const ALARM: Price = one("CloudWatch alarm, each metric", "metrics a month", 0.10);
const DASHBOARD: Price = one("CloudWatch dashboard", "dashboards a month", 3.00);
const SECRET: Price = one("Secrets Manager", "secrets a month", 0.40);
const CPU: Price = one("Fargate, arm64", "vCPU hours", 0.032_38);
const MEMORY: Price = one("Fargate, arm64, memory", "GB hours", 0.003_56);
const BALANCER: Price = one("Application Load Balancer, one capacity unit used", "hours", 0.0225 + 0.008);
const ADDRESS: Price = one("public IPv4 address", "hours", 0.005);

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
        same(HTTP_API, 3.0, "one `POST`, and the person looks at the list twice"),
        same(
            WRITES,
            5.0 + 2.0,
            "a transaction of row and `Idempotency-Key` (two units each) and the row's entry in the index `pending`; the outcome \
             changes the row and removes the entry. Without a key: 4",
        ),
        same(READS, 2.0, "a consistent query for each look at the list, of up to 4 KB"),
        same(SNS, 1.0, "the request; deliveries to SQS are free"),
        batch(
            SQS,
            1.0 + 3.0,
            2.0,
            "the country's queue: a delivery for each booking, a receipt and a deletion for each batch; the confirmation queue: all \
             three for each",
        ),
        batch(LAMBDA, 0.0, 1.0, "an invocation for each batch"),
        batch(LAMBDA_TIME, 0.0, 0.25 * 0.05, "256 MiB for 50 ms, an assumption"),
        same(EVENTS, 2.0, "the outcome, and `AppointmentStatusChanged`"),
        same(ARCHIVE, 2e-6, "both events, 1 KB each"),
        same(PIPES, 1.0, "one outcome a request"),
        same(DESTINATIONS, 1.0, "the same"),
        same(LOGS, 2e-6, "2 KB: the lines of intake, worker, confirmation and API Gateway"),
    ]
}

/// What a set-up costs in a month without one booking.
struct Standing {
    price: Price,
    pieces: f64,
    why: &'static str,
}

const fn standing(price: Price, pieces: f64, why: &'static str) -> Standing {
    Standing { price, pieces, why }
}

fn backplane() -> [Standing; 9] {
    [
        standing(DATABASE, 2.0 * 2.0 * HOURS, "two countries, two availability zones"),
        standing(DATABASE_STORAGE, 2.0 * 2.0 * 20.0, "20 GB for each"),
        standing(ENDPOINT, 2.0 * 2.0 * HOURS, "EventBridge and Secrets Manager, two zones"),
        standing(KEY, 5.0 + 3.0 * 2.0, "table, topic, queue, connection, logs; three for each country"),
        standing(KEY_USE, 0.1 * MILLION, "SQS, SNS and DynamoDB reuse a data key for minutes"),
        standing(ALARM, 31.0, "30 alarms of `infra/modules/observability`, one of them on two metrics"),
        standing(DASHBOARD, 1.0, "in the same module"),
        standing(SECRET, 2.0, "the databases' master passwords"),
        standing(
            SQS,
            3.0 * 5.0 * 3.0 * 60.0 * HOURS,
            "five long polls of 20 s at each of three queues, by Lambda and by the pipe",
        ),
    ]
}

fn fargate() -> [Standing; 5] {
    [
        standing(CPU, 2.0 * 0.5 * HOURS, "two tasks of half a vCPU; a booking takes about 1 ms of it"),
        standing(MEMORY, 2.0 * HOURS, "1 GB each, room for two Spin processes"),
        standing(BALANCER, HOURS, "HTTPS with a public certificate"),
        standing(ADDRESS, 4.0 * HOURS, "two of the tasks, two of the balancer"),
        standing(SECRET, 1.0, "the internal API key"),
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
         ## A month without a booking\n\n\
         Two countries with the defaults of `infra/`.\n\n",
        TABLE.of(1.0)
    );
    let backplane = standing_table(&mut page, &backplane());
    page.push_str("\n### With the application on Fargate\n\n");
    let fargate = standing_table(&mut page, &fargate());
    let _ = write!(
        page,
        "\nOn Akamai Functions and on a cluster of your own (SpinKube) that part is another bill.\n\n\
         ## Example\n\n\
         A million bookings a month, two countries, Fargate: {:.2} to {:.2} USD.\n\n\
         ## Prices\n\n| what | USD | for |\n| --- | --: | --- |\n",
        busy + backplane + fargate,
        spread + backplane + fargate,
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
        PIPES,
        DESTINATIONS,
        LOGS,
        DATABASE,
        DATABASE_STORAGE,
        ENDPOINT,
        KEY,
        KEY_USE,
        ALARM,
        DASHBOARD,
        SECRET,
        CPU,
        MEMORY,
        BALANCER,
        ADDRESS,
    ] {
        let each = if price.pieces > 1.0 { "a million " } else { "" };
        let _ = writeln!(page, "| {} | {} | {each}{} |", price.what, price.usd, price.unit);
    }
    page
}

/// Writes a table; its sum.
fn standing_table(page: &mut String, lines: &[Standing]) -> f64 {
    page.push_str("| what | how much | USD | why |\n| --- | --: | --: | --- |\n");
    let mut sum = 0.0;
    for Standing { price, pieces, why } in lines {
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

    use super::*;

    #[test]
    fn the_page_is_what_is_computed() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cost.md");
        let written = std::fs::read_to_string(path).unwrap();
        assert_eq!(written, page(), "write it anew: cargo xtask cost > docs/cost.md");
    }

    #[test]
    fn a_price_is_for_its_pieces() {
        assert!((HTTP_API.of(3.0 * MILLION) - 3.0).abs() < 1e-9);
        assert!((DATABASE.of(2.0 * HOURS) - 46.72).abs() < 1e-9);
        // Ten in a batch share its receipt and its deletion.
        let [_, _, _, _, queue, ..] = a_booking();
        assert!((queue.spread - 6.0).abs() < 1e-9 && (queue.busy - 4.2).abs() < 1e-9);
    }
}
