//! The AWS client over the native transport, against a TCP double that responds, delays and breaks off as its script says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_http::dynamodb::{DynamoDb, OnConditionFailure, PutItem, TransactWriteItem, TransactWriteItems};
use aws_http::eventbridge::{EventBridge, PutEventsEntry};
use aws_http::native::NativeTransport;
use aws_http::sns::{Publish, Sns};
use aws_http::sqs::{InvalidReceiveDelays, ReceiveDelays, Sqs};
use aws_http::{Client, Credentials, Endpoint, Error, ErrorKind, JsonVersion, Retry, RetryPolicy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the double does with one request.
#[derive(Clone, Debug)]
enum Step {
    /// Responds with this status and body.
    Respond(u16, String),
    /// Responds with this status, `x-amzn-errortype` and body.
    Typed(u16, &'static str, String),
    /// Takes the request and says nothing.
    Hang,
    /// Takes the request and closes the connection.
    Cut,
    /// Closes the connection in the middle of its response.
    CutInResponse,
    /// Sends a byte of the response every 10 ms, without end.
    Drip,
}

fn respond(status: u16, body: &str) -> Step {
    Step::Respond(status, body.to_owned())
}

fn fault(status: u16, code: &str) -> Step {
    respond(status, &format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"insuredId 00123"}}"#))
}

/// A request as the double read it.
#[derive(Clone, Debug)]
struct Seen {
    head: String,
    body: String,
    /// How many bytes the first read got: all of them if head and body left in one write.
    first_read_bytes: usize,
}

impl Seen {
    fn total_bytes(&self) -> usize {
        self.head.len() + self.body.len()
    }
}

struct Double {
    endpoint: Endpoint,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Double {
    async fn start(steps: impl IntoIterator<Item = Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let steps = Arc::new(Mutex::new(steps.into_iter().collect::<VecDeque<_>>()));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let recorded = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&steps), Arc::clone(&recorded)));
            }
        });
        Self { endpoint, seen, task }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut connection: TcpStream, steps: Arc<Mutex<VecDeque<Step>>>, seen: Arc<Mutex<Vec<Seen>>>) {
    while let Some(request) = read_request(&mut connection).await {
        seen.lock().unwrap().push(request);
        // A request that is not in the script gets a response that no case expects, and fails the test.
        let step = steps.lock().unwrap().pop_front().unwrap_or_else(|| respond(418, r#"{"__type":"Unforeseen"}"#));
        let (head, body) = match step {
            Step::Respond(status, body) => (format!("HTTP/1.1 {status} x\r\n"), body),
            Step::Typed(status, code, body) => (format!("HTTP/1.1 {status} x\r\nx-amzn-ErrorType: {code}\r\n"), body),
            Step::Hang => return std::future::pending().await,
            Step::Cut => return,
            Step::CutInResponse => {
                let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").await;
                return;
            }
            Step::Drip => {
                let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await;
                while connection.write_all(b" ").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                return;
            }
        };
        let whole = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        if connection.write_all(whole.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_request(connection: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let mut first_read_bytes = 0;
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|start| start + 4) {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.expect("a request states its length").parse().unwrap();
            if bytes.len() >= end + length {
                let body = String::from_utf8(bytes[end..].to_vec()).unwrap();
                return Some(Seen { head, body, first_read_bytes });
            }
        }
        let mut buffer = vec![0; 64 * 1024];
        let count = connection.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        if first_read_bytes == 0 {
            first_read_bytes = count;
        }
        bytes.extend_from_slice(&buffer[..count]);
    }
}

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn credentials() -> Credentials {
    Credentials::from_keys("AKIDEXAMPLE", SECRET, Some("session-token-of-the-test".to_owned()))
}

/// Pauses of a millisecond, attempts of 150 ms, and a deadline that only the tests of the deadline reach.
fn client() -> Client<NativeTransport> {
    Client::new(NativeTransport::new(), "us-east-1", credentials())
        .with_deadline(Duration::from_secs(30))
        .with_attempt_limit(Duration::from_secs(10))
        .with_retries(RetryPolicy { attempts: 3, base: Duration::from_millis(1), cap: Duration::from_millis(1) })
}

async fn put(client: &Client<NativeTransport>, endpoint: &Endpoint, retry: Retry) -> Result<(), Error> {
    let input = PutItem {
        table_name: "appointments",
        item: [("insuredId", "00123".into()), ("scheduleId", 100_u64.into())].into(),
        condition_expression: Some("attribute_not_exists(sk)"),
        on_condition_failure: OnConditionFailure::AllOld,
        ..Default::default()
    };
    DynamoDb::new(client, endpoint).put_item(&input, retry).await.map(drop)
}

/// The kind's name, with its code if it has one.
fn name(error: &Error) -> String {
    match error.kind() {
        ErrorKind::ConditionFailed { item } => format!("ConditionFailed, item {}", item.is_some()),
        ErrorKind::TransactionCanceled { .. } => "TransactionCanceled".to_owned(),
        ErrorKind::Conflict { .. } => "Conflict".to_owned(),
        ErrorKind::Throttled { .. } => "Throttled".to_owned(),
        ErrorKind::ServiceFault { status, .. } => format!("ServiceFault {status}"),
        ErrorKind::Rejected { code, .. } => format!("Rejected {code}"),
        ErrorKind::Unreachable { .. } => "Unreachable".to_owned(),
        ErrorKind::Timeout => "Timeout".to_owned(),
        ErrorKind::DeadlineExceeded => "DeadlineExceeded".to_owned(),
        ErrorKind::ResponseLost { .. } => "ResponseLost".to_owned(),
        ErrorKind::InvalidResponse { .. } => "InvalidResponse".to_owned(),
        other => format!("{other:?}"),
    }
}

const OK: &str = "ok";
const KNOWN: bool = false;
const UNKNOWN: bool = true;

#[tokio::test]
async fn a_call_is_repeated_only_where_that_is_safe() {
    use Retry::{OnlyIfNotSent, Safe};
    let ok = || respond(200, "{}");
    let condition = || fault(400, "ConditionalCheckFailedException");
    let condition_with_item =
        || respond(400, r#"{"__type":"x#ConditionalCheckFailedException","Item":{"sk":{"S":"appointment#1"}}}"#);
    let canceled = |codes: &[&str]| {
        let reasons: Vec<_> = codes.iter().map(|code| format!(r#"{{"Code":"{code}"}}"#)).collect();
        let reasons = reasons.join(",");
        respond(400, &format!(r#"{{"__type":"x#TransactionCanceledException","CancellationReasons":[{reasons}]}}"#))
    };
    let long = || respond(200, &" ".repeat(3 * 1024 * 1024));

    let cases: Vec<(Retry, Vec<Step>, usize, &str, bool)> = vec![
        // Responses that say that nothing happened, and may change: repeated under both.
        (OnlyIfNotSent, vec![fault(400, "ProvisionedThroughputExceededException"), ok()], 2, OK, KNOWN),
        (OnlyIfNotSent, vec![fault(400, "ThrottlingException"), fault(400, "ThrottlingException"), ok()], 3, OK, KNOWN),
        (OnlyIfNotSent, vec![respond(429, "slow down"), ok()], 2, OK, KNOWN),
        (OnlyIfNotSent, vec![Step::Typed(429, "TooManyRequestsException:http://x/", "{}".into()), ok()], 2, OK, KNOWN),
        (OnlyIfNotSent, vec![fault(400, "TransactionConflictException"), ok()], 2, OK, KNOWN),
        (OnlyIfNotSent, vec![canceled(&["None", "TransactionConflict"]), ok()], 2, OK, KNOWN),
        (Safe, vec![fault(400, "ThrottlingException"); 3], 3, "Throttled", KNOWN),
        // After these the effect is unknown: repeated only if that does no harm.
        (Safe, vec![fault(500, "InternalServerError"), ok()], 2, OK, KNOWN),
        (OnlyIfNotSent, vec![fault(500, "InternalServerError")], 1, "ServiceFault 500", UNKNOWN),
        (Safe, vec![respond(503, "<html>busy</html>"); 3], 3, "ServiceFault 503", UNKNOWN),
        (Safe, vec![Step::Cut, ok()], 2, OK, KNOWN),
        (OnlyIfNotSent, vec![Step::Cut], 1, "ResponseLost", UNKNOWN),
        (Safe, vec![Step::CutInResponse, ok()], 2, OK, KNOWN),
        (OnlyIfNotSent, vec![Step::CutInResponse], 1, "ResponseLost", UNKNOWN),
        (Safe, vec![Step::Hang, ok()], 2, OK, KNOWN),
        (OnlyIfNotSent, vec![Step::Hang], 1, "Timeout", UNKNOWN),
        // The first attempt may itself have written what the second finds.
        (Safe, vec![Step::Cut, condition()], 2, "ConditionFailed, item false", UNKNOWN),
        (Safe, vec![fault(400, "ThrottlingException"), condition()], 2, "ConditionFailed, item false", KNOWN),
        (OnlyIfNotSent, vec![fault(400, "ThrottlingException"), Step::Cut], 2, "ResponseLost", UNKNOWN),
        // Responses that no repetition changes.
        (Safe, vec![condition_with_item()], 1, "ConditionFailed, item true", KNOWN),
        (Safe, vec![canceled(&["ConditionalCheckFailed", "None"])], 1, "TransactionCanceled", KNOWN),
        (Safe, vec![canceled(&["ConditionalCheckFailed", "TransactionConflict"])], 1, "TransactionCanceled", KNOWN),
        (Safe, vec![fault(400, "AccessDeniedException")], 1, "Rejected AccessDeniedException", KNOWN),
        (Safe, vec![fault(400, "InvalidSignatureException")], 1, "Rejected InvalidSignatureException", KNOWN),
        (Safe, vec![fault(400, "RequestTimeTooSkewed")], 1, "Rejected RequestTimeTooSkewed", KNOWN),
        (Safe, vec![fault(400, "ValidationException")], 1, "Rejected ValidationException", KNOWN),
        // Responses that do not follow the protocol.
        (Safe, vec![respond(200, "<html>hello</html>")], 1, "InvalidResponse", UNKNOWN),
        (Safe, vec![respond(404, "<html>nothing here</html>")], 1, "InvalidResponse", UNKNOWN),
        (Safe, vec![respond(302, "")], 1, "InvalidResponse", UNKNOWN),
        (Safe, vec![long()], 1, "InvalidResponse", UNKNOWN),
    ];
    for (retry, steps, attempts, expected, unknown) in cases {
        let case = format!("{retry:?} {:.200}", format!("{steps:?}"));
        let client = match steps.iter().any(|step| matches!(step, Step::Hang)) {
            true => client().with_attempt_limit(Duration::from_secs(1)),
            false => client(),
        };
        let double = Double::start(steps).await;
        let outcome = put(&client, &double.endpoint, retry).await;
        assert_eq!(outcome.as_ref().err().map_or(OK.to_owned(), name), expected, "{case}");
        assert_eq!(double.seen().len(), attempts, "{case}");
        if let Err(error) = outcome {
            assert_eq!(error.attempts() as usize, attempts, "{case}");
            assert_eq!(error.took_effect_unknown(), unknown, "{case}");
            assert_eq!((error.service(), error.operation()), ("dynamodb", "PutItem"), "{case}");
        }
    }
}

#[tokio::test]
async fn a_repetition_sends_the_same_body() {
    let double = Double::start([Step::Cut, respond(200, "{}")]).await;
    put(&client(), &double.endpoint, Retry::Safe).await.unwrap();
    let seen = double.seen();
    assert_eq!(seen[0].body, seen[1].body);
    assert!(seen[0].body.starts_with(r#"{"TableName":"appointments","#), "{}", seen[0].body);
}

#[tokio::test]
async fn a_transaction_is_repeated_after_a_lost_response_only_with_a_token() {
    for (token, attempts) in [(Some("0198c0de"), 2), (None, 1)] {
        let double = Double::start([Step::Cut, respond(200, "{}")]).await;
        let client = client();
        let input = TransactWriteItems {
            transact_items: vec![TransactWriteItem::Put(PutItem { table_name: "t", ..Default::default() })],
            client_request_token: token,
        };
        let outcome = DynamoDb::new(&client, &double.endpoint).transact_write_items(&input).await;
        assert_eq!(outcome.is_ok(), token.is_some());
        assert_eq!(double.seen().len(), attempts);
    }
}

#[tokio::test]
async fn a_host_without_a_listener_is_tried_again_and_known_to_have_got_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint: Endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let error = put(&client(), &endpoint, Retry::OnlyIfNotSent).await.unwrap_err();
    assert_eq!(name(&error), "Unreachable");
    assert_eq!(error.attempts(), 3);
    assert!(!error.took_effect_unknown());
    assert!(error.to_string().contains(endpoint.authority()), "{error}");
}

#[tokio::test]
async fn the_deadline_ends_a_call_whatever_its_attempts_would_still_be_allowed() {
    let generous = RetryPolicy { attempts: 1_000, ..RetryPolicy::NONE };
    let many = |step: Step| std::iter::repeat_n(step, 1_000);
    let client = |attempt| {
        let deadline = Duration::from_secs(1);
        client().with_deadline(deadline).with_attempt_limit(attempt).with_retries(generous)
    };
    let slow = Duration::from_secs(20);

    // Each attempt may wait 400 ms: the third is cut short, and there is no fourth.
    let double = Double::start(many(Step::Hang)).await;
    let error = put(&client(Duration::from_millis(400)), &double.endpoint, Retry::Safe).await.unwrap_err();
    assert_eq!(name(&error), "DeadlineExceeded");
    assert!(error.took_effect_unknown());
    assert!((1..=3).contains(&double.seen().len()), "{} attempts", double.seen().len());

    // The attempt has a high limit, and the response never ends: the deadline counts.
    let double = Double::start(many(Step::Drip)).await;
    let error = put(&client(slow), &double.endpoint, Retry::Safe).await.unwrap_err();
    assert_eq!(name(&error), "DeadlineExceeded");
    assert_eq!(double.seen().len(), 1);

    // A pause that would pass the deadline is not begun.
    let double = Double::start(many(fault(400, "ThrottlingException"))).await;
    let pause = Duration::from_secs(3_600 * 24);
    let patient = RetryPolicy { attempts: 1_000, base: pause, cap: pause };
    let error = put(&client(slow).with_retries(patient), &double.endpoint, Retry::Safe).await.unwrap_err();
    assert_eq!(name(&error), "Throttled");
    assert!(double.seen().len() <= 2, "{} attempts", double.seen().len());
}

#[tokio::test]
async fn put_events_tells_what_became_of_each_entry() {
    let double = Double::start([
        respond(
            200,
            r#"{"FailedEntryCount":2,"Entries":[{"EventId":"e-1"},
                {"ErrorCode":"ThrottlingException","ErrorMessage":"m"},{"ErrorCode":"MalformedDetail","ErrorMessage":"m"}]}"#,
        ),
        respond(200, r#"{"FailedEntryCount":0,"Entries":[{"EventId":"e-1"}]}"#),
        respond(200, "{}"),
    ])
    .await;
    let client = client();
    let events = EventBridge::new(&client, &double.endpoint);
    let entry = PutEventsEntry { event_bus_name: "appointments", source: "s", detail_type: "T", detail: r#"{"a":1}"# };
    let entries = [entry.clone(), entry.clone(), entry];

    let output = events.put_events(&entries, Retry::Safe).await.unwrap();
    let entries_back: Vec<_> =
        output.entries.iter().map(|entry| entry.as_deref().map_err(|refused| refused.code.as_str())).collect();
    assert_eq!(entries_back, [Ok("e-1"), Err("ThrottlingException"), Err("MalformedDetail")]);

    // A response that leaves entries out is not a success.
    for _ in 0..2 {
        let error = events.put_events(&entries, Retry::Safe).await.unwrap_err();
        assert_eq!(name(&error), "InvalidResponse");
    }

    let seen = double.seen();
    assert_eq!(seen.len(), 3, "a refused entry is the caller's to repeat");
    assert!(seen[0].head.contains("\r\nx-amz-target: awsevents.putevents\r\n"), "{}", seen[0].head);
    assert!(seen[0].head.contains("\r\ncontent-type: application/x-amz-json-1.1\r\n"), "{}", seen[0].head);
    assert!(
        seen[0].body.starts_with(
            r#"{"Entries":[{"EventBusName":"appointments","Source":"s","DetailType":"T","Detail":"{\"a\":1}"},"#
        ),
        "{}",
        seen[0].body
    );
}

#[tokio::test]
async fn a_message_is_hidden_for_a_time_of_its_own() {
    let gone = fault(400, "ReceiptHandleIsInvalid");
    let double = Double::start([respond(200, "{}"), fault(500, "InternalError"), respond(200, ""), gone]).await;
    let client = client();
    let sqs = Sqs::new(&client, &double.endpoint);
    let queue = sqs.queue_url("arn:aws:sqs:sa-east-1:123456789012:SQS_PE").unwrap();
    assert_eq!(queue, format!("{}/123456789012/SQS_PE", double.endpoint));
    let hide = async |seconds| sqs.change_message_visibility(&queue, "handle", Duration::from_secs(seconds)).await;
    hide(120).await.unwrap();
    hide(0).await.expect("a call that failed is repeated");
    assert_eq!(name(&hide(5).await.unwrap_err()), "Rejected ReceiptHandleIsInvalid");

    let seen = double.seen();
    assert!(seen[0].head.contains("x-amz-target: amazonsqs.changemessagevisibility\r"), "{}", seen[0].head);
    assert!(seen[0].head.contains("/sqs/aws4_request"), "{}", seen[0].head);
    let expected = serde_json::json!({"QueueUrl": queue, "ReceiptHandle": "handle", "VisibilityTimeout": 120});
    assert_eq!(serde_json::from_str::<serde_json::Value>(&seen[0].body).unwrap(), expected);
    for no_queue in ["", "SQS_PE", "arn:aws:sns:sa-east-1:123456789012:topic", "arn:aws:sqs:sa-east-1:123456789012"] {
        assert_eq!(sqs.queue_url(no_queue), None, "{no_queue}");
    }
}

#[test]
fn pauses_between_receives_grow_and_poison_goes_fast() {
    let delays: ReceiveDelays = "5, 30,120,300".parse().unwrap();
    assert_eq!(delays.max_receive_count(), 5);
    let seconds = |after: fn(&ReceiveDelays, u32) -> Duration| {
        (0..=6).map(|count| after(&delays, count).as_secs()).collect::<Vec<_>>()
    };
    // A count of 0 is one that SQS did not tell; after the last receive nothing is waited for.
    assert_eq!(seconds(ReceiveDelays::after), [5, 5, 30, 120, 300, 0, 0]);
    assert_eq!(seconds(ReceiveDelays::after_poison), [5, 5, 5, 5, 5, 0, 0]);
    for text in ["", "5,", "0", "43201", "-5", "5 30", "five"] {
        assert_eq!(text.parse::<ReceiveDelays>(), Err(InvalidReceiveDelays), "{text}");
    }
}

#[tokio::test]
async fn publish_speaks_the_query_protocol() {
    let error = |status: u16, code: &str, message: &str| {
        respond(
            status,
            &format!(
                "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>Sender</Type>\
                 <Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
            ),
        )
    };
    let double = Double::start([
        error(400, "Throttling", "Rate exceeded"),
        respond(
            200,
            "<?xml version=\"1.0\"?><PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult>\
             <MessageId>m-1</MessageId></PublishResult></PublishResponse>",
        ),
        error(403, "AuthorizationError", "User: u is not authorized to perform: SNS:Publish on resource: r"),
        error(400, "InvalidParameter", "Invalid parameter: Message 00123"),
        respond(200, "<PublishResponse/>"),
    ])
    .await;
    let client = client();
    let topic = Sns::new(&client, &double.endpoint);
    let input = Publish {
        topic_arn: "arn:aws:sns:us-east-1:000000000000:appointments",
        message: "{\"a\":\"ñ & = +\"}",
        message_attributes: &[("countryISO", "PE"), ("type", "appointment.requested")],
    };

    assert_eq!(topic.publish(&input, Retry::Safe).await.unwrap(), "m-1");
    let mut errors = Vec::new();
    for _ in 0..3 {
        errors.push(topic.publish(&input, Retry::Safe).await.unwrap_err());
    }
    assert_eq!(
        errors.iter().map(name).collect::<Vec<_>>(),
        ["Rejected AuthorizationError", "Rejected InvalidParameter", "InvalidResponse"]
    );
    assert_eq!(
        errors[0].to_string(),
        "sns Publish: refused (AuthorizationError): User: u is not authorized to perform: SNS:Publish on resource: r"
    );
    assert_eq!(errors[1].to_string(), "sns Publish: refused (InvalidParameter)");

    let seen = double.seen();
    assert_eq!(seen.len(), 5);
    assert!(seen[0].head.contains("\r\ncontent-type: application/x-www-form-urlencoded\r\n"), "{}", seen[0].head);
    let decoded: Vec<_> = form_urlencoded::parse(seen[0].body.as_bytes()).collect();
    let expected = [
        ("Action", "Publish"),
        ("Version", "2010-03-31"),
        ("TopicArn", input.topic_arn),
        ("Message", input.message),
        ("MessageAttributes.entry.1.Name", "countryISO"),
        ("MessageAttributes.entry.1.Value.DataType", "String"),
        ("MessageAttributes.entry.1.Value.StringValue", "PE"),
        ("MessageAttributes.entry.2.Name", "type"),
        ("MessageAttributes.entry.2.Value.DataType", "String"),
        ("MessageAttributes.entry.2.Value.StringValue", "appointment.requested"),
    ];
    assert_eq!(decoded, expected.map(|(key, value)| (key.into(), value.into())));
}

#[tokio::test]
async fn head_and_body_leave_in_one_write() {
    let double = Double::start([respond(200, "{}"), respond(200, "{}")]).await;
    let client = client();
    for _ in 0..2 {
        let input = serde_json::json!({ "Padding": "x".repeat(4 * 1024) });
        let service = double.endpoint.service("dynamodb");
        let _: serde_json::Value =
            client.json(service, JsonVersion::V1_0, "DynamoDB_20120810.PutItem", &input, Retry::Safe).await.unwrap();
    }
    for seen in double.seen() {
        assert_eq!(seen.first_read_bytes, seen.total_bytes());
    }
}

#[tokio::test]
async fn neither_secrets_nor_request_data_are_shown() {
    let leaky = format!("The Canonical String was\\n\\nx-amz-security-token:session-token-of-the-test {SECRET} 00123");
    let body = |code: &str| respond(403, &format!(r#"{{"__type":"{code}","message":"Not matching.\n{leaky}"}}"#));
    let codes = ["InvalidSignatureException", "SignatureDoesNotMatch", "ValidationException"];
    let double = Double::start(codes.map(body)).await;
    let client = client();
    let mut shown = format!("{client:?} {:?}", credentials());
    for _ in codes {
        let error = put(&client, &double.endpoint, Retry::Safe).await.unwrap_err();
        shown.push_str(&format!(" {error} {error:?}"));
    }
    for secret in [SECRET, "session-token-of-the-test", "00123"] {
        assert!(!shown.contains(secret), "{shown}");
    }

    // A tool that provisions asks for the whole explanation, and gets its first line.
    let double = Double::start([fault(400, "ValidationException")]).await;
    let error = put(&client.with_verbatim_rejections(), &double.endpoint, Retry::Safe).await.unwrap_err();
    assert_eq!(error.to_string(), "dynamodb PutItem: refused (ValidationException): insuredId 00123");
}

#[tokio::test]
async fn a_rest_call_reads_its_error_type_from_the_header() {
    let double = Double::start([
        respond(202, ""),
        Step::Typed(409, "ResourceConflictException", r#"{"Message":"exists"}"#.to_owned()),
    ])
    .await;
    let client = client().with_verbatim_rejections();
    let service = double.endpoint.service("lambda");
    let call = async || {
        let body = Some(&serde_json::json!({ "FunctionName": "f" }));
        client.rest_json(service, http::Method::POST, "/2015-03-31/functions", body, Retry::OnlyIfNotSent).await
    };
    assert_eq!(call().await.unwrap(), serde_json::Value::Null);
    let error = call().await.unwrap_err();
    assert_eq!(error.to_string(), "lambda POST /2015-03-31/functions: refused (ResourceConflictException): exists");
    assert!(double.seen()[0].head.starts_with("post /2015-03-31/functions http/1.1\r\n"));
}

#[test]
fn an_endpoint_is_checked_and_kept_as_its_host_header_will_be() {
    for (text, expected) in [
        ("https://dynamodb.us-east-1.amazonaws.com", Ok("https://dynamodb.us-east-1.amazonaws.com")),
        ("https://SNS.example:443/", Ok("https://sns.example")),
        ("http://localhost:80", Ok("http://localhost")),
        ("http://localhost:443", Ok("http://localhost:443")),
        ("http://[::1]:4566", Ok("http://[::1]:4566")),
        ("", Err("looks like")),
        ("https://", Err("looks like")),
        ("localhost:4566", Err("starts with")),
        ("localhost", Err("starts with")),
        ("ftp://localhost", Err("starts with")),
        ("http://user:secret@localhost", Err("no user name or password")),
        ("http://localhost:99999", Err("port")),
        ("http://localhost:", Err("port")),
        ("http://localhost/path", Err("ends after")),
        ("http://localhost?query", Err("ends after")),
    ] {
        match (text.parse::<Endpoint>(), expected) {
            (Ok(endpoint), Ok(expected)) => assert_eq!(endpoint.to_string(), expected),
            (Err(error), Err(expected)) => {
                let error = error.to_string();
                assert!(error.contains(expected) && !error.contains("secret"), "{text}: {error}");
            }
            (actual, _) => panic!("{text}: {actual:?}"),
        }
    }
}
