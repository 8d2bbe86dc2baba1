//! The Lambda host as a process, against a double of Lambda's runtime API.
//!
//! Its component is `tests/fixtures/edge-fixture`, packed as a function is: `bootstrap`, `spin.toml`, machine code.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use edge_host::{EdgeHost, Manifest, compile_ahead};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::net::{Shutdown, shutdown};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tests::{PATIENCE, component, program};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

/// The time that Lambda gives an event here, unless a test is about it.
const TIME: Duration = Duration::from_secs(30);

const MANIFEST: &str = "spin_manifest_version = 2\n[application]\nname = 'fixture'\n\
    [variables]\nupstream = { default = 'http://127.0.0.1:1/' }\nfixture_access_key_id = { required = true }\n\
    other_access_key_id = { required = true }\n\
    [[trigger.http]]\nroute = '/...'\ncomponent = 'fixture'\n\
    [component.fixture]\nsource = 'missing.wasm'\nallowed_outbound_hosts = ['http://127.0.0.1:*']\n\
    variables = { upstream = '{{ upstream }}', key = '{{ fixture_access_key_id }}' }\n\
    [component.other]\nsource = 'missing.wasm'\nvariables = { key = '{{ other_access_key_id }}' }\n";

/// The folder of the function's package, made once.
fn package() -> &'static Path {
    static PACKAGE: OnceLock<PathBuf> = OnceLock::new();
    PACKAGE.get_or_init(|| {
        let folder = tests::target_folder().join("lambda-host-tests");
        std::fs::create_dir_all(&folder).unwrap();
        let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let code = compile_ahead(&std::fs::read(component("edge-fixture")).unwrap(), &target).unwrap();
        // Each in one step: another process may run the earlier ones.
        let unfinished = folder.join(format!("{}.unfinished", std::process::id()));
        std::fs::write(&unfinished, code).unwrap();
        std::fs::rename(&unfinished, folder.join("fixture.cwasm")).unwrap();
        std::fs::write(&unfinished, MANIFEST).unwrap();
        std::fs::rename(&unfinished, folder.join("spin.toml")).unwrap();
        std::fs::hard_link(program("appointment-lambda"), &unfinished).unwrap();
        std::fs::rename(&unfinished, folder.join("bootstrap")).unwrap();
        folder
    })
}

/// The environment that Lambda gives, with a component.
fn environment() -> BTreeMap<&'static str, String> {
    let given = [
        ("SPIN_COMPONENT", "fixture"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "key of the role"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_LAMBDA_FUNCTION_NAME", "appointment"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
    ];
    given.map(|(name, value)| (name, value.to_owned())).into()
}

/// An event on its way to the function, with the time that it has.
pub(crate) type Invocation = (Value, Duration);

/// A function that runs, and the runtime API that hands it events.
struct Function {
    process: Child,
    events: mpsc::UnboundedSender<Invocation>,
    results: mpsc::UnboundedReceiver<(String, Value)>,
}

