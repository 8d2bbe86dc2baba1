//! Erases one person's data: the country databases' decisions, and the table's appointments and idempotency keys.
//!
//! `docs/privacy.md` says where else personal data lies, and when it is gone from there.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use appointment::{InsuredId, Status};
use aws_http::Endpoint;
use serde_json::{Value, json};

use crate::aws::Aws;
use crate::backplane::{Backplane, Table};
use crate::postgres::connect;

/// What was erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// Rows by country.
    pub decisions: BTreeMap<String, u64>,
    /// Appointments of the table.
    pub appointments: u64,
    /// Idempotency keys of the table.
    pub idempotency_keys: u64,
}

/// Erases a person's data from the databases and the table of an emulated backplane.
///
/// It refuses while an appointment awaits its country: the message on its way would bring the data back. It may be done
/// again, also after it failed half-way, because the table goes last.
///
/// # Errors
/// When an appointment awaits its country, or a database or the table fails. Errors do not name the person.
pub async fn forget(
    insured_id: InsuredId,
    emulator: &Endpoint,
    backplane: &Backplane,
    database_urls: &BTreeMap<String, String>,
) -> Result<Forgotten> {
    let aws = Aws::root(emulator.clone());
    let items = items_of(&aws, &backplane.table, insured_id).await?;
    let waiting = items.iter().filter(|item| {
        let status: Option<Status> = item.status.as_deref().and_then(|status| status.parse().ok());
        status.is_some_and(Status::awaits_country)
    });
    let waiting = waiting.count();
    ensure!(
        waiting == 0,
        "{waiting} appointments still await their country, whose answer would bring the data back: wait for it, and try again"
    );

    let mut decisions = BTreeMap::new();
    for country in backplane.countries() {
        let url = database_urls.get(&country.code).with_context(|| {
            format!("no database of {} is known: set DATABASE_URL_{} as for `up`", country.code, country.code)
        })?;
        let mut connection = connect(url).await?;
        let erased = sqlx::query("DELETE FROM appointments WHERE insured_id = $1")
            .bind(insured_id.as_str())
            .execute(&mut connection)
            .await
            .with_context(|| format!("cannot erase from the database of {}", country.code))?;
        decisions.insert(country.code, erased.rows_affected());
    }

    let mut forgotten = Forgotten { decisions, appointments: 0, idempotency_keys: 0 };
    for item in &items {
        let key = json!({"TableName": backplane.table.name, "Key": item.key});
        aws.dynamodb("DeleteItem", &key).await?;
        match item.status {
            Some(_) => forgotten.appointments += 1,
            None => forgotten.idempotency_keys += 1,
        }
    }
    Ok(forgotten)
}

/// An item of the person's partition.
struct KeptItem {
    key: Value,
    /// Only an appointment has one.
    status: Option<String>,
}

async fn items_of(aws: &Aws, table: &Table, insured_id: InsuredId) -> Result<Vec<KeptItem>> {
    let (partition, sort) = (&table.partition_key.name, &table.sort_key.name);
    let mut items = Vec::new();
    let mut start = None;
    loop {
        let mut query = json!({
            "TableName": table.name,
            "KeyConditionExpression": "#partition = :person",
            "ProjectionExpression": "#partition, #sort, #status",
            "ExpressionAttributeNames": {"#partition": partition, "#sort": sort, "#status": "status"},
            "ExpressionAttributeValues": {":person": {"S": insured_id.as_str()}},
            "ConsistentRead": true,
        });
        if let (Some(start), Some(query)) = (start, query.as_object_mut()) {
            query.insert("ExclusiveStartKey".to_owned(), start);
        }
        let mut page = aws.dynamodb("Query", &query).await?;
        for item in page.get("Items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default() {
            let part = |name: &str| item.get(name).cloned().with_context(|| format!("an item without `{name}`"));
            items.push(KeptItem {
                key: json!({partition: part(partition)?, sort: part(sort)?}),
                status: item.pointer("/status/S").and_then(Value::as_str).map(str::to_owned),
            });
        }
        start = page.get_mut("LastEvaluatedKey").map(Value::take);
        if start.is_none() {
            return Ok(items);
        }
    }
}
