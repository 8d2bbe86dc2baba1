//! What a request asks of the host, by interface and function: on real Spin that is what costs most.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use edge_host::{EdgeHost, Executor, HostCalls, Manifest};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use local_stack::progress::Progress;
use serde::{Deserialize, Serialize};

use crate::programs::Programs;
use crate::subjects::{Rules, StandIn, spin_variables};

/// How often each request is made; the fewest calls count, because a response that comes in pieces is waited for more than once.
const ROUNDS: usize = 20;

const LIMIT: Duration = Duration::from_secs(10);

/// The requests that are counted, each with its method, path, body and status.
const REQUESTS: [(&str, Method, &str, &str, StatusCode); 3] = [
    ("`GET /health`", Method::GET, "/health", "", StatusCode::OK),
    ("a list", Method::GET, "/appointments/00123", "", StatusCode::OK),
    (
        "a booking",
        Method::POST,
        "/appointments",
        r#"{"insuredId":"00123","scheduleId":100,"countryISO":"PE"}"#,
        StatusCode::ACCEPTED,
    ),
];

/// The calls of one request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) request: String,
    /// By interface and function, like `wasi:io/streams output-stream.write`.
    pub(crate) calls: BTreeMap<String, u64>,
}

impl Counted {
    pub(crate) fn sum(&self) -> u64 {
        self.calls.values().sum()
    }
}

pub(crate) async fn measure(programs: &Programs, progress: &Progress) -> Result<Vec<Counted>> {
    let step = progress.step("calls to the host");
    let stand_in = StandIn::start(programs).await?;
    stand_in.set(Rules { delay_ms: 0, verify_every: 1, unsigned: false }).await?;
    let calls = HostCalls::default();
    let manifest = Manifest::from_file(programs.root.join("spin.toml"))?.only(&["intake"])?;
    let mut builder = EdgeHost::builder(manifest).count_host_calls(calls.clone()).log(Arc::new(|_| {}));
    for (name, value) in spin_variables(&stand_in) {
        builder = builder.variable(name, value);
    }
    let application = tokio::task::spawn_blocking(|| builder.load()).await??;
    let executor = Executor::new(Arc::new(application));
    let mut all = Vec::new();
    for (name, method, path, body, expected) in REQUESTS {
        let mut fewest: Option<Counted> = None;
        for _ in 0..ROUNDS {
            let request = Request::builder().method(&method).uri(format!("http://localhost{path}"));
            let request = request
                .header(CONTENT_TYPE, "application/json")
                .header(CONTENT_LENGTH, body.len())
                .body(Bytes::from_static(body.as_bytes()))?;
            let _ = calls.take();
            let response = executor.handle_http(request, SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), LIMIT).await;
            ensure!(
                response.status() == expected,
                "the response to {name} is {}: {:?}",
                response.status(),
                response.body()
            );
            let counted = Counted { request: name.to_owned(), calls: calls.take() };
            fewest = Some(fewest.filter(|fewest| fewest.sum() <= counted.sum()).unwrap_or(counted));
        }
        all.push(fewest.context("no request was made")?);
    }
    stand_in.seen().await?.require_no_refusal()?;
    step.done("");
    Ok(all)
}
