//! A proxy between the application and the emulator, which fails on demand.
//!
//! It does not change what it lets through, not even the `Host` header: signatures stay valid, and the emulator verifies them. A
//! fault is armed for one operation about one appointment (a text of the request, such as its slot), so tests with the same proxy do
//! not affect each other.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_http::Endpoint;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// How a call fails.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// The proxy responds with this status and body. The emulator gets nothing.
    Respond(u16, &'static str),
    /// The connection closes without a response. The emulator gets nothing.
    Cut,
    /// The call takes effect, and the connection closes without a response.
    LoseResponse,
    /// There is no response for as long as the caller waits. The emulator gets nothing.
    Silence,
    /// The call takes effect after a pause.
    Delay(Duration),
}

/// Which calls fail, and how.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// The caller's name as given to [`FaultProxy::serve`]; empty for any caller.
    pub(crate) caller: &'static str,
    /// `PutItem`, `Publish`, …
    pub(crate) operation: &'static str,
    /// A text of the request's body.
    pub(crate) about: String,
    pub(crate) action: Action,
    /// How many calls; the next succeeds.
    pub(crate) times: usize,
}

/// A fault that is armed until it is dropped, or has happened as often as it should.
pub(crate) struct Armed {
    fault: Fault,
    happened: AtomicUsize,
    notify: Notify,
    healed: std::sync::atomic::AtomicBool,
}

impl Armed {
    /// How many calls failed.
    pub(crate) fn happened(&self) -> usize {
        self.happened.load(Ordering::SeqCst).min(self.fault.times)
    }

    /// Waits for the first call to fail.
    pub(crate) async fn has_happened(&self) {
        self.has_happened_times(1).await;
    }

    /// Waits until so many calls have failed.
    pub(crate) async fn has_happened_times(&self, times: usize) {
        loop {
            let notified = self.notify.notified();
            if self.happened() >= times {
                return;
            }
            notified.await;
        }
    }

    /// From now on these calls succeed.
    pub(crate) fn heal(&self) {
        self.healed.store(true, Ordering::SeqCst);
    }

    fn strike(&self, operation: &str, caller: &str, body: &str) -> Option<Action> {
        let Fault { caller: by, operation: of, about, action, times } = &self.fault;
        let meant = *of == operation && body.contains(about) && (by.is_empty() || caller == *by);
        if !meant || self.healed.load(Ordering::SeqCst) || self.happened.fetch_add(1, Ordering::SeqCst) >= *times {
            return None;
        }
        self.notify.notify_waiters();
        Some(action.clone())
    }
}

/// A call that succeeded at the emulator.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) operation: String,
    pub(crate) body: String,
}

/// The proxy.
#[derive(Clone, Default)]
pub(crate) struct FaultProxy {
    faults: Arc<Mutex<Vec<Arc<Armed>>>>,
    taken: Arc<Mutex<Vec<Taken>>>,
}

impl FaultProxy {
    /// Listens on a free port in front of `upstream`, for one caller; returns the address.
    pub(crate) async fn serve(&self, upstream: Endpoint, caller: &'static str) -> Endpoint {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let endpoint = Endpoint::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(HttpConnector::new());
        let proxy = self.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let _ = connection.set_nodelay(true);
                let (proxy, client, upstream) = (proxy.clone(), client.clone(), upstream.clone());
                let service = service_fn(move |request| {
                    let (proxy, client, upstream) = (proxy.clone(), client.clone(), upstream.clone());
                    async move { proxy.pass(request, caller, &client, &upstream).await }
                });
                tokio::spawn(async move {
                    // A connection that ends with an error is what a fault looks like.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(connection), service)
                        .await;
                });
            }
        });
        endpoint
    }

    /// Arms a fault.
    pub(crate) fn arm(&self, fault: Fault) -> Arc<Armed> {
        let armed =
            Arc::new(Armed { fault, happened: AtomicUsize::new(0), notify: Notify::new(), healed: false.into() });
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push(armed.clone());
        armed
    }

    /// The bodies of the calls of an operation that the emulator took and that contain `about`.
    pub(crate) fn taken(&self, operation: &str, about: &str) -> Vec<String> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let meant = taken.iter().filter(|call| call.operation == operation && call.body.contains(about));
        meant.map(|call| call.body.clone()).collect()
    }

    async fn pass(
        &self,
        request: Request<Incoming>,
        caller: &str,
        client: &Client<HttpConnector, Full<Bytes>>,
        upstream: &Endpoint,
    ) -> io::Result<Response<Full<Bytes>>> {
        let (mut head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        let operation = operation(&head.headers, &text);
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let action = faults.iter().find_map(|armed| armed.strike(&operation, caller, &text));
        match action {
            Some(Action::Respond(status, body)) => {
                return Ok(Response::builder().status(status).body(Full::from(body)).unwrap());
            }
            Some(Action::Cut) => return Err(io::ErrorKind::ConnectionReset.into()),
            Some(Action::Silence) => return std::future::pending().await,
            Some(Action::Delay(pause)) => tokio::time::sleep(pause).await,
            Some(Action::LoseResponse) | None => {}
        }
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        head.uri = format!("{upstream}{path}").parse::<Uri>().map_err(io::Error::other)?;
        let response = client.request(Request::from_parts(head, Full::from(body))).await.map_err(io::Error::other)?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        if head.status.is_success() {
            self.taken.lock().unwrap_or_else(PoisonError::into_inner).push(Taken { operation, body: text });
        }
        if matches!(action, Some(Action::LoseResponse)) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(Response::from_parts(head, Full::from(body)))
    }
}

/// The operation of a call in one of AWS's JSON protocols, or in the Query protocol.
fn operation(headers: &HeaderMap, body: &str) -> String {
    match headers.get("x-amz-target").and_then(|target| target.to_str().ok()) {
        Some(target) => target.rsplit('.').next().unwrap_or(target).to_owned(),
        None => form_urlencoded::parse(body.as_bytes())
            .find_map(|(name, value)| (name == "Action").then(|| value.into_owned()))
            .unwrap_or_default(),
    }
}
