//! What log lines must not hold.

use serde_json::Value;

/// The lines of a log that name an insured person by the five digits.
///
/// The digits are searched as a whole word in every value except ids, which are random and may contain any digits. A line that is not a
/// JSON object is searched as it is.
#[must_use]
pub fn lines_that_name<'a>(log: &'a str, person: &str) -> Vec<&'a str> {
    log.lines().filter(|line| names(line, person)).collect()
}

fn names(line: &str, person: &str) -> bool {
    // The host writes the component's name before what it printed.
    let text = line.find('{').map_or(line, |start| &line[start..]);
    match serde_json::from_str::<Value>(text) {
        Ok(fields) => value_names(&fields, person),
        Err(_) => has_word(line, person),
    }
}

fn value_names(value: &Value, person: &str) -> bool {
    match value {
        Value::Object(fields) => {
            fields.iter().any(|(name, value)| !(name == "id" || name.ends_with("_id")) && value_names(value, person))
        }
        Value::Array(values) => values.iter().any(|value| value_names(value, person)),
        Value::String(text) => has_word(text, person),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|character: char| !character.is_ascii_alphanumeric()).any(|found| found == word)
}

#[cfg(test)]
mod tests {
    use super::lines_that_name;

    #[test]
    fn a_person_is_a_whole_word_outside_of_ids() {
        for named in [
            r#"{"path":"/appointments/00123"}"#,
            r#"[intake] {"a":{"b":["x","insured 00123."]}}"#,
            r#"{"insuredId":"00123"}"#,
            "not JSON: insuredId=00123",
        ] {
            assert_eq!(lines_that_name(named, "00123"), [named]);
        }
        for unnamed in [
            r#"{"trace_id":"00000000000000000000000000a00123","duration_ms":0.00123}"#,
            r#"{"message_id":"00123","path":"/appointments/001234"}"#,
            r#"{"at":"2026-11-24T09:30:00.123Z"}"#,
        ] {
            assert!(lines_that_name(unnamed, "00123").is_empty(), "{unnamed}");
        }
    }
}
