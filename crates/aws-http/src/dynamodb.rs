//! Amazon DynamoDB, JSON 1.0 (API version 2012-08-10): the operations and attribute types in use.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::client::{Client, JsonVersion};
use crate::endpoint::{Endpoint, Service};
use crate::error::Error;
pub use crate::item::{AttributeValue, Item};
use crate::retry::Retry;
use crate::transport::Transport;

/// DynamoDB at one endpoint.
#[derive(Clone, Copy, Debug)]
pub struct DynamoDb<'a, T> {
    client: &'a Client<T>,
    service: Service<'a>,
}

impl<'a, T: Transport> DynamoDb<'a, T> {
    /// DynamoDB through this client.
    pub fn new(client: &'a Client<T>, endpoint: &'a Endpoint) -> Self {
        Self { client, service: endpoint.service("dynamodb") }
    }

    /// `GetItem`.
    ///
    /// # Errors
    /// See [`ErrorKind`](crate::ErrorKind).
    pub async fn get_item(&self, input: &GetItem<'_>) -> Result<GetItemOutput, Error> {
        self.client.json(self.service, JsonVersion::V1_0, "DynamoDB_20120810.GetItem", input, Retry::Safe).await
    }

    /// `Query`: one page of a partition, of the table or of an index.
    ///
    /// # Errors
    /// See [`ErrorKind`](crate::ErrorKind).
    pub async fn query(&self, input: &Query<'_>) -> Result<QueryOutput, Error> {
        self.client.json(self.service, JsonVersion::V1_0, "DynamoDB_20120810.Query", input, Retry::Safe).await
    }

    /// `PutItem`: creates or replaces an item.
    ///
    /// # Errors
    /// See [`ErrorKind`](crate::ErrorKind). After a retry, `ConditionFailed` can mean that the first attempt wrote the
    /// item: [`Error::took_effect_unknown`] tells.
    pub async fn put_item(&self, input: &PutItem<'_>, retry: Retry) -> Result<WriteOutput, Error> {
        self.client.json(self.service, JsonVersion::V1_0, "DynamoDB_20120810.PutItem", input, retry).await
    }

    /// `PutItem` whose response is not needed, before other calls of the same instance: see [`Client::json_unread`].
    ///
    /// # Errors
    /// As [`put_item`](Self::put_item).
    pub async fn put_item_unread(&self, input: &PutItem<'_>, retry: Retry) -> Result<(), Error> {
        self.client.json_unread(self.service, JsonVersion::V1_0, "DynamoDB_20120810.PutItem", input, retry).await
    }

    /// `UpdateItem`: changes attributes of an item, and creates it if the condition allows that.
    ///
    /// # Errors
    /// As [`put_item`](Self::put_item).
    pub async fn update_item(&self, input: &UpdateItem<'_>, retry: Retry) -> Result<WriteOutput, Error> {
        self.client.json(self.service, JsonVersion::V1_0, "DynamoDB_20120810.UpdateItem", input, retry).await
    }

    /// `TransactWriteItems`: all of up to 100 writes, or none.
    ///
    /// With a client token the call is repeated freely, because DynamoDB executes one token once within ten minutes;
    /// without one, only if the first attempt certainly did nothing. Its response is left unread ([`Client::json_unread`]).
    ///
    /// # Errors
    /// See [`ErrorKind`](crate::ErrorKind). A transaction that lost against another one only (`TransactionConflict`) is
    /// repeated before it is reported.
    pub async fn transact_write_items(&self, input: &TransactWriteItems<'_>) -> Result<(), Error> {
        let retry = match input.client_request_token {
            Some(_) => Retry::Safe,
            None => Retry::OnlyIfNotSent,
        };
        let target = "DynamoDB_20120810.TransactWriteItems";
        self.client.json_unread(self.service, JsonVersion::V1_0, target, input, retry).await
    }
}

/// The names for an expression's `#placeholders`.
pub type Names<'a> = &'a [(&'a str, &'a str)];

