//! Requests that components send: allowed or refused, over connections that are kept.
//!
//! Each worker thread has its own pool, so a request and its connections stay on one thread. A connection stays
//! in the pool while it is alive; it serves one request at a time and is free again when the response has been read.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::{Sleep, timeout};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::logs::{Level, host_message};
use crate::permissions::Permissions;

/// What a component that sets no time limit gets, as in Spin. The limit on the whole request is usually shorter.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// How long a connection is kept unused. Shorter than AWS's and most servers' own, which makes it rare that a request
/// meets a connection that the server is closing.
const MAX_IDLE: Duration = Duration::from_secs(15);

/// How many connections to one origin a pool keeps.
const MAX_CONNECTIONS_PER_ORIGIN: usize = 256;

/// One instance's way out.
pub(crate) struct Outbound {
    pub(crate) permissions: Arc<Permissions>,
    pub(crate) connections: Arc<ConnectionPool>,
    /// Of the request that the instance serves, for messages about it.
    pub(crate) trace_id: Option<String>,
}

/// The future that carries a request's body and its response's, after the head of the response.
type Transmission = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Transmission,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Transmission), Error>> + Send> {
        let origin = match Origin::of(request.uri()) {
            Ok(origin) => origin,
            Err(error) => return Box::new(std::future::ready(Err(error))),
        };
        if !self.permissions.allowed_hosts.allow(origin.scheme(), origin.authority.host(), origin.port()) {
            self.refuse(&origin);
            return Box::new(std::future::ready(Err(Error::HttpRequestDenied)));
        }
        let connections = self.connections.clone();
        Box::new(async move {
            let response = connections.send(origin, request, options.unwrap_or_default()).await?;
            Ok((response, Box::new(std::future::ready(Ok(()))) as Transmission))
        })
    }
}

impl Outbound {
    fn refuse(&self, origin: &Origin) {
        let entry = format!("{}://{}:{}", origin.scheme(), origin.authority.host(), origin.port());
        host_message(
            &self.permissions.log,
            Level::Error,
            "refused an outbound request; the manifest's allowed_outbound_hosts has no entry for its host",
            json!({ "component": &*self.permissions.name, "host": entry, "trace_id": self.trace_id }),
        );
    }
}

/// Whom a connection leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Origin {
    tls: bool,
    /// Host and port as the request has them, without a user.
    authority: Authority,
}

impl Origin {
    fn of(uri: &Uri) -> Result<Self, Error> {
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(Error::HttpRequestUriInvalid);
        }
        Ok(Self { tls: uri.scheme() == Some(&Scheme::HTTPS), authority: authority.clone() })
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.tls { 443 } else { 80 })
    }

    /// The host without the brackets of an IPv6 address.
    fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }
}

/// A worker thread's connections.
pub(crate) struct ConnectionPool {
    connections: Mutex<HashMap<Origin, Vec<Connection>>>,
    tls: Arc<ClientConfig>,
}

struct Connection {
    sender: SendRequest<WasiBody>,
    /// By the wall clock: the monotonic one may rest while Lambda has the process frozen.
    last_used: SystemTime,
}

impl Connection {
    /// Whether the server may be expected to have it open still. A clock that was set back tells nothing.
    fn is_fresh(&self) -> bool {
        !self.sender.is_closed() && self.last_used.elapsed().is_ok_and(|idle| idle < MAX_IDLE)
    }
}

impl ConnectionPool {
    pub(crate) fn new(tls: Arc<ClientConfig>) -> Self {
        Self { connections: Mutex::default(), tls }
    }

