//! The listener in the application's place, and the passing on of requests to the process that is current.
//!
//! A request, not a connection, is what a process gets: a client's connection outlives the process that answered its first
//! request, and a process can end as soon as its own requests are answered, whatever connections clients keep open.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// How long an idle connection of a client is kept. Longer than a load balancer keeps it (60 s for AWS's), since whoever
/// closes first must not be the one that a request may be on its way to.
const IDLE_LIMIT: Duration = Duration::from_secs(75);

/// How long to wait where the system lacks the means for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Header fields that concern one hop (RFC 9110, section 7.6.1), besides those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

type Answer = Response<Either<Tracked, Full<Bytes>>>;

/// A process that requests are passed on to.
#[derive(Debug, Clone)]
struct Backend {
    authority: Authority,
    /// With connections of its own, which end with the last request.
    client: Client<HttpConnector, Incoming>,
    /// Its requests, each until the last byte of its answer.
    requests: TaskTracker,
}

impl Backend {
    fn new(address: SocketAddr) -> Result<Self> {
        let authority = address.to_string().parse().context("an address is an authority")?;
        let mut connector = HttpConnector::new();
        // Without it, a request of two writes would wait for the peer's delayed acknowledgement.
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { authority, client, requests: TaskTracker::new() })
    }
}

/// A process that gets no further request.
#[derive(Debug)]
pub(crate) struct Retired(TaskTracker);

impl Retired {
    /// Waits until its requests are answered, at most so long; how many are not.
    pub(crate) async fn drained(self, limit: Duration) -> usize {
        self.0.close();
        // What is left then is counted.
        let _ = timeout(limit, self.0.wait()).await;
        self.0.len()
    }
}

/// What passes requests on.
#[derive(Debug)]
pub(crate) struct Front {
    current: RwLock<Backend>,
}

impl Front {
    /// Passes requests on to the process at `address`.
    pub(crate) fn new(address: SocketAddr) -> Result<Self> {
        Ok(Self { current: RwLock::new(Backend::new(address)?) })
    }

    /// Passes every further request on to the process at `address`.
    pub(crate) fn switch_to(&self, address: SocketAddr) -> Result<Retired> {
        let successor = Backend::new(address)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Retired(std::mem::replace(&mut *current, successor).requests))
    }

    /// Serves clients until `shutdown`; requests in flight then have up to `limit` to finish.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener, shutdown: CancellationToken, limit: Duration) {
        let connections = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            // Most likely no file descriptor is left; the connection waits in the backlog.
            let Ok((stream, _)) = accepted else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // It fails only where the client is gone already.
            let _ = stream.set_nodelay(true);
            let front = self.clone();
            let service = service_fn(move |request| {
                let front = front.clone();
                async move { Ok::<_, Infallible>(front.pass_on(request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(IDLE_LIMIT)
                .serve_connection(TokioIo::new(stream), service);
            // A client that breaks off or speaks no HTTP is its own affair.
            tokio::spawn(connections.watch(connection));
        }
        drop(listener);
        if timeout(limit, connections.shutdown()).await.is_err() {
            tracing::warn!("requests were cut off: they took longer than --drain-limit");
        }
    }

    async fn pass_on(&self, mut request: Request<Incoming>) -> Answer {
        // Under one lock, so that no request comes to a process that is retired.
        let (backend, token) = {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            (current.clone(), current.requests.token())
        };
        if let Err(detail) = address_to(&mut request, backend.authority) {
            return problem(StatusCode::BAD_REQUEST, detail);
        }
        match backend.client.request(request).await {
            Ok(mut response) => {
                remove_hop_by_hop(response.headers_mut());
                response.map(|body| Either::Left(Tracked { body, _token: token }))
            }
            Err(error) => {
                let reached = !error.is_connect();
                tracing::error!(reached, "the application did not answer a request: {error}");
                let mut answer = if reached {
                    problem(StatusCode::BAD_GATEWAY, "the application broke off; what was asked for may have happened")
                } else {
                    problem(StatusCode::SERVICE_UNAVAILABLE, "the application is not there; try again")
                };
                answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                answer
            }
        }
    }
}

/// Gives a request the process as its authority, or says what is wrong with the request. Its `Host` stays the client's,
/// which the application sees.
fn address_to(request: &mut Request<Incoming>, authority: Authority) -> Result<(), &'static str> {
    let uri = std::mem::take(request.uri_mut());
    remove_hop_by_hop(request.headers_mut());
    // A request in absolute form names its host in the first line (RFC 9112, section 3.2.2).
    if let Some(host) = uri.authority() {
        let host = HeaderValue::from_str(host.as_str()).map_err(|_| "the request's host is malformed")?;
        request.headers_mut().insert(HOST, host);
    }
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let target = Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(path).build();
    *request.uri_mut() = target.map_err(|_| "the request's target is malformed")?;
    Ok(())
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// The front's own answer, as RFC 9457 has it and as the embedded host writes it.
fn problem(status: StatusCode, detail: &str) -> Answer {
    let title = status.canonical_reason().unwrap_or("Error");
    let problem = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    let mut response = Response::new(Either::Right(Full::from(problem.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

/// The body of an answer, which counts as a request in flight until it is sent or dropped.
struct Tracked {
    body: Incoming,
    _token: TaskTrackerToken,
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        pin!(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
