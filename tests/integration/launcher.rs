//! `deploy/spin-launcher` with the emulator's STS, which checks signatures, trust policies and expiry.
//!
//! The identity of the container comes from an endpoint as ECS has it, whose credentials last two minutes, as do the
//! components' sessions. A successor is due every five seconds, the shortest time between two.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use appointment::Timestamp;
use aws_http::Credentials;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures::future::join_all;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use local_stack::Services;
use local_stack::aws::Aws;
use local_stack::ministack::{ACCOUNT, REGION};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tests::{component, program, scratch_folder, services, target_folder, workspace};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

/// How long something that takes a second may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

const TWO_MINUTES: Duration = Duration::from_secs(120);

/// Of two minutes, so that a successor is due after five seconds.
const RENEW_BEFORE: &str = "115s";

const API_KEY: &str = "key-of-the-internal-routes-of-this-test";

const TOKEN: &str = "token-of-the-endpoint";

/// The text between an XML element's tags.
fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let (_, rest) = xml.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no <{name}> in {xml}"));
    rest.split_once('<').unwrap().0
}

/// A credentials endpoint as ECS and EKS have it: the host's credentials, for two minutes, to who knows the token.
struct CredentialsEndpoint {
    url: String,
    task: tokio::task::JoinHandle<()>,
}

impl CredentialsEndpoint {
    async fn start(services: &'static Services) -> Self {
        let host = Aws::new(services.endpoint().clone(), services.credentials("host").unwrap().clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/credentials", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let host = host.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let host = host.clone();
                        async move { Ok::<_, Infallible>(credentials(&host, &request).await) }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { url, task }
    }

    fn environment(&self) -> Vec<(String, String)> {
        let own =
            [("AWS_CONTAINER_CREDENTIALS_FULL_URI", self.url.as_str()), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", TOKEN)];
        own.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }
}

impl Drop for CredentialsEndpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn credentials(host: &Aws, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let known = request.headers().get("authorization").is_some_and(|token| token == TOKEN);
    if request.uri().path() != "/credentials" || !known {
        return Response::builder().status(StatusCode::UNAUTHORIZED).body(Full::default()).unwrap();
    }
    let seconds = TWO_MINUTES.as_secs().to_string();
    let session = host.sts("GetSessionToken", &[("DurationSeconds", &seconds)]).await.unwrap();
    let body = json!({
        "AccessKeyId": element(&session, "AccessKeyId"),
        "SecretAccessKey": element(&session, "SecretAccessKey"),
        "Token": element(&session, "SessionToken"),
        "Expiration": element(&session, "Expiration"),
    });
    let expiration: Timestamp = body["Expiration"].as_str().unwrap().parse().unwrap();
    assert!(SystemTime::from(expiration) <= SystemTime::now() + TWO_MINUTES);
    Response::new(Full::from(body.to_string()))
}

/// The component with a role of this name, as `--role` takes it.
fn role(component: &str, name: &str) -> String {
    format!("{component}=arn:aws:iam::{ACCOUNT}:role/{name}")
}

/// A launcher in the emulator's region, with nothing of the test's own environment but what programs need.
fn launcher(services: &Services, identity: &[(String, String)], roles: &[String], application: &[String]) -> Command {
    let mut command = Command::new(program("spin-launcher"));
    let inherited = ["PATH", "HOME"].into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?)));
    command
        .env_clear()
        .envs(inherited)
        .env("AWS_REGION", REGION)
        .env("AWS_ENDPOINT_URL_STS", services.emulator_url())
        .env("LAUNCHER_LISTEN", "127.0.0.1:0")
        .env("LAUNCHER_SESSION", "2m")
        .env("LAUNCHER_RENEW_BEFORE", RENEW_BEFORE)
        .env("LAUNCHER_ROLES", roles.join(","))
        .envs(identity.iter().cloned())
        .arg("--")
        .args(application)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    command
}

