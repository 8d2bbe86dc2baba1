//! Responds as DynamoDB, SNS and EventBridge do, as fast as it can, and counts what it was asked.
//!
//! It executes nothing: `PutItem`, `Publish` and `PutEvents` get the responses that AWS gives if all is well. What it does
//! check is that a call is signed: each by the form of its `Authorization`, and one in so many by computing the signature
//! anew. One thread serves everything: its share of the machine is the same whoever asks.
//!
//! Besides AWS's, it has a face for the benchmark:
//!
//! - `GET /seen`: what was asked since the last `PUT /rules`, as JSON.
//! - `PUT /rules?delay_ms=5&verify_every=64&unsigned=false`: how to respond from now on; forgets what was seen.

mod signature;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use aws_http::{Credentials, Signer};
use bytes::Bytes;
use clap::Parser;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::LocalSet;
use uuid::Uuid;

/// Respond as DynamoDB, SNS and EventBridge do if all is well, and count what was asked.
#[derive(Parser)]
struct Options {
    /// The addresses to listen on; each serves everything.
    #[arg(long, required = true, value_name = "ADDRESS")]
    listen: Vec<SocketAddr>,
    /// The region that signatures must name.
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// The access key that signatures must be made with.
    #[arg(long, env = "AWS_ACCESS_KEY_ID")]
    access_key_id: String,
    /// Its secret.
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    secret_access_key: String,
}

/// How to respond.
struct Rules {
    delay: Duration,
    /// One call in so many has its signature computed anew.
    verify_every: u64,
    /// Whether calls may come unsigned: the bare limit's do.
    unsigned: bool,
}

impl Rules {
    const DEFAULT: Self = Self { delay: Duration::ZERO, verify_every: 64, unsigned: false };

    fn parse(query: &str) -> Result<Self, String> {
        let mut rules = Self::DEFAULT;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let invalid = || format!("{name} cannot be {value}");
            match &*name {
                "delay_ms" => rules.delay = Duration::from_millis(value.parse().map_err(|_| invalid())?),
                "verify_every" => rules.verify_every = value.parse().map_err(|_| invalid())?,
                "unsigned" => rules.unsigned = value.parse().map_err(|_| invalid())?,
                _ => return Err(format!("there is no rule {name}")),
            }
        }
        Ok(rules)
    }
}

/// One kind of call, as it was seen.
#[derive(Default)]
struct Seen {
    calls: u64,
    /// The last one's head and body, in bytes; the head as HTTP/1.1 writes it.
    head_bytes: usize,
    body: Bytes,
}

/// What was asked since the rules were set.
#[derive(Default)]
struct Ledger {
    operations: BTreeMap<String, Seen>,
    /// Signatures that were computed anew, and were right.
    verified: u64,
    /// Calls that were refused, by reason.
    refused: BTreeMap<String, u64>,
}

