//! How a request travels. Everything above this trait is the same inside a component and outside.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderName;

/// The longest answer a transport takes. DynamoDB's `Query`, the largest in use, answers at most 1 MB a page.
pub(crate) const MAX_ANSWER_BYTES: usize = 2 * 1024 * 1024;

/// Where the REST-JSON and, optionally, the JSON protocols name an error's type.
pub(crate) const X_AMZN_ERRORTYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// Carries one HTTP exchange, and waits.
///
/// The futures have no `Send` bound: in a component nothing is `Send`. Where a transport's own futures are `Send`, those
/// of [`Client`](crate::Client) over it are as well.
pub trait Transport {
    /// Sends a request whose `Host` follows from its URI, and reads the whole answer, all within `limit`.
    ///
    /// The implementation adds `Content-Length`, hands head and body over so that they leave in one write, and limits the
    /// answer's size. Of the answer's headers it needs to keep `x-amzn-errortype` only.
    ///
    /// # Errors
    /// Any status is an answer; a [`TransportError`] means that there was none.
    fn send(
        &self,
        request: http::Request<Bytes>,
        limit: Duration,
    ) -> impl Future<Output = Result<http::Response<Bytes>, TransportError>>;

    /// Waits.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;
}

impl<T: Transport> Transport for &T {
    fn send(
        &self,
        request: http::Request<Bytes>,
        limit: Duration,
    ) -> impl Future<Output = Result<http::Response<Bytes>, TransportError>> {
        T::send(self, request, limit)
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> {
        T::sleep(self, duration)
    }
}

/// Why a request got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection came about, so nothing was sent.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// The authority that was to be reached.
        host: String,
        /// What failed, in the transport's words.
        reason: String,
    },
    /// The Wasm host forbids this destination, so nothing was sent.
    #[error("the host does not let this component call {host}: add it to allowed_outbound_hosts in spin.toml")]
    Denied {
        /// The authority that was refused.
        host: String,
    },
    /// The request cannot be put on the wire, so nothing was sent.
    #[error("the request cannot be sent: {reason}")]
    InvalidRequest {
        /// The part at fault.
        reason: String,
    },
    /// The answer was not there, or not complete, in time.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke after at least a part of the request was sent.
    #[error("the connection broke before the answer was complete: {reason}")]
    Interrupted {
        /// What failed, in the transport's words.
        reason: String,
    },
    /// The answer is longer than the transport takes.
    #[error("the answer is longer than {limit_bytes} bytes")]
    TooLarge {
        /// The most that is taken.
        limit_bytes: usize,
    },
}
