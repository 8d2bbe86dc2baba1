//! The transport inside a component: `wasi:http` 0.2.
//!
//! Spin does not set `TCP_NODELAY`. If head and body of a request leave in two writes, the second waits about 44 ms for the peer's
//! delayed acknowledgement. Therefore the host gets the request with its length and, if the body fits into the host's buffer, with
//! the body already written and finished. It has both when it first writes.

mod timer;
mod waiting;

use std::mem;
use std::time::Duration;

use ::wasi::http::outgoing_handler;
use ::wasi::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme,
    http_error_code,
};
use ::wasi::io::streams::{OutputStream, StreamError};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, StatusCode};

use crate::transport::{MAX_RESPONSE_BYTES, ResponseBody, Terms, Transport, TransportError, X_AMZN_ERRORTYPE};

use timer::Timer;
pub use waiting::run;
use waiting::{Waitable, any};

/// How much of a response is read at once.
const READ_BYTES: u64 = 64 * 1024;

/// The most that one `blocking-write-and-flush` takes (`wasi:io/streams`).
pub const WRITE_BYTES: usize = 4096;

/// Sends through the host's `wasi:http/outgoing-handler`.
///
/// Its futures need [`run`]. Several exchanges may be in flight at once; one that is dropped is cancelled.
///
/// Its cost is the number of calls to the host (`docs/adr/0076-calls-to-the-host.md`). Therefore one timer limits an exchange and also
/// the next one; three limits would have to be set on the host. After an exchange its resources are not given back: the instance
/// ends soon, and they end with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct WasiTransport;

impl Transport for WasiTransport {
    async fn send(&self, request: http::Request<Bytes>, terms: Terms) -> Result<http::Response<Bytes>, TransportError> {
        let authority = request.uri().authority().cloned();
        let failure = |code: &ErrorCode| failure(code, authority.as_ref().map_or("", |authority| authority.as_str()));
        let (request, content) = outgoing(request)?;
        let body = request.body().map_err(|()| invalid("its body cannot be opened"))?;
        let sink = body.write().map_err(|()| invalid("its body cannot be written"))?;

        // A stream is a child resource of its body, and the exchange of the request: a child is dropped before its parent.
        let mut timer = Timer::start(&terms);
        let exchange = if write_at_once(&sink, &content)? {
            finish(sink, body)?;
            outgoing_handler::handle(request, None).map_err(|code| failure(&code))?
        } else {
            let exchange = outgoing_handler::handle(request, None).map_err(|code| failure(&code))?;
            match write_in_pieces(&sink, &content, &mut timer).await {
                Ok(()) => finish(sink, body)?,
                // The peer has responded early or is gone. The exchange says which.
                Err(_closed) => drop((sink, body)),
            }
            exchange
        };
        let incoming = head(exchange, &mut timer).await?.map_err(|code| failure(&code))?;
        let response = read(incoming, terms.body, &mut timer).await?;
        timer.keep();
        Ok(response)
    }

    async fn sleep(&self, duration: Duration) {
        timer::sleep(duration).await;
    }
}

/// Waits for the head of the response. It is never there when an exchange begins, so we wait before we ask.
async fn head(
    exchange: FutureIncomingResponse,
    timer: &mut Timer,
) -> Result<Result<IncomingResponse, ErrorCode>, TransportError> {
    let arrived = Waitable::new(exchange.subscribe());
    loop {
        any(&[&arrived, timer.waitable()]).await;
        if let Some(outcome) = exchange.get() {
            arrived.leave();
            mem::forget(exchange);
            return outcome.map_err(|()| interrupted("its outcome was taken twice"));
        }
        if timer.is_over() {
            return Err(TransportError::Timeout);
        }
    }
}

