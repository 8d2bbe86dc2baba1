//! The components as they are shipped, in the embedded host, against a double of AWS that records what they send.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use appointment::Timestamp;
use bytes::Bytes;
use edge_host::{DEFAULT_REQUEST_TIMEOUT, EdgeHost, Executor, Manifest, Message, MessageAction, MessageFailure};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tests::{component, target_folder, workspace};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::raw_double::RawDouble;
use crate::served::{Lines, Served};

const TOPIC_ARN: &str = "arn:aws:sns:us-east-1:000000000000:appointment-commands";

/// What a component sent.
pub(crate) struct Sent {
    pub(crate) operation: String,
    headers: HeaderMap,
    pub(crate) body: String,
}

impl Sent {
    /// The body of a JSON call.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The message and the attributes of a publication.
    pub(crate) fn published(&self) -> (Value, HashMap<String, String>) {
        let form: HashMap<_, _> = form_urlencoded::parse(self.body.as_bytes()).into_owned().collect();
        (serde_json::from_str(&form["Message"]).unwrap(), form)
    }
}

const SNS_RESPONSE: &str = "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>";

/// The placeholder in a scripted body for the appointment id of the request.
pub(crate) const OWN_ID: &str = "{own appointment id}";

/// A double of DynamoDB, SNS and EventBridge: each operation gets its scripted responses in their order, and the last one from then
/// on; without a script it succeeds. With the status 0 there is no response: the connection breaks.
pub(crate) struct Double {
    pub(crate) url: String,
    pub(crate) sent: Arc<Mutex<Vec<Sent>>>,
    /// How many connections it has taken.
    pub(crate) connections: Arc<AtomicUsize>,
    /// How long an operation waits for its response.
    pub(crate) delays: Delays,
    task: tokio::task::JoinHandle<()>,
}

type Scripts = Arc<Mutex<HashMap<String, VecDeque<Scripted>>>>;

type Delays = Arc<Mutex<HashMap<&'static str, Duration>>>;

