use std::fmt;

/// The longest value that is passed on, in bytes.
const LIMIT: usize = 47;

/// A status, a reason or a country that a later version of this system wrote, and that this one does not know. It is passed on as it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UnknownValue {
    length: usize,
    /// What follows the text is zero.
    bytes: [u8; LIMIT],
}

impl UnknownValue {
    /// Keeps a value of 1 to 47 bytes.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; LIMIT];
        bytes.get_mut(..text.len()).filter(|place| !place.is_empty())?.copy_from_slice(text.as_bytes());
        Some(Self { length: text.len(), bytes })
    }

    /// The value as the later version wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // It was a text when it came in.
        self.bytes.get(..self.length).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }
}

impl fmt::Debug for UnknownValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(formatter)
    }
}

/// Reads and writes an enumeration as its text, values of later versions included.
macro_rules! passed_on_as_text {
    ($enumeration:ident) => {
        impl serde::Serialize for $enumeration {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $enumeration {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::from_stored(&text).ok_or_else(|| serde::de::Error::custom("it must be a text of 1 to 47 bytes"))
            }
        }
    };
}

pub(crate) use passed_on_as_text;
