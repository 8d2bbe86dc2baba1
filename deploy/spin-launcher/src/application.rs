//! One process of the application.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::credentials::{Issued, OWN_IDENTITY};

/// The route of `spin.toml` that answers without calling AWS.
const HEALTH: &str = "/health";

/// How often a process that is starting is asked whether it is healthy, and how long it may take to answer.
const HEALTH_POLL: Duration = Duration::from_millis(50);
const HEALTH_LIMIT: Duration = Duration::from_secs(2);

/// How long a process without requests may take to end after it was asked to.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// A running process of the application. It is killed when it is dropped, with everything that it started.
#[derive(Debug)]
pub(crate) struct Application {
    child: Child,
    address: SocketAddr,
}

impl Application {
    /// Starts the process on a free port of 127.0.0.1 and waits until it is healthy.
    pub(crate) async fn start(command: &[OsString], issued: &Issued, limit: Duration) -> Result<Self> {
        let [program, arguments @ ..] = command else { bail!("no command") };
        let address = free_address()?;
        let began = Instant::now();
        let mut process = Command::new(program);
        process.args(arguments).arg("--listen").arg(address.to_string()).envs(issued.variables());
        for variable in OWN_IDENTITY {
            process.env_remove(variable);
        }
        // A group of its own: `spin up` runs the trigger as a process beside it, and a signal has to reach both.
        let child = process.stdin(Stdio::null()).process_group(0).spawn();
        let child = child.with_context(|| format!("cannot start `{}`: is it on the PATH?", program.display()))?;
        let mut application = Self { child, address };

        let health = format!("http://{address}{HEALTH}");
        while !answers_success(&health).await {
            if let Some(status) = application.child.try_wait()? {
                bail!("the application ended while it started ({status}); its own lines stand above");
            }
            if began.elapsed() > limit {
                bail!("the application did not answer GET {HEALTH} within {} s (--start-limit)", limit.as_secs());
            }
            sleep(HEALTH_POLL).await;
        }
        tracing::info!(
            %address,
            process_id = application.process_id(),
            start_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "the application is healthy"
        );
        Ok(application)
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id; none once it has ended.
    pub(crate) fn process_id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        self.child.wait().await.context("cannot tell whether the application runs")
    }

    /// Asks it to end, and ends it where it does not.
    pub(crate) async fn stop(mut self) {
        self.signal(Signal::TERM);
        if timeout(STOP_LIMIT, self.child.wait()).await.is_err() {
            tracing::warn!(process_id = self.process_id(), "the application did not end when it was asked to");
        }
    }

    fn signal(&self, signal: Signal) {
        // Without an id it has ended and was waited for; the number may be another process's by now.
        let group = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(group) = group {
            // It fails where the group is gone already, which is what is wanted.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// An address of the loopback interface that was free a moment ago: Spin cannot be given a socket. Should another program
/// take it in between, the start fails and is tried again.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
    listener.local_addr().context("no free port on 127.0.0.1")
}

/// Whether a `GET` is answered with 2xx, over a connection of its own.
async fn answers_success(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = uri;
    matches!(timeout(HEALTH_LIMIT, client.request(request)).await, Ok(Ok(answer)) if answer.status().is_success())
}
