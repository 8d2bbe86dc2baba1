//! Responses that the host gives in place of a component.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use serde_json::json;

/// The body of a response, a component's or the host's own.
pub(crate) type ResponseBody = UnsyncBoxBody<Bytes, wasmtime_wasi_http::Error>;

/// The whole of a response, or that the component failed half-way through it.
pub(crate) async fn buffered(response: Response<ResponseBody>) -> Response<Bytes> {
    let (head, body) = response.into_parts();
    match body.collect().await {
        Ok(body) => Response::from_parts(head, body.to_bytes()),
        Err(_) => {
            let (head, body) = problem(StatusCode::INTERNAL_SERVER_ERROR, "the component failed").into_parts();
            let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            Response::from_parts(head, body)
        }
    }
}

pub(crate) fn no_response() -> Response<ResponseBody> {
    problem(StatusCode::INTERNAL_SERVER_ERROR, "the component gave no response")
}

/// The host's own response, a problem of RFC 9457. It says nothing about what went wrong inside.
pub(crate) fn problem(status: StatusCode, detail: &str) -> Response<ResponseBody> {
    let title = status.canonical_reason().unwrap_or("Error");
    let problem = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    let body = Full::new(Bytes::from(problem.to_string())).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

pub(crate) fn overloaded() -> Response<ResponseBody> {
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once; try again");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