    /// Sends a request and returns the response's head and a body that keeps the guest's time limit.
    async fn send(
        self: Arc<Self>,
        origin: Origin,
        mut request: Request<WasiBody>,
        options: RequestOptions,
    ) -> Result<Response<WasiBody>, Error> {
        let first_byte = options.first_byte_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let between_bytes = options.between_bytes_timeout.unwrap_or(DEFAULT_TIMEOUT);
        // The request line has only the path (RFC 9112, section 3.2.1); the host is in the `Host` header.
        let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(path);

        loop {
            let (mut sender, is_reused) = match self.take(&origin) {
                Some(sender) => (sender, true),
                None => {
                    let connect_timeout = options.connect_timeout.unwrap_or(DEFAULT_TIMEOUT);
                    let connecting = connect(&origin, &self.tls);
                    (timeout(connect_timeout, connecting).await.map_err(|_| Error::ConnectionTimeout)??, false)
                }
            };
            match timeout(first_byte, sender.try_send_request(request)).await {
                Ok(Ok(response)) => {
                    self.put(origin, sender);
                    return Ok(response.map(|body| ResponseBody::new(body, between_bytes).boxed_unsync()));
                }
                // The server closed the connection before any of the request was written, perhaps long ago, while this
                // process was frozen: it is as if it had never been sent, and goes over another one.
                Ok(Err(mut failed)) => match failed.take_message() {
                    Some(unsent) if is_reused => request = unsent,
                    _ => return Err(exchange_error(&failed.into_error())),
                },
                Err(_) => return Err(Error::ConnectionReadTimeout),
            }
        }
    }

    /// A free connection, the one used last first.
    fn take(&self, origin: &Origin) -> Option<SendRequest<WasiBody>> {
        let mut all = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = all.get_mut(origin)?;
        connections.retain(Connection::is_fresh);
        let free = connections.iter().rposition(|each| each.sender.is_ready())?;
        Some(connections.remove(free).sender)
    }

    /// Keeps a connection whose response is still to be read; it is ready again after that.
    fn put(&self, origin: Origin, sender: SendRequest<WasiBody>) {
        let mut all = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = all.entry(origin).or_default();
        if connections.len() < MAX_CONNECTIONS_PER_ORIGIN {
            connections.push(Connection { sender, last_used: SystemTime::now() });
        }
    }
}

/// The trust in servers: Mozilla's roots and `additional` ones.
pub(crate) fn tls_config(additional: Vec<CertificateDer<'static>>) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for root in additional {
        roots.add(root)?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

async fn connect(origin: &Origin, tls: &Arc<ClientConfig>) -> Result<SendRequest<WasiBody>, Error> {
    let addresses: Vec<_> = tokio::net::lookup_host((origin.host(), origin.port()))
        .await
        .map_err(|error| Error::DnsError { rcode: Some(error.to_string()), info_code: None })?
        .collect();
    let stream = TcpStream::connect(addresses.as_slice()).await.map_err(|error| connect_error(&error))?;
    // With Nagle's algorithm a request of two writes waits for the peer's delayed acknowledgement, about 40 ms.
    stream.set_nodelay(true).map_err(|error| connect_error(&error))?;
    if origin.tls {
        let name = ServerName::try_from(origin.host().to_owned()).map_err(|_| Error::HttpRequestUriInvalid)?;
        let stream = TlsConnector::from(tls.clone()).connect(name, stream).await.map_err(|error| tls_error(&error))?;
        handshake(stream).await
    } else {
        handshake(stream).await
    }
}

async fn handshake<S>(stream: S) -> Result<SendRequest<WasiBody>, Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| exchange_error(&error))?;
    // Its failure reaches whoever has a request on it.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn connect_error(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut => Error::ConnectionTimeout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Error::DestinationIpUnroutable,
        io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        _ => Error::DestinationUnavailable,
    }
}

fn tls_error(error: &io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_)) => Error::TlsCertificateError,
        Some(rustls::Error::AlertReceived(alert)) => {
            Error::TlsAlertReceived { alert_id: Some(u8::from(*alert)), alert_message: Some(format!("{alert:?}")) }
        }
        _ => Error::TlsProtocolError,
    }
}

fn exchange_error(error: &hyper::Error) -> Error {
    if error.is_parse() {
        Error::HttpProtocolError
    } else if error.is_user() {
        // The guest's body ended before its `Content-Length`.
        Error::HttpRequestBodySize(None)
    } else if error.is_timeout() {
        Error::ConnectionReadTimeout
    } else {
        Error::ConnectionTerminated
    }
}

/// A response's body with the guest's limit on the time between two pieces of it.
struct ResponseBody {
    incoming: Incoming,
    between_bytes: Duration,
    /// Runs while a piece is awaited; most bodies are there at once and need none.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl ResponseBody {
    fn new(incoming: Incoming, between_bytes: Duration) -> Self {
        Self { incoming, between_bytes, waiting: None }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) {
            self.waiting = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(|error| exchange_error(&error))));
        }
        let between_bytes = self.between_bytes;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(between_bytes)));
        waiting.as_mut().poll(context).map(|()| Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
