//! Bookings, as clients send them: over kept connections, each when the response to the one before is there, or at a fixed rate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use hdrhistogram::Histogram;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, USER_AGENT};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

/// What makes a booking wait for its outcome (RFC 7240).
pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");

/// When a round's bookings are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// Each connection sends the next when it has the response to the one before.
    Closed,
    /// So many per second, evenly spaced, whether or not the responses to those before are there (as long as a connection is free).
    PerSecond(u32),
}

/// How long a round lasts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Length {
    Time(Duration),
    Bookings(u64),
}

/// What came of a round in which every booking had the right response.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) bookings: u64,
    pub(crate) elapsed: Duration,
    /// In microseconds. At a fixed rate, of a booking that had to wait for a connection, from when it was due.
    latencies: Histogram<u64>,
}

impl Outcome {
    pub(crate) fn milliseconds(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1000.0
    }
}

/// One connection of a client.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    address: SocketAddr,
    /// What each booking says besides: who calls, and whether to wait.
    headers: HeaderMap,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, address, headers: HeaderMap::new() })
    }

    /// Sends these with each booking.
    pub(crate) fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.headers = headers;
        self
    }

    pub(crate) async fn send(&mut self, mut request: Request<Bytes>) -> Result<Response<Bytes>> {
        request.headers_mut().insert(HOST, self.address.to_string().parse()?);
        self.sender.ready().await?;
        let response = self.sender.send_request(request.map(Full::new)).await?;
        let (head, body) = response.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }

    /// Sends a booking of an unused slot, which must be accepted.
    pub(crate) async fn book(&mut self) -> Result<()> {
        let mut booking = booking()?;
        booking.headers_mut().extend(self.headers.clone());
        // Whoever prefers to wait is told the outcome where one of the places to wait is free, everybody else that there will be one.
        let waits = self.headers.contains_key(PREFER);
        let response = self.send(booking).await?;
        if !(response.status() == StatusCode::ACCEPTED || waits && response.status() == StatusCode::CREATED) {
            bail!("the response to a booking is {}: {}", response.status(), String::from_utf8_lossy(response.body()));
        }
        Ok(())
    }
}

fn booking() -> Result<Request<Bytes>> {
    static SLOTS: AtomicU64 = AtomicU64::new(1);
    let slot = SLOTS.fetch_add(1, Ordering::Relaxed);
    let country = if slot.is_multiple_of(2) { "PE" } else { "CL" };
    let body = format!(r#"{{"insuredId":"{:05}","scheduleId":{slot},"countryISO":"{country}"}}"#, slot % 100_000);
    Request::post("/appointments")
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, concat!("bench/", env!("CARGO_PKG_VERSION")))
        .body(body.into())
        .context("a booking is a request")
}

/// Sends a round of bookings over `connections` connections of their own.
pub(crate) async fn run(
    address: SocketAddr,
    headers: &HeaderMap,
    connections: usize,
    pace: Pace,
    length: Length,
) -> Result<Outcome> {
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        clients.push(Client::connect(address).await?.with_headers(headers.clone()));
    }
    let round = Arc::new(Round { began: Instant::now(), pace, length, sent: AtomicU64::new(0) });
    let mut tasks = JoinSet::new();
    for client in clients {
        let round = round.clone();
        tasks.spawn(async move { round.connection(client).await });
    }
    let mut latencies = histogram()?;
    while let Some(of_connection) = tasks.join_next().await {
        latencies.add(of_connection??).map_err(|error| anyhow!("{error:?}"))?;
    }
    let elapsed = round.began.elapsed();
    Ok(Outcome { bookings: latencies.len(), elapsed, latencies })
}

fn histogram() -> Result<Histogram<u64>> {
    Histogram::new(3).map_err(|error| anyhow!("no histogram: {error:?}"))
}

struct Round {
    began: Instant,
    pace: Pace,
    length: Length,
    sent: AtomicU64,
}

impl Round {
    async fn connection(&self, mut client: Client) -> Result<Histogram<u64>> {
        let mut latencies = histogram()?;
        loop {
            let number = self.sent.fetch_add(1, Ordering::Relaxed);
            let due = match self.pace {
                Pace::Closed => None,
                Pace::PerSecond(rate) => Some(self.began + Duration::from_secs(1).mul_f64(number as f64) / rate),
            };
            let is_over = match self.length {
                Length::Time(time) => due.unwrap_or_else(Instant::now) >= self.began + time,
                Length::Bookings(bookings) => number >= bookings,
            };
            if is_over {
                return Ok(latencies);
            }
            let began = match due {
                // The timer's own lateness (up to 1 ms) is not the server's.
                Some(due) if due > Instant::now() => {
                    sleep_until(due.into()).await;
                    Instant::now()
                }
                Some(due) => due,
                None => Instant::now(),
            };
            client.book().await?;
            let micros = u64::try_from(began.elapsed().as_micros())?;
            latencies.record(micros.max(1)).map_err(|error| anyhow!("{error:?}"))?;
        }
    }
}
