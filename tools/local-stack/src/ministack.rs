//! The AWS emulator, as a child process.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_http::Endpoint;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::process::{self, Launch, Process, TemporaryFolder, free_port};

/// The region and the account of the local stack.
pub const REGION: &str = "us-east-1";
/// The emulator's account.
pub const ACCOUNT: &str = "000000000000";

/// How long the emulator may take to start; it needs about a second.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Starts uvicorn. The emulator imports `http.server` in each function's thread, and where two threads do so at once for the first
/// time, one may find `http` without it: here it is imported before.
const MAIN: [&str; 2] = ["-c", "import http.server, uvicorn; uvicorn.main()"];

/// How uvicorn serves it. Idle connections are kept as long as its own program keeps them; at its end it waits for none.
const SERVER: [&str; 12] = [
    "ministack.app:app",
    "--http=httptools",
    "--loop=asyncio",
    "--ws=none",
    "--host=127.0.0.1",
    "--timeout-keep-alive=75",
    "--timeout-graceful-shutdown=1",
    "--no-access-log",
    "--no-server-header",
    "--no-date-header",
    "--log-level=warning",
    "--backlog=4096",
];

/// Says clearly when the port that was asked for is taken.
pub(crate) fn require_free(port: u16) -> Result<()> {
    process::require_free(port, "the AWS emulator", "stop it, or choose another port with --emulator-port")
}

/// A running emulator: DynamoDB, SNS, SQS, EventBridge, IAM, Lambda and CloudWatch Logs on one port.
///
/// It verifies signatures, identity policies, execution roles and queue policies (`AUTH=true`).
#[derive(Debug)]
pub struct Ministack {
    // Declared first: the emulator stops before its files go.
    process: Process,
    port: u16,
    /// It keeps unpacked functions there, a hundred megabytes, and its own keys.
    _temporary: TemporaryFolder,
}

impl Ministack {
    /// Starts the emulator on `port`, or on a free one, and waits until it is ready. `program` is the uvicorn of its environment.
    ///
    /// `directory` gets its log and its temporary files. The environment is a clean one, since functions inherit it.
    ///
    /// # Errors
    /// When the port is taken, or the emulator does not become ready.
    pub async fn start(program: &Path, port: Option<u16>, directory: &Path) -> Result<Self> {
        let port = match port {
            Some(port) => {
                require_free(port)?;
                port
            }
            None => free_port()?,
        };
        // Each connection is a file; many systems allow 1,024 where a program does not ask for more.
        let files = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).context("the limit of open files")?;
        let temporary = TemporaryFolder(directory.join("tmp"));
        for folder in [&temporary.0, &directory.join("logs")] {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let inherited =
            ["PATH", "HOME"].into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
        let settings = [
            ("TMPDIR", temporary.0.to_string_lossy().into_owned()),
            // The keys with which its Cognito signs.
            ("STATE_DIR", temporary.0.join("state").to_string_lossy().into_owned()),
            ("GATEWAY_PORT", port.to_string()),
            ("BIND_HOST", "127.0.0.1".to_owned()),
            ("AUTH", "true".to_owned()),
            ("LOG_LEVEL", "WARNING".to_owned()),
            ("MINISTACK_ACCOUNT_ID", ACCOUNT.to_owned()),
            ("MINISTACK_REGION", REGION.to_owned()),
            ("IOT_MTLS_ENABLED", "0".to_owned()),
            ("SFTP_ENABLED", "0".to_owned()),
        ];
        let process = Process::start(Launch {
            name: "ministack",
            program: &program.with_file_name("python"),
            args: MAIN
                .iter()
                .chain(&SERVER)
                .map(ToString::to_string)
                .chain(["--port".to_owned(), port.to_string()])
                .collect(),
            environment: inherited.chain(settings.map(|(name, value)| (name.to_owned(), value))).collect(),
            clean_environment: true,
            account: None,
            directory,
            log: directory.join("logs").join("ministack.log"),
            // Nothing of it is kept, and to end it by itself takes it a second.
            stop_signal: Signal::KILL,
        })?;
        let mut ministack = Self { process, port, _temporary: temporary };
        let ready = format!("http://127.0.0.1:{port}/_ministack/ready");
        ministack.process.until_ready(START_LIMIT, async || crate::http::answers_success(&ready).await).await?;
        Ok(ministack)
    }

    /// Whether it has ended by itself, and how.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.process.ended()
    }

    /// The process id.
    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// The address of every service, for example `http://127.0.0.1:4566`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// [`Ministack::url`] for `aws-http`.
    ///
    /// # Errors
    /// Never for a running emulator.
    pub fn endpoint(&self) -> Result<Endpoint> {
        Endpoint::parse(&self.url()).context("the emulator's endpoint")
    }
}
