//! Plain HTTP calls to what runs locally.

use std::time::Duration;

use anyhow::{Context, Result};
use aws_http::native::NativeTransport;
use aws_http::{Terms, Transport, TransportError};
use bytes::Bytes;

/// The time limit of each step of a call.
const LIMIT: Duration = Duration::from_secs(10);

/// A client with its own connection pool.
#[derive(Clone, Default)]
pub struct Http(NativeTransport);

impl Http {
    /// Sends a request and reads the whole response, whatever its status.
    ///
    /// # Errors
    /// If there is no response.
    pub async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportError> {
        self.send_within(request, LIMIT).await
    }

    /// As [`Http::send`], with a limit of one's own.
    ///
    /// # Errors
    /// If there is no response.
    pub async fn send_within(
        &self,
        request: http::Request<Bytes>,
        limit: Duration,
    ) -> Result<http::Response<Bytes>, TransportError> {
        self.0.send(request, Terms::within(limit)).await
    }

    /// `GET`s a URL.
    ///
    /// # Errors
    /// When the URL is malformed, or there is no response.
    pub async fn get(&self, url: &str) -> Result<http::Response<Bytes>> {
        let request = http::Request::get(url).body(Bytes::new()).with_context(|| format!("not a URL: {url}"))?;
        self.send(request).await.with_context(|| format!("GET {url}"))
    }
}

/// Whether a `GET` of the URL gets a 2xx response.
pub async fn answers_success(url: &str) -> bool {
    Http::default().get(url).await.is_ok_and(|response| response.status().is_success())
}
