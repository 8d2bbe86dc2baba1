//! One fresh instance for each event: a request's, from its start to the end of its response, and a message's.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::application::Application;
use crate::host_response::{ResponseBody, buffered, no_response};
use crate::instance_error::{InstanceError, MessageFailure, Refusal};
use crate::linked::{LinkedComponent, Message, MessageAction, MessageError};
use crate::logs::{Level, host_message};
use crate::outbound::ConnectionPool;
use crate::pending_response::PendingResponse;
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

    /// Has the component whose public route matches handle a request, and returns when its instance has ended:
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

    /// Has a component handle a message of a queue, and returns when its instance has ended. A failure is logged.
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
            // A separate task: not even a panic of the host reaches another message.
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

    /// Routes a request and responds as soon as the component does; its instance may go on.
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
            Ok((response, _)) => response.await.unwrap_or_else(|_| no_response()),
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
            Ok((response, instance)) => {
                let response = buffered(response.await.unwrap_or_else(|_| no_response())).await;
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
        let (sender, response) = oneshot::channel();
        // A separate task: a client that goes away does not stop a component half-way through its work.
        let instance = self.0.tasks.spawn(self.clone().run_instance(component, request, permit, limit, sender));
        Ok((response, instance))
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
        sender: oneshot::Sender<Response<ResponseBody>>,
    ) where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<wasmtime_wasi_http::Error>,
    {
        let trace_id = trace_id(request.headers());
        let pending = Arc::new(PendingResponse::new(sender));
        let gave_way = Arc::new(AtomicBool::new(false));
        let outcome = {
            let instance = async {
                let mut store = component.store(self.connections(), trace_id.clone(), gave_way.clone());
                let set = {
                    let pending = pending.clone();
                    move |response| pending.set(response)
                };
                let outcome = component.handle(&mut store, request, set).await;
                match &outcome {
                    // The response goes out before the instance is cleared away.
                    Ok(()) => tokio::task::yield_now().await,
                    Err(_) => pending.cut_off(),
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
                    pending.send();
                }
                poll
            });
            let outcome = timeout(limit, to_its_end).await;
            if outcome.is_err() {
                pending.cut_off();
            }
            outcome
        };
        drop(permit);
        let failure = match outcome {
            Ok(Ok(())) if pending.is_set() => return,
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
        pending.fail(failure.response());
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

/// The trace that a request belongs to, from its `traceparent` (W3C Trace Context, section 3.2).
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let traceparent = headers.get("traceparent")?.to_str().ok()?;
    let id = traceparent.split('-').nth(1)?;
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}
