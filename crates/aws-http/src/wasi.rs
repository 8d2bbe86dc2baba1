//! The transport inside a component: `wasi:http` 0.2.
//!
//! Spin does not set `TCP_NODELAY`, so a request whose head and body leave in two writes waits about 44 ms for the peer's
//! delayed acknowledgement. Therefore the request is handed over with its length known and, where it fits, its body
//! already written and finished: the host then has both when it first writes.

use std::future::{Future, poll_fn};
use std::task::{Context, Poll};
use std::time::Duration;

use ::wasi::clocks::monotonic_clock::subscribe_duration;
use ::wasi::http::outgoing_handler;
use ::wasi::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions,
    Scheme, http_error_code,
};
use ::wasi::io::poll::Pollable;
use ::wasi::io::streams::{OutputStream, StreamError};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use spin_executor::{CancelOnDropToken, push_waker_and_get_token};

use crate::transport::{MAX_ANSWER_BYTES, Timeouts, Transport, TransportError};

const X_AMZN_ERRORTYPE: &str = "x-amzn-errortype";

/// How much of an answer is asked for at once.
const READ_BYTES: u64 = 64 * 1024;

/// Sends through the host's `wasi:http/outgoing-handler`. It needs `spin-executor` to run the component's futures, which
/// `#[spin_sdk::http_component]` does. Several exchanges may be in flight at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct WasiTransport;

impl Transport for WasiTransport {
    async fn send(
        &self,
        request: http::Request<Bytes>,
        timeouts: Timeouts,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let (request, body) = outgoing(request)?;
        let options = options(timeouts)?;

        let outgoing_body = request.body().map_err(|()| invalid("the body cannot be opened"))?;
        let sink = outgoing_body.write().map_err(|()| invalid("the body cannot be written"))?;
        let written = write_if_it_fits(&sink, &body)?;
        let exchange = if written {
            finish(sink, outgoing_body)?;
            outgoing_handler::handle(request, Some(options))
        } else {
            let exchange = outgoing_handler::handle(request, Some(options));
            if exchange.is_ok() && write_all(&sink, &body).await.is_ok() {
                // A failed write is told better by the exchange's own error, below.
                finish(sink, outgoing_body)?;
            }
            exchange
        }
        .map_err(|code| transport_error(&code, &authority))?;

        let incoming = answer(&exchange).await.map_err(|code| transport_error(&code, &authority))?;
        read(&incoming, &authority).await
    }

    async fn sleep(&self, duration: Duration) {
        let mut timer = Some(subscribe_duration(nanoseconds(duration)));
        let mut registered = Registration::default();
        poll_fn(|context| match timer.take() {
            Some(pollable) if !pollable.ready() => {
                registered.wait_for(pollable, context);
                Poll::Pending
            }
            _ => Poll::Ready(()),
        })
        .await;
    }
}
