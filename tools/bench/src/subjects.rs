//! The programs that are compared, each as a process of its own, and the stand-in for AWS behind them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aws_http::{Credentials, Endpoint};
use bytes::Bytes;
use country_worker::EventBridge;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Request};
use local_stack::process::{Launch, Process, free_port, on_path};
use local_stack::tokens::Algorithm;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::load::{Client, PREFER};
use crate::npm;
use crate::programs::Programs;
use crate::tokens::{self, TokenKind};

const REGION: &str = "us-east-1";
const ACCESS_KEY_ID: &str = "AKIABENCHMARK0000000";
const SECRET_ACCESS_KEY: &str = "the/secret/of/a/benchmark/that/signs/for/nobody";
const TABLE: &str = "appointments";
const TOPIC_ARN: &str = "arn:aws:sns:us-east-1:000000000000:appointment-commands";
const REPUBLISH_DELAYS: &str = "60,60,120,240,480,960,960";

/// How long a program may take to answer for the first time; the embedded host may have to compile.
const START_LIMIT: Duration = Duration::from_secs(120);

/// The stand-in for DynamoDB, SNS and EventBridge.
pub(crate) struct StandIn {
    // Kept for its end, with which the process ends.
    _process: Process,
    pub(crate) dynamodb: SocketAddr,
    pub(crate) sns: SocketAddr,
}

/// What the stand-in was asked.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Seen {
    pub(crate) operations: std::collections::BTreeMap<String, SeenOperation>,
    /// How many signatures were computed anew.
    pub(crate) verified: u64,
    refused: std::collections::BTreeMap<String, u64>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct SeenOperation {
    pub(crate) calls: u64,
    pub(crate) head_bytes: usize,
    pub(crate) last_body: String,
}

impl Seen {
    pub(crate) fn calls(&self, operation: &str) -> u64 {
        self.operations.get(operation).map_or(0, |seen| seen.calls)
    }

    pub(crate) fn operation(&self, name: &str) -> Result<&SeenOperation> {
        self.operations.get(name).with_context(|| format!("no {name} was seen"))
    }

    /// Fails where the stand-in refused a call.
    pub(crate) fn require_no_refusal(&self) -> Result<()> {
        ensure!(self.refused.is_empty(), "the stand-in refused calls: {:?}", self.refused);
        Ok(())
    }
}

/// How the stand-in answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) delay_ms: u64,
    pub(crate) verify_every: u64,
    pub(crate) unsigned: bool,
}

impl StandIn {
    pub(crate) async fn start(programs: &Programs) -> Result<Self> {
        let [dynamodb, sns] = [free_address()?, free_address()?];
        let program = programs.program("aws-stand-in")?;
        let listen = [dynamodb, sns].into_iter().flat_map(|address| ["--listen".to_owned(), address.to_string()]);
        let mut process = launch(programs, "aws-stand-in", &program, listen.collect(), credentials())?;
        process.until_ready(START_LIMIT, async || Client::connect(sns).await.is_ok()).await?;
        Ok(Self { _process: process, dynamodb, sns })
    }

    /// Sets the rules and forgets what was seen.
    pub(crate) async fn set(&self, rules: Rules) -> Result<()> {
        let Rules { delay_ms, verify_every, unsigned } = rules;
        let path = format!("/rules?delay_ms={delay_ms}&verify_every={verify_every}&unsigned={unsigned}");
        let request = Request::put(path).body(Bytes::new())?;
        let answer = Client::connect(self.dynamodb).await?.send(request).await?;
        ensure!(answer.status().is_success(), "the stand-in takes no such rules: {:?}", answer.body());
        Ok(())
    }

