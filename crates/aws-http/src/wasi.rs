//! The transport inside a component: `wasi:http` 0.2.
//!
//! Spin does not set `TCP_NODELAY`, so a request whose head and body leave in two writes waits about 44 ms for the peer's
//! delayed acknowledgement. Therefore a request is handed over with its length known and, where the body fits into what the
//! host buffers, with the body already written and finished: the host has both when it first writes.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use ::wasi::clocks::monotonic_clock;
use ::wasi::http::outgoing_handler;
use ::wasi::http::types::{
    ErrorCode, Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme, http_error_code,
};
use ::wasi::io::poll::Pollable;
use ::wasi::io::streams::{OutputStream, StreamError};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, StatusCode};
use spin_executor::{CancelOnDropToken, push_waker_and_get_token};

use crate::transport::{MAX_ANSWER_BYTES, Timeouts, Transport, TransportError, X_AMZN_ERRORTYPE};

/// How much of an answer is asked for at once.
const READ_BYTES: u64 = 64 * 1024;

/// Sends through the host's `wasi:http/outgoing-handler`.
///
/// Its futures need `spin_executor` to run them, which `#[spin_sdk::http_component]` does. Several exchanges may be in
/// flight at once; one that is dropped is cancelled.
#[derive(Clone, Copy, Debug, Default)]
pub struct WasiTransport;

impl Transport for WasiTransport {
    async fn send(
        &self,
        request: http::Request<Bytes>,
        timeouts: Timeouts,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let (request, content) = outgoing(request)?;
        let options = Some(options(timeouts)?);
        let body = request.body().map_err(|()| invalid("its body cannot be opened"))?;
        let sink = body.write().map_err(|()| invalid("its body cannot be written"))?;

        // A stream is its body's child resource, and the exchange is the request's: each is gone before its parent.
        let exchange = if write_at_once(&sink, &content)? {
            finish(sink, body)?;
            outgoing_handler::handle(request, options).map_err(|code| failure(&code, &host))?
        } else {
            let exchange = outgoing_handler::handle(request, options).map_err(|code| failure(&code, &host))?;
            match write_in_pieces(&sink, &content).await {
                Ok(()) => finish(sink, body)?,
                // The peer answered early or is gone. The exchange says which.
                Err(_closed) => drop((sink, body)),
            }
            exchange
        };

        let mut exchange_ready = Readiness::default();
        let incoming = poll_fn(|context| match exchange.get() {
            Some(outcome) => Poll::Ready(outcome),
            None => exchange_ready.wait_for(exchange.subscribe(), context),
        })
        .await
        .map_err(|()| interrupted("its outcome was taken twice"))?
        .map_err(|code| failure(&code, &host))?;
        read(&incoming).await
    }

    async fn sleep(&self, duration: Duration) {
        let until = monotonic_clock::now().saturating_add(nanoseconds(duration));
        let mut timer = Readiness::default();
        poll_fn(|context| match monotonic_clock::now() >= until {
            true => Poll::Ready(()),
            false => timer.wait_for(monotonic_clock::subscribe_instant(until), context),
        })
        .await;
    }
}

/// A place in the executor's poll list. The list wakes a future and forgets it, so a future that is still not ready
/// registers anew on each poll; what it registered before is dropped first, and so is what it leaves behind.
#[derive(Default)]
struct Readiness(Option<CancelOnDropToken>);

