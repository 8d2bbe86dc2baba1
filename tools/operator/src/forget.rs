//! Erases one person's data: the country databases' decisions, and the table's appointments and idempotency keys.
//!
//! What is booked is cancelled first, and its slot becomes free as by any cancellation. What stays are tombstones, which
//! hold an appointment's id and an expiry, and nothing about the person: commands and outcomes that are still on their way, or
//! in a dead-letter queue, must not bring the appointment back. `docs/privacy.md` says where else personal data lies, and when
//! it is gone from there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use appointment::{AppointmentId, InsuredId, Timestamp, TraceContext};
use aws_http::native::NativeTransport;
use backplane::AppointmentsTable;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx::types::Uuid;
use sqlx::types::time::OffsetDateTime;

use crate::account::Account;
use crate::aws::Aws;
use crate::backplane::{Backplane, Durations, Table};
use crate::database::connect;

/// Calls that are made at once.
const IN_FLIGHT: usize = 16;

/// What was erased, or, by a dry run, would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// Rows by country.
    pub decisions: BTreeMap<String, u64>,
    /// Appointments of the table.
    pub appointments: u64,
    /// Idempotency keys of the table.
    pub idempotency_keys: u64,
}

/// Erases a person's data from the databases and the table.
///
/// It may be done again, also after it failed half-way, because the table goes last. What the person books while it runs is
/// not touched.
///
/// # Errors
/// When a database or the table fails. Errors do not name the person.
pub async fn forget(
    account: &Account,
    backplane: &Backplane,
    database_urls: &BTreeMap<String, String>,
    insured_id: InsuredId,
    dry_run: bool,
) -> Result<Forgotten> {
    let (aws, endpoint) = (account.aws("dynamodb")?, account.endpoint("dynamodb")?);
    let table_name = account.table(backplane);
    let table = AppointmentsTable::new(&account.client, &endpoint, &table_name);
    let items = items_of(&aws, &table_name, &backplane.table, insured_id).await?;
    let expires_at = Timestamp::from(SystemTime::now()) + tombstone_lifetime(&backplane.durations);

    let mut forgotten = Forgotten {
        decisions: BTreeMap::new(),
        appointments: items.iter().filter(|item| item.appointment.is_some()).count() as u64,
        idempotency_keys: items.iter().filter(|item| item.appointment.is_none()).count() as u64,
    };
    for country in backplane.countries() {
        let url = database_urls.get(&country.code).with_context(|| {
            format!("no database of {} is known: set DATABASE_URL_{} to its owner's URL", country.code, country.code)
        })?;
        let kept = items.iter().filter_map(|item| item.appointment.as_ref());
        let kept = kept.filter(|kept| kept.country == country.code).map(|kept| (kept.id, kept.schedule_id));
        let erasure = Erasure { table: &table, insured_id, expires_at, dry_run };
        let erased = erasure
            .erase_in(url, kept.collect())
            .await
            .with_context(|| format!("cannot erase from the database of {}", country.code))?;
        forgotten.decisions.insert(country.code, erased);
    }
    if !dry_run {
        for item in &items {
            aws.dynamodb("DeleteItem", &json!({"TableName": table_name, "Key": item.key})).await?;
        }
    }
    Ok(forgotten)
}

/// How long something about an appointment can still be on its way: a command in its queue and dead-letter queue, its outcome
/// in the confirmation queue and its dead-letter queue, and a replay of the archive.
#[must_use]
pub fn tombstone_lifetime(durations: &Durations) -> Duration {
    let queue = durations.queue_retention + durations.dead_letter_retention;
    Duration::from_secs(2 * queue + durations.archive_retention)
}

struct Erasure<'a> {
    table: &'a AppointmentsTable<'a, NativeTransport>,
    insured_id: InsuredId,
    expires_at: Timestamp,
    dry_run: bool,
}

