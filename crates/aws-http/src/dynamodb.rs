//! Amazon DynamoDB, JSON 1.0 (API version 2012-08-10): the operations and attribute types in use.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::client::{Client, JsonVersion};
use crate::endpoint::{Endpoint, Service};
use crate::error::Error;
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

    /// `PutItem` whose answer says nothing of the item, before other calls of the same instance: see
    /// [`Client::json_unread`].
    ///
    /// # Errors
    /// As [`put_item`](Self::put_item).
    pub async fn put_item_unread(&self, input: &PutItem<'_>, retry: Retry) -> Result<(), Error> {
        self.client.json_unread(self.service, JsonVersion::V1_0, "DynamoDB_20120810.PutItem", input, retry).await
    }

    /// `UpdateItem`: changes attributes of an item, and creates it where the condition allows.
    ///
    /// # Errors
    /// As [`put_item`](Self::put_item).
    pub async fn update_item(&self, input: &UpdateItem<'_>, retry: Retry) -> Result<WriteOutput, Error> {
        self.client.json(self.service, JsonVersion::V1_0, "DynamoDB_20120810.UpdateItem", input, retry).await
    }

    /// `TransactWriteItems`: all of up to 100 writes, or none.
    ///
    /// With a client token the call is repeated freely, because DynamoDB executes one token once within ten minutes;
    /// without one, only where the first attempt certainly did nothing. Its answer is left unread ([`Client::json_unread`]).
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

/// A value of an attribute.
///
/// `Debug` shows its type only: values may be personal data.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttributeValue<'a> {
    /// A string.
    S(Cow<'a, str>),
    /// A number, in decimal. DynamoDB keeps 38 digits.
    N(Cow<'a, str>),
    /// A truth value.
    #[serde(rename = "BOOL")]
    Bool(bool),
    /// The null value; always `true`.
    #[serde(rename = "NULL")]
    Null(bool),
    /// A list.
    L(Vec<AttributeValue<'a>>),
    /// A map.
    M(Item<'a>),
    /// A set of strings; never empty.
    #[serde(rename = "SS")]
    StringSet(Vec<Cow<'a, str>>),
    /// A set of numbers; never empty.
    #[serde(rename = "NS")]
    NumberSet(Vec<Cow<'a, str>>),
}

impl AttributeValue<'_> {
    /// The text of a string.
    #[must_use]
    pub fn as_s(&self) -> Option<&str> {
        match self {
            Self::S(text) => Some(text),
            _ => None,
        }
    }

    /// A number, where it is one of this type.
    #[must_use]
    pub fn as_n<N: FromStr>(&self) -> Option<N> {
        match self {
            Self::N(digits) => digits.parse().ok(),
            _ => None,
        }
    }
}

impl<'a> From<&'a str> for AttributeValue<'a> {
    fn from(text: &'a str) -> Self {
        Self::S(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a String> for AttributeValue<'a> {
    fn from(text: &'a String) -> Self {
        Self::S(Cow::Borrowed(text))
    }
}

impl From<String> for AttributeValue<'_> {
    fn from(text: String) -> Self {
        Self::S(Cow::Owned(text))
    }
}

impl From<bool> for AttributeValue<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

macro_rules! number_into_attribute_value {
    ($($integer:ty),+) => {$(
        impl From<$integer> for AttributeValue<'_> {
            fn from(number: $integer) -> Self {
                Self::N(Cow::Owned(number.to_string()))
            }
        }
    )+};
}
number_into_attribute_value!(u8, u16, u32, u64, i32, i64);

impl<'a> From<Vec<AttributeValue<'a>>> for AttributeValue<'a> {
    fn from(list: Vec<AttributeValue<'a>>) -> Self {
        Self::L(list)
    }
}

impl<'a> From<Item<'a>> for AttributeValue<'a> {
    fn from(map: Item<'a>) -> Self {
        Self::M(map)
    }
}

impl fmt::Debug for AttributeValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::S(_) => "S(…)",
            Self::N(_) => "N(…)",
            Self::Bool(_) => "BOOL(…)",
            Self::Null(_) => "NULL",
            Self::L(_) => "L(…)",
            Self::M(_) => "M(…)",
            Self::StringSet(_) => "SS(…)",
            Self::NumberSet(_) => "NS(…)",
        })
    }
}

