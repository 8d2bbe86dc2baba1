//! Which pages of other origins may call the API: the CORS protocol (<https://fetch.spec.whatwg.org/#http-cors-protocol>).

use edge_component::{Host, SettingError, Variables};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::{HeaderMap, HeaderValue};

use crate::settings::CORS_ALLOWED_ORIGINS;

/// The headers of a request that a page may set beside those that need no permission.
const REQUEST_HEADERS: &str =
    "accept-language, authorization, content-type, idempotency-key, if-none-match, prefer, traceparent";

/// The headers of a response that a page may read beside those that need no permission.
const RESPONSE_HEADERS: &str =
    "etag, idempotency-replayed, location, preference-applied, retry-after, www-authenticate";

/// How long a browser may keep the response to a preflight: two hours, the most that browsers agree on.
const MAX_AGE_SECONDS: &str = "7200";

/// What `Access-Control-Allow-Origin` says to this request; `None` where it comes from no other origin, or from one that may
/// not call.
///
/// # Errors
///
/// When the variable does not have its form.
pub(crate) fn allowed_origin(
    headers: &HeaderMap,
    variables: &Variables<impl Host>,
) -> Result<Option<HeaderValue>, SettingError> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(None) };
    let allowed = CORS_ALLOWED_ORIGINS.text(variables)?;
    let mut found = None;
    for entry in allowed.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        if entry == "*" {
            found = Some(HeaderValue::from_static("*"));
        } else if !is_origin(entry) {
            return Err(CORS_ALLOWED_ORIGINS
                .invalid("each entry is `*` or an origin like https://clinic.example, without a path"));
        } else if entry.as_bytes() == origin.as_bytes() {
            found = found.or_else(|| Some(origin.clone()));
        }
    }
    Ok(found)
}

/// Whether a text has the form in which browsers send an origin: scheme and authority, in lowercase.
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    !scheme.is_empty()
        && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte == b'+')
        && !authority.is_empty()
        && authority.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b':' | b'[' | b']'))
}

/// Whether a request is a preflight, which a browser sends on its own before the request that it asks about.
pub(crate) fn is_preflight(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Tells the browser that the page may see the response.
pub(crate) fn share(response: &mut HeaderMap, origin: HeaderValue) {
    response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(RESPONSE_HEADERS));
}

/// Tells the browser which requests the page may send.
pub(crate) fn permit(response: &mut HeaderMap, origin: HeaderValue, methods: &'static str) {
    response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    response.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    response.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS));
    response.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_SECONDS));
}
