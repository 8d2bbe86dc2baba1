//! One fresh instance for each event: a request's, from its start to the end of its response, and a message's.

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
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use wasmtime::PoolConcurrencyLimitError;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::WasiBody;

use crate::application::Application;
use crate::linked::{GuestResponse, LinkedComponent, Message, MessageAction, MessageError};
use crate::logs::{Level, host_message};
use crate::outbound::ConnectionPool;
use crate::routes::prepare_call;

/// How long an event waits for an instance when all are in use.
const MAX_QUEUE_TIME: Duration = Duration::from_secs(2);

/// Runs the components of an application on one thread's runtime: its connections to other servers, and the instances that
/// are not done. Cloning it is cheap and shares both.
#[derive(Clone)]
pub struct Executor(Arc<Inner>);

struct Inner {
    application: Arc<Application>,
    connections: Arc<ConnectionPool>,
    tasks: TaskTracker,
}

pub(crate) type ResponseBody = UnsyncBoxBody<Bytes, wasmtime_wasi_http::Error>;

/// Why a message has no action: it is to be handled again.
#[derive(Debug, thiserror::Error)]
pub enum MessageFailure {
    /// The application has no such component.
    #[error("the application has no component `{0}`")]
    NoComponent(String),
    /// The component answered with an error.
    #[error("{0}")]
    Handler(String),
    /// The instance ended without a response, or never began.
    #[error(transparent)]
    Instance(InstanceError),
}

impl Executor {
    /// An executor for the thread whose tokio runtime calls it.
    #[must_use]
    pub fn new(application: Arc<Application>) -> Self {
        let connections = Arc::new(ConnectionPool::new(application.tls.clone()));
        Self(Arc::new(Inner { application, connections, tasks: TaskTracker::new() }))
    }

