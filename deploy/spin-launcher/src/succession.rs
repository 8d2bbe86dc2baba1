//! From the first process to the last: when a successor starts, and what happens to its predecessor.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Options;
use crate::application::Application;
use crate::credentials::{Issued, Issuer};
use crate::front::{Front, Retired};

/// How long to wait after a successor could not be started, and between two successions at least.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Runs the application until a signal asks to stop.
pub(crate) async fn run(options: Options) -> Result<()> {
    let Options { listen, roles, region, session, renew_before, start_limit, drain_limit, command } = options;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::pin!(stop);

    // First what may be wrong with the set-up; clients wait in the backlog until the application is healthy.
    let listener = bind(listen).await?;
    let address = listener.local_addr()?;
    let issuer = Issuer::from_environment(roles, region, session).await?;
    let start = async || {
        let issued = issuer.issue().await?;
        let application = Application::start(&command, &issued, start_limit).await?;
        anyhow::Ok((application, issued))
    };
    let (mut current, mut issued) = tokio::select! {
        () = &mut stop => return Ok(()),
        started = start() => started?,
    };

    let front = Arc::new(Front::new(current.address())?);
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(front.clone().serve(listener, shutdown.clone(), drain_limit));
    tracing::info!(%address, "serving");

    let predecessors = TaskTracker::new();
    let mut pause = until_renewal(&issued, renew_before);
    loop {
        let next = async {
            sleep(pause).await;
            start().await
        };
        tokio::select! {
            () = &mut stop => break,
            ended = current.ended() => bail!("the application has ended by itself ({})", ended?),
            started = next => match started {
                Ok((successor, renewed)) => {
                    let retired = front.switch_to(successor.address())?;
                    tracing::info!(process_id = successor.process_id(), "a successor answers");
                    predecessors.spawn(retire(std::mem::replace(&mut current, successor), retired, drain_limit));
                    issued = renewed;
                    pause = until_renewal(&issued, renew_before);
                }
                Err(error) => {
                    let left = issued.expires_at.duration_since(SystemTime::now()).unwrap_or_default();
                    tracing::error!(
                        credentials_expire_in_s = left.as_secs(),
                        "no successor could be started; the application goes on with the credentials that it has: {error:#}"
                    );
                    pause = RETRY_PAUSE;
                }
            },
        }
    }

    tracing::info!("stopping");
    shutdown.cancel();
    serving.await.context("the listener ended with an error")?;
    current.stop().await;
    predecessors.close();
    predecessors.wait().await;
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: choose another address with --listen"))
}

/// Ends a process when its requests are answered.
async fn retire(predecessor: Application, retired: Retired, limit: Duration) {
    let process_id = predecessor.process_id();
    let cut_off = retired.drained(limit).await;
    predecessor.stop().await;
    tracing::info!(process_id, cut_off, "the predecessor has ended");
}

/// How long until a successor is started: `renew_before` before the credentials expire, or in the middle of their life
/// where that is shorter.
fn until_renewal(issued: &Issued, renew_before: Duration) -> Duration {
    let life = issued.expires_at.duration_since(SystemTime::now()).unwrap_or_default();
    let pause = if renew_before < life {
        life - renew_before
    } else {
        tracing::warn!(
            life_s = life.as_secs(),
            "the credentials' life is no longer than --renew-before: they are renewed in its middle"
        );
        life / 2
    };
    tracing::info!(expires_in_s = life.as_secs(), renewal_in_s = pause.as_secs(), "the components have credentials");
    pause.max(RETRY_PAUSE)
}