impl Function {
    async fn start(variables: &[(&'static str, String)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (events, incoming) = mpsc::unbounded_channel();
        let (outgoing, results) = mpsc::unbounded_channel();
        tokio::spawn(runtime_api(listener, Arc::new(tokio::sync::Mutex::new(incoming)), outgoing));
        let process = spawn(address, variables);
        Self { process, events, results }
    }

    fn send(&self, event: Value, time: Duration) {
        self.events.send((event, time)).unwrap();
    }

    /// The kind of the function's result (`response` or `error`) and its content.
    async fn result(&mut self) -> (String, Value) {
        tokio::time::timeout(PATIENCE, self.results.recv()).await.expect("a result").unwrap()
    }

    async fn call(&mut self, event: Value) -> Value {
        self.send(event, TIME);
        let (kind, result) = self.result().await;
        assert_eq!(kind, "response", "{result}");
        result
    }

    fn signal(&self, signal: Signal) {
        let id = self.process.id().unwrap().try_into().unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }
}

fn spawn(runtime_api: SocketAddr, variables: &[(&'static str, String)]) -> Child {
    let mut environment = environment();
    environment.insert("AWS_LAMBDA_RUNTIME_API", runtime_api.to_string());
    environment.extend(variables.iter().cloned());
    Command::new(package().join("bootstrap"))
        .env_clear()
        .envs(environment.into_iter().filter(|(_, value)| !value.is_empty()))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Serves `/next` from the events and receives the results.
pub(crate) async fn runtime_api(
    listener: TcpListener,
    events: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>>,
    results: mpsc::UnboundedSender<(String, Value)>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (events, results) = (events.clone(), results.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (events, results) = (events.clone(), results.clone());
            async move {
                let path = request.uri().path().to_owned();
                if path.ends_with("/invocation/next") {
                    let Some((event, time)) = events.lock().await.recv().await else { std::future::pending().await };
                    let deadline = (SystemTime::now() + time).duration_since(UNIX_EPOCH).unwrap().as_millis();
                    let response = Response::builder()
                        .header("lambda-runtime-aws-request-id", "invocation-1")
                        .header("lambda-runtime-deadline-ms", deadline.to_string())
                        .header(
                            "lambda-runtime-invoked-function-arn",
                            "arn:aws:lambda:us-east-1:000000000000:function:f",
                        );
                    return Ok::<_, hyper::Error>(response.body(Full::from(event.to_string())).unwrap());
                }
                let body = request.into_body().collect().await?.to_bytes();
                let kind = path.rsplit('/').next().unwrap_or_default().to_owned();
                let _ = results.send((kind, serde_json::from_slice(&body).unwrap_or_default()));
                let accepted = Response::builder().status(StatusCode::ACCEPTED);
                Ok(accepted.body(Full::<Bytes>::default()).unwrap())
            }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

fn request(method: &str, path: &str, query: &str, body: Option<&str>) -> Value {
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query, "body": body,
        "headers": {"host": "api.test", "x-own": "1"}, "cookies": ["a=1", "b=2"], "isBase64Encoded": false,
        "requestContext": {
            "domainName": "api.test", "stage": "$default", "requestId": "r",
            "http": {"method": method, "path": path, "sourceIp": "192.0.2.1"},
        },
    })
}

fn batch(bodies: &[String]) -> Value {
    let record = |(index, body): (usize, &String)| {
        json!({"eventSource": "aws:sqs", "messageId": format!("m{index}"), "receiptHandle": "r", "body": body,
            "attributes": {"ApproximateReceiveCount": "1"}})
    };
    json!({ "Records": bodies.iter().enumerate().map(record).collect::<Vec<_>>() })
}

/// A request that has arrived at the server.
type Arrival = (String, oneshot::Sender<String>);

/// A server that responds to requests, or is silent, and keeps its connections until it has to close them.
struct Upstream {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<tokio::task::JoinHandle<()>>>>,
}

impl Upstream {
    /// For the fixture's calls.
    async fn start(mut respond: impl FnMut(usize) -> String + Send + 'static) -> Self {
        Self::start_for("the request's body", move |count, _| Some(respond(count))).await
    }

    /// For requests that end with `end`. The response may depend on the number of requests before, and on the request; without one
    /// the server is silent.
    async fn start_for(
        end: &'static str,
        mut respond: impl FnMut(usize, &str) -> Option<String> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections: Arc<Mutex<Vec<_>>> = Arc::default();
        let kept = connections.clone();
        tokio::spawn(async move {
            let (requests, mut arrivals) = mpsc::unbounded_channel::<Arrival>();
            tokio::spawn(async move {
                let (mut count, mut unanswered) = (0, Vec::new());
                while let Some((request, reply)) = arrivals.recv().await {
                    match respond(count, &request) {
                        Some(response) => drop(reply.send(response)),
                        None => unanswered.push(reply),
                    }
                    count += 1;
                }
            });
            while let Ok((stream, _)) = listener.accept().await {
                kept.lock().unwrap().push(tokio::spawn(exchange(Closing(stream), end, requests.clone())));
            }
        });
        Self { address, connections }
    }

    fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    fn url(&self) -> String {
        format!("{}/", self.origin())
    }

    fn accepted(&self) -> usize {
        self.connections.lock().unwrap().len()
    }

    /// Closes all connections, and returns when that is done.
    async fn close(&self) {
        let tasks: Vec<_> = self.connections.lock().unwrap().iter().map(|task| task.abort_handle()).collect();
        for task in &tasks {
            task.abort();
        }
        while !tasks.iter().all(|task| task.is_finished()) {
            tokio::task::yield_now().await;
        }
    }
}

/// A connection of which the peer knows at once when it is dropped. To close it alone may tell the peer later: programs that other
/// tests start in that moment have it too until they run.
struct Closing(TcpStream);

impl Drop for Closing {
    fn drop(&mut self) {
        // Fails if the peer closed it before.
        let _ = shutdown(&self.0, Shutdown::Both);
    }
}

async fn exchange(mut stream: Closing, end: &str, requests: mpsc::UnboundedSender<Arrival>) {
    let mut received = Vec::new();
    while let Ok(1..) = stream.0.read_buf(&mut received).await {
        if !received.ends_with(end.as_bytes()) {
            continue;
        }
        let (reply, replied) = oneshot::channel();
        let _ = requests.send((String::from_utf8(std::mem::take(&mut received)).unwrap(), reply));
        let Ok(body) = replied.await else { return };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if stream.0.write_all(head.as_bytes()).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_gateway_event_gets_the_response_that_the_embedded_host_gives() {
    let mut function = Function::start(&[]).await;
    let text = MANIFEST.replace("missing.wasm", component("edge-fixture").to_str().unwrap());
    let host = EdgeHost::builder(Manifest::parse(&text, "spin.toml").unwrap().only(&["fixture"]).unwrap())
        .variable("fixture_access_key_id", "key of the role")
        .cache_folder(tests::target_folder().join("edge-host-cache"))
        .start()
        .await
        .unwrap();
    for (method, path, query, body) in [
        ("GET", "/health", "", None),
        ("POST", "/echo/a%20b", "x=1&y=%C3%B1", Some("a body")),
        ("GET", "/variable/key", "", None),
        ("GET", "/variable/missing", "", None),
        ("GET", "/nowhere", "", None),
        ("POST", "/refuse", "", Some("unread")),
        // Not /late-trap: where an epoch ends between its response and its trap, the response goes out, else the host's own.
        ("GET", "/trap", "", None),
    ] {
        let lambda = function.call(request(method, path, query, body)).await;

        let stream = TcpStream::connect(host.addr()).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let sent = Request::builder().method(method).uri(target);
        let sent = sent.header("host", "api.test").header("x-own", "1").header("cookie", "a=1; b=2");
        let sent = sent.body(Full::<Bytes>::from(body.unwrap_or_default().to_owned())).unwrap();
        let (head, response_body) = sender.send_request(sent).await.unwrap().into_parts();
        let response_body = String::from_utf8(response_body.collect().await.unwrap().to_bytes().to_vec()).unwrap();

        assert_eq!(lambda["statusCode"], head.status.as_u16(), "{path}");
        let content_type = head.headers.get("content-type").map(|value| value.to_str().unwrap());
        assert_eq!(lambda["headers"]["content-type"].as_str(), content_type, "{path}");
        assert_eq!(alike(lambda["body"].as_str().unwrap()), alike(&response_body), "{path}");
    }
    host.shutdown().await;
}

/// The lines of an echo that do not depend on the way, in one order.
fn alike(body: &str) -> Vec<&str> {
    let own = ["content-length:", "spin-client-addr:", "spin-full-url:"];
    let mut lines: Vec<&str> = body.lines().filter(|line| !own.iter().any(|name| line.starts_with(name))).collect();
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn what_happens_to_one_record_is_that_records_alone() {
    let mut function = Function::start(&[]).await;
    let bodies = ["delete", "trap", "delete", "loop", "leave", "delete", "error", "delete", "delete", "delete"];
    // The one that never ends has the function's time, less what the response needs.
    function.send(batch(&bodies.map(str::to_owned)), Duration::from_secs(3));
    let (kind, result) = function.result().await;
    let failures = ["m1", "m3", "m4", "m6"].map(|id| json!({"itemIdentifier": id}));
    assert_eq!((kind.as_str(), result), ("response", json!({"batchItemFailures": failures})));

    // The instances are free again, and more than ten wait for one another.
    let result = function.call(batch(&vec!["delete".to_owned(); 25])).await;
    assert_eq!(result, json!({"batchItemFailures": []}));
}

#[tokio::test]
async fn a_record_that_is_left_comes_again_by_its_receive_count() {
    let (calls, mut called) = mpsc::unbounded_channel();
    let sqs = Upstream::start_for("}", move |_, request| {
        let _ = calls.send(request.to_owned());
        Some("{}".to_owned())
    })
    .await;
    let variables = [("RECEIVE_DELAYS_SECONDS", "5,30,120".to_owned()), ("AWS_ENDPOINT_URL", sqs.origin())];
    let mut function = Function::start(&variables).await;
    let mut event = batch(&["leave", "delete", "trap", "error"].map(str::to_owned));
    for (record, count) in event["Records"].as_array_mut().unwrap().iter_mut().zip(["1", "1", "3", "3"]) {
        record["attributes"]["ApproximateReceiveCount"] = json!(count);
        record["eventSourceARN"] = json!("arn:aws:sqs:us-east-1:000000000000:SQS_CONFIRMATION");
        record["receiptHandle"] = json!(format!("handle of {}", record["body"].as_str().unwrap()));
    }
    let result = function.call(event).await;
    assert_eq!(result["batchItemFailures"].as_array().unwrap().len(), 3, "{result}");
    let mut changes = BTreeMap::new();
    for _ in 0..3 {
        let request = called.recv().await.unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.to_lowercase().contains("x-amz-target: amazonsqs.changemessagevisibility"), "{head}");
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["QueueUrl"], format!("{}/000000000000/SQS_CONFIRMATION", sqs.origin()));
        changes.insert(body["ReceiptHandle"].as_str().unwrap().to_owned(), body["VisibilityTimeout"].clone());
    }
    // What the handler itself calls an error is not mended by waiting.
    let expected = [("leave", 5), ("trap", 120), ("error", 5)];
    assert_eq!(changes, expected.map(|(body, seconds)| (format!("handle of {body}"), json!(seconds))).into());
}

#[tokio::test]
async fn a_failure_without_an_id_returns_the_whole_batch() {
    let mut function = Function::start(&[]).await;
    for id in [Value::Null, json!("")] {
        let mut event = batch(&["delete".to_owned(), "leave".to_owned()]);
        event["Records"][1]["messageId"] = id;
        function.send(event, TIME);
        let (kind, result) = function.result().await;
        assert_eq!((kind.as_str(), &result["errorType"]), ("error", &json!("UnidentifiedFailure")));
    }
}

#[tokio::test]
async fn the_schedule_goes_on_while_there_is_more_and_time() {
    let upstream = Upstream::start(|count| json!({"published": 5, "givenUp": 1, "more": count != 2}).to_string()).await;
    let mut function = Function::start(&[("SPIN_VARIABLE_UPSTREAM", upstream.url())]).await;
    let result = function.call(json!({"countryISO": "PE"})).await;
    assert_eq!(result, json!({"calls": 3, "published": 15, "givenUp": 3, "more": false}));

    // Without an end it stops for the time's sake, and says that there is more.
    function.send(json!({"countryISO": "PE"}), Duration::from_secs(3));
    let (kind, result) = function.result().await;
    assert_eq!((kind.as_str(), &result["more"]), ("response", &json!(true)), "{result}");
    assert!(result["calls"].as_u64().unwrap() > 1, "{result}");
}

#[tokio::test]
async fn a_call_of_the_schedule_that_the_time_cuts_off_takes_nothing_from_those_before() {
    let round = json!({"published": 5, "givenUp": 1, "more": true});
    let respond = move |count, _: &str| (count == 0).then(|| round.to_string());
    let upstream = Upstream::start_for("the request's body", respond).await;
    let mut function = Function::start(&[("SPIN_VARIABLE_UPSTREAM", upstream.url())]).await;
    // The fixture itself would give up after two seconds.
    let time = Duration::from_secs(2);
    function.send(json!({"countryISO": "PE"}), time);
    let (kind, result) = function.result().await;
    assert_eq!(kind, "response", "{result}");
    assert_eq!(result, json!({"calls": 1, "published": 5, "givenUp": 1, "more": true}));

    // Where it is the first, nothing was done.
    function.send(json!({"countryISO": "PE"}), time);
    let (kind, result) = function.result().await;
    assert_eq!((kind.as_str(), &result["errorType"]), ("error", &json!("Republish")));
}

#[tokio::test]
async fn a_schedule_that_fails_and_an_unknown_event_are_errors() {
    let mut function = Function::start(&[]).await;
    for (event, kind, message) in [
        (json!({"countryISO": "PE"}), "Republish", "the component responded with 502 Bad Gateway"),
        (json!({"countryISO": "PE", "extra": 1}), "UnknownEvent", "the fields [countryISO, extra]"),
        (json!({"version": "1.0", "requestContext": {}}), "PayloadFormat", "payload format version to 2.0"),
    ] {
        function.send(event, TIME);
        let (outcome, result) = function.result().await;
        assert_eq!((outcome.as_str(), &result["errorType"]), ("error", &json!(kind)));
        assert!(result["errorMessage"].as_str().unwrap().contains(message), "{result}");
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_the_function_was_frozen_costs_no_try() {
    let upstream = Upstream::start(|_| "{}".to_owned()).await;
    let mut function = Function::start(&[]).await;
    let call = || request("GET", "/call", &upstream.url(), None);
    assert_eq!(function.call(call()).await["body"], "200 {}");
    // Kept, and used again.
    assert_eq!(function.call(call()).await["body"], "200 {}");
    assert_eq!(upstream.accepted(), 1);
    for round in 2..=4 {
        function.signal(Signal::STOP);
        upstream.close().await;
        // The event waits beside the news that the connection is gone. The fixture tries once.
        function.send(call(), TIME);
        function.signal(Signal::CONT);
        let (kind, result) = function.result().await;
        assert_eq!((kind.as_str(), &result["body"]), ("response", &json!("200 {}")));
        assert_eq!(upstream.accepted(), round);
    }
}

#[tokio::test]
async fn a_function_that_cannot_start_names_what_is_missing() {
    let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
    for (variable, value, expected) in [
        ("SPIN_COMPONENT", "", "SPIN_COMPONENT is not set"),
        ("SPIN_COMPONENT", "nobody", "no component `nobody`; it has `fixture`, `other`"),
        ("SPIN_COMPONENT", "other", "component `other`: cannot read"),
        ("AWS_ACCESS_KEY_ID", "", "`fixture_access_key_id` (set SPIN_VARIABLE_FIXTURE_ACCESS_KEY_ID)"),
        ("AWS_REGION", "", "AWS_REGION is not set"),
        ("AWS_LAMBDA_RUNTIME_API", "", "AWS_LAMBDA_RUNTIME_API is not set"),
    ] {
        let mut variables = vec![(variable, value.to_owned())];
        if value == "other" {
            variables.push(("SPIN_VARIABLE_OTHER_ACCESS_KEY_ID", "x".to_owned()));
        }
        let ended = spawn(nobody, &variables).wait_with_output();
        let output = tokio::time::timeout(PATIENCE, ended).await.expect("it ends").unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let line: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        assert_eq!((output.status.code(), &line["level"]), (Some(1), &json!("ERROR")), "{lines}");
        assert!(line["reason"].as_str().unwrap().contains(expected), "{expected}: {line}");
    }
}

#[test]
fn the_packaged_program_has_no_compiler() {
    let output = local_stack::command::cargo()
        .args(["tree", "--locked", "--offline", "-p", "appointment-lambda", "-e", "normal", "--prefix", "none"])
        .current_dir(tests::workspace())
        .output()
        .unwrap();
    let crates = String::from_utf8(output.stdout).unwrap();
    assert!(crates.contains("\nwasmtime v"), "{crates}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!crates.contains("cranelift-codegen v"), "{crates}");
}
