//! How many calls to the host a request makes. On real Spin they are its main cost (`docs/adr/0076-calls-to-the-host.md`), so each kind
//! of request has a budget of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use edge_host::{DEFAULT_REQUEST_TIMEOUT, EdgeHost, Executor, HostCalls, Manifest, Message, MessageAction};
use http::{Method, Request, StatusCode};
use serde_json::json;
use tests::{component, target_folder, workspace};

use crate::components::{BOOKING, Double, EVENT_ID, JSON, completed, row, variables_with};

/// How often each kind of request is made. The fewest calls count: on a busy machine a response arrives in pieces, and the component
/// waits for each.
const ROUNDS: usize = 10;

/// One component, whose calls to the host are counted.
struct Counted {
    executor: Executor,
    calls: HostCalls,
}

impl Counted {
    async fn start(name: &str, variables: &[(&str, &str)], double: &Double) -> Self {
        let _ = component(name);
        let calls = HostCalls::default();
        let mut builder =
            EdgeHost::builder(Manifest::from_file(workspace().join("spin.toml")).unwrap().only(&[name]).unwrap())
                .cache_folder(target_folder().join("edge-host-cache"))
                .count_host_calls(calls.clone())
                .log(Arc::new(|_| {}));
        for (variable, value) in variables_with(&double.url, &double.url, variables) {
            builder = builder.variable(variable, value);
        }
        let application = tokio::task::spawn_blocking(|| builder.load()).await.unwrap().unwrap();
        Self { executor: Executor::new(Arc::new(application)), calls }
    }

    /// The calls of the round with the fewest.
    async fn fewest(&self, mut round: impl AsyncFnMut()) -> BTreeMap<String, u64> {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let _ = self.calls.take();
            round().await;
            rounds.push(self.calls.take());
        }
        rounds.into_iter().min_by_key(|calls| calls.values().sum::<u64>()).unwrap()
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: &'static str,
        expected: StatusCode,
    ) -> BTreeMap<String, u64> {
        self.fewest(async || {
            let request = Request::builder().method(method.clone()).uri(format!("http://clinic.test{path}"));
            let request = request
                .header(JSON.0, JSON.1)
                .header("content-length", body.len())
                .body(Bytes::from_static(body.as_bytes()))
                .unwrap();
            let client = "127.0.0.1:1".parse().unwrap();
            let response = self.executor.handle_http(request, client, DEFAULT_REQUEST_TIMEOUT).await;
            assert_eq!(response.status(), expected, "{path}");
        })
        .await
    }
}

fn assert_within(what: &str, budget: u64, calls: &BTreeMap<String, u64>) {
    let sum: u64 = calls.values().sum();
    println!("{what}: {sum} calls, {budget} allowed\n{calls:#?}");
    assert!(sum <= budget, "{what} makes {sum} calls of the host, {budget} are allowed: {calls:#?}");
}

#[tokio::test]
async fn a_request_of_intake_keeps_to_its_budget() {
    let double = Double::start(&[("Query", 200, r#"{"Items":[],"Count":0}"#.to_owned())]).await;
    let variables = [("wait_limit_seconds", "10")];
    let intake = Counted::start("intake", &variables, &double).await;
    let calls = intake.request(Method::GET, "/health", "", StatusCode::OK).await;
    assert_within("health", 17, &calls);
    let calls = intake.request(Method::GET, "/appointments/00123", "", StatusCode::OK).await;
    assert_within("a list", 39, &calls);
    let calls = intake.request(Method::POST, "/appointments", BOOKING, StatusCode::ACCEPTED).await;
    assert_within("a booking", 60, &calls);
    assert_eq!(double.operations().len(), ROUNDS * 3, "a booking is one write and one publication");
    // The write's response is left unread, and its connection is still used for the publication.
    assert_eq!(double.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_outcome_keeps_to_its_budget() {
    let response = json!({"Attributes": row("completed", EVENT_ID)}).to_string();
    let double = Double::start(&[("UpdateItem", 200, response)]).await;
    let variables = [
        ("eventbridge_endpoint", &*double.url),
        ("confirmation_access_key_id", "AKIDCONFIRMATION"),
        ("confirmation_secret_access_key", "confirmation-secret"),
    ];
    let confirmation = Counted::start("confirmation", &variables, &double).await;
    let calls = confirmation
        .fewest(async || {
            let message = Message { id: None, message_attributes: Vec::new(), body: Some(completed()) };
            let handled = confirmation.executor.handle_message("confirmation", message, DEFAULT_REQUEST_TIMEOUT).await;
            assert!(matches!(handled, Ok(MessageAction::Delete)), "{handled:?}");
        })
        .await;
    assert_within("an outcome", 47, &calls);
}
