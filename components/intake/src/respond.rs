//! What every response has in common.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use edge_component::{Response, has_tag};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// For how long anybody may keep what is read of the projection of slots. It may be stale by seconds when it is read: the
/// country decides about a booking.
const CACHEABLE: HeaderValue = HeaderValue::from_static("public, max-age=2");

/// A response with a JSON body, which nobody may keep: it may hold personal data.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    // Strings and numbers always serialise.
    let mut response = Response::new(serde_json::to_vec(body).unwrap_or_default());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A response about slots, which anybody may keep for a moment.
pub(crate) fn cacheable(body: &impl Serialize, request: &HeaderMap) -> Response {
    let mut response = tagged(json(StatusCode::OK, body), request);
    response.headers_mut().insert(CACHE_CONTROL, CACHEABLE);
    response
}

/// The same response with the `ETag` of its body; nothing but its headers where the client has it already.
pub(crate) fn tagged(mut response: Response, headers: &HeaderMap) -> Response {
    let tag = entity_tag(response.body());
    let unchanged = has_tag(headers, &tag);
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(CONTENT_TYPE);
        response.body_mut().clear();
    }
    response
}

/// The strong entity tag of a body: it changes with every byte, so with the language too (RFC 9110, section 8.8.3).
fn entity_tag(body: &[u8]) -> String {
    let [head @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _] = <[u8; 32]>::from(Sha256::digest(body));
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(head))
}

/// A header's text, `None` where it is missing or not ASCII.
pub(crate) fn text_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