struct StandIn {
    signer: Signer,
    /// What a signature's `Credential` starts with, and what follows the date in it.
    access_key_id: String,
    region: String,
    rules: RefCell<Rules>,
    ledger: RefCell<Ledger>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match LocalSet::new().run_until(serve(Options::parse())).await {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("aws-stand-in: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(options: Options) -> std::io::Result<Infallible> {
    let credentials = Credentials::from_keys(&options.access_key_id, options.secret_access_key, None);
    let stand_in = Rc::new(StandIn {
        signer: Signer::new(&options.region, credentials),
        access_key_id: options.access_key_id,
        region: options.region,
        rules: RefCell::new(Rules::DEFAULT),
        ledger: RefCell::default(),
    });
    for address in options.listen {
        let listener = TcpListener::bind(address).await?;
        let stand_in = stand_in.clone();
        tokio::task::spawn_local(async move {
            loop {
                // No descriptor left: the connection waits.
                let Ok((stream, _)) = listener.accept().await else { continue };
                let _ = stream.set_nodelay(true);
                let stand_in = stand_in.clone();
                let service = service_fn(move |request| {
                    let stand_in = stand_in.clone();
                    async move { Ok::<_, Infallible>(stand_in.response(request).await) }
                });
                tokio::task::spawn_local(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
    }
    std::future::pending().await
}

impl StandIn {
    async fn response(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
            return text(StatusCode::BAD_REQUEST, "the body broke off");
        };
        match (&head.method, head.uri.path()) {
            (&Method::GET, "/seen") => json_response(&self.seen()),
            (&Method::PUT, "/rules") => match Rules::parse(head.uri.query().unwrap_or_default()) {
                Ok(rules) => {
                    *self.rules.borrow_mut() = rules;
                    *self.ledger.borrow_mut() = Ledger::default();
                    text(StatusCode::OK, "")
                }
                Err(reason) => text(StatusCode::BAD_REQUEST, &reason),
            },
            (&Method::POST, "/") => self.call(&head, body).await,
            _ => text(StatusCode::NOT_FOUND, "an AWS call is a POST to /"),
        }
    }

    async fn call(&self, head: &http::request::Parts, body: Bytes) -> Response<Full<Bytes>> {
        let delay = self.rules.borrow().delay;
        let response = match self.admit(head, body) {
            Ok(response) => response,
            Err(reason) => {
                *self.ledger.borrow_mut().refused.entry(reason.to_owned()).or_default() += 1;
                return text(StatusCode::FORBIDDEN, reason);
            }
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        response
    }

    /// Checks and counts a call, and returns its response.
    fn admit(&self, head: &http::request::Parts, body: Bytes) -> Result<Response<Full<Bytes>>, &'static str> {
        let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        let (operation, service, response) = match target {
            Some("DynamoDB_20120810.PutItem") => ("PutItem", "dynamodb", put_item()),
            Some("DynamoDB_20120810.GetItem") => ("GetItem", "dynamodb", get_item(&body)?),
            Some("DynamoDB_20120810.Query") => ("Query", "dynamodb", query()),
            Some("AWSEvents.PutEvents") => ("PutEvents", "events", put_events(&body)?),
            None if body.starts_with(b"Action=Publish&") => ("Publish", "sns", publish()),
            _ => return Err("no operation that this stand-in knows"),
        };
        let rules = self.rules.borrow();
        let mut ledger = self.ledger.borrow_mut();
        let seen = ledger.operations.entry(operation.to_owned()).or_default();
        seen.calls += 1;
        seen.head_bytes = head_bytes(head);
        seen.body = body.clone();
        let is_sample = seen.calls.is_multiple_of(rules.verify_every.max(1));
        if !rules.unsigned {
            let signature = signature::read(&head.headers).ok_or("not signed")?;
            signature.check_scope(&self.access_key_id, &self.region, service)?;
            if is_sample {
                signature.verify(&self.signer, head, body, service)?;
                ledger.verified += 1;
            }
        }
        Ok(response)
    }

    fn seen(&self) -> Value {
        let ledger = self.ledger.borrow();
        let operations: BTreeMap<&str, Value> = ledger
            .operations
            .iter()
            .map(|(name, seen)| {
                let body = String::from_utf8_lossy(&seen.body);
                let sizes = json!({ "calls": seen.calls, "head_bytes": seen.head_bytes, "last_body": body });
                (name.as_str(), sizes)
            })
            .collect();
        json!({ "operations": operations, "verified": ledger.verified, "refused": ledger.refused })
    }
}

/// DynamoDB's response to a write that returns no values.
fn put_item() -> Response<Full<Bytes>> {
    dynamodb_response(&json!({}))
}

/// DynamoDB's response to a read: the appointment that is asked for, as its country has completed it.
fn get_item(body: &[u8]) -> Result<Response<Full<Bytes>>, &'static str> {
    let request: Value = serde_json::from_slice(body).map_err(|_| "not JSON")?;
    let Some(Value::Object(mut item)) = request.get("Key").cloned() else { return Err("no Key") };
    let at = json!({ "S": "2026-11-24T09:30:00.000Z" });
    let step = |status: &str| json!({ "M": { "status": { "S": status }, "at": at } });
    let attributes = json!({
        "scheduleId": { "N": "100" }, "countryISO": { "S": "PE" }, "status": { "S": "completed" }, "createdAt": at,
        "updatedAt": at, "history": { "L": [step("pending"), step("completed")] },
        "traceparent": { "S": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" },
    });
    if let Value::Object(attributes) = attributes {
        item.extend(attributes);
    }
    Ok(dynamodb_response(&json!({ "Item": item })))
}

/// DynamoDB's response to a query that finds nothing.
fn query() -> Response<Full<Bytes>> {
    dynamodb_response(&json!({ "Items": [], "Count": 0, "ScannedCount": 0 }))
}

fn dynamodb_response(value: &Value) -> Response<Full<Bytes>> {
    let mut response = json_response(value);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    with_request_id(response)
}

/// SNS's response to `Publish`.
fn publish() -> Response<Full<Bytes>> {
    let message_id = Uuid::now_v7();
    let body = format!(
        "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult><MessageId>{message_id}\
         </MessageId></PublishResult><ResponseMetadata><RequestId>{message_id}</RequestId></ResponseMetadata></PublishResponse>"
    );
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    with_request_id(response)
}

/// EventBridge's response to `PutEvents`: every entry accepted.
fn put_events(body: &[u8]) -> Result<Response<Full<Bytes>>, &'static str> {
    let request: Value = serde_json::from_slice(body).map_err(|_| "not JSON")?;
    let entries = request.get("Entries").and_then(Value::as_array).ok_or("no Entries")?;
    // EventBridge's own limit.
    if !(1..=10).contains(&entries.len()) {
        return Err("PutEvents takes one to ten entries");
    }
    let accepted: Vec<Value> = entries.iter().map(|_| json!({ "EventId": Uuid::now_v7().to_string() })).collect();
    let mut response = json_response(&json!({ "FailedEntryCount": 0, "Entries": accepted }));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
    Ok(with_request_id(response))
}

fn with_request_id(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    if let Ok(id) = HeaderValue::from_str(&Uuid::now_v7().to_string()) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

fn json_response(value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(value.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn text(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(message.to_owned()));
    *response.status_mut() = status;
    response
}

/// How long a request's head is on the wire: `name: value CRLF` for each header, the request line, and the empty line.
fn head_bytes(head: &http::request::Parts) -> usize {
    let line = head.method.as_str().len() + head.uri.path().len() + " HTTP/1.1\r\n".len() + 1;
    line + headers_bytes(&head.headers) + 2
}

fn headers_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}
