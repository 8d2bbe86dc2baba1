//! One call of the host, which brings a request and takes a response: with as few calls back as that takes.

use std::future::Future;
use std::mem::ManuallyDrop;
use std::time::SystemTime;

use ::wasi::http::types::{
    Fields, IncomingRequest, Method as WasiMethod, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use aws_http::wasi::{WRITE_BYTES, run};
use http::header::{CONTENT_LENGTH, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Uri};

use super::IncomingBody;
use crate::Response;

/// Serves one call of the host: hands the request to `handle`, with the instant at which it came, and sends what it gives.
///
/// That instant is the only reading of a clock that a request needs before its end: it dates whatever the request does.
pub fn serve<F: Future<Output = Response>>(
    incoming: IncomingRequest,
    outgoing: ResponseOutparam,
    handle: impl FnOnce(http::Request<IncomingBody>, SystemTime) -> F,
) {
    let arrived = SystemTime::now();
    let response = match request(incoming) {
        Some(request) => run(handle(request, arrived)),
        None => {
            let mut response = Response::default();
            *response.status_mut() = http::StatusCode::BAD_REQUEST;
            response
        }
    };
    send(outgoing, response);
}

/// The host's request as one of the `http` crate, `None` where its method or target is not HTTP's.
fn request(incoming: IncomingRequest) -> Option<http::Request<IncomingBody>> {
    let method = match incoming.method() {
        WasiMethod::Get => Method::GET,
        WasiMethod::Post => Method::POST,
        WasiMethod::Delete => Method::DELETE,
        WasiMethod::Head => Method::HEAD,
        WasiMethod::Options => Method::OPTIONS,
        WasiMethod::Put => Method::PUT,
        WasiMethod::Patch => Method::PATCH,
        WasiMethod::Connect => Method::CONNECT,
        WasiMethod::Trace => Method::TRACE,
        WasiMethod::Other(name) => Method::from_bytes(name.as_bytes()).ok()?,
    };
    let uri = Uri::try_from(incoming.path_with_query().unwrap_or_default()).ok()?;
    let mut headers = HeaderMap::new();
    let fields = ManuallyDrop::new(incoming.headers());
    for (name, value) in fields.entries() {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let mut request = http::Request::new(IncomingBody::new(incoming, announced));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Some(request)
}

/// Hands the response over with its body already written and finished. The host then has both when it first writes: head
/// and body leave in one write, where two would wait for the peer's delayed acknowledgement (about 44 ms).
fn send(outgoing: ResponseOutparam, response: Response) {
    let (mut head, content) = response.into_parts();
    // What has no body announces none (RFC 9110, section 8.6).
    if !matches!(head.status, http::StatusCode::NO_CONTENT | http::StatusCode::NOT_MODIFIED) {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(content.len()));
    }
    let fields: Vec<(String, Vec<u8>)> =
        head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_owned())).collect();
    // The host refuses only the headers that it sets itself (`Connection`, …), which no response of ours sets.
    let fields = Fields::from_list(&fields).unwrap_or_else(|_| Fields::new());
    let response = OutgoingResponse::new(fields);
    if head.status != http::StatusCode::OK {
        let _ = response.set_status_code(head.status.as_u16());
    }
    if content.is_empty() {
        ResponseOutparam::set(outgoing, Ok(response));
        return;
    }
    let Ok(body) = response.body() else { return };
    let mut rest: &[u8] = &content;
    let stream = body.write();
    if let Ok(stream) = &stream
        && rest.len() <= WRITE_BYTES
    {
        // The host has room for one piece and the next before anybody reads: nothing waits for the client. If it
        // cannot take the body, the client has gone away.
        let _ = stream.blocking_write_and_flush(rest);
        rest = &[];
    } else if let Ok(stream) = &stream
        && let Ok(budget) = stream.check_write()
    {
        let length = rest.len().min(usize::try_from(budget).unwrap_or(usize::MAX));
        let (piece, later) = rest.split_at(length);
        if piece.is_empty() || stream.write(piece).is_ok() {
            rest = later;
        }
    }
    if rest.is_empty() {
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
        ResponseOutparam::set(outgoing, Ok(response));
        return;
    }
    // Longer than the host takes before anybody reads: the rest follows the head. A client that has gone away needs
    // nothing more.
    ResponseOutparam::set(outgoing, Ok(response));
    if let Ok(stream) = stream {
        for piece in rest.chunks(WRITE_BYTES) {
            if stream.blocking_write_and_flush(piece).is_err() {
                break;
            }
        }
        drop(stream);
    }
    let _ = OutgoingBody::finish(body, None);
}