fn names_as_map<S: Serializer>(names: &Names<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(names.len()))?;
    for (placeholder, name) in *names {
        map.serialize_entry(placeholder, name)?;
    }
    map.end()
}

fn is_empty(names: &Names<'_>) -> bool {
    names.is_empty()
}

fn is_default<V: Default + PartialEq>(value: &V) -> bool {
    *value == V::default()
}

/// What the response to a write holds of the item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReturnValues {
    /// Nothing.
    #[default]
    None,
    /// The whole item as it was.
    AllOld,
    /// The whole item as it is now (`UpdateItem` only).
    AllNew,
    /// The changed attributes as they were (`UpdateItem` only).
    UpdatedOld,
    /// The changed attributes as they are now (`UpdateItem` only).
    UpdatedNew,
}

/// What the response to a failed condition holds of the item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OnConditionFailure {
    /// Nothing.
    #[default]
    None,
    /// The whole item, which saves reading it.
    AllOld,
}

/// Input of [`DynamoDb::get_item`].
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetItem<'a> {
    /// The table.
    pub table_name: &'a str,
    /// The primary key.
    pub key: Item<'a>,
    /// Whether to see every write that had its response before.
    #[serde(skip_serializing_if = "is_default")]
    pub consistent_read: bool,
    /// The attributes to return; `None` for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projection_expression: Option<&'a str>,
    /// The names for `#placeholders`.
    #[serde(skip_serializing_if = "is_empty", serialize_with = "names_as_map")]
    pub expression_attribute_names: Names<'a>,
}

/// Output of [`DynamoDb::get_item`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetItemOutput {
    /// The item, if there is one.
    #[serde(default)]
    pub item: Option<Item<'static>>,
}

/// Input of [`DynamoDb::query`].
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Query<'a> {
    /// The table.
    pub table_name: &'a str,
    /// The index to query in place of the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index_name: Option<&'a str>,
    /// The partition, and a range of sort keys.
    pub key_condition_expression: &'a str,
    /// A filter for the page, which DynamoDB applies after `limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_expression: Option<&'a str>,
    /// The attributes to return; `None` for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projection_expression: Option<&'a str>,
    /// The names for `#placeholders`.
    #[serde(skip_serializing_if = "is_empty", serialize_with = "names_as_map")]
    pub expression_attribute_names: Names<'a>,
    /// The values for `:placeholders`.
    #[serde(skip_serializing_if = "Item::is_empty")]
    pub expression_attribute_values: Item<'a>,
    /// Whether to see every write that had its response before. DynamoDB refuses this for an index.
    #[serde(skip_serializing_if = "is_default")]
    pub consistent_read: bool,
    /// `Some(false)` for descending sort keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scan_index_forward: Option<bool>,
    /// How many items to look at; up to 1 MB of them in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Where to continue: the `last_evaluated_key` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclusive_start_key: Option<Item<'a>>,
}

/// Output of [`DynamoDb::query`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueryOutput {
    /// The page's items, in the order of their sort keys.
    #[serde(default)]
    pub items: Vec<Item<'static>>,
    /// Where the next page starts; `None` at the end. A key does not mean that more items follow.
    #[serde(default)]
    pub last_evaluated_key: Option<Item<'static>>,
    /// How many items were looked at, filtered ones included.
    #[serde(default)]
    pub scanned_count: u64,
}

/// Input of [`DynamoDb::put_item`].
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PutItem<'a> {
    /// The table.
    pub table_name: &'a str,
    /// The item, its key included.
    pub item: Item<'a>,
    /// What must hold for the write to happen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition_expression: Option<&'a str>,
    /// The names for `#placeholders`.
    #[serde(skip_serializing_if = "is_empty", serialize_with = "names_as_map")]
    pub expression_attribute_names: Names<'a>,
    /// The values for `:placeholders`.
    #[serde(skip_serializing_if = "Item::is_empty")]
    pub expression_attribute_values: Item<'a>,
    /// What to return of the item.
    #[serde(skip_serializing_if = "is_default")]
    pub return_values: ReturnValues,
    /// What to return of the item if the condition does not hold.
    #[serde(rename = "ReturnValuesOnConditionCheckFailure", skip_serializing_if = "is_default")]
    pub on_condition_failure: OnConditionFailure,
}

