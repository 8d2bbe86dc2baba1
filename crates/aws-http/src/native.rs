//! The transport outside Wasm: hyper with pooled connections, rustls with the Mozilla roots, and `TCP_NODELAY`.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use crate::transport::{MAX_RESPONSE_BYTES, Terms, Transport, TransportError};

/// How long a connection may take, within the limit of its exchange.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// Sends over pooled HTTP/1.1 connections. Clones share the pool. It needs a tokio runtime with time and I/O enabled.
#[derive(Clone, Debug)]
pub struct NativeTransport {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl NativeTransport {
    /// A transport with an empty pool. A connection may take a second.
    #[must_use]
    pub fn new() -> Self {
        Self::connecting_within(CONNECT_LIMIT)
    }

    /// A transport with an empty pool, for a server that may be too busy to accept connections for a while.
    #[must_use]
    pub fn connecting_within(limit: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(limit));
        tcp.enforce_http(false);
        // The provider is named, because another crate's choice of rustls features could make the default ambiguous.
        #[expect(
            clippy::expect_used,
            reason = "fails only for a provider without TLS 1.2 and 1.3 suites; ring has both"
        )]
        let https = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .expect("ring supports the default TLS versions")
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let http = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(https);
        Self { http }
    }
}

impl Default for NativeTransport {
    fn default() -> Self {
        Self::new()
    }
}

impl Transport for NativeTransport {
    async fn send(&self, request: http::Request<Bytes>, terms: Terms) -> Result<http::Response<Bytes>, TransportError> {
        timeout(terms.limit, self.exchange(request)).await.unwrap_or(Err(TransportError::Timeout))
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

impl NativeTransport {
    async fn exchange(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportError> {
        let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        // hyper writes a body given whole together with the head, and sets its length.
        let head = self.http.request(request.map(Full::new)).await.map_err(|error| {
            let reason = innermost(&error);
            match error.is_connect() {
                true => TransportError::Unreachable { host, reason },
                false => TransportError::Interrupted { reason },
            }
        })?;
        let (parts, mut incoming) = head.into_parts();
        let mut body = Vec::new();
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|error| TransportError::Interrupted { reason: innermost(&error) })?;
            let Ok(data) = frame.into_data() else { continue };
            if body.len() + data.len() > MAX_RESPONSE_BYTES {
                return Err(TransportError::TooLarge { limit_bytes: MAX_RESPONSE_BYTES });
            }
            body.extend_from_slice(&data);
        }
        Ok(http::Response::from_parts(parts, body.into()))
    }
}

/// The cause at the bottom of an error's chain: "connection refused" rather than "client error (Connect)".
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