impl Erasure<'_> {
    /// Erases from a country's database, in one transaction, what is there, and leaves tombstones for that and for `kept`,
    /// which the table knows; how many rows it was.
    async fn erase_in(&self, url: &str, mut kept: BTreeSet<(AppointmentId, i64)>) -> Result<u64> {
        let mut connection = connect(url).await?;
        let found: Vec<(Uuid, i64)> =
            sqlx::query_as("SELECT appointment_id, schedule_id FROM public.appointments WHERE insured_id = $1")
                .bind(self.insured_id.as_str())
                .fetch_all(&mut connection)
                .await?;
        for (id, schedule_id) in &found {
            kept.insert((AppointmentId::try_from(*id)?, *schedule_id));
        }
        let ids: BTreeSet<AppointmentId> = kept.iter().map(|(id, _)| *id).collect();
        if self.dry_run {
            return Ok(found.len() as u64);
        }
        // First: if a run dies, the next one finds the rows again and finishes.
        stream::iter(&ids)
            .map(|id| self.table.note_erased(*id, self.expires_at))
            .buffer_unordered(IN_FLIGHT)
            .try_collect::<()>()
            .await?;
        let now = Timestamp::from(SystemTime::now()).to_string();
        let cancellations: Vec<Value> = kept
            .iter()
            .map(|(id, schedule_id)| {
                json!({
                    "type": "appointment.cancellation_requested", "appointmentId": id, "insuredId": self.insured_id,
                    "scheduleId": schedule_id, "occurredAt": now,
                })
            })
            .collect();
        let uuids: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        let mut transaction = connection.begin().await?;
        // It locks the slots until the end: no request is decided between here and the tombstones.
        sqlx::query("SELECT count(*) FROM public.decide($1::text::jsonb)")
            .bind(Value::Array(cancellations).to_string())
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "INSERT INTO public.erased_appointments (appointment_id, expires_at)
             SELECT appointment_id, $2 FROM unnest($1) AS appointment_id
             ON CONFLICT (appointment_id) DO UPDATE SET expires_at = excluded.expires_at",
        )
        .bind(&uuids)
        .bind(OffsetDateTime::from(SystemTime::from(self.expires_at)))
        .execute(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM public.appointments WHERE insured_id = $1 AND appointment_id = ANY($2)")
            .bind(self.insured_id.as_str())
            .bind(&uuids)
            .execute(&mut *transaction)
            .await?;
        // The event bus hears of it from the outbox.
        sqlx::query("SELECT public.slots_changed($1, $2)")
            .bind(kept.iter().map(|(_, schedule_id)| *schedule_id).collect::<Vec<i64>>())
            .bind(TraceContext::start(std::array::from_fn(|_| fastrand::u8(..))).to_string())
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM public.erased_appointments WHERE expires_at < now()")
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(found.len() as u64)
    }
}

/// An item of the person's partition.
struct Item {
    key: Value,
    /// Nothing for an idempotency key.
    appointment: Option<Kept>,
}

/// What the table says of an appointment.
struct Kept {
    id: AppointmentId,
    country: String,
    schedule_id: i64,
}

async fn items_of(aws: &Aws, table_name: &str, table: &Table, insured_id: InsuredId) -> Result<Vec<Item>> {
    let (partition, sort) = (&table.partition_key.name, &table.sort_key.name);
    let mut items = Vec::new();
    let mut start = None;
    loop {
        let mut query = json!({
            "TableName": table_name,
            "KeyConditionExpression": "#partition = :person",
            "ProjectionExpression": "#partition, #sort, countryISO, scheduleId",
            "ExpressionAttributeNames": {"#partition": partition, "#sort": sort},
            "ExpressionAttributeValues": {":person": {"S": insured_id.as_str()}},
            "ConsistentRead": true,
        });
        if let (Some(start), Some(query)) = (start, query.as_object_mut()) {
            query.insert("ExclusiveStartKey".to_owned(), start);
        }
        let mut page = aws.dynamodb("Query", &query).await?;
        for item in page.get("Items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default() {
            let part = |name: &str| item.get(name).cloned().with_context(|| format!("an item without `{name}`"));
            let text = |name: &str, kind: &str| item.get(name)?.get(kind)?.as_str();
            let id = text(sort, "S").and_then(|key| key.strip_prefix("appointment#"));
            let kept = |id: &str| {
                Some(Kept {
                    id: id.parse().ok()?,
                    country: text("countryISO", "S")?.to_owned(),
                    schedule_id: text("scheduleId", "N")?.parse().ok()?,
                })
            };
            items.push(Item {
                key: json!({partition: part(partition)?, sort: part(sort)?}),
                appointment: id
                    .map(|id| kept(id).context("an appointment of the table has no valid id, country or slot"))
                    .transpose()?,
            });
        }
        start = page.get_mut("LastEvaluatedKey").map(Value::take);
        if start.is_none() {
            return Ok(items);
        }
    }
}
