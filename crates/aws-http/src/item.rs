//! Items of DynamoDB and the values of their attributes, as JSON 1.0 writes them (API version 2012-08-10).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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

    /// A number, if it is one of this type.
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

    /// A numeric attribute, if it is one of this type.
    #[must_use]
    pub fn n<N: FromStr>(&self, name: &str) -> Option<N> {
        self.get(name)?.as_n()
    }

    /// Removes an attribute, and returns its value.
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
        assert_eq!(item.n::<u8>("n"), None, "a number that does not fit into the type");
        assert_eq!(item.s("n"), None, "a number is no string");
        assert!(serde_json::from_str::<Item<'_>>(r#"{"x":{"B":"AA=="}}"#).is_err(), "binary is not in use");
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