impl Double {
    pub(crate) async fn start(script: &[(&str, u16, String)]) -> Self {
        let mut scripts: HashMap<String, VecDeque<Scripted>> = HashMap::new();
        for (name, status, body) in script {
            scripts.entry((*name).to_owned()).or_default().push_back((*status, body.clone()));
        }
        let scripts = Arc::new(Mutex::new(scripts));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let sent = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (recorded, taken) = (Arc::clone(&sent), Arc::clone(&connections));
        let delays = Delays::default();
        let pauses = Arc::clone(&delays);
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                taken.fetch_add(1, Ordering::Relaxed);
                let (scripts, sent) = (Arc::clone(&scripts), Arc::clone(&recorded));
                let pauses = Arc::clone(&pauses);
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        respond(request, Arc::clone(&scripts), Arc::clone(&sent), Arc::clone(&pauses))
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(connection), service)
                        .await;
                });
            }
        });
        Self { url, sent, connections, delays, task }
    }

    pub(crate) fn operations(&self) -> Vec<String> {
        self.sent.lock().unwrap().iter().map(|sent| sent.operation.clone()).collect()
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn respond(
    request: Request<Incoming>,
    scripts: Scripts,
    sent: Arc<Mutex<Vec<Sent>>>,
    delays: Delays,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let operation = match head.headers.get("x-amz-target") {
        Some(target) => target.to_str().unwrap().rsplit('.').next().unwrap().to_owned(),
        None => "Publish".to_owned(),
    };
    let scripted = scripts.lock().unwrap().get_mut(&operation).and_then(|left| match left.len() {
        0 | 1 => left.front().cloned(),
        _ => left.pop_front(),
    });
    let (status, text) = scripted.unwrap_or_else(|| {
        let text = match operation.as_str() {
            "Publish" => SNS_RESPONSE,
            "PutEvents" => r#"{"FailedEntryCount":0,"Entries":[{"EventId":"1"}]}"#,
            _ => "{}",
        };
        (200, text.to_owned())
    });
    let own_id = body.split("\"appointment#").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    let text = text.replace(OWN_ID, own_id);
    let delay = delays.lock().unwrap().get(operation.as_str()).copied();
    sent.lock().unwrap().push(Sent { operation, headers: head.headers, body });
    if let Some(delay) = delay {
        tokio::time::sleep(delay).await;
    }
    if status == 0 {
        return Err(std::io::Error::other("the connection is to break"));
    }
    Ok(Response::builder().status(status).body(Full::from(text)).unwrap())
}

/// Intake, over one double.
pub(crate) async fn host(double: &Double) -> Served {
    host_with(&double.url, &double.url, &[]).await
}

/// Intake with the double's variables, and with these in addition or instead.
pub(crate) async fn host_with(dynamodb: &str, others: &str, variables: &[(&str, &str)]) -> Served {
    Served::start(variables_with(dynamodb, others, variables)).await
}

/// The variables of [`host_with`].
pub(crate) fn variables_with<'a>(
    dynamodb: &str,
    others: &str,
    variables: &[(&'a str, &str)],
) -> BTreeMap<&'a str, String> {
    let own = [
        ("dynamodb_endpoint", dynamodb),
        ("sns_endpoint", others),
        ("appointments_topic_arn", TOPIC_ARN),
        ("intake_access_key_id", "AKIDINTAKE"),
        ("intake_secret_access_key", "intake-secret"),
        ("authentication", "none"),
    ];
    own.iter().chain(variables).map(|(name, value)| (*name, (*value).to_owned())).collect()
}

pub(crate) async fn call(
    host: &Served,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (StatusCode, HeaderMap, Value) {
    host.logged_call(async {
        let connection = TcpStream::connect(host.addr()).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(connection)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", "clinic.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = sender.send_request(request.body(Full::<Bytes>::from(body.to_owned())).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let value = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        (head.status, head.headers, value)
    })
    .await
}

/// The component confirmation, whose host calls it in process.
pub(crate) struct Confirmation {
    executor: Executor,
    /// What it logged so far.
    pub(crate) lines: Lines,
}

impl Confirmation {
    /// Over one double.
    pub(crate) async fn over(double: &Double) -> Self {
        Self::start(&double.url, "AKIDCONFIRMATION", "confirmation-secret", None).await
    }

    /// With AWS at one endpoint, and with these credentials.
    pub(crate) async fn start(endpoint: &str, key: &str, secret: &str, session: Option<&str>) -> Self {
        Self::start_with(endpoint, key, secret, session, &[]).await
    }

    /// As [`Self::start`], with these variables instead of the manifest's.
    pub(crate) async fn start_with(
        endpoint: &str,
        key: &str,
        secret: &str,
        session: Option<&str>,
        variables: &[(&str, &str)],
    ) -> Self {
        let _ = component("confirmation");
        let manifest = Manifest::from_file(workspace().join("spin.toml")).unwrap().only(&["confirmation"]).unwrap();
        let lines = Lines::default();
        let kept = Arc::clone(&lines);
        let mut builder = EdgeHost::builder(manifest)
            .cache_folder(target_folder().join("edge-host-cache"))
            .log(Arc::new(move |line| kept.lock().unwrap().push(line.to_string())));
        for (name, value) in [
            ("dynamodb_endpoint", endpoint),
            ("sns_endpoint", endpoint),
            ("eventbridge_endpoint", endpoint),
            ("appointments_topic_arn", TOPIC_ARN),
            ("confirmation_access_key_id", key),
            ("confirmation_secret_access_key", secret),
            ("confirmation_session_token", session.unwrap_or_default()),
        ]
        .iter()
        .chain(variables)
        {
            builder = builder.variable(*name, *value);
        }
        let application = tokio::task::spawn_blocking(|| builder.load()).await.unwrap().unwrap();
        Self { executor: Executor::new(Arc::new(application)), lines }
    }

    /// Delivers a message of the queue; returns whether it may be deleted.
    pub(crate) async fn deliver(&self, body: &str) -> bool {
        matches!(self.handle(body).await, Ok(MessageAction::Delete))
    }

    /// Delivers a message of the queue; returns what the component tells the queue.
    pub(crate) async fn handle(&self, body: &str) -> Result<MessageAction, MessageFailure> {
        let message = Message { id: None, message_attributes: Vec::new(), body: Some(body.to_owned()) };
        self.executor.handle_message("confirmation", message, DEFAULT_REQUEST_TIMEOUT).await
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: &str) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(format!("http://confirmation.spin.internal{path}"));
        let request = request.header("content-type", "application/json").body(Bytes::from(body.to_owned())).unwrap();
        let response = self.executor.call("confirmation", request, DEFAULT_REQUEST_TIMEOUT).await.unwrap();
        (response.status(), serde_json::from_slice(response.body()).unwrap())
    }
}

pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");
pub(crate) const BOOKING: &str = r#"{"insuredId":"00123","scheduleId":100,"countryISO":"PE"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_is_one_signed_write_and_one_signed_publication() {
    let double = Double::start(&[]).await;
    let host = host(&double).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let (status, headers, body) =
        call(&host, Method::POST, "/appointments", &[JSON, ("traceparent", trace)], BOOKING).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    assert_eq!(body["status"], "pending");
    assert_eq!(body["insuredId"], "00123");
    let id = body["appointmentId"].as_str().unwrap();
    assert_eq!(headers["location"], format!("/appointments/00123/{id}"));
    assert!(headers.contains_key("content-length"));

    assert_eq!(double.operations(), ["PutItem", "Publish"]);
    let sent = double.sent.lock().unwrap();
    for sent in sent.iter() {
        let authorization = sent.headers["authorization"].to_str().unwrap();
        assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDINTAKE/"), "{authorization}");
        assert!(sent.headers.contains_key("content-length"));
    }
    let item = sent[0].json();
    assert_eq!(item["ConditionExpression"], "attribute_not_exists(sk)");
    assert_eq!(item["Item"]["sk"]["S"], format!("appointment#{id}"));
    assert!(item["Item"]["pendingShard"]["S"].as_str().unwrap().starts_with("PE#"));
    let (message, form) = sent[1].published();
    assert_eq!(message["appointmentId"], id);
    assert_eq!(form["MessageAttributes.entry.1.Value.StringValue"], "PE");
    assert!(message["traceparent"].as_str().unwrap().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
}

/// A message that leaves in two writes waits for the peer's delayed acknowledgement, about 44 ms.
#[tokio::test(flavor = "multi_thread")]
async fn each_request_and_each_response_leaves_in_one_piece() {
    let dynamodb = RawDouble::start("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", usize::MAX).await;
    let sns = RawDouble::start(
        "HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n\
         <PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>",
        usize::MAX,
    )
    .await;
    let host = host_with(&dynamodb.url(""), &sns.url(""), &[]).await;

    let mut client = TcpStream::connect(host.addr()).await.unwrap();
    for path in ["/appointments", "/appointment"] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BOOKING}",
            BOOKING.len()
        );
        client.write_all(request.as_bytes()).await.unwrap();
        let mut buffer = vec![0; 64 * 1024];
        let size = client.read(&mut buffer).await.unwrap();
        let response = String::from_utf8_lossy(&buffer[..size]);
        assert!(response.starts_with("HTTP/1.1 202 Accepted\r\n"), "{response}");
        assert_whole(&response);
    }
    for double in [&dynamodb, &sns] {
        let reads = double.reads.lock().unwrap();
        assert_eq!(reads.len(), 2, "{reads:#?}");
        for read in &*reads {
            assert!(
                read.starts_with("POST / HTTP/1.1\r\n") && read.contains("authorization: AWS4-HMAC-SHA256 "),
                "{read}"
            );
            assert_whole(read);
        }
    }
}