    pub(crate) async fn seen(&self) -> Result<Seen> {
        let answer = Client::connect(self.dynamodb).await?.send(Request::get("/seen").body(Bytes::new())?).await?;
        serde_json::from_slice(answer.body()).context("what the stand-in has seen")
    }
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// `intake` in the embedded host, which lets anybody act for anybody.
    Component,
    /// The same, with a token signed by ES256 to verify for each booking.
    ComponentEs256,
    /// The same, with a token signed by Ed25519.
    ComponentEdDsa,
    /// The same, with a token signed by RSA, as most identity providers sign.
    ComponentRs256,
    /// The component, where each booking waits for its outcome, which is there when it looks first.
    ComponentWaiting,
    /// axum and the AWS SDK for Rust.
    AxumAwsSdk,
    /// Node.js, Fastify and AWS SDK v3.
    NodeAwsSdk,
    /// Bare hyper, which does nothing but move the bytes.
    BareHyper,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::ComponentEs256 => "component-es256",
            Self::ComponentEdDsa => "component-ed-dsa",
            Self::ComponentRs256 => "component-rs256",
            Self::ComponentWaiting => "component-waiting",
            Self::AxumAwsSdk => "axum-aws-sdk",
            Self::NodeAwsSdk => "node-aws-sdk",
            Self::BareHyper => "bare-hyper",
        }
    }

    /// What it is, for people.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Component => "(a) component, embedded host",
            Self::ComponentEs256 => "(a) with an ES256 token",
            Self::ComponentEdDsa => "(a) with an EdDSA token",
            Self::ComponentRs256 => "(a) with an RS256 token",
            Self::ComponentWaiting => "(a) with `Prefer: wait=1`",
            Self::AxumAwsSdk => "(b) axum + AWS SDK for Rust",
            Self::NodeAwsSdk => "(c) Node.js + AWS SDK v3",
            Self::BareHyper => "(d) limit: bare hyper",
        }
    }

    /// How the token of each of its bookings is signed, where it asks for one.
    const fn token(self) -> Option<TokenKind> {
        match self {
            Self::ComponentEs256 => Some(TokenKind::Local(Algorithm::Es256)),
            Self::ComponentEdDsa => Some(TokenKind::Local(Algorithm::EdDsa)),
            Self::ComponentRs256 => Some(TokenKind::Rs256),
            Self::Component | Self::ComponentWaiting | Self::AxumAwsSdk | Self::NodeAwsSdk | Self::BareHyper => None,
        }
    }

    pub(crate) const fn signs(self) -> bool {
        !matches!(self, Self::BareHyper)
    }
}

/// How long a booking's messages are: what the bare limit sends.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Sizes {
    /// Head and body of `PutItem`.
    pub(crate) put: (usize, usize),
    /// Head and body of `Publish`.
    pub(crate) publish: (usize, usize),
    /// The body of the answer to the client.
    pub(crate) answer: usize,
}

/// A program that runs.
pub(crate) struct Subject {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    /// What each of its bookings says besides.
    pub(crate) headers: HeaderMap,
    process: Process,
    /// From the process's start to the answer to its first booking.
    pub(crate) first_answer: Duration,
    /// How many bookings it has answered.
    pub(crate) bookings: u64,
}

impl Subject {
    /// Starts it, and waits until it has answered a booking.
    pub(crate) async fn start(
        kind: Kind,
        programs: &Programs,
        stand_in: &StandIn,
        sizes: Option<Sizes>,
    ) -> Result<Self> {
        stand_in.set(Rules { delay_ms: 0, verify_every: 1, unsigned: !kind.signs() }).await?;
        let address = free_address()?;
        let (program, arguments, mut environment) = command(kind, programs, stand_in, sizes, address)?;
        let mut headers = HeaderMap::new();
        if let Some(kind) = kind.token() {
            let (token, keys) = tokens::mint(kind)?;
            environment.extend(variables(keys));
            headers.insert(AUTHORIZATION, format!("Bearer {token}").parse()?);
        }
        if kind == Kind::ComponentWaiting {
            headers.insert(PREFER, HeaderValue::from_static("wait=1"));
        }
        let began = Instant::now();
        let mut process = launch(programs, kind.name(), &program, arguments, environment)?;
        let booked = async || match Client::connect(address).await {
            Ok(client) => client.with_headers(headers.clone()).book().await.is_ok(),
            Err(_) => false,
        };
        process.until_ready(START_LIMIT, booked).await?;
        let first_answer = began.elapsed();
        Ok(Self { kind, address, headers, process, first_answer, bookings: 1 })
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }
}

type Command = (PathBuf, Vec<String>, Vec<(String, String)>);

