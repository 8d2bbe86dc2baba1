//! The HTTP side: worker threads, their connections, and one fresh instance for each request.
//!
//! A connection belongs to one worker thread from its first byte to its last. The thread's runtime is single-threaded: a
//! request, its instance and its outbound connections never move to another core, which is what keeps a request cheap.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmtime::PoolConcurrencyLimitError;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::WasiBody;

use crate::guest::{GuestResponse, LinkedComponent};
use crate::inbound::LingeringBody;
use crate::logs::{Level, LogSink, host_message};
use crate::outbound::ConnectionPool;
use crate::routes::Routes;

/// How long requests in flight may take to finish after the host was told to stop.
pub(crate) const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);
/// How long a request waits for an instance when all are in use.
const MAX_QUEUE_TIME: Duration = Duration::from_secs(2);
/// How long a client may take to send a request's head, and how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the acceptor rests when the system lacks the means for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What all worker threads share.
pub(crate) struct Application {
    pub(crate) routes: Routes,
    pub(crate) components: Vec<Arc<LinkedComponent>>,
    /// One permit an instance.
    pub(crate) instances: Arc<Semaphore>,
    /// From instantiation to the end of the response's body.
    pub(crate) request_timeout: Duration,
    pub(crate) log: LogSink,
}

/// One thread's share of the work.
pub(crate) struct Worker {
    pub(crate) application: Arc<Application>,
    pub(crate) connections: Arc<ConnectionPool>,
    /// Connections and instances that are not done.
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

/// A new connection and its client, on the way to a worker. A stream of tokio's belongs to the runtime that it was made
/// on, so it travels as a plain socket.
pub(crate) type Accepted = (std::net::TcpStream, SocketAddr);

type ResponseBody = UnsyncBoxBody<Bytes, wasmtime_wasi_http::Error>;

/// Takes connections from `listener` and deals them to the workers in turn, until the host is told to stop.
pub(crate) async fn accept(
    listener: TcpListener,
    workers: Vec<mpsc::UnboundedSender<Accepted>>,
    shutdown: CancellationToken,
) {
    let mut turn = workers.iter().cycle();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => {
                if let (Ok(stream), Some(worker)) = (stream.into_std(), turn.next()) {
                    // A worker that is gone is stopping.
                    let _ = worker.send((stream, client));
                }
            }
            // Most likely no file descriptor is left; the connection waits in the backlog.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

impl Worker {
    /// Serves connections until the host is told to stop and what was in flight is finished. Returns how many tasks were
    /// cut off because they took longer than [`SHUTDOWN_GRACE`].
    pub(crate) async fn run(self: Arc<Self>, mut connections: mpsc::UnboundedReceiver<Accepted>) -> usize {
        loop {
            let accepted = tokio::select! {
                biased;
                accepted = connections.recv() => accepted,
                () = self.shutdown.cancelled() => break,
            };
            let Some((stream, client)) = accepted else { break };
            if let Ok(stream) = TcpStream::from_std(stream) {
                self.tasks.spawn(self.clone().serve_connection(stream, client));
            }
        }
        self.tasks.close();
        // Whatever is left after the grace ends with the runtime.
        let _ = timeout(SHUTDOWN_GRACE, self.tasks.wait()).await;
        self.tasks.len()
    }

    async fn serve_connection(self: Arc<Self>, stream: TcpStream, client: SocketAddr) {
        // Without it a response of two writes would wait for the client's delayed acknowledgement. The only failure is a
        // connection that is gone already.
        let _ = stream.set_nodelay(true);
        let service = service_fn(|request| {
            let worker = self.clone();
            async move { Ok::<_, std::convert::Infallible>(worker.respond(request, client).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        // A client that breaks off or speaks no HTTP is its own affair; hyper has answered it where it could.
        drop(served);
    }

    async fn respond(self: Arc<Self>, request: Request<Incoming>, client: SocketAddr) -> Response<ResponseBody> {
        let (mut head, body) = request.into_parts();
        let Some(component) = self.application.routes.prepare(&head.uri, &mut head.headers, client) else {
            return problem(StatusCode::NOT_FOUND, "no component has a route for this path");
        };
        let Some(component) = self.application.components.get(component).cloned() else {
            return problem(StatusCode::INTERNAL_SERVER_ERROR, "the component is gone");
        };
        if head.uri.authority().is_none()
            && head.headers.get(http::header::HOST).is_none_or(|host| host.to_str().is_err())
        {
            return problem(StatusCode::BAD_REQUEST, "the request has no valid Host header");
        }
        let Some(permit) = self.instance_permit().await else {
            let trace_id = trace_id(&head.headers);
            self.report(&component, trace_id, Level::Warn, "turned a request away", "all instances are in use");
            return overloaded();
        };
        let request = Request::from_parts(head, LingeringBody::new(body));
        let (answer, answered) = oneshot::channel();
        // A task of its own, so that a client that goes away does not stop a component half-way through its work.
        self.tasks.spawn(self.clone().run_instance(component, request, permit, answer));
        answered.await.unwrap_or_else(|_| problem(StatusCode::INTERNAL_SERVER_ERROR, "the component gave no response"))
    }

    pub(crate) async fn instance_permit(&self) -> Option<OwnedSemaphorePermit> {
        let instances = &self.application.instances;
        if let Ok(permit) = instances.clone().try_acquire_owned() {
            return Some(permit);
        }
        timeout(MAX_QUEUE_TIME, instances.clone().acquire_owned()).await.ok()?.ok()
    }

    /// Serves one request with one instance, and sees to it that there is an answer.
    async fn run_instance(
        self: Arc<Self>,
        component: Arc<LinkedComponent>,
        request: Request<LingeringBody<Incoming>>,
        permit: OwnedSemaphorePermit,
        answer: oneshot::Sender<Response<ResponseBody>>,
    ) {
        let trace_id = trace_id(request.headers());
        let answer = Arc::new(Answer::new(answer));
        let outcome = {
            let instance = async {
                let mut store = component.store(self.connections.clone(), trace_id.clone());
                let set = {
                    let answer = answer.clone();
                    move |response| answer.set(response)
                };
                let outcome = component.handle(&mut store, request, set).await;
                match &outcome {
                    // The response goes out before the instance is cleared away.
                    Ok(()) => tokio::task::yield_now().await,
                    Err(_) => answer.cut_off(),
                }
                outcome
            };
            let mut instance = pin!(instance);
            let to_its_end = poll_fn(|context| {
                let poll = instance.as_mut().poll(context);
                // A guest sets its response first and writes the body after it. Only when it waits, or is done, does
                // what it has written so far go out: head and body in one write where the body is complete.
                if !matches!(poll, Poll::Ready(Err(_))) {
                    answer.send();
                }
                poll
            });
            let outcome = timeout(self.application.request_timeout, to_its_end).await;
            if outcome.is_err() {
                answer.cut_off();
            }
            outcome
        };
        drop(permit);
        let failure = match outcome {
            Ok(Ok(())) if answer.is_set() => return,
            Ok(Ok(())) => Failure::NoResponse,
            Ok(Err(error)) if error.is::<PoolConcurrencyLimitError>() => Failure::NoInstance,
            Ok(Err(error)) => Failure::Ended(reason(&error)),
            Err(_) => Failure::Timeout(self.application.request_timeout),
        };
        self.report(
            &component,
            trace_id,
            failure.level(),
            "a component failed to serve a request",
            &failure.to_string(),
        );
        answer.fail(failure.response());
    }

    fn report(&self, component: &LinkedComponent, trace_id: Option<String>, level: Level, message: &str, reason: &str) {
        let component = &*component.permissions.name;
        let fields = json!({ "component": component, "reason": reason, "trace_id": trace_id });
        host_message(&self.application.log, level, message, fields);
    }
}

/// Why an instance gave no complete response.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("it returned without a response")]
    NoResponse,
    #[error("the process has no instance left")]
    NoInstance,
    #[error("{0}")]
    Ended(String),
    #[error("it took longer than {}", humantime::format_duration(*.0))]
    Timeout(Duration),
}

impl Failure {
    fn level(&self) -> Level {
        match self {
            Self::NoInstance => Level::Warn,
            Self::NoResponse | Self::Ended(_) | Self::Timeout(_) => Level::Error,
        }
    }

    fn response(&self) -> Response<ResponseBody> {
        match self {
            Self::NoInstance => overloaded(),
            Self::Timeout(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the component took too long"),
            Self::NoResponse | Self::Ended(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the component failed"),
        }
    }
}

/// The cause of a guest's end, without a backtrace: components are stripped, so it would show nothing.
pub(crate) fn reason(error: &wasmtime::Error) -> String {
    match error.downcast_ref::<I32Exit>() {
        Some(I32Exit(status)) => format!("it exited with status {status}"),
        None => error.root_cause().to_string(),
    }
}

/// The way of a response from the guest to the client.
struct Answer {
    state: Mutex<AnswerState>,
    /// Set when the guest ended before its response's body did.
    cut_off: Arc<AtomicBool>,
}

enum AnswerState {
    Awaited(oneshot::Sender<Response<ResponseBody>>),
    Set(oneshot::Sender<Response<ResponseBody>>, GuestResponse),
    Sent,
}

impl Answer {
    fn new(sender: oneshot::Sender<Response<ResponseBody>>) -> Self {
        Self { state: Mutex::new(AnswerState::Awaited(sender)), cut_off: Arc::default() }
    }

    /// Changes the state by a function of it. The lock is held for no longer than that.
    fn advance(&self, step: impl FnOnce(AnswerState) -> AnswerState) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *state, AnswerState::Sent);
        *state = step(before);
    }

    /// Takes the guest's response. The interface lets a guest set one only once.
    fn set(&self, response: GuestResponse) {
        self.advance(|state| match state {
            AnswerState::Awaited(sender) => AnswerState::Set(sender, response),
            other => other,
        });
    }

    /// Sends the guest's response, where there is one that is not sent yet.
    fn send(&self) {
        self.advance(|state| match state {
            AnswerState::Set(sender, response) => {
                let response = match response {
                    Ok(response) => {
                        response.map(|body| GuestBody { body, cut_off: self.cut_off.clone() }.boxed_unsync())
                    }
                    Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the component answered with an error"),
                };
                // The client may be gone.
                let _ = sender.send(response);
                AnswerState::Sent
            }
            other => other,
        });
    }

    /// Sends the host's own response, where the guest's is not sent yet.
    fn fail(&self, response: Response<ResponseBody>) {
        self.advance(|state| {
            if let AnswerState::Awaited(sender) | AnswerState::Set(sender, _) = state {
                let _ = sender.send(response);
            }
            AnswerState::Sent
        });
    }

    fn is_set(&self) -> bool {
        !matches!(*self.state.lock().unwrap_or_else(PoisonError::into_inner), AnswerState::Awaited(_))
    }

    /// Marks the response's body as incomplete. To be called while the instance is still there: with it goes the body's
    /// other end, which by itself looks like a proper end.
    fn cut_off(&self) {
        self.cut_off.store(true, Ordering::Relaxed);
    }
}

/// A response's body as the guest writes it.
struct GuestBody {
    body: WasiBody,
    cut_off: Arc<AtomicBool>,
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = wasmtime_wasi_http::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(None) if self.cut_off.load(Ordering::Relaxed) => {
                Poll::Ready(Some(Err(wasmtime_wasi_http::Error::HttpResponseIncomplete)))
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The host's own answer, as RFC 9457 has it. It tells nothing of the inside.
fn problem(status: StatusCode, detail: &str) -> Response<ResponseBody> {
    let title = status.canonical_reason().unwrap_or("Error");
    let problem = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    let body = Full::new(Bytes::from(problem.to_string())).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

fn overloaded() -> Response<ResponseBody> {
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once; try again");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// The trace that a request belongs to, from its `traceparent` (W3C Trace Context, section 3.2).
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let traceparent = headers.get("traceparent")?.to_str().ok()?;
    let id = traceparent.split('-').nth(1)?;
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}