/// The text of a message if its whole body, as long as `Content-Length` says, is there.
fn assert_whole(message: &str) {
    let (head, body) = message.split_once("\r\n\r\n").expect("a head");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a Content-Length");
    assert_eq!(length.parse(), Ok(body.len()), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_names_its_fault_and_writes_nothing() {
    let double = Double::start(&[]).await;
    let host = host(&double).await;
    let long = format!(r#"{{"insuredId":"{}"}}"#, "1".repeat(1_000_000));
    let cases: &[(&str, &str, u16, &str, &[&str])] = &[
        ("application/json", "{", 400, "invalid_json", &[]),
        ("application/json", "", 400, "empty_body", &[]),
        ("application/json", "[]", 400, "not_an_object", &[]),
        ("application/json", &long, 413, "body_too_large", &[]),
        ("text/plain", BOOKING, 415, "unsupported_media_type", &[]),
        (
            "application/json",
            r#"{"insuredId":"123","scheduleId":0,"countryISO":"pe"}"#,
            400,
            "invalid_body",
            &["insuredId", "scheduleId", "countryISO"],
        ),
        ("application/json", r#"{"insuredId":"00123","scheduleId":1}"#, 400, "invalid_body", &["countryISO"]),
        (
            "application/json",
            r#"{"insuredId":"00123","scheduleId":1,"countryISO":"PE","x":1}"#,
            400,
            "invalid_body",
            &["x"],
        ),
        (
            "application/json",
            r#"{"insuredId":"00123","scheduleId":1,"scheduleId":2,"countryISO":"PE"}"#,
            400,
            "invalid_body",
            &["scheduleId"],
        ),
    ];
    for (media_type, body, expected, code, fields) in cases {
        let (status, headers, problem) =
            call(&host, Method::POST, "/appointments", &[("content-type", media_type)], body).await;
        assert_eq!((status.as_u16(), problem["code"].as_str()), (*expected, Some(*code)), "{problem}");
        assert_eq!(headers["content-type"], "application/problem+json");
        let named: Vec<_> =
            problem["errors"].as_array().into_iter().flatten().map(|e| e["field"].as_str().unwrap()).collect();
        assert_eq!(named, *fields);
    }
    let (status, headers, _) = call(&host, Method::PUT, "/appointments", &[], "").await;
    assert_eq!((status.as_u16(), headers["allow"].to_str().unwrap()), (405, "POST, OPTIONS"));
    let (status, _, problem) = call(&host, Method::GET, "/appointments/12", &[("accept-language", "en")], "").await;
    assert_eq!((status.as_u16(), problem["title"].as_str()), (400, Some("A parameter is not valid")));
    assert!(double.operations().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_a_dependency_loses_nothing_at_intake() {
    let fault = r#"{"__type":"InternalServerError"}"#.to_owned();
    let double = Double::start(&[("PutItem", 500, fault)]).await;
    let host_without_table = host(&double).await;
    let (status, headers, problem) = call(&host_without_table, Method::POST, "/appointments", &[JSON], BOOKING).await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (503, Some("temporarily_unavailable")));
    assert!(headers.contains_key("retry-after"));
    assert_eq!(double.operations(), ["PutItem"; 3], "three attempts, and nothing is published");

    let double = Double::start(&[("Publish", 500, String::new())]).await;
    let host_without_topic = host(&double).await;
    let (status, _, _) = call(&host_without_topic, Method::POST, "/appointments", &[JSON], BOOKING).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    // What is not published is due at once, unless it was taken after all.
    assert_eq!(double.operations(), ["PutItem", "Publish", "Publish", "Publish", "UpdateItem"]);
    let sent = double.sent.lock().unwrap();
    let (written, due) = (sent[0].json(), sent[4].json());
    assert_eq!(due["UpdateExpression"], "SET pendingSince = :now");
    assert_eq!(due["ConditionExpression"], "#status = :status AND pendingSince = :since");
    assert_eq!(due["ExpressionAttributeValues"][":since"], written["Item"]["pendingSince"]);
    assert_eq!(due["ExpressionAttributeValues"][":status"], json!({"S": "pending"}));
    let instant = |value: &Value| value["S"].as_str().unwrap().parse::<appointment::Timestamp>().unwrap();
    let (now, since) = (&due["ExpressionAttributeValues"][":now"], &written["Item"]["pendingSince"]);
    assert!(instant(now) < instant(since), "{now}, not {since}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_makes_no_call() {
    let double = Double::start(&[]).await;
    let host = host(&double).await;
    let (status, _, body) = call(&host, Method::GET, "/health", &[], "").await;
    assert_eq!((status.as_u16(), body["status"].as_str()), (200, Some("ok")));
    assert!(double.operations().is_empty());
}

/// A status and a body of the double's response.
pub(crate) type Scripted = (u16, String);

/// The private route of the component confirmation.
pub(crate) const REPUBLISH: &str = "/internal/republish";

pub(crate) const ID: &str = "01890f3e-6b7c-7cc2-98c4-dc0c0c07398f";
pub(crate) const EVENT_ID: &str = "6f2f7a54-7b0f-5d63-9d57-0a5c3d0e8f11";

pub(crate) fn completed() -> String {
    json!({
        "source": "appointments.worker.PE",
        "detail-type": "AppointmentCompleted",
        "detail": {
            "version": 1, "eventId": EVENT_ID, "appointmentId": ID, "insuredId": "00123", "scheduleId": 100, "countryISO": "PE",
            "command": "appointment.requested", "occurredAt": "2026-11-24T09:30:00.000Z",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        },
    })
    .to_string()
}

/// A row that the event brought to its status.
pub(crate) fn row(status: &str, event_id: &str) -> Value {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let step = |status: &str| json!({"status": {"S": status}, "at": {"S": "2026-11-24T09:30:00.000Z"}});
    let mut last = step(status);
    last["eventId"] = json!({"S": event_id});
    last["traceparent"] = json!({"S": trace});
    json!({
        "history": {"L": [{"M": step("pending")}, {"M": last}]},
        "insuredId": {"S": "00123"}, "sk": {"S": format!("appointment#{ID}")}, "scheduleId": {"N": "100"},
        "countryISO": {"S": "PE"}, "status": {"S": status}, "createdAt": {"S": "2026-11-24T09:29:59.000Z"},
        "updatedAt": {"S": "2026-11-24T09:30:00.000Z"}, "lastEventId": {"S": event_id}, "traceparent": {"S": trace},
    })
}

/// DynamoDB's response if a condition fails on a row, or if there is no row.
pub(crate) fn condition_failed(row: Option<Value>) -> (u16, String) {
    let mut body = json!({"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"});
    if let Some(row) = row {
        body["Item"] = row;
    }
    (400, body.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_is_applied_once_and_announced() {
    let applied = (200, json!({"Attributes": row("completed", EVENT_ID)}).to_string());
    let other = "00000000-0000-5000-8000-000000000000";
    let refused_event = r#"{"FailedEntryCount":1,"Entries":[{"ErrorCode":"InternalFailure","ErrorMessage":"x"}]}"#;
    let fine = (200, r#"{"FailedEntryCount":0,"Entries":[{"EventId":"1"}]}"#.to_owned());
    let fault = (500, r#"{"__type":"InternalServerError"}"#.to_owned());
    let cases: Vec<(&str, Scripted, Scripted, bool, &[&str])> = vec![
        ("applied", applied.clone(), fine.clone(), true, &["UpdateItem", "PutEvents"]),
        (
            "repeated",
            condition_failed(Some(row("completed", EVENT_ID))),
            fine.clone(),
            true,
            &["UpdateItem", "PutEvents"],
        ),
        ("late", condition_failed(Some(row("cancelled", other))), fine.clone(), true, &["UpdateItem"]),
        ("decided twice", condition_failed(Some(row("rejected", other))), fine.clone(), true, &["UpdateItem"]),
        // Nor the tombstone of an erased one.
        ("no such row", condition_failed(None), fine.clone(), false, &["UpdateItem", "GetItem"]),
        ("no table", fault, fine, false, &["UpdateItem", "UpdateItem", "UpdateItem"]),
        ("event refused", applied, (200, refused_event.to_owned()), false, &["UpdateItem", "PutEvents"]),
    ];
    for (name, update, events, expected, operations) in cases {
        let double = Double::start(&[("UpdateItem", update.0, update.1), ("PutEvents", events.0, events.1)]).await;
        assert_eq!(Confirmation::over(&double).await.deliver(&completed()).await, expected, "{name}");
        assert_eq!(double.operations(), operations, "{name}");
        let sent = double.sent.lock().unwrap();
        let update: Value = serde_json::from_str(&sent[0].body).unwrap();
        assert!(update["UpdateExpression"].as_str().unwrap().contains("pendingShard, pendingSince"), "{name}");
        assert!(sent[0].headers["authorization"].to_str().unwrap().contains("AKIDCONFIRMATION"));
        if let Some(event) = sent.get(1).filter(|sent| sent.operation == "PutEvents") {
            let entry: Value = serde_json::from_str(&event.body).unwrap();
            let detail: Value = serde_json::from_str(entry["Entries"][0]["Detail"].as_str().unwrap()).unwrap();
            let told = json!([detail["eventId"], detail["status"], detail["sequence"]]);
            assert_eq!(told, json!([EVENT_ID, "completed", 2]), "{name}");
        }
    }
}

/// A separate error says that no later delivery can process the message; its host then has it delivered again soon. A message that a
/// later delivery may process is left on the queue.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_sense_is_an_error_and_changes_nothing() {
    let double = Double::start(&[]).await;
    let confirmation = Confirmation::over(&double).await;
    let foreign = completed().replace("appointments.worker.PE", "appointments.worker.CL");
    for body in ["", "{", "{}", &foreign] {
        let Err(MessageFailure::Handler(reason)) = confirmation.handle(body).await else { panic!("taken: {body}") };
        assert!(!reason.contains("00123"), "{reason}");
    }
    assert!(double.operations().is_empty());
    let away = Double::start(&[("UpdateItem", 500, r#"{"__type":"InternalServerError"}"#.to_owned())]).await;
    let confirmation = Confirmation::over(&away).await;
    assert!(matches!(confirmation.handle(&completed()).await, Ok(MessageAction::Leave)));
}

/// `spin.toml` gives its credentials a default, for the edge. Where the component runs, an empty value is a mistake of the set-up.
#[tokio::test(flavor = "multi_thread")]
async fn without_credentials_a_message_is_left() {
    let double = Double::start(&[]).await;
    let confirmation = Confirmation::start(&double.url, "", "", None).await;
    assert!(matches!(confirmation.handle(&completed()).await, Ok(MessageAction::Leave)));
    let (status, problem) = confirmation.call(Method::POST, REPUBLISH, r#"{"countryISO":"PE"}"#).await;
    assert_eq!((status.as_u16(), &problem["code"]), (500, &json!("internal")));
    assert!(double.operations().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_republisher_refuses_what_is_not_its_schedule() {
    let double = Double::start(&[]).await;
    let confirmation = Confirmation::over(&double).await;
    for (method, path, body, expected, code) in [
        (Method::POST, REPUBLISH, "{}", 400, "invalid_body"),
        (Method::POST, REPUBLISH, "[]", 400, "invalid_body"),
        (Method::POST, REPUBLISH, r#"{"countryISO":"AR"}"#, 400, "invalid_body"),
        (Method::POST, REPUBLISH, r#"{"countryISO":"PE","more":true}"#, 400, "invalid_body"),
        (Method::GET, REPUBLISH, "", 405, "method_not_allowed"),
        (Method::POST, "/internal/confirmations", &completed(), 404, "not_found"),
    ] {
        let (status, problem) = confirmation.call(method.clone(), path, body).await;
        assert_eq!((status.as_u16(), problem["code"].as_str()), (expected, Some(code)), "{method} {path} {body}");
    }
    assert!(double.operations().is_empty());
}

/// Each shard's one row is handled as its status and its attempt say. `spin.toml` has four shards, read with those of what was
/// given up, and six delays: the sixth call gives up instead of publishing.
#[tokio::test(flavor = "multi_thread")]
async fn an_undecided_command_is_published_again_or_given_up() {
    const SHARDS: usize = 9;
    const OTHER_ID: &str = "01890f3e-71c4-7a07-9d3a-7f6a1f0b6c55";
    /// The responses of table and topic, then what is called, reported and counted.
    type Case<'a> = (&'a str, Scripted, Scripted, Scripted, &'a [&'a str], Value, Option<&'a str>);
    let indexed = |shard: &str, status: &str, attempt: u32| {
        let row = json!({
            "insuredId": {"S": "00123"}, "sk": {"S": format!("appointment#{ID}")}, "status": {"S": status},
            "pendingShard": {"S": shard}, "pendingSince": {"S": "2026-11-24T09:30:00.000Z"},
            "pendingAttempt": {"N": attempt.to_string()},
        });
        (200, json!({"Items": [row]}).to_string())
    };
    let not_processed = backplane::not_processed_event_id(ID.parse().unwrap()).to_string();
    let taken = |status: &str| (200, json!({"Attributes": row(status, &not_processed)}).to_string());
    let just_taken = |status: &str| {
        let mut row = row(status, &not_processed);
        row["updatedAt"]["S"] = Timestamp::from(SystemTime::now()).to_string().into();
        (200, json!({"Attributes": row}).to_string())
    };
    let moving = || {
        let mut row = row("pending", &not_processed);
        row["replaces"] = json!({"M": {"appointmentId": {"S": OTHER_ID}, "scheduleId": {"N": "99"}}});
        (200, json!({"Attributes": row}).to_string())
    };
    let sns = (200, SNS_RESPONSE.to_owned());
    let (waiting, given_up) = ("PE#0", "PE#0#given_up");
    let nameless = (200, json!({"Items": [{"status": {"S": "pending"}}]}).to_string());
    let fault = (500, r#"{"__type":"InternalServerError"}"#.to_owned());
    let publish: &[&str] = &["Query", "UpdateItem", "Publish", "UpdateItem"];
    let fail: &[&str] = &["Query", "UpdateItem", "PutEvents", "UpdateItem"];
    let unpublished: &[&str] = &["Query", "UpdateItem", "Publish", "Publish", "Publish", "UpdateItem"];
    let away = (500, String::new());
    let leave: &[&str] = &["Query", "UpdateItem", "UpdateItem"];
    let gone = condition_failed(None);
    #[rustfmt::skip]
    let cases: Vec<Case> = vec![
        ("request", indexed(waiting, "pending", 0), taken("pending"), sns.clone(), publish, json!([9, 0, false]), Some("1")),
        ("move", indexed(waiting, "pending", 0), moving(), sns.clone(), publish, json!([9, 0, false]), Some("1")),
        ("cancellation", indexed(waiting, "cancelling", 4), taken("cancelling"), sns.clone(), publish, json!([9, 0, false]), Some("5")),
        ("moved meanwhile", indexed(waiting, "pending", 0), gone, sns.clone(), &["Query", "UpdateItem"], json!([0, 0, false]), None),
        ("topic is away", indexed(waiting, "pending", 2), just_taken("pending"), away.clone(), unpublished, json!([0, 0, false]), Some("2")),
        // It may have been published all the same. Nobody is told that it failed before an outcome would have come.
        ("topic is away for long", indexed(waiting, "pending", 2), taken("pending"), away.clone(), unpublished, json!([0, 0, false]), Some("5")),
        ("cancellation without topic", indexed(waiting, "cancelling", 2), just_taken("cancelling"), away.clone(), unpublished, json!([0, 0, false]), Some("2")),
        ("the same for long", indexed(waiting, "cancelling", 2), taken("cancelling"), away, unpublished, json!([0, 9, false]), Some("0")),
        ("last turn", indexed(waiting, "pending", 5), taken("failed"), sns.clone(), fail, json!([0, 9, false]), Some("0")),
        ("run that died", indexed(waiting, "failed", 5), taken("failed"), sns.clone(), fail, json!([0, 9, false]), Some("0")),
        ("cancellation's last turn", indexed(waiting, "cancelling", 5), taken("cancelling"), sns.clone(), leave, json!([0, 9, false]), Some("0")),
        ("decision", indexed(given_up, "failed", 0), taken("failed"), sns.clone(), publish, json!([9, 0, false]), Some("1")),
        ("last decision", indexed("given_up", "failed", 335), taken("failed"), sns.clone(), publish, json!([9, 0, false]), Some("336")),
        ("given up for too long", indexed(given_up, "failed", 336), taken("failed"), sns.clone(), leave, json!([0, 0, false]), None),
        ("later version's", indexed(waiting, "no_show", 0), taken("no_show"), sns.clone(), &["Query", "UpdateItem"], json!([0, 0, false]), None),
        ("not to be read", nameless, taken("pending"), sns.clone(), &["Query"], json!([0, 0, false]), None),
        ("no table", fault, taken("pending"), sns, &["Query", "Query", "Query"], Value::Null, None),
    ];
    for (name, query, update, topic, operations, expected, attempt) in cases {
        let script =
            [("Query", query.0, query.1), ("UpdateItem", update.0, update.1), ("Publish", topic.0, topic.1.clone())];
        let double = Double::start(&script).await;
        let confirmation = Confirmation::over(&double).await;
        let (status, report) = confirmation.call(Method::POST, REPUBLISH, r#"{"countryISO":"PE"}"#).await;
        if expected.is_null() {
            assert_eq!((status.as_u16(), &report["code"]), (503, &json!("temporarily_unavailable")), "{name}");
        } else {
            let told = json!([report["published"], report["givenUp"], report["more"]]);
            assert_eq!((status.as_u16(), told), (200, expected), "{name}");
        }
        let mut wanted = operations.repeat(SHARDS);
        wanted.sort_unstable();
        let mut made = double.operations();
        made.sort_unstable();
        assert_eq!(made, wanted, "{name}: the same in each of the shards");
        let sent = double.sent.lock().unwrap();
        assert!(sent.iter().all(|sent| sent.headers["authorization"].to_str().unwrap().contains("AKIDCONFIRMATION")));
        let shards: BTreeSet<String> = sent
            .iter()
            .filter(|sent| sent.operation == "Query")
            .map(|sent| sent.json()["ExpressionAttributeValues"][":shard"]["S"].as_str().unwrap().to_owned())
            .collect();
        let all = (0..4).flat_map(|number| [format!("PE#{number}"), format!("PE#{number}#given_up")]);
        let all: BTreeSet<String> = all.chain(["given_up".to_owned()]).collect();
        assert_eq!(shards, all, "{name}");
        for update in sent.iter().filter(|sent| sent.operation == "UpdateItem") {
            let update = update.json();
            let condition = update["ConditionExpression"].as_str().unwrap();
            assert!(condition.starts_with("pendingShard = :shard AND pendingSince = :since"), "{name}: {condition}");
            assert_ne!(update["ExpressionAttributeValues"][":status"]["S"], "no_show", "{name}");
        }
        let counted = sent.iter().rev().find(|sent| sent.operation == "UpdateItem").map(Sent::json);
        let counted =
            counted.and_then(|update| update["ExpressionAttributeValues"][":attempt"]["N"].as_str().map(str::to_owned));
        assert_eq!(counted.as_deref(), attempt, "{name}: only what was published counts");
        if let Some(message) = sent.iter().find(|sent| sent.operation == "Publish") {
            let expected = match name {
                "cancellation" | "cancellation without topic" | "the same for long" => "cancellation_requested",
                "decision" | "last decision" => "decision_requested",
                "move" => "move_requested",
                _ => "requested",
            };
            let published = message.published().0;
            assert_eq!(published["type"], format!("appointment.{expected}"), "{name}");
            let replaced = (name == "move").then(|| json!({"appointmentId": OTHER_ID, "scheduleId": 99}));
            assert_eq!(published.get("replaces"), replaced.as_ref(), "{name}");
        }
    }
}

/// The interfaces that a line-wise list of WIT imports names, without their versions.
fn allowed(world: &str) -> BTreeSet<String> {
    world
        .lines()
        .filter_map(|line| line.trim().strip_prefix("import "))
        .map(|import| import.trim_end_matches(';').split('@').next().unwrap().to_owned())
        .collect()
}

/// The interfaces that a component imports, without their versions, and those of them outside of its world.
fn imports_outside(component: &std::path::Path, world: &str) -> Vec<String> {
    let engine = wasmtime::Engine::default();
    let component = wasmtime::component::Component::from_file(&engine, component).unwrap();
    let allowed = allowed(world);
    component
        .component_type()
        .imports(&engine)
        .map(|(name, _)| name.split('@').next().unwrap().to_owned())
        .filter(|name| !allowed.contains(name))
        .collect()
}

#[test]
fn components_import_what_their_world_allows_and_no_more() {
    for name in ["intake", "booking-page", "confirmation"] {
        let world = std::fs::read_to_string(workspace().join(format!("wit/{name}.wit"))).unwrap();
        assert_eq!(imports_outside(&component(name), &world), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn an_import_outside_of_the_world_is_found() {
    let offending = wat::parse_str(r#"(component (import "wasi:filesystem/types@0.2.0" (instance)))"#).unwrap();
    let file = target_folder().join("offending.wasm");
    std::fs::write(&file, offending).unwrap();
    let world = std::fs::read_to_string(workspace().join("wit/intake.wit")).unwrap();
    assert_eq!(imports_outside(&file, &world), ["wasi:filesystem/types"]);
}

#[test]
fn components_are_small() {
    for name in ["intake", "booking-page", "confirmation"] {
        let bytes = std::fs::metadata(component(name)).unwrap().len();
        assert!(bytes <= 1024 * 1024, "{name} has {bytes} bytes");
    }
}