fn command(
    kind: Kind,
    programs: &Programs,
    stand_in: &StandIn,
    sizes: Option<Sizes>,
    address: SocketAddr,
) -> Result<Command> {
    let StandIn { dynamodb, sns, .. } = stand_in;
    let listen = ["--listen".to_owned(), address.to_string()];
    Ok(match kind {
        Kind::Component
        | Kind::ComponentEs256
        | Kind::ComponentEdDsa
        | Kind::ComponentRs256
        | Kind::ComponentWaiting => {
            let manifest = programs.root.join("spin.toml").to_string_lossy().into_owned();
            let from = ["--from".to_owned(), manifest];
            (
                programs.program("edge-host")?,
                from.into_iter().chain(listen).collect(),
                variables(spin_variables(stand_in)),
            )
        }
        Kind::AxumAwsSdk => (
            programs.program("axum-aws-sdk")?,
            listen.into_iter().chain(aws_options(stand_in)).collect(),
            credentials(),
        ),
        Kind::NodeAwsSdk => {
            let server = npm::folder(programs, kind.name()).join("server.js").to_string_lossy().into_owned();
            let node = on_path("node").context("`node` is not on the PATH")?;
            let mut environment = credentials();
            environment.push(("NODE_ENV".to_owned(), "production".to_owned()));
            (node, [server].into_iter().chain(listen).chain(aws_options(stand_in)).collect(), environment)
        }
        Kind::BareHyper => {
            let Sizes { put, publish, answer } = sizes.context("the limit needs to know how long a booking is")?;
            let sizes = ["--put-bytes", &put.0.to_string(), &put.1.to_string()].map(str::to_owned).into_iter();
            let sizes = sizes
                .chain(["--publish-bytes", &publish.0.to_string(), &publish.1.to_string()].map(str::to_owned))
                .chain(["--answer-bytes", &answer.to_string()].map(str::to_owned))
                .chain(["--dynamodb", &dynamodb.to_string(), "--sns", &sns.to_string()].map(str::to_owned));
            (programs.program("bare-hyper")?, listen.into_iter().chain(sizes).collect(), Vec::new())
        }
    })
}

/// How the peers are told where AWS is.
pub(crate) fn aws_options(stand_in: &StandIn) -> impl Iterator<Item = String> {
    let StandIn { dynamodb, sns, .. } = stand_in;
    let options = [
        ("--dynamodb", format!("http://{dynamodb}")),
        ("--sns", format!("http://{sns}")),
        ("--table", TABLE.to_owned()),
        ("--topic-arn", TOPIC_ARN.to_owned()),
        ("--republish-delays-seconds", REPUBLISH_DELAYS.to_owned()),
    ];
    options.into_iter().flat_map(|(name, value)| [name.to_owned(), value])
}

/// The variables of `spin.toml`. Those that a booking does not use have a value all the same: a host asks for each.
pub(crate) fn spin_variables(stand_in: &StandIn) -> Vec<(&'static str, String)> {
    let StandIn { dynamodb, sns, .. } = stand_in;
    vec![
        ("aws_region", REGION.to_owned()),
        ("dynamodb_endpoint", format!("http://{dynamodb}")),
        ("sns_endpoint", format!("http://{sns}")),
        ("eventbridge_endpoint", format!("http://{sns}")),
        ("appointments_table", TABLE.to_owned()),
        ("appointments_topic_arn", TOPIC_ARN.to_owned()),
        ("republish_delays_seconds", REPUBLISH_DELAYS.to_owned()),
        ("intake_access_key_id", ACCESS_KEY_ID.to_owned()),
        ("intake_secret_access_key", SECRET_ACCESS_KEY.to_owned()),
        ("confirmation_access_key_id", ACCESS_KEY_ID.to_owned()),
        ("confirmation_secret_access_key", SECRET_ACCESS_KEY.to_owned()),
        ("authentication", "none".to_owned()),
    ]
}

/// Spin variables by name, as the environment has them.
pub(crate) fn variables(variables: impl IntoIterator<Item = (&'static str, String)>) -> Vec<(String, String)> {
    let named = variables.into_iter();
    named.map(|(name, value)| (format!("SPIN_VARIABLE_{}", name.to_ascii_uppercase()), value)).collect()
}

/// As the AWS SDKs read them.
pub(crate) fn credentials() -> Vec<(String, String)> {
    [("AWS_REGION", REGION), ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID), ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// The bus of the stand-in, as the worker's own but for where its credentials come from.
pub(crate) fn event_bridge(stand_in: &StandIn) -> Result<EventBridge> {
    let endpoint = Endpoint::parse(&format!("http://{}", stand_in.dynamodb))?;
    let credentials = Credentials::from_keys(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None);
    Ok(EventBridge::new(REGION, credentials, endpoint, "appointments".to_owned()))
}

/// Starts a program with a clean environment; its output goes to a file under the scratch folder.
pub(crate) fn launch(
    programs: &Programs,
    name: &'static str,
    program: &Path,
    args: Vec<String>,
    mut environment: Vec<(String, String)>,
) -> Result<Process> {
    environment.extend(std::env::var("PATH").ok().map(|path| ("PATH".to_owned(), path)));
    Process::start(Launch {
        name,
        program,
        args,
        environment,
        clean_environment: true,
        account: None,
        directory: &programs.scratch,
        log: programs.scratch.join(format!("{name}.log")),
        stop_signal: Signal::TERM,
    })
}

fn free_address() -> Result<SocketAddr> {
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)))
}
