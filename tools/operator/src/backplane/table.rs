use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

/// The DynamoDB table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Physical name.
    pub name: String,
    /// `PAY_PER_REQUEST`: bookings come in bursts.
    pub billing_mode: String,
    /// Partition key.
    pub partition_key: KeyAttribute,
    /// Sort key.
    pub sort_key: KeyAttribute,
    /// Attribute with the Unix time, in seconds, after which DynamoDB may delete an item.
    pub time_to_live_attribute: String,
    /// The sparse index of the appointments that await their country's outcome.
    pub index: Index,
}

/// The DynamoDB table of slots: one item for each, without a sort key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotsTable {
    /// Physical name.
    pub name: String,
    /// `PAY_PER_REQUEST`: people look in bursts.
    pub billing_mode: String,
    /// Partition key.
    pub partition_key: KeyAttribute,
    /// Attribute with the Unix time, in seconds, after which DynamoDB may delete an item.
    pub time_to_live_attribute: String,
    /// The sparse indexes of what is free.
    pub indexes: SlotsIndexes,
}

/// The indexes of free slots: an item is in them while it has their key attributes. They hold whole items.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotsIndexes {
    /// The sort key of each.
    pub sort_key: KeyAttribute,
    /// The partition key of each, by the index's name.
    pub partition_keys: BTreeMap<String, KeyAttribute>,
}

/// A global secondary index.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// Physical name.
    pub name: String,
    /// Partition key.
    pub partition_key: KeyAttribute,
    /// Sort key.
    pub sort_key: KeyAttribute,
    /// Attributes copied to the index besides the keys of index and table.
    pub projected_attributes: Vec<String>,
    /// How many values of the partition key each country has, and as many for what was given up.
    pub shards: u8,
}

/// A key attribute and its DynamoDB type.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyAttribute {
    /// Attribute name.
    pub name: String,
    /// `S` or `N`.
    #[serde(rename = "type")]
    pub kind: String,
}

impl Table {
    /// The input of DynamoDB's `CreateTable`.
    #[must_use]
    pub fn definition(&self) -> Value {
        let index = &self.index;
        let keys = [&self.partition_key, &self.sort_key, &index.partition_key, &index.sort_key];
        let schema = |partition: &str, sort: &str| json!([{"AttributeName": partition, "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}]);
        json!({
            "TableName": self.name,
            "BillingMode": self.billing_mode,
            "AttributeDefinitions": keys.map(|key| json!({"AttributeName": key.name, "AttributeType": key.kind})),
            "KeySchema": schema(&self.partition_key.name, &self.sort_key.name),
            "GlobalSecondaryIndexes": [{
                "IndexName": index.name,
                "KeySchema": schema(&index.partition_key.name, &index.sort_key.name),
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": index.projected_attributes},
            }],
        })
    }
}

impl SlotsTable {
    /// The input of DynamoDB's `CreateTable`.
    #[must_use]
    pub fn definition(&self) -> Value {
        let SlotsIndexes { sort_key, partition_keys } = &self.indexes;
        let attributes = [&self.partition_key, sort_key].into_iter().chain(partition_keys.values());
        let attributes = attributes.map(|key| json!({"AttributeName": key.name, "AttributeType": key.kind}));
        let key = |attribute: &KeyAttribute, kind: &str| json!({"AttributeName": attribute.name, "KeyType": kind});
        let indexes = partition_keys.iter().map(|(name, partition_key)| {
            json!({
                "IndexName": name,
                "KeySchema": [key(partition_key, "HASH"), key(sort_key, "RANGE")],
                "Projection": {"ProjectionType": "ALL"},
            })
        });
        json!({
            "TableName": self.name,
            "BillingMode": self.billing_mode,
            "AttributeDefinitions": attributes.collect::<Vec<_>>(),
            "KeySchema": [key(&self.partition_key, "HASH")],
            "GlobalSecondaryIndexes": indexes.collect::<Vec<_>>(),
        })
    }
}