/// A running launcher. What it started ends with it: it is asked to stop and waited for.
struct Launcher {
    child: Child,
    url: String,
    lines: Arc<Mutex<Vec<Value>>>,
}

impl Launcher {
    /// Starts a launcher and waits until it serves. Its own lines are kept, its application's are shown.
    async fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let lines: Arc<Mutex<Vec<Value>>> = Arc::default();
        let kept = lines.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = output.next_line().await {
                match serde_json::from_str::<Value>(&line) {
                    Ok(line) if line["target"].as_str().is_some_and(|target| target.starts_with("spin_launcher")) => {
                        kept.lock().unwrap().push(line);
                    }
                    _ => println!("{line}"),
                }
            }
        });
        let mut launcher = Self { child, url: String::new(), lines };
        let served = launcher.until("serving", 1).await;
        launcher.url = served[0]["address"].as_str().unwrap().to_owned();
        launcher
    }

    /// The lines of that message, once there are so many.
    async fn until(&mut self, message: &str, count: usize) -> Vec<Value> {
        let started = Instant::now();
        loop {
            let lines: Vec<Value> = self.lines.lock().unwrap().clone();
            let found: Vec<Value> = lines.iter().filter(|line| line["message"] == message).cloned().collect();
            if found.len() >= count {
                return found;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the launcher ended ({ended:?}): {lines:#?}");
            assert!(started.elapsed() < PATIENCE, "{count} times {message:?} is not in {lines:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn connect(&self) -> SendRequest<Full<Bytes>> {
        let stream = TcpStream::connect(&self.url).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    fn terminate(&self) {
        kill(&json!(self.child.id()), Signal::TERM);
    }

    /// Asks it to stop; its exit status.
    async fn stop(mut self) -> std::process::ExitStatus {
        self.terminate();
        tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap()
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        if self.child.id().is_some() {
            self.terminate();
        }
    }
}

async fn send(connection: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> (StatusCode, String) {
    connection.ready().await.unwrap();
    let (head, body) = connection.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, String::from_utf8(body.to_vec()).unwrap())
}

fn request(method: &str, path: &str, body: &Value) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(path).header("host", "clinic.test");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    request.header("content-type", "application/json").body(Full::from(body)).unwrap()
}

fn kill(process_id: &Value, signal: Signal) {
    let id = i32::try_from(process_id.as_i64().unwrap()).unwrap();
    rustix::process::kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
}

/// Programs that are not there any more: neither running nor waited for.
fn is_gone(process_id: &Value) -> bool {
    !PathBuf::from(format!("/proc/{process_id}")).exists()
}

/// The variables that a running program was started with.
fn environment(process_id: &Value) -> HashMap<String, String> {
    let environment = std::fs::read(format!("/proc/{process_id}/environ")).unwrap();
    let environment = String::from_utf8(environment).unwrap();
    let entries = environment.split('\0').filter_map(|entry| entry.split_once('='));
    entries.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The embedded host, which dies with the launcher even where that is killed.
fn edge_host(manifest: &Path) -> Vec<String> {
    let host = program("edge-host").display().to_string();
    let cache = target_folder().join("edge-host-cache").display().to_string();
    let manifest = manifest.display().to_string();
    ["setpriv", "--pdeathsig=KILL", "--", &host, "--from", &manifest, "--cache", &cache].map(str::to_owned).to_vec()
}

/// A manifest of the fixture with intake's access key as its variable `key`; the command that serves it.
fn fixture(name: &str) -> Vec<String> {
    let manifest = scratch_folder(name).join("spin.toml");
    let text = format!(
        "spin_manifest_version = 2\n[application]\nname = 'fixture'\n\
         [variables]\nintake_access_key_id = {{ required = true }}\nintake_secret_access_key = {{ required = true }}\n\
         intake_session_token = {{ required = true }}\n\
         [[trigger.http]]\nroute = '/...'\ncomponent = 'fixture'\n\
         [component.fixture]\nsource = '{}'\nvariables = {{ key = '{{{{ intake_access_key_id }}}}' }}\n",
        component("edge-fixture").display()
    );
    std::fs::write(&manifest, text).unwrap();
    edge_host(&manifest)
}

/// A launcher of the whole application, with a role for each component.
fn application_launcher(services: &Services, endpoint: &CredentialsEndpoint) -> Command {
    for name in ["intake", "confirmation"] {
        let _ = component(name);
    }
    let roles = [role("intake", "appointments-intake"), role("confirmation", "appointments-confirmation")];
    let application = edge_host(&workspace().join("spin.toml"));
    let mut command = launcher(services, &endpoint.environment(), &roles, &application);
    for (name, value) in services.variables(API_KEY).unwrap() {
        if !name.ends_with("_access_key_id") && !name.ends_with("_secret_access_key") {
            command.env(format!("SPIN_VARIABLE_{}", name.to_ascii_uppercase()), value);
        }
    }
    command
}

/// Bookings, lists and outcomes without an end, over connections that outlive their processes, while one process follows
/// the other: none fails, and each component acts with its own role.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_successors_take_over() {
    let services = services().await;
    let endpoint = CredentialsEndpoint::start(services).await;
    let mut launcher = Launcher::start(application_launcher(services, &endpoint)).await;

    let over = AtomicBool::new(false);
    let mut connections = [launcher.connect().await, launcher.connect().await];
    let clients = join_all(connections.iter_mut().map(|connection| async {
        let mut bookings = 0;
        while !over.load(Ordering::Relaxed) {
            book_and_complete(connection).await;
            bookings += 1;
        }
        bookings
    }));
    let (bookings, ended) = tokio::join!(clients, async {
        let ended = launcher.until("the predecessor has ended", 3).await;
        over.store(true, Ordering::Relaxed);
        ended
    });
    println!("{} bookings over two connections during {} successions", bookings.iter().sum::<u32>(), ended.len());
    for line in &ended {
        assert_eq!(line["cut_off"], 0);
        assert!(is_gone(&line["process_id"]), "{line}");
    }
    assert!(launcher.stop().await.success());
}

/// Bookings go on when the credentials of the first process are refused: a process never outlives what it was started with.
#[tokio::test(flavor = "multi_thread")]
async fn bookings_outlive_the_first_credentials() {
    let services = services().await;
    let endpoint = CredentialsEndpoint::start(services).await;
    let mut command = application_launcher(services, &endpoint);
    command.env("LAUNCHER_SESSION", "30s").env("LAUNCHER_RENEW_BEFORE", "20s");
    let mut launcher = Launcher::start(command).await;
    let mut connection = launcher.connect().await;

    let process_id = launcher.until("the application is healthy", 1).await[0]["process_id"].clone();
    let variables = environment(&process_id);
    let value = |name: &str| variables[&format!("SPIN_VARIABLE_INTAKE_{name}")].clone();
    let (key_id, secret, token) = (value("ACCESS_KEY_ID"), value("SECRET_ACCESS_KEY"), value("SESSION_TOKEN"));
    let first = Aws::new(services.endpoint().clone(), Credentials::from_keys(key_id, secret, Some(token)));
    let key = json!({"insuredId": {"S": "00123"}, "sk": {"S": "x"}});
    let call = json!({"TableName": services.backplane().table.name, "Key": key});
    first.dynamodb("GetItem", &call).await.unwrap();

    let started = Instant::now();
    let refused = loop {
        book_and_complete(&mut connection).await;
        if let Err(error) = first.dynamodb("GetItem", &call).await {
            break format!("{error:#}");
        }
        assert!(started.elapsed() < PATIENCE, "the credentials are still valid");
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    assert!(refused.contains("ExpiredToken"), "{refused}");
    book_and_complete(&mut connection).await;
    assert!(launcher.stop().await.success());
}

/// One booking, its list, and its outcome as the pipe would deliver it.
async fn book_and_complete(connection: &mut SendRequest<Full<Bytes>>) {
    let (insured, slot) = (format!("{:05}", fastrand::u32(0..100_000)), fastrand::u64(1..1 << 50));
    let booking = json!({"insuredId": insured, "scheduleId": slot, "countryISO": "PE"});
    let (status, body) = send(connection, request("POST", "/appointments", &booking)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    let booked: Value = serde_json::from_str(&body).unwrap();
    let outcome = json!({
        "source": "appointments.worker.PE",
        "detail-type": "AppointmentCompleted",
        "detail": {
            "version": 1, "eventId": uuid::Uuid::now_v7(), "appointmentId": booked["appointmentId"],
            "insuredId": insured, "scheduleId": slot, "countryISO": "PE", "command": "appointment.requested",
            "occurredAt": booked["createdAt"], "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        },
    });
    let mut confirm = request("POST", "/internal/confirmations", &outcome);
    confirm.headers_mut().insert("x-api-key", API_KEY.parse().unwrap());
    let (status, body) = send(connection, confirm).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
    let (status, body) = send(connection, request("GET", &format!("/appointments/{insured}"), &Value::Null)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let list: Value = serde_json::from_str(&body).unwrap();
    let listed = list["appointments"].as_array().unwrap().iter();
    let mut own = listed.filter(|listed| listed["appointmentId"] == booked["appointmentId"]);
    assert_eq!(own.next().unwrap()["status"], "completed");
}

/// A request that is under way when its process is replaced is finished by that process, and so is one that is under way
/// when the launcher is asked to stop.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_finished() {
    let services = services().await;
    let endpoint = CredentialsEndpoint::start(services).await;
    let application = fixture("launcher-drain");
    let command = launcher(services, &endpoint.environment(), &[role("intake", "appointments-intake")], &application);
    let mut launcher = Launcher::start(command).await;
    let (mut slow, mut quick) = (launcher.connect().await, launcher.connect().await);

    let key = async |connection: &mut SendRequest<Full<Bytes>>| {
        let (status, key) = send(connection, request("GET", "/variable/key", &Value::Null)).await;
        assert_eq!(status, StatusCode::OK, "{key}");
        key
    };
    let first = key(&mut quick).await;
    // Longer than it takes until a successor answers, and shorter than the time to drain.
    let (answer, second) = tokio::join!(send(&mut slow, request("GET", "/sleep/12000", &Value::Null)), async {
        launcher.until("a successor answers", 1).await;
        key(&mut quick).await
    });
    assert_eq!(answer, (StatusCode::OK, "slept".to_owned()));
    assert!(first.starts_with("ASIA") && second.starts_with("ASIA") && first != second, "{first}, {second}");
    assert_eq!(launcher.until("the predecessor has ended", 1).await[0]["cut_off"], 0);

    let (answer, status) = tokio::join!(send(&mut slow, request("GET", "/sleep/2000", &Value::Null)), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        launcher.stop().await
    });
    assert_eq!(answer, (StatusCode::OK, "slept".to_owned()));
    assert!(status.success(), "{status}");
}

/// The application sees the request as the client sent it, and nothing of the launcher's own identity.
#[tokio::test(flavor = "multi_thread")]
async fn the_application_sees_the_request_and_none_of_the_launchers_identity() {
    let services = services().await;
    let endpoint = CredentialsEndpoint::start(services).await;
    let application = fixture("launcher-request");
    let command = launcher(services, &endpoint.environment(), &[role("intake", "appointments-intake")], &application);
    let mut launcher = Launcher::start(command).await;
    let mut connection = launcher.connect().await;

    let mut echo = request("POST", "/echo/a%20b?c=%2F", &json!({"d": 1}));
    for (name, value) in [("connection", "x-own-hop"), ("x-own-hop", "dropped"), ("te", "trailers"), ("x-own", "kept")]
    {
        echo.headers_mut().insert(name, value.parse().unwrap());
    }
    let (status, seen) = send(&mut connection, echo).await;
    assert_eq!(status, StatusCode::OK);
    for line in [
        "POST",
        "/echo/a%20b?c=%2F",
        "spin-full-url: http://clinic.test/echo/a%20b?c=%2F",
        "x-own: kept",
        "content-length: 7",
        "{\"d\":1}",
    ] {
        assert!(seen.lines().any(|seen| seen == line), "{line:?} is not in\n{seen}");
    }
    assert!(!seen.contains("x-own-hop") && !seen.contains("trailers"), "{seen}");

    let process_id = launcher.until("the application is healthy", 1).await[0]["process_id"].clone();
    let names: Vec<String> = environment(&process_id).into_keys().collect();
    for name in ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"] {
        assert!(names.contains(&format!("SPIN_VARIABLE_INTAKE_{name}")), "{names:?}");
    }
    assert!(!names.iter().any(|name| name.starts_with("AWS_CONTAINER")), "{names:?}");
    assert!(launcher.stop().await.success());
}

/// A pod or a machine with a token of an OIDC issuer assumes the roles with that, by the role's trust in the issuer.
#[tokio::test(flavor = "multi_thread")]
async fn an_oidc_token_is_exchanged_for_the_components_roles() {
    let services = services().await;
    let trust = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": {"Federated": format!("arn:aws:iam::{ACCOUNT}:oidc-provider/oidc.example.org/cluster")},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {"oidc.example.org/cluster:sub": "system:serviceaccount:appointments:spin"}},
        }],
    })
    .to_string();
    let create = [("RoleName", "appointments-oidc"), ("AssumeRolePolicyDocument", trust.as_str())];
    services.aws().iam("CreateRole", &create).await.unwrap();

    let application = fixture("launcher-oidc");
    let file = scratch_folder("launcher-oidc").join("token");
    let identity = [("AWS_WEB_IDENTITY_TOKEN_FILE".to_owned(), file.display().to_string())];
    let command = |subject: &str| {
        let encoded = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let claims = json!({"iss": "https://oidc.example.org/cluster", "sub": subject, "aud": "sts.amazonaws.com"});
        std::fs::write(&file, format!("{}.{}.c2ln\n", encoded(json!({"alg": "RS256"})), encoded(claims))).unwrap();
        launcher(services, &identity, &[role("intake", "appointments-oidc")], &application)
    };

    let mut launcher = Launcher::start(command("system:serviceaccount:appointments:spin")).await;
    let mut connection = launcher.connect().await;
    let (status, key) = send(&mut connection, request("GET", "/variable/key", &Value::Null)).await;
    assert!(status == StatusCode::OK && key.starts_with("ASIA"), "{status} {key}");
    launcher.until("the predecessor has ended", 1).await;
    let (status, renewed) = send(&mut connection, request("GET", "/variable/key", &Value::Null)).await;
    assert!(status == StatusCode::OK && renewed.starts_with("ASIA") && renewed != key, "{status} {renewed}");
    assert!(launcher.stop().await.success());

    let refused = refusal(command("system:serviceaccount:other:spin")).await;
    assert!(refused.contains("appointments-oidc") && refused.contains("AccessDenied"), "{refused}");
}

