//! From the start of a function's process to its first response: the function that is deployed, and the Node.js peer as one.
//!
//! A double of Lambda's runtime API has a booking ready for the process, and takes its response. What Lambda itself does
//! before it starts a process (to find a place and to fetch the package) is not in it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use local_stack::artifacts::Artifacts;
use local_stack::progress::Progress;
use local_stack::tools::{NODE_PEER, node_program};
use operator::backplane::Backplane;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use zip::ZipArchive;

use crate::measure::{Spread, address_space_gb, resident_mb};
use crate::programs::Programs;
use crate::subjects::{self, Rules, StandIn};

/// How long a process may take to its first response.
const PATIENCE: Duration = Duration::from_secs(30);

/// What Lambda says of a function that it starts, beside where its runtime API is.
const LAMBDA: [(&str, &str); 4] = [
    ("AWS_LAMBDA_FUNCTION_NAME", "appointment"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
    ("AWS_SESSION_TOKEN", "the token of a role's session"),
];

#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) starts: usize,
    /// Whether the function is the one that is deployed; else it is as the tests have it.
    pub(crate) packaged: bool,
}

impl Plan {
    pub(crate) const FULL: Self = Self { starts: 50, packaged: true };
    pub(crate) const QUICK: Self = Self { starts: 3, packaged: false };
}

/// What is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Subject {
    /// The package of `appointment`: the Lambda host with intake.
    Appointment,
    /// The Node.js peer's routes behind the runtime API, without a server.
    NodeAwsSdk,
}

impl Subject {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Appointment => "`appointment`, as it is packaged",
            Self::NodeAwsSdk => "Node.js + AWS SDK v3, as a function",
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) subject: Subject,
    /// From the process's start until the runtime API has the response to its first booking.
    pub(crate) first_response_ms: Spread,
    /// After that response.
    pub(crate) resident_mb: Spread,
    pub(crate) address_space_gb: Spread,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FunctionStart {
    pub(crate) starts: usize,
    pub(crate) package_bytes: u64,
    pub(crate) rows: Vec<Row>,
}

impl FunctionStart {
    pub(crate) fn find(&self, subject: Subject) -> Option<&Row> {
        self.rows.iter().find(|row| row.subject == subject)
    }
}

pub(crate) async fn measure(programs: &Programs, plan: Plan, progress: &Progress) -> Result<FunctionStart> {
    let step = progress.noisy_step("starts of a function");
    let artifacts = if plan.packaged {
        Artifacts::packaged(&programs.root)
    } else {
        Artifacts::build(&programs.root, &Backplane::load(&programs.root)?)?
    };
    let package = artifacts.application_package(&programs.root)?;
    let folder = programs.scratch.join("function");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    ZipArchive::new(File::open(&package)?)?.extract(&folder)?;

    let subjects = [Subject::Appointment, Subject::NodeAwsSdk];
    let stand_in = StandIn::start(programs).await?;
    let mut starts: Vec<(Subject, Start)> = Vec::new();
    // The first one of each reads files that are not in the page cache yet, and is not counted.
    for number in 0..=plan.starts {
        for subject in subjects {
            let start = start(subject, programs, &folder, &stand_in).await?;
            if number > 0 {
                starts.push((subject, start));
            }
        }
    }
    let row = |subject: &Subject| {
        let spread = |of: fn(&Start) -> f64| {
            Spread::of(starts.iter().filter(|(started, _)| started == subject).map(|(_, start)| of(start)))
        };
        Some(Row {
            subject: *subject,
            first_response_ms: spread(|start| start.first_response_ms)?,
            resident_mb: spread(|start| start.resident_mb)?,
            address_space_gb: spread(|start| start.address_space_gb)?,
        })
    };
    let rows = subjects.iter().map(row).collect::<Option<Vec<_>>>().context("a plan without a start")?;
    step.done(&format!("{} each", plan.starts));
    Ok(FunctionStart { starts: plan.starts, package_bytes: fs::metadata(&package)?.len(), rows })
}

struct Start {
    first_response_ms: f64,
    resident_mb: f64,
    address_space_gb: f64,
}

