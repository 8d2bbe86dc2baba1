use appointment::{FieldError, FieldErrorCode};
use backplane::PageRequest;
use edge_component::{Problem, ProblemCode};
use http::HeaderMap;

use crate::cursor::Cursor;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const PREFER: &str = "prefer";

/// The longest `Idempotency-Key`.
const IDEMPOTENCY_KEY_LIMIT: usize = 128;

/// How many appointments or slots a page holds where `limit` does not say.
pub(crate) const DEFAULT_LIMIT: u32 = 20;

/// How many appointments or slots a page may hold.
const LIMIT: u32 = 100;

/// The longest query, in bytes: whatever a client has to ask fits in it many times over.
const QUERY_LIMIT_BYTES: usize = 1024;

/// The most parameters of a query, those at fault included.
const QUERY_LIMIT_PARAMETERS: usize = 16;

/// Reads the query of a list: `limit`, `status` and `cursor`.
///
/// # Errors
///
/// 400 that names every parameter at fault. An unknown one is at fault too: a mistyped filter would return the whole list.
/// 414 for a query that is too long to be looked at.
pub(crate) fn page_request(query: Option<&str>) -> Result<PageRequest, Problem> {
    let mut page = PageRequest { limit: DEFAULT_LIMIT, status: None, after: None };
    let mut cursor = None;
    let mut seen: Vec<String> = Vec::new();
    let mut faults = Vec::new();
    for (name, value) in pairs(query)? {
        let outcome = match name.as_ref() {
            known @ ("limit" | "status" | "cursor") if seen.iter().any(|name| name == known) => {
                Err(FieldErrorCode::DuplicateField)
            }
            "limit" => limit_from(&value).map(|limit| page.limit = limit),
            "status" => match value.parse() {
                Ok(status) => {
                    page.status = Some(status);
                    Ok(())
                }
                Err(_) => Err(FieldErrorCode::UnsupportedValue),
            },
            "cursor" => {
                cursor = Some(value.into_owned());
                Ok(())
            }
            _ => Err(FieldErrorCode::UnknownField),
        };
        if let Err(code) = outcome {
            faults.push(FieldError { field: name.chars().take(64).collect(), code });
        }
        seen.push(name.into_owned());
    }
    if !faults.is_empty() {
        return Err(Problem::new(ProblemCode::InvalidParameter).with_errors(faults));
    }
    if let Some(text) = cursor {
        match Cursor::decode(&text) {
            Some(cursor) if cursor.status == page.status => page.after = Some(cursor.after),
            _ => return Err(Problem::new(ProblemCode::InvalidCursor)),
        }
    }
    Ok(page)
}

/// The parameters of a query, in their order.
///
/// # Errors
///
/// 414 for a query that is too long to be looked at.
pub(crate) fn pairs(query: Option<&str>) -> Result<form_urlencoded::Parse<'_>, Problem> {
    let query = query.unwrap_or_default();
    if query.len() > QUERY_LIMIT_BYTES || query.split('&').count() > QUERY_LIMIT_PARAMETERS {
        return Err(Problem::new(ProblemCode::QueryTooLong));
    }
    Ok(form_urlencoded::parse(query.as_bytes()))
}

pub(crate) fn limit_from(text: &str) -> Result<u32, FieldErrorCode> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(FieldErrorCode::InvalidType);
    }
    match text.parse() {
        Ok(limit @ 1..=LIMIT) => Ok(limit),
        _ => Err(FieldErrorCode::OutOfRange),
    }
}

/// Reads the header `Idempotency-Key`
/// (<https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>), here any 1 to 128 printable ASCII
/// characters.
///
/// # Errors
///
/// 400 for another value, and for more than one.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    match (keys.next(), keys.next()) {
        (None, _) => Ok(None),
        (Some(key), None) => match key.to_str() {
            Ok(key)
                if (1..=IDEMPOTENCY_KEY_LIMIT).contains(&key.len())
                    && key.bytes().all(|byte| matches!(byte, b' '..=b'~')) =>
            {
                Ok(Some(key))
            }
            _ => Err(Problem::new(ProblemCode::InvalidIdempotencyKey)),
        },
        (Some(_), Some(_)) => Err(Problem::new(ProblemCode::InvalidIdempotencyKey)),
    }
}

/// The seconds of `Prefer: wait=N` (RFC 7240). A preference that cannot be understood is ignored, as is its repetition.
pub(crate) fn preferred_wait(headers: &HeaderMap) -> Option<u32> {
    let preferences = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut preferences = preferences.flat_map(|value| value.split(','));
    preferences.find_map(|preference| {
        // Parameters of a preference follow a semicolon; `wait` has none.
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        let is_wait = name.trim().eq_ignore_ascii_case("wait");
        is_wait.then(|| value.trim().trim_matches('"').parse::<u32>().unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use appointment::Status;
    use http::HeaderValue;

    use super::*;

    fn headers(name: &'static str, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_page_is_what_the_query_asks_for() {
        assert_eq!(page_request(None).unwrap(), PageRequest { limit: DEFAULT_LIMIT, status: None, after: None });
        let asked = page_request(Some("limit=5&status=pending")).unwrap();
        assert_eq!(asked, PageRequest { limit: 5, status: Some(Status::Pending), after: None });
    }

    #[test]
    fn a_cursor_of_another_filter_is_refused() {
        let after = "01930000-0000-7000-8000-000000000001".parse().unwrap();
        let cursor = Cursor { status: Some(Status::Pending), after }.encode();
        assert_eq!(page_request(Some(&format!("status=pending&cursor={cursor}"))).unwrap().after, Some(after));
        assert_eq!(page_request(Some(&format!("cursor={cursor}"))).unwrap_err().code(), ProblemCode::InvalidCursor);
    }

    #[test]
    fn every_parameter_at_fault_is_refused() {
        for query in ["limit=0", "limit=101", "limit=+5", "limit=", "status=unheard", "limit=5&limit=5", "Limit=5"] {
            assert_eq!(page_request(Some(query)).unwrap_err().code(), ProblemCode::InvalidParameter, "{query}");
        }
        let long = format!("cursor={}", "a".repeat(QUERY_LIMIT_BYTES));
        assert_eq!(page_request(Some(&long)).unwrap_err().code(), ProblemCode::QueryTooLong);
    }

    #[test]
    fn an_idempotency_key_is_one_of_printable_ascii() {
        let read = |values| idempotency_key(&headers(IDEMPOTENCY_KEY, values)).map(|key| key.map(str::to_owned));
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&["a key~"]).unwrap().as_deref(), Some("a key~"));
        for values in [&[""] as &[_], &["a", "a"], &["a\tb"]] {
            assert_eq!(read(values).unwrap_err().code(), ProblemCode::InvalidIdempotencyKey, "{values:?}");
        }
    }

    #[test]
    fn the_first_wait_that_is_preferred_counts() {
        for (values, seconds) in [
            (&[] as &[_], None),
            (&["respond-async"], None),
            (&["respond-async, Wait=\"5\""], Some(5)),
            (&["wait=3; a=b", "wait=9"], Some(3)),
            (&["wait=soon"], Some(0)),
        ] {
            assert_eq!(preferred_wait(&headers(PREFER, values)), seconds, "{values:?}");
        }
    }
}
