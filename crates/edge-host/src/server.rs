//! The socket server: worker threads and their connections, around an [`Executor`] each.
//!
//! A connection belongs to one worker thread from its first byte to its last. The thread's runtime is single-threaded: a
//! request, its instance and its outbound connections never move to another core, which is what keeps a request cheap.

use std::net::SocketAddr;
use std::num::NonZero;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::application::{Application, LoadedComponent};
use crate::error::Error;
use crate::executor::Executor;
use crate::host_response::ResponseBody;
use crate::inbound::LingeringBody;

/// How long requests in flight may take to finish after the host was told to stop.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);
/// How long a client may take to send a request's head, and how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the acceptor rests when the system lacks the means for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections that wait to be accepted, as many as the system lets wait.
const BACKLOG: u32 = 4096;

/// A host that serves. Dropping it stops it without waiting for requests in flight.
pub struct RunningHost {
    addr: SocketAddr,
    /// For [`instantiate`](Self::instantiate), outside the workers.
    executor: Executor,
    /// Each ends with the number of tasks that it had to cut off.
    workers: Vec<oneshot::Receiver<usize>>,
    stop: DropGuard,
}

impl RunningHost {
    /// The address that the host listens on, with the port that it got.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The application's base URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The application's name in the manifest.
    #[must_use]
    pub fn application_name(&self) -> &str {
        self.executor.application().name()
    }

    /// Each route's pattern and the component that serves it, in the manifest's order.
    #[must_use]
    pub fn routes(&self) -> &[(String, String)] {
        self.executor.application().routes()
    }

    /// The component that serves a path, or `None` where no route matches.
    #[must_use]
    pub fn component_for(&self, path: &str) -> Option<&str> {
        let application = self.executor.application();
        let component = application.components.get(application.routes.component(path)?)?;
        Some(&component.permissions.name)
    }

    /// How each component got its machine code.
    #[must_use]
    pub fn components(&self) -> &[LoadedComponent] {
        self.executor.application().loaded()
    }

    /// Instantiates a component and throws the instance away: what a request costs before its component's code runs. For
    /// measurements.
    ///
    /// # Errors
    ///
    /// What wasmtime says, or that the manifest has no such component.
    pub async fn instantiate(&self, component: &str) -> Result<(), String> {
        let found = self.executor.application().component(component);
        let component = found.ok_or_else(|| format!("no component `{component}`"))?;
        component.instantiate(self.executor.connections()).await.map_err(|error| format!("{error:#}"))
    }

    /// Stops to accept connections, waits up to 10 s for requests in flight, and returns how many were cut off.
    pub async fn shutdown(self) -> usize {
        self.stop.disarm().cancel();
        let mut cut_off = 0;
        for worker in self.workers {
            cut_off += worker.await.unwrap_or_default();
        }
        cut_off
    }
}

impl std::fmt::Debug for RunningHost {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RunningHost")
            .field("application", &self.executor.application().name())
            .field("addr", &self.addr)
            .field("routes", &self.routes())
            .finish_non_exhaustive()
    }
}

/// Serves an application on a socket, with so many threads.
pub(crate) fn serve(
    application: Arc<Application>,
    (listener, addr): (std::net::TcpListener, SocketAddr),
    threads: NonZero<usize>,
) -> Result<RunningHost, Error> {
    let shutdown = CancellationToken::new();
    // Whatever fails from here on, and whoever drops the host, stops its threads.
    let stop = shutdown.clone().drop_guard();
    let mut senders = Vec::new();
    let mut receivers = Vec::new();
    for _ in 0..threads.get() {
        let (sender, receiver) = mpsc::unbounded_channel();
        senders.push(sender);
        receivers.push(receiver);
    }
    let mut acceptor = Some((listener, senders));
    let mut workers = Vec::new();
    for (index, receiver) in receivers.into_iter().enumerate() {
        let worker = Worker { executor: Executor::new(application.clone()), shutdown: shutdown.clone() };
        // The first worker also accepts connections, for all of them.
        workers.push(spawn_worker(index, worker, receiver, acceptor.take())?);
    }
    Ok(RunningHost { addr, executor: Executor::new(application), workers, stop })
}

/// Binds the address: a port that is taken is an error before anything else starts.
pub(crate) fn listen(address: SocketAddr) -> Result<(std::net::TcpListener, SocketAddr), Error> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A port that the last run's connections still linger on is free; one that another process listens on is not.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        // As a plain socket it can go to the runtime of the thread that accepts.
        let listener = socket.listen(BACKLOG)?.into_std()?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bind().map_err(|source| Error::Listen { address, source })
}

/// One thread's share of the work.
struct Worker {
    executor: Executor,
    shutdown: CancellationToken,
}

/// A new connection and its client, on the way to a worker. A stream of tokio's belongs to the runtime that it was made
/// on, so it travels as a plain socket.
type Accepted = (std::net::TcpStream, SocketAddr);

/// Starts a worker's thread with its own runtime. The receiver gets what [`Worker::run`] returns.
fn spawn_worker(
    index: usize,
    worker: Worker,
    connections: mpsc::UnboundedReceiver<Accepted>,
    acceptor: Option<(std::net::TcpListener, Vec<mpsc::UnboundedSender<Accepted>>)>,
) -> Result<oneshot::Receiver<usize>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Worker)?;
    let acceptor = acceptor
        .map(|(listener, workers)| {
            let _entered = runtime.enter();
            TcpListener::from_std(listener).map(|listener| (listener, workers))
        })
        .transpose()
        .map_err(Error::Worker)?;
    let (finished, done) = oneshot::channel();
    let serve = move || {
        let worker = Arc::new(worker);
        if let Some((listener, workers)) = acceptor {
            runtime.spawn(accept(listener, workers, worker.shutdown.clone()));
        }
        let cut_off = runtime.block_on(worker.run(connections));
        // Blocking tasks are only name look-ups; none is worth waiting for.
        runtime.shutdown_background();
        // Nobody waits where the host was dropped.
        let _ = finished.send(cut_off);
    };
    std::thread::Builder::new().name(format!("edge-host-{index}")).spawn(serve).map_err(Error::Worker)?;
    Ok(done)
}

/// Takes connections from `listener` and deals them to the workers in turn, until the host is told to stop.
async fn accept(listener: TcpListener, workers: Vec<mpsc::UnboundedSender<Accepted>>, shutdown: CancellationToken) {
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
    async fn run(self: Arc<Self>, mut connections: mpsc::UnboundedReceiver<Accepted>) -> usize {
        loop {
            let accepted = tokio::select! {
                biased;
                accepted = connections.recv() => accepted,
                () = self.shutdown.cancelled() => break,
            };
            let Some((stream, client)) = accepted else { break };
            if let Ok(stream) = TcpStream::from_std(stream) {
                self.executor.tasks().spawn(self.clone().serve_connection(stream, client));
            }
        }
        self.executor.tasks().close();
        // Whatever is left after the grace ends with the runtime.
        let _ = timeout(SHUTDOWN_GRACE, self.executor.tasks().wait()).await;
        self.executor.tasks().len()
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
        // A client broke off or speaks no HTTP, which is no fault of the host; hyper has responded if it could.
        drop(served);
    }

    async fn respond(&self, request: Request<Incoming>, client: SocketAddr) -> Response<ResponseBody> {
        self.executor.respond(request.map(LingeringBody::new), client).await
    }
}