/// The request without its body, as the host takes it, and the body.
fn outgoing(request: http::Request<Bytes>) -> Result<(OutgoingRequest, Bytes), TransportError> {
    let (mut parts, content) = request.into_parts();
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(content.len()));
    let fields: Vec<(String, Vec<u8>)> =
        parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_owned())).collect();
    let fields = Fields::from_list(&fields).map_err(|_| invalid("the host refuses one of its headers"))?;

    let request = OutgoingRequest::new(fields);
    let method = match parts.method {
        http::Method::GET => Method::Get,
        http::Method::POST => Method::Post,
        http::Method::PUT => Method::Put,
        http::Method::DELETE => Method::Delete,
        other => Method::Other(other.as_str().to_owned()),
    };
    let scheme = if parts.uri.scheme() == Some(&http::uri::Scheme::HTTP) { Scheme::Http } else { Scheme::Https };
    request.set_method(&method).map_err(|()| invalid("the host refuses its method"))?;
    request.set_scheme(Some(&scheme)).map_err(|()| invalid("the host refuses its scheme"))?;
    request
        .set_authority(parts.uri.authority().map(http::uri::Authority::as_str))
        .map_err(|()| invalid("the host refuses its authority"))?;
    request
        .set_path_with_query(parts.uri.path_and_query().map(http::uri::PathAndQuery::as_str))
        .map_err(|()| invalid("the host refuses its path"))?;
    Ok((request, content))
}

/// Writes the body if the host takes it whole before anybody reads it, and says whether it did.
///
/// A second piece could wait for a reader, and there is none before `handle`. Therefore it is one piece or none. wasmtime takes a piece
/// of up to 1 MiB and has room for it and the next, so a flush never waits, whatever the peer does.
fn write_at_once(sink: &OutputStream, content: &[u8]) -> Result<bool, TransportError> {
    if content.is_empty() {
        return Ok(true);
    }
    if content.len() <= WRITE_BYTES {
        sink.blocking_write_and_flush(content).map_err(|_| invalid("its body cannot be written"))?;
        return Ok(true);
    }
    let budget = sink.check_write().map_err(|_| invalid("its body cannot be written"))?;
    if budget < content.len() as u64 {
        return Ok(false);
    }
    sink.write(content).map_err(|_| invalid("its body cannot be written"))?;
    Ok(true)
}

/// Writes the body as fast as the host takes it, until the time is over.
async fn write_in_pieces(sink: &OutputStream, mut content: &[u8], timer: &mut Timer) -> Result<(), StreamError> {
    let mut room = None;
    while !content.is_empty() {
        match sink.check_write()? {
            0 => {
                any(&[room.get_or_insert_with(|| Waitable::new(sink.subscribe())), timer.waitable()]).await;
                if timer.is_over() {
                    return Err(StreamError::Closed);
                }
            }
            budget => {
                let length = content.len().min(usize::try_from(budget).unwrap_or(usize::MAX));
                let (piece, rest) = content.split_at(length);
                sink.write(piece)?;
                content = rest;
            }
        }
    }
    Ok(())
}

fn finish(sink: OutputStream, body: OutgoingBody) -> Result<(), TransportError> {
    drop(sink);
    OutgoingBody::finish(body, None).map_err(|_| interrupted("its body was not taken whole"))
}