/// Attributes by name: an item, a key, a map, or the values of an expression.
///
/// It keeps the order of insertion and is searched from the front, which for an item's dozen attributes costs less, in
/// time and in code, than a tree.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Item<'a> {
    attributes: Vec<(Cow<'a, str>, AttributeValue<'a>)>,
}

impl<'a> Item<'a> {
    /// No attributes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets an attribute.
    pub fn insert(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<AttributeValue<'a>>) {
        let (name, value) = (name.into(), value.into());
        match self.attributes.iter_mut().find(|(existing, _)| *existing == name) {
            Some((_, existing)) => *existing = value,
            None => self.attributes.push((name, value)),
        }
    }

    /// The same item with an attribute set.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'a, str>>, value: impl Into<AttributeValue<'a>>) -> Self {
        self.insert(name, value);
        self
    }

    /// An attribute's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&AttributeValue<'a>> {
        self.attributes.iter().find(|(existing, _)| existing == name).map(|(_, value)| value)
    }

    /// The text of a string attribute.
    #[must_use]
    pub fn s(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_s()
    }

    /// A numeric attribute, where it is one of this type.
    #[must_use]
    pub fn n<N: FromStr>(&self, name: &str) -> Option<N> {
        self.get(name)?.as_n()
    }

    /// Takes an attribute out.
    pub fn remove(&mut self, name: &str) -> Option<AttributeValue<'a>> {
        let position = self.attributes.iter().position(|(existing, _)| existing == name)?;
        Some(self.attributes.remove(position).1)
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &AttributeValue<'a>)> {
        self.attributes.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// Whether there are no attributes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.attributes.is_empty()
    }

    /// How many attributes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.attributes.len()
    }
}

impl<'a, const COUNT: usize> From<[(&'a str, AttributeValue<'a>); COUNT]> for Item<'a> {
    fn from(attributes: [(&'a str, AttributeValue<'a>); COUNT]) -> Self {
        attributes.into_iter().collect()
    }
}

impl<'a, K: Into<Cow<'a, str>>> FromIterator<(K, AttributeValue<'a>)> for Item<'a> {
    fn from_iter<I: IntoIterator<Item = (K, AttributeValue<'a>)>>(attributes: I) -> Self {
        let mut item = Self::new();
        for (name, value) in attributes {
            item.insert(name, value);
        }
        item
    }
}

impl fmt::Debug for Item<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, 'a> Deserialize<'de> for Item<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Attributes;

        impl<'de> Visitor<'de> for Attributes {
            type Value = Vec<(Cow<'static, str>, AttributeValue<'static>)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of attribute values")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut attributes = Vec::with_capacity(map.size_hint().unwrap_or_default());
                while let Some((name, value)) = map.next_entry::<String, _>()? {
                    attributes.push((Cow::Owned(name), value));
                }
                Ok(attributes)
            }
        }

        deserializer.deserialize_map(Attributes).map(|attributes| Self { attributes })
    }
}

/// The names that an expression's `#placeholders` stand for.
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

/// What a write answers of the item.
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