impl Readiness {
    fn wait_for<T>(&mut self, pollable: Pollable, context: &Context<'_>) -> Poll<T> {
        self.0 = Some(push_waker_and_get_token(pollable, context.waker().clone()).into());
        Poll::Pending
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

fn options(timeouts: Timeouts) -> Result<RequestOptions, TransportError> {
    let options = RequestOptions::new();
    options
        .set_connect_timeout(Some(nanoseconds(timeouts.connect)))
        .and_then(|()| options.set_first_byte_timeout(Some(nanoseconds(timeouts.first_byte))))
        .and_then(|()| options.set_between_bytes_timeout(Some(nanoseconds(timeouts.between_bytes))))
        .map_err(|()| invalid("the host does not support time-outs"))?;
    Ok(options)
}

/// Writes the body where the host takes it whole without anyone reading yet, and says whether it did.
///
/// A second piece could wait for a reader that comes with `handle` only, so it is one piece or none. wasmtime takes up
/// to 1 MiB.
fn write_at_once(sink: &OutputStream, content: &[u8]) -> Result<bool, TransportError> {
    if content.is_empty() {
        return Ok(true);
    }
    let budget = sink.check_write().map_err(|_| invalid("its body cannot be written"))?;
    if budget < content.len() as u64 {
        return Ok(false);
    }
    sink.write(content).map_err(|_| invalid("its body cannot be written"))?;
    Ok(true)
}

/// Writes the body as fast as the host takes it.
async fn write_in_pieces(sink: &OutputStream, mut content: &[u8]) -> Result<(), StreamError> {
    let mut sink_ready = Readiness::default();
    while !content.is_empty() {
        let budget = poll_fn(|context| match sink.check_write() {
            Ok(0) => sink_ready.wait_for(sink.subscribe(), context),
            outcome => Poll::Ready(outcome),
        })
        .await?;
        let length = content.len().min(usize::try_from(budget).unwrap_or(usize::MAX));
        let (piece, rest) = content.split_at(length);
        sink.write(piece)?;
        content = rest;
    }
    Ok(())
}

fn finish(sink: OutputStream, body: OutgoingBody) -> Result<(), TransportError> {
    drop(sink);
    OutgoingBody::finish(body, None).map_err(|_| interrupted("its body was not taken whole"))
}

/// Reads the whole answer; of its headers, the error type of a failed call only.
async fn read(incoming: &IncomingResponse) -> Result<http::Response<Bytes>, TransportError> {
    let status = StatusCode::from_u16(incoming.status()).map_err(|_| interrupted("its status is no HTTP status"))?;
    let body = incoming.consume().map_err(|()| interrupted("its body was taken twice"))?;
    let source = body.stream().map_err(|()| interrupted("its body was taken twice"))?;
    let mut content = Vec::new();
    let mut source_ready = Readiness::default();
    loop {
        let piece = poll_fn(|context| match source.read(READ_BYTES) {
            Ok(piece) if piece.is_empty() => source_ready.wait_for(source.subscribe(), context),
            outcome => Poll::Ready(outcome),
        })
        .await;
        match piece {
            Ok(piece) if content.is_empty() => content = piece,
            Ok(piece) => content.extend_from_slice(&piece),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(match http_error_code(&error) {
                    Some(code) => broken(&code),
                    None => interrupted("reading the answer failed"),
                });
            }
        }
        if content.len() > MAX_ANSWER_BYTES {
            return Err(TransportError::TooLarge { limit_bytes: MAX_ANSWER_BYTES });
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
    Ok(response)
}

/// What an exchange that brought no answer means. Only what happens before a connection stands counts as "not sent".
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

/// What an exchange that broke after its connection stood means.
fn broken(code: &ErrorCode) -> TransportError {
    match code {
        ErrorCode::ConnectionReadTimeout | ErrorCode::ConnectionWriteTimeout | ErrorCode::HttpResponseTimeout => {
            TransportError::Timeout
        }
        ErrorCode::HttpResponseBodySize(_) => TransportError::TooLarge { limit_bytes: MAX_ANSWER_BYTES },
        ErrorCode::ConnectionTerminated => interrupted("the peer closed the connection"),
        ErrorCode::HttpResponseIncomplete => interrupted("the peer closed the connection within its answer"),
        _ => interrupted(&code.to_string()),
    }
}

fn invalid(reason: &str) -> TransportError {
    TransportError::InvalidRequest { reason: reason.to_owned() }
}

fn interrupted(reason: &str) -> TransportError {
    TransportError::Interrupted { reason: reason.to_owned() }
}

/// WASI's durations are nanoseconds.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
