//! What a stack that runs holds at this moment: its queues, dead letters, and the countries' tables. Looking changes nothing.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use appointment::TraceContext;
use aws_http::Endpoint;
use operator::backplane::Backplane;
use operator::database::connect;
use operator::redrive::DeadLetter;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use crate::http::Http;

/// The rows of a page of a country's table.
pub const ROWS_PER_PAGE: u32 = 25;

/// How long a country's database may take to respond: it is on this machine.
const DATABASE_LIMIT: Duration = Duration::from_secs(3);

/// A queue, or a dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueState {
    /// Its name.
    pub name: String,
    /// Whether it holds what another queue gave up.
    pub dead_letters: bool,
    /// Messages that can be received.
    pub visible: u64,
    /// Messages that somebody works on, or that wait for their next delivery.
    pub hidden: u64,
    /// How long ago the oldest of its messages was sent, in seconds.
    pub oldest_seconds: Option<u64>,
}

/// Everything in the queues.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Messages {
    /// Each queue, followed by its dead-letter queue.
    pub queues: Vec<QueueState>,
    /// What was given up, oldest first.
    pub dead_letters: Vec<DeadLetter>,
}

/// How many rows a country's tables have, by what they say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Decisions by status.
    pub appointments: BTreeMap<String, u64>,
    /// Slots by state.
    pub slots: BTreeMap<String, u64>,
}

/// A table of a country that one may look into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountryTable {
    /// The decisions, latest first.
    Appointments,
    /// The slots in order of time.
    Slots,
}

impl CountryTable {
    /// By its name: `appointments` or `slots`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "appointments" => Some(Self::Appointments),
            "slots" => Some(Self::Slots),
            _ => None,
        }
    }

    const fn query(self) -> &'static str {
        match self {
            Self::Appointments => {
                "SELECT appointment_id, insured_id, schedule_id, status, reason, requested_at, decided_at
                 FROM public.appointments ORDER BY decided_at DESC, appointment_id"
            }
            Self::Slots => {
                "SELECT schedule_id, center, specialty, practitioner, starts_at, ends_at, time_zone, state, version
                 FROM public.slots ORDER BY starts_at, schedule_id"
            }
        }
    }
}

/// As the emulator shows the messages of its queues.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Shown {
    message_id: String,
    body: String,
    is_visible: bool,
    #[serde(default)]
    attributes: BTreeMap<String, Value>,
}

impl Shown {
    fn age(&self, now: SystemTime) -> u64 {
        let sent = self.attributes.get("SentTimestamp").and_then(Value::as_str).and_then(|sent| sent.parse().ok());
        let sent = SystemTime::UNIX_EPOCH + Duration::from_millis(sent.unwrap_or_default());
        now.duration_since(sent).unwrap_or_default().as_secs()
    }
}

/// Reads every queue of the emulator without receiving anything.
///
/// # Errors
/// If the emulator does not respond, or shows its queues in another form.
pub async fn messages(endpoint: &Endpoint, backplane: &Backplane) -> Result<Messages> {
    /// Accounts, regions, and queues by URL.
    #[derive(Deserialize)]
    struct Queues {
        messages: BTreeMap<String, BTreeMap<String, BTreeMap<String, Vec<Shown>>>>,
    }
    let response = Http::default().get(&format!("{endpoint}/_ministack/sqs/messages")).await?;
    ensure!(response.status().is_success(), "the emulator's response about its queues is {}", response.status());
    let queues: Queues = serde_json::from_slice(response.body()).context("the emulator's queues")?;
    let by_url = queues.messages.into_values().flat_map(BTreeMap::into_values).flatten();
    let mut by_name: BTreeMap<String, Vec<Shown>> =
        by_url.map(|(url, shown)| (url.rsplit('/').next().unwrap_or_default().to_owned(), shown)).collect();
    let now = SystemTime::now();
    let mut messages = Messages::default();
    for (queue, dead_letter_queue) in backplane.queues() {
        for (name, dead_letters) in [(&queue, false), (&dead_letter_queue, true)] {
            let shown = by_name.remove(name).unwrap_or_default();
            let visible = shown.iter().filter(|message| message.is_visible).count() as u64;
            messages.queues.push(QueueState {
                name: name.clone(),
                dead_letters,
                visible,
                hidden: shown.len() as u64 - visible,
                oldest_seconds: shown.iter().map(|message| message.age(now)).max(),
            });
            if dead_letters {
                messages.dead_letters.extend(shown.into_iter().map(|shown| dead_letter(name, &queue, shown, now)));
            }
        }
    }
    messages.dead_letters.sort_by_key(|letter| std::cmp::Reverse(letter.age_seconds));
    Ok(messages)
}

fn dead_letter(queue: &str, back_to: &str, shown: Shown, now: SystemTime) -> DeadLetter {
    let age_seconds = shown.age(now);
    let body: Value = serde_json::from_str(&shown.body).unwrap_or_default();
    // A command, or the envelope of an event.
    let detail = body.get("detail").unwrap_or(&body);
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let traceparent = detail.get("traceparent").and_then(Value::as_str);
    DeadLetter {
        queue: queue.to_owned(),
        back_to: back_to.to_owned(),
        message_id: shown.message_id,
        age_seconds,
        appointment_id: text(detail.get("appointmentId")),
        trace_id: traceparent.and_then(|text| Some(text.parse::<TraceContext>().ok()?.trace_id().to_string())),
        kind: text(body.get("type").or_else(|| body.get("detail-type"))),
        body: shown.body,
    }
}

/// Counts the rows of a country's database.
///
/// # Errors
/// If the database does not respond.
pub async fn counts(database_url: &str) -> Result<Counts> {
    within_limit(async {
        let mut connection = read_only(database_url).await?;
        let mut counted = async |query: &'static str| -> Result<BTreeMap<String, u64>> {
            let rows = sqlx::query(query).fetch_all(&mut connection).await?;
            let counted = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<i64, _>(1)?.unsigned_abs())));
            counted.collect()
        };
        Ok(Counts {
            appointments: counted("SELECT status, count(*) FROM public.appointments GROUP BY status").await?,
            slots: counted("SELECT state, count(*) FROM public.slots GROUP BY state").await?,
        })
    })
    .await
}

/// A page of a country's table, counted from 0: each row is an object of the table's columns.
///
/// # Errors
/// If the database does not respond.
pub async fn rows(database_url: &str, table: CountryTable, page: u32) -> Result<Vec<Value>> {
    within_limit(async {
        let mut connection = read_only(database_url).await?;
        let query = format!("SELECT row_to_json(rows)::text FROM ({} LIMIT $1 OFFSET $2) rows", table.query());
        // Both parts of the query are texts of this file.
        let rows = sqlx::query(AssertSqlSafe(query))
            .bind(i64::from(ROWS_PER_PAGE))
            .bind(i64::from(page) * i64::from(ROWS_PER_PAGE))
            .fetch_all(&mut connection)
            .await?;
        rows.iter().map(|row| Ok(serde_json::from_str(row.try_get(0)?)?)).collect()
    })
    .await
}

async fn within_limit<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(DATABASE_LIMIT, work)
        .await
        .with_context(|| format!("the database does not respond within {} s", DATABASE_LIMIT.as_secs()))?
}

/// A connection that cannot write.
async fn read_only(database_url: &str) -> Result<PgConnection> {
    let mut connection = connect(database_url).await?;
    connection.ping().await?;
    sqlx::query("SET default_transaction_read_only TO on").execute(&mut connection).await?;
    Ok(connection)
}