    /// The application.
    #[must_use]
    pub fn application(&self) -> &Application {
        &self.0.application
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    pub(crate) fn connections(&self) -> Arc<ConnectionPool> {
        self.0.connections.clone()
    }

    /// Has the component whose public route matches handle a request, and answers when its instance has ended, so that
    /// nothing runs on. The request's URI has an authority, or it has a `Host`. Failures are responses too: 404 without a
    /// route, 503 without a free instance, 500 after a trap or when `limit` is over.
    pub async fn handle_http(&self, request: Request<Bytes>, client: SocketAddr, limit: Duration) -> Response<Bytes> {
        let (mut head, body) = request.into_parts();
        match self.route(&mut head, client) {
            Ok(component) => self.to_the_end(component, Request::from_parts(head, body), limit).await,
            Err(refusal) => buffered(refusal.response()).await,
        }
    }

    /// Has a component handle a request, of any path, also where its route is private; otherwise like
    /// [`handle_http`](Self::handle_http). `None` where the application has no such component.
    pub async fn call(&self, component: &str, request: Request<Bytes>, limit: Duration) -> Option<Response<Bytes>> {
        let component = self.application().component(component)?;
        let (mut head, body) = request.into_parts();
        prepare_call(&head.uri, &mut head.headers);
        Some(self.to_the_end(component, Request::from_parts(head, body), limit).await)
    }

    /// Has a component handle a message of a queue, and answers when its instance has ended. A failure is logged.
    ///
    /// # Errors
    ///
    /// [`MessageFailure`]: the message is to be handled again.
    pub async fn handle_message(
        &self,
        component: &str,
        message: Message,
        limit: Duration,
    ) -> Result<MessageAction, MessageFailure> {
        let id = message.id.clone();
        let handled = match self.application().component(component) {
            // A task of its own, so that not even a panic of the host reaches another message.
            Some(found) => match self.0.tasks.spawn(self.clone().run_handler(found, message, limit)).await {
                Ok(handled) => handled,
                Err(_) => Err(MessageFailure::Instance(InstanceError::Ended("the host failed".to_owned()))),
            },
            None => Err(MessageFailure::NoComponent(component.to_owned())),
        };
        if let Err(failure) = &handled {
            let fields = json!({ "component": component, "reason": failure.to_string(), "sqs_message_id": id });
            self.note(Level::Error, "a component failed to handle a message", fields);
        }
        handled
    }

    /// The component for a request.
    fn route(&self, head: &mut http::request::Parts, client: SocketAddr) -> Result<Arc<LinkedComponent>, Refusal> {
        let application = self.application();
        let component = application.routes.prepare(&head.uri, &mut head.headers, client).ok_or(Refusal::NoRoute)?;
        let component = application.components.get(component).cloned().ok_or(Refusal::NoRoute)?;
        let has_host = || head.headers.get(http::header::HOST).is_some_and(|host| host.to_str().is_ok());
        if head.uri.authority().is_none() && !has_host() {
            return Err(Refusal::NoHost);
        }
        Ok(component)
    }

    /// Routes a request and answers as soon as the component does; its instance may go on.
    pub(crate) async fn respond<B>(&self, request: Request<B>, client: SocketAddr) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<wasmtime_wasi_http::Error>,
    {
        let (mut head, body) = request.into_parts();
        let component = match self.route(&mut head, client) {
            Ok(component) => component,
            Err(refusal) => return refusal.response(),
        };
        let limit = self.application().request_timeout;
        match self.start(component, Request::from_parts(head, body), limit).await {
            Ok((answered, _)) => answered.await.unwrap_or_else(|_| no_response()),
            Err(refusal) => refusal.response(),
        }
    }

    async fn to_the_end(
        &self,
        component: Arc<LinkedComponent>,
        request: Request<Bytes>,
        limit: Duration,
    ) -> Response<Bytes> {
        let request =
            request.map(|body| Full::new(body).map_err(|never| -> wasmtime_wasi_http::Error { match never {} }));
        match self.start(component, request, limit).await {
            Ok((answered, instance)) => {
                let response = buffered(answered.await.unwrap_or_else(|_| no_response())).await;
                // A panic of the host has cut the response off already.
                let _ = instance.await;
                response
            }
            Err(refusal) => buffered(refusal.response()).await,
        }
    }

    /// Starts an instance for a request.
    async fn start<B>(
        &self,
        component: Arc<LinkedComponent>,
        request: Request<B>,
        limit: Duration,
    ) -> Result<(oneshot::Receiver<Response<ResponseBody>>, JoinHandle<()>), Refusal>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<wasmtime_wasi_http::Error>,
    {
        let Some(permit) = self.instance_permit().await else {
            let trace_id = trace_id(request.headers());
            self.report(&component, trace_id, Level::Warn, "turned a request away", "all instances are in use");
            return Err(Refusal::Overloaded);
        };
        let (answer, answered) = oneshot::channel();
        // A task of its own, so that a client that goes away does not stop a component half-way through its work.
        let instance = self.0.tasks.spawn(self.clone().run_instance(component, request, permit, limit, answer));
        Ok((answered, instance))
    }

    async fn instance_permit(&self) -> Option<OwnedSemaphorePermit> {
        let instances = &self.application().instances;
        if let Ok(permit) = instances.clone().try_acquire_owned() {
            return Some(permit);
        }
        timeout(MAX_QUEUE_TIME, instances.clone().acquire_owned()).await.ok()?.ok()
    }

    /// Serves one request with one instance, and sees to it that there is a response.
    async fn run_instance<B>(
        self,
        component: Arc<LinkedComponent>,
        request: Request<B>,
        permit: OwnedSemaphorePermit,
        limit: Duration,
        answer: oneshot::Sender<Response<ResponseBody>>,
    ) where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<wasmtime_wasi_http::Error>,
    {
        let trace_id = trace_id(request.headers());
        let answer = Arc::new(Answer::new(answer));
        let gave_way = Arc::new(AtomicBool::new(false));
        let outcome = {
            let instance = async {
                let mut store = component.store(self.connections(), trace_id.clone(), gave_way.clone());
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
                // what it has written so far go out: head and body in one write where the body is complete. One that only
                // gave way to others goes on at once.
                if !gave_way.swap(false, Ordering::Relaxed) && !matches!(poll, Poll::Ready(Err(_))) {
                    answer.send();
                }
                poll
            });
            let outcome = timeout(limit, to_its_end).await;
            if outcome.is_err() {
                answer.cut_off();
            }
            outcome
        };
        drop(permit);
        let failure = match outcome {
            Ok(Ok(())) if answer.is_set() => return,
            Ok(Ok(())) => InstanceError::NoResponse,
            Ok(Err(error)) => InstanceError::of(&error),
            Err(_) => InstanceError::Timeout(limit),
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

    /// What the component says is to be done with a message, or why it says nothing.
    async fn run_handler(
        self,
        component: Arc<LinkedComponent>,
        message: Message,
        limit: Duration,
    ) -> Result<MessageAction, MessageFailure> {
        let Some(_permit) = self.instance_permit().await else {
            return Err(MessageFailure::Instance(InstanceError::NoInstance));
        };
        let handled = async {
            let mut store = component.store(self.connections(), None, Arc::default());
            component.handle_message(&mut store, &message).await
        };
        match timeout(limit, handled).await {
            Ok(Ok(Ok(action))) => Ok(action),
            Ok(Ok(Err(MessageError::Other(error)))) => Err(MessageFailure::Handler(error)),
            Ok(Err(error)) => Err(MessageFailure::Instance(InstanceError::of(&error))),
            Err(_) => Err(MessageFailure::Instance(InstanceError::Timeout(limit))),
        }
    }

    fn report(&self, component: &LinkedComponent, trace_id: Option<String>, level: Level, message: &str, reason: &str) {
        let component = &*component.permissions.name;
        let fields = json!({ "component": component, "reason": reason, "trace_id": trace_id });
        self.note(level, message, fields);
    }

    fn note(&self, level: Level, message: &str, fields: Value) {
        host_message(&self.application().log, level, message, fields);
    }
}

/// Why a request gets no instance.
enum Refusal {
    NoRoute,
    NoHost,
    Overloaded,
}

impl Refusal {
    fn response(&self) -> Response<ResponseBody> {
        match self {
            Self::NoRoute => problem(StatusCode::NOT_FOUND, "no component has a route for this path"),
            Self::NoHost => problem(StatusCode::BAD_REQUEST, "the request has no valid Host header"),
            Self::Overloaded => overloaded(),
        }
    }
}

/// Why an instance gave no complete response.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// The guest returned without setting a response.
    #[error("it returned without a response")]
    NoResponse,
    /// All instances are in use.
    #[error("the process has no instance left")]
    NoInstance,
    /// The guest trapped or exited.
    #[error("{0}")]
    Ended(String),
    /// The time that it had is over.
    #[error("it took longer than {}", humantime::format_duration(*.0))]
    Timeout(Duration),
}

impl InstanceError {
    /// The cause of a guest's end, without a backtrace: components are stripped, so it would show nothing.
    fn of(error: &wasmtime::Error) -> Self {
        match error.downcast_ref::<I32Exit>() {
            Some(I32Exit(status)) => Self::Ended(format!("it exited with status {status}")),
            None if error.is::<PoolConcurrencyLimitError>() => Self::NoInstance,
            None => Self::Ended(error.root_cause().to_string()),
        }
    }

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

/// The whole of a response, or that the component failed half-way through it.
async fn buffered(response: Response<ResponseBody>) -> Response<Bytes> {
    let (head, body) = response.into_parts();
    match body.collect().await {
        Ok(body) => Response::from_parts(head, body.to_bytes()),
        Err(_) => {
            let (head, body) = problem(StatusCode::INTERNAL_SERVER_ERROR, "the component failed").into_parts();
            let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            Response::from_parts(head, body)
        }
    }
}

fn no_response() -> Response<ResponseBody> {
    problem(StatusCode::INTERNAL_SERVER_ERROR, "the component gave no response")
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