/// Starts one process, which books once.
async fn start(subject: Subject, programs: &Programs, folder: &Path, stand_in: &StandIn) -> Result<Start> {
    stand_in.set(Rules { delay_ms: 0, verify_every: 1, unsigned: false }).await?;
    let mut api = RuntimeApi::start(booking()?).await?;
    let mut environment: Vec<(String, String)> =
        LAMBDA.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    environment.push(("AWS_LAMBDA_RUNTIME_API".to_owned(), api.address.to_string()));
    environment.extend(subjects::credentials());
    let (name, program, arguments): (&'static str, PathBuf, Vec<String>) = match subject {
        Subject::Appointment => {
            environment.push(("SPIN_COMPONENT".to_owned(), "intake".to_owned()));
            environment.push(("LAMBDA_TASK_ROOT".to_owned(), folder.to_string_lossy().into_owned()));
            environment.extend(subjects::variables(subjects::spin_variables(stand_in)));
            ("appointment", folder.join("bootstrap"), Vec::new())
        }
        Subject::NodeAwsSdk => {
            environment.push(("NODE_ENV".to_owned(), "production".to_owned()));
            let function = NODE_PEER.place(&programs.root).join("function.js");
            let node = node_program(&programs.root);
            let arguments = std::iter::once(function.to_string_lossy().into_owned());
            ("node-function", node, arguments.chain(subjects::aws_options(stand_in)).collect())
        }
    };
    let began = Instant::now();
    let process = subjects::launch(programs, name, &program, arguments, environment)?;
    let response = tokio::time::timeout(PATIENCE, api.responses.recv()).await;
    let response = response.ok().flatten().with_context(|| format!("{name} gave no response: see its log"))?;
    let first_response_ms = response.at.duration_since(began).as_secs_f64() * 1000.0;
    ensure!(
        response.path.ends_with("/response") && response.status == Some(202),
        "{name} did not accept a booking: {} {}",
        response.path,
        response.body
    );
    let seen = stand_in.seen().await?;
    seen.require_no_refusal()?;
    let calls = (seen.calls("PutItem"), seen.calls("Publish"), seen.verified);
    ensure!(calls == (1, 1, 2), "{name}: not one signed call each but {calls:?}");
    Ok(Start {
        first_response_ms,
        resident_mb: resident_mb(process.id())?,
        address_space_gb: address_space_gb(process.id())?,
    })
}

/// A booking as an event of API Gateway (payload format 2.0).
fn booking() -> Result<String> {
    let body = json!({ "insuredId": "00123", "scheduleId": 100, "countryISO": "PE" }).to_string();
    let event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/appointments",
        "rawQueryString": "",
        "headers": { "content-type": "application/json", "host": "api.example.org" },
        "requestContext": {
            "domainName": "api.example.org",
            "stage": "$default",
            "requestId": "benchmark",
            "http": { "method": "POST", "path": "/appointments", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1" },
        },
        "body": body,
        "isBase64Encoded": false,
    });
    Ok(serde_json::to_string(&event)?)
}

/// What a function posted to the runtime API.
struct Posted {
    at: Instant,
    path: String,
    /// Of the HTTP response in it.
    status: Option<u64>,
    body: String,
}

/// The runtime API of one execution environment; it ends with this value.
struct RuntimeApi {
    address: SocketAddr,
    responses: mpsc::UnboundedReceiver<Posted>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[derive(Clone)]
struct Environment {
    /// The event that waits, until it is handed out.
    event: Arc<Mutex<Option<String>>>,
    responses: mpsc::UnboundedSender<Posted>,
}

impl RuntimeApi {
    async fn start(event: String) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (sender, responses) = mpsc::unbounded_channel();
        let environment = Environment { event: Arc::new(Mutex::new(Some(event))), responses: sender };
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/{*rest}", post(posted))
            .with_state(environment);
        let server = tokio::spawn(async move {
            // It ends by being aborted.
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self { address, responses, server })
    }
}

async fn next(State(environment): State<Environment>) -> Response {
    let Some(event) = environment.event.lock().await.take() else { return std::future::pending().await };
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + PATIENCE;
    let head = [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", "benchmark".to_owned()),
        ("lambda-runtime-deadline-ms", deadline.as_millis().to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:000000000000:function:appointment".to_owned(),
        ),
    ];
    (head, event).into_response()
}

async fn posted(State(environment): State<Environment>, uri: axum::http::Uri, body: Bytes) -> StatusCode {
    let at = Instant::now();
    let status = serde_json::from_slice::<Value>(&body).ok().and_then(|body| body.get("statusCode")?.as_u64());
    let body = String::from_utf8_lossy(&body).into_owned();
    // The receiver is gone only when the measurement has failed already.
    let _ = environment.responses.send(Posted { at, path: uri.path().to_owned(), status, body });
    StatusCode::ACCEPTED
}