/// What a launcher says that fails.
async fn refusal(mut command: Command) -> String {
    let output = tokio::time::timeout(PATIENCE, command.stderr(Stdio::piped()).output()).await.unwrap().unwrap();
    assert!(!output.status.success());
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8(said).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_it_from_starting_is_named_with_its_remedy() {
    let services = services().await;
    let endpoint = CredentialsEndpoint::start(services).await;
    let own = endpoint.environment();
    let intake = role("intake", "appointments-intake");
    let wrong_token =
        own.iter().map(|(name, value)| (name.clone(), value.replace(TOKEN, "another"))).collect::<Vec<_>>();
    let program = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    for (identity, roles, application, expected) in [
        (vec![], vec![intake.clone()], program(&["true"]), vec!["AWS_WEB_IDENTITY_TOKEN_FILE", "taskRoleArn"]),
        (
            own.clone(),
            vec![role("intake", "unknown")],
            program(&["true"]),
            vec!["role/unknown", "`intake`", "AccessDenied"],
        ),
        (wrong_token, vec![intake.clone()], program(&["true"]), vec!["appointments-intake", "401"]),
        (own.clone(), vec![], program(&["true"]), vec!["--role"]),
        (own.clone(), vec![intake.clone(), intake.clone()], program(&["true"]), vec!["`intake` twice"]),
        (own.clone(), vec!["intake".to_owned()], program(&["true"]), vec!["COMPONENT=ARN"]),
        (own.clone(), vec![intake.clone()], program(&["no-such-program"]), vec!["`no-such-program`", "PATH"]),
        (own.clone(), vec![intake.clone()], program(&["false"]), vec!["ended while it started"]),
        (own.clone(), vec![intake.clone()], program(&[]), vec!["COMMAND"]),
    ] {
        let said = refusal(launcher(services, &identity, &roles, &application)).await;
        for part in expected {
            assert!(said.contains(part), "{part:?} is not in {said}");
        }
        assert!(!said.contains(TOKEN) && !said.contains("panicked"), "{said}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = launcher(services, &own, &[intake], &program(&["true"]));
    command.env("LAUNCHER_LISTEN", &address);
    let said = refusal(command).await;
    assert!(said.contains(&address) && said.contains("--listen"), "{said}");
}

/// The launcher is the container's main process: with its application it ends too, so that the container is restarted.
#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_its_application() {
    let services = services().await;
    let endpoint = CredentialsEndpoint::start(services).await;
    let application = fixture("launcher-ends");
    let mut command =
        launcher(services, &endpoint.environment(), &[role("intake", "appointments-intake")], &application);
    command.env("LAUNCHER_RENEW_BEFORE", "10s");
    let mut launcher = Launcher::start(command).await;
    let healthy = launcher.until("the application is healthy", 1).await;
    kill(&healthy[0]["process_id"], Signal::KILL);
    let status = tokio::time::timeout(PATIENCE, launcher.child.wait()).await.unwrap().unwrap();
    assert!(!status.success());
    let lines = launcher.lines.lock().unwrap();
    assert!(lines.iter().any(|line| line["message"].to_string().contains("has ended by itself")), "{lines:#?}");
}

/// The roles' trust: the host acts as each component, a component as nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_host_assumes_a_components_role() {
    let services = services().await;
    for (who, allowed) in [("host", true), ("intake", false), ("confirmation", false), ("pipe", false)] {
        let aws = Aws::new(services.endpoint().clone(), services.credentials(who).unwrap().clone());
        for role in ["appointments-intake", "appointments-confirmation"] {
            let arn = format!("arn:aws:iam::{ACCOUNT}:role/{role}");
            let assumed = aws.sts("AssumeRole", &[("RoleArn", &arn), ("RoleSessionName", "test")]).await;
            match assumed {
                Ok(_) => assert!(allowed, "{who} may act as {role}"),
                Err(error) => assert!(!allowed && format!("{error:#}").contains("AccessDenied"), "{who}: {error:#}"),
            }
        }
    }
    let host = Aws::new(services.endpoint().clone(), services.credentials("host").unwrap().clone());
    let table =
        json!({"TableName": services.backplane().table.name, "Key": {"insuredId": {"S": "00123"}, "sk": {"S": "x"}}});
    let refused = format!("{:#}", host.dynamodb("GetItem", &table).await.unwrap_err());
    assert!(refused.contains("AccessDenied"), "the host by itself may do nothing: {refused}");
}