/// What a failed condition answers of the item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OnConditionFailure {
    /// Nothing.
    #[default]
    None,
    /// The whole item, so that it need not be read.
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
    /// Whether to see every write that was answered before.
    #[serde(skip_serializing_if = "is_default")]
    pub consistent_read: bool,
    /// The attributes to answer; all where `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projection_expression: Option<&'a str>,
    /// What `#placeholders` stand for.
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
    /// What to leave out of the answer, after `limit` has been applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_expression: Option<&'a str>,
    /// The attributes to answer; all where `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projection_expression: Option<&'a str>,
    /// What `#placeholders` stand for.
    #[serde(skip_serializing_if = "is_empty", serialize_with = "names_as_map")]
    pub expression_attribute_names: Names<'a>,
    /// What `:placeholders` stand for.
    #[serde(skip_serializing_if = "Item::is_empty")]
    pub expression_attribute_values: Item<'a>,
    /// Whether to see every write that was answered before; an index cannot (DynamoDB refuses it).
    #[serde(skip_serializing_if = "is_default")]
    pub consistent_read: bool,
    /// `Some(false)` for descending sort keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scan_index_forward: Option<bool>,
    /// How many items to look at; up to 1 MB of them in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Where to go on: the `last_evaluated_key` of the page before.
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
    /// Where the next page starts; `None` where there is none. Its presence does not mean that more items follow.
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
    /// What `#placeholders` stand for.
    #[serde(skip_serializing_if = "is_empty", serialize_with = "names_as_map")]
    pub expression_attribute_names: Names<'a>,
    /// What `:placeholders` stand for.
    #[serde(skip_serializing_if = "Item::is_empty")]
    pub expression_attribute_values: Item<'a>,
    /// What to answer of the item.
    #[serde(skip_serializing_if = "is_default")]
    pub return_values: ReturnValues,
    /// What to answer of the item where the condition does not hold.
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
    /// What `#placeholders` stand for.
    #[serde(skip_serializing_if = "is_empty", serialize_with = "names_as_map")]
    pub expression_attribute_names: Names<'a>,
    /// What `:placeholders` stand for.
    #[serde(skip_serializing_if = "Item::is_empty")]
    pub expression_attribute_values: Item<'a>,
    /// What to answer of the item.
    #[serde(skip_serializing_if = "is_default")]
    pub return_values: ReturnValues,
    /// What to answer of the item where the condition does not hold.
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
    /// The writes, each to an item of its own.
    pub transact_items: Vec<TransactWriteItem<'a>>,
    /// What makes a repetition recognisable, at most 36 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_request_token: Option<&'a str>,
}

/// One write of a transaction. Its `return_values` stay [`ReturnValues::None`]: a transaction answers no items.
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
    fn attribute_values_have_the_wire_format() -> Outcome {
        let item = Item::new()
            .with("s", "é\"")
            .with("n", 9_007_199_254_740_991_u64)
            .with("b", true)
            .with("null", AttributeValue::Null(true))
            .with("l", vec!["a".into(), (-1_i64).into()])
            .with("m", Item::new().with("in", "x"))
            .with("ss", AttributeValue::StringSet(vec!["a".into(), "b".into()]))
            .with("ns", AttributeValue::NumberSet(vec!["1".into()]));
        let wire = r#"{"s":{"S":"é\""},"n":{"N":"9007199254740991"},"b":{"BOOL":true},"null":{"NULL":true},"l":{"L":[{"S":"a"},{"N":"-1"}]},"m":{"M":{"in":{"S":"x"}}},"ss":{"SS":["a","b"]},"ns":{"NS":["1"]}}"#;
        assert_eq!(serde_json::to_string(&item)?, wire);
        assert_eq!(serde_json::from_str::<Item<'_>>(wire)?, item);
        assert_eq!(item.n::<u64>("n"), Some(9_007_199_254_740_991));
        assert_eq!(item.n::<u8>("n"), None, "a number that does not fit is none of this type");
        assert_eq!(item.s("n"), None, "a number is no string");
        assert!(serde_json::from_str::<Item<'_>>(r#"{"x":{"B":"AA=="}}"#).is_err(), "binary is not in use");
        Ok(())
    }

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

    #[test]
    fn setting_an_attribute_again_replaces_it() {
        let mut item = Item::new().with("a", "1").with("b", "2").with("a", "3");
        assert_eq!((item.len(), item.s("a")), (2, Some("3")));
        assert_eq!(item.remove("a"), Some("3".into()));
        assert!(item.get("a").is_none() && !item.is_empty());
    }

    #[test]
    fn debug_shows_names_and_types_only() {
        let item = Item::new().with("insuredId", "00123").with("n", 100_u64).with("b", true);
        assert_eq!(format!("{item:?}"), r#"{"insuredId": S(…), "n": N(…), "b": BOOL(…)}"#);
    }
}
