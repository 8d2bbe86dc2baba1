//! `spin-launcher`: starts a Spin application with short-lived AWS credentials, and a successor before they expire.
//!
//! Spin reads its variables once, at its start, so a process cannot outlive the credentials that it was started with.
//! The launcher is the container's entry point: it listens in the application's place, assumes a role for each component,
//! starts the application on a port of its own and passes requests on to it. Some time before the credentials expire it
//! starts a successor with new ones, passes requests on to that one as soon as it is healthy, and ends the predecessor
//! when its last request is answered. `docs/adr/0030-spin-launcher.md` says why it is built so.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`credentials`] | where the process's own identity comes from, and a component's credentials from STS |
//! | [`application`] | one process of the application, from its start to its end |
//! | [`front`] | the listener, and the passing on of requests |
//! | [`succession`] | when a successor starts, and what happens to the predecessor |

mod application;
mod credentials;
mod front;
mod succession;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::credentials::ComponentRole;

/// Start a Spin application with short-lived AWS credentials, and a successor before they expire
///
/// The launcher listens in the application's place. It assumes a role for each component, starts COMMAND with
/// `--listen 127.0.0.1:<port>` added and with each component's credentials in SPIN_VARIABLE_<COMPONENT>_ACCESS_KEY_ID,
/// SPIN_VARIABLE_<COMPONENT>_SECRET_ACCESS_KEY and SPIN_VARIABLE_<COMPONENT>_SESSION_TOKEN, waits until GET /health
/// answers, and passes requests on. All other variables of the application come from the launcher's own environment.
///
/// Its own identity is, as AWS hands it to a container,
///   - an OIDC token: AWS_WEB_IDENTITY_TOKEN_FILE (EKS service accounts and other issuers), or
///   - a task's role: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or AWS_CONTAINER_CREDENTIALS_FULL_URI (ECS, Fargate).
#[derive(Parser, Debug)]
#[command(
    version,
    verbatim_doc_comment,
    after_help = "Example:\n  AWS_REGION=us-east-1 spin-launcher --listen 0.0.0.0:8080 \\\n    \
        --role intake=arn:aws:iam::123456789012:role/appointments-intake \\\n    \
        --role confirmation=arn:aws:iam::123456789012:role/appointments-confirmation \\\n    \
        -- spin up --from spin.toml"
)]
struct Options {
    /// The address to serve on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000", env = "LAUNCHER_LISTEN")]
    listen: SocketAddr,

    /// A component and the role whose rights it gets; once for each component (in the environment: separated by commas)
    #[arg(long = "role", value_name = "COMPONENT=ARN", required = true, env = "LAUNCHER_ROLES", value_delimiter = ',')]
    roles: Vec<ComponentRole>,

    /// The region whose STS is asked
    #[arg(long, env = "AWS_REGION")]
    region: String,

    /// How long credentials last; STS gives no less than 15m, and no more than 1h to a role that assumes a role
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = positive_duration, env = "LAUNCHER_SESSION")]
    session: Duration,

    /// How long before credentials expire a successor is started
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = positive_duration,
        env = "LAUNCHER_RENEW_BEFORE")]
    renew_before: Duration,

    /// How long the application may take until it is healthy
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = positive_duration,
        env = "LAUNCHER_START_LIMIT")]
    start_limit: Duration,

    /// How long requests in flight may take to finish when their process is to end
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = positive_duration,
        env = "LAUNCHER_DRAIN_LIMIT")]
    drain_limit: Duration,

    /// What starts the application; `--listen` is added
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("must be longer than nothing".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; write for example 30s, 15m or 1h")),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    // Our own lines from INFO on, the libraries' from WARN on: below that they show requests.
    let levels = Targets::new().with_default(Level::WARN).with_target(env!("CARGO_CRATE_NAME"), Level::INFO);
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false);
    tracing_subscriber::registry().with(levels).with(lines).init();
    match succession::run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