/// Reads the whole response; of its headers, the error type of a failed call only.
///
/// If the body shows that it is whole, its end is not asked for: the host has read it from the connection by then.
async fn read(
    incoming: IncomingResponse,
    kind: ResponseBody,
    timer: &mut Timer,
) -> Result<http::Response<Bytes>, TransportError> {
    let status = StatusCode::from_u16(incoming.status()).map_err(|_| interrupted("its status is no HTTP status"))?;
    if kind == ResponseBody::Unread && status.is_success() {
        mem::forget(incoming);
        let mut response = http::Response::new(Bytes::new());
        *response.status_mut() = status;
        return Ok(response);
    }
    let body = incoming.consume().map_err(|()| interrupted("its body was taken twice"))?;
    let source = body.stream().map_err(|()| interrupted("its body was taken twice"))?;
    let mut content = Vec::new();
    let mut more = None;
    loop {
        match source.read(READ_BYTES) {
            Ok(piece) if piece.is_empty() => {
                let more = more.get_or_insert_with(|| Waitable::new(source.subscribe()));
                any(&[more, timer.waitable()]).await;
                if timer.is_over() {
                    return Err(TransportError::Timeout);
                }
            }
            Ok(piece) if content.is_empty() => content = piece,
            Ok(piece) => content.extend_from_slice(&piece),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(match http_error_code(&error) {
                    Some(code) => broken(&code),
                    None => interrupted("reading the response failed"),
                });
            }
        }
        if content.len() > MAX_RESPONSE_BYTES {
            return Err(TransportError::TooLarge { limit_bytes: MAX_RESPONSE_BYTES });
        }
        if kind.is_whole(&content) {
            break;
        }
    }

    let mut response = http::Response::new(Bytes::from(content));
    *response.status_mut() = status;
    if !status.is_success() {
        let error_type = incoming.headers().get(&X_AMZN_ERRORTYPE.as_str().to_owned()).into_iter().next();
        if let Some(value) = error_type.and_then(|value| HeaderValue::from_maybe_shared(value).ok()) {
            response.headers_mut().insert(X_AMZN_ERRORTYPE, value);
        }
    }
    if let Some(more) = more {
        more.leave();
    }
    mem::forget((source, body, incoming));
    Ok(response)
}

/// The error for an exchange without a response. Only a failure before the connection is made counts as "not sent".
fn failure(code: &ErrorCode, host: &str) -> TransportError {
    let unreachable = |reason: &str| TransportError::Unreachable { host: host.to_owned(), reason: reason.to_owned() };
    match code {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => {
            TransportError::Denied { host: host.to_owned() }
        }
        ErrorCode::DnsTimeout => unreachable("its name was not resolved in time"),
        ErrorCode::DnsError(_) | ErrorCode::DestinationNotFound => unreachable("its name cannot be resolved"),
        ErrorCode::DestinationUnavailable | ErrorCode::DestinationIpUnroutable => unreachable("no route to it"),
        ErrorCode::ConnectionRefused => unreachable("connection refused"),
        ErrorCode::ConnectionTimeout => unreachable("no connection in time"),
        ErrorCode::ConnectionLimitReached => unreachable("the Wasm host has no connection left"),
        ErrorCode::TlsProtocolError => unreachable("TLS failed"),
        ErrorCode::TlsCertificateError => unreachable("its certificate is not trusted"),
        ErrorCode::HttpRequestLengthRequired
        | ErrorCode::HttpRequestBodySize(_)
        | ErrorCode::HttpRequestMethodInvalid
        | ErrorCode::HttpRequestUriInvalid
        | ErrorCode::HttpRequestUriTooLong
        | ErrorCode::HttpRequestHeaderSectionSize(_)
        | ErrorCode::HttpRequestHeaderSize(_)
        | ErrorCode::ConfigurationError
        | ErrorCode::LoopDetected => TransportError::InvalidRequest { reason: code.to_string() },
        _ => broken(code),
    }
}

/// The error for an exchange that broke after its connection was made.
fn broken(code: &ErrorCode) -> TransportError {
    match code {
        ErrorCode::ConnectionReadTimeout | ErrorCode::ConnectionWriteTimeout | ErrorCode::HttpResponseTimeout => {
            TransportError::Timeout
        }
        ErrorCode::HttpResponseBodySize(_) => TransportError::TooLarge { limit_bytes: MAX_RESPONSE_BYTES },
        ErrorCode::ConnectionTerminated => interrupted("the peer closed the connection"),
        ErrorCode::HttpResponseIncomplete => interrupted("the peer closed the connection within its response"),
        _ => interrupted(&code.to_string()),
    }
}

fn invalid(reason: &str) -> TransportError {
    TransportError::InvalidRequest { reason: reason.to_owned() }
}

fn interrupted(reason: &str) -> TransportError {
    TransportError::Interrupted { reason: reason.to_owned() }
}
