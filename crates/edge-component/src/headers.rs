use appointment::TraceContext;
use http::HeaderMap;
use http::header::IF_NONE_MATCH;

/// The caller's place in its trace: the header `traceparent` (W3C Trace Context), if it is there and sound.
#[must_use]
pub fn caller(headers: &HeaderMap) -> Option<TraceContext> {
    headers.get("traceparent")?.to_str().ok()?.parse().ok()
}

/// Whether `If-None-Match` names this tag, or any (RFC 9110, section 13.1.2: weakly compared). The tag has its quotation marks, and no
/// comma.
#[must_use]
pub fn has_tag(headers: &HeaderMap, tag: &str) -> bool {
    let listed = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    listed
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|listed| listed == "*" || listed.strip_prefix("W/").unwrap_or(listed) == tag)
}
