use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text for people to read, of 1 to `MAX` characters: without control characters, and without white space at either end.
///
/// An alias with its own maximum is the type of a field. It may hold personal data, so `Debug` does not show it, and there is no
/// `Display`. Ask for it by [`AsRef`] where it belongs: items, messages and responses to the person.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text<const MAX: usize>(String);

/// The text is empty or too long, holds a control character, or has white space at an end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a text has 1 to {max} characters, none of which is a control character, and no white space at either end",
    max = self.0
)]
pub struct InvalidText(usize);

impl<const MAX: usize> Text<MAX> {
    /// Whether it has the form of such a text.
    fn holds(text: &str) -> bool {
        (1..=MAX).contains(&text.chars().count()) && text.trim() == text && !text.chars().any(char::is_control)
    }
}

impl<const MAX: usize> TryFrom<String> for Text<MAX> {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        if Self::holds(&text) { Ok(Self(text)) } else { Err(InvalidText(MAX)) }
    }
}

impl<const MAX: usize> FromStr for Text<MAX> {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        text.to_owned().try_into()
    }
}

impl<const MAX: usize> From<Text<MAX>> for String {
    fn from(text: Text<MAX>) -> Self {
        text.0
    }
}

impl<const MAX: usize> AsRef<str> for Text<MAX> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Text(at most {MAX} characters)")
    }
}

/// Whether a text can be the name of a specialty, a center or a practitioner: at most 80 characters, and no `#`, which separates
/// names in the keys of the projection.
#[must_use]
pub fn is_catalog_name(text: &str) -> bool {
    Text::<80>::holds(text) && !text.contains('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_characters_that_people_read() {
        for text in ["a", "ñandú 1", "niñez"] {
            assert_eq!(text.parse::<Text<7>>().map(String::from), Ok(text.to_owned()));
        }
        for text in ["", " ", "a ", "\u{3000}a", "a\nb", "a\u{85}b", "12345678"] {
            assert_eq!(text.parse::<Text<7>>(), Err(InvalidText(7)), "{text}");
        }
        assert_eq!(InvalidText(7).to_string().split(", ").next(), Some("a text has 1 to 7 characters"));
    }

    #[test]
    fn no_debug_output_shows_it() {
        assert_eq!(format!("{:?}", "dolor".parse::<Text<7>>()), "Ok(Text(at most 7 characters))");
    }

    #[test]
    fn a_name_of_a_catalogue_holds_no_separator() {
        assert!(is_catalog_name("Cardiología"));
        assert!(!is_catalog_name("Cardiología#2"));
        assert!(!is_catalog_name(&"x".repeat(81)));
    }
}