/// Input of [`DynamoDb::update_item`].
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateItem<'a> {
    /// The table.
    pub table_name: &'a str,
    /// The primary key.
    pub key: Item<'a>,
    /// The change: `SET …`, `REMOVE …`, `ADD …`.
    pub update_expression: &'a str,
    /// What must hold for the write to happen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition_expression: Option<&'a str>,
    /// The names for `#placeholders`.
    #[serde(skip_serializing_if = "is_empty", serialize_with = "names_as_map")]
    pub expression_attribute_names: Names<'a>,
    /// The values for `:placeholders`.
    #[serde(skip_serializing_if = "Item::is_empty")]
    pub expression_attribute_values: Item<'a>,
    /// What to return of the item.
    #[serde(skip_serializing_if = "is_default")]
    pub return_values: ReturnValues,
    /// What to return of the item if the condition does not hold.
    #[serde(rename = "ReturnValuesOnConditionCheckFailure", skip_serializing_if = "is_default")]
    pub on_condition_failure: OnConditionFailure,
}

/// Output of [`DynamoDb::put_item`] and [`DynamoDb::update_item`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct WriteOutput {
    /// What [`ReturnValues`] asked for.
    #[serde(default)]
    pub attributes: Option<Item<'static>>,
}

/// Input of [`DynamoDb::transact_write_items`].
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TransactWriteItems<'a> {
    /// The writes, no two of them to the same item.
    pub transact_items: Vec<TransactWriteItem<'a>>,
    /// What makes a repetition recognisable, at most 36 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_request_token: Option<&'a str>,
}

/// One write of a transaction. Its `return_values` stay [`ReturnValues::None`]: a transaction returns no items.
#[derive(Clone, Debug, Serialize)]
pub enum TransactWriteItem<'a> {
    /// Creates or replaces an item.
    Put(PutItem<'a>),
    /// Changes attributes of an item.
    Update(UpdateItem<'a>),
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<(), serde_json::Error>;

    #[test]
    fn what_is_not_asked_for_is_not_sent() -> Outcome {
        let get = GetItem { table_name: "t", key: [("k", "1".into())].into(), ..Default::default() };
        assert_eq!(serde_json::to_string(&get)?, r#"{"TableName":"t","Key":{"k":{"S":"1"}}}"#);

        let update = UpdateItem {
            table_name: "t",
            key: [("k", "1".into())].into(),
            update_expression: "SET #s = :s",
            condition_expression: Some("#s <> :s"),
            expression_attribute_names: &[("#s", "status")],
            expression_attribute_values: [(":s", "failed".into())].into(),
            return_values: ReturnValues::AllNew,
            on_condition_failure: OnConditionFailure::AllOld,
        };
        let wire = r##"{"TableName":"t","Key":{"k":{"S":"1"}},"UpdateExpression":"SET #s = :s","ConditionExpression":"#s <> :s","ExpressionAttributeNames":{"#s":"status"},"ExpressionAttributeValues":{":s":{"S":"failed"}},"ReturnValues":"ALL_NEW","ReturnValuesOnConditionCheckFailure":"ALL_OLD"}"##;
        assert_eq!(serde_json::to_string(&update)?, wire);

        let transaction = TransactWriteItems {
            transact_items: vec![TransactWriteItem::Update(update)],
            client_request_token: Some("token"),
        };
        assert_eq!(
            serde_json::to_string(&transaction)?,
            format!(r#"{{"TransactItems":[{{"Update":{wire}}}],"ClientRequestToken":"token"}}"#)
        );
        Ok(())
    }
}
