//! Whether the peers do the same as the component: the same responses to the same requests, and the same calls behind them.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response};
use serde_json::{Map, Value, json};

use crate::load::Client;
use crate::subjects::{Kind, Rules, Sizes, StandIn, Subject};

const JSON: &str = "application/json";

/// A request, by its content type and its body.
type Case = (&'static str, &'static str);

const ACCEPTED: [Case; 3] = [
    (JSON, r#"{"insuredId":"00123","scheduleId":100,"countryISO":"PE"}"#),
    ("application/json; charset=utf-8", r#"{"countryISO":"CL","scheduleId":9007199254740991,"insuredId":"99999"}"#),
    (JSON, r#" { "insuredId" : "00000" , "scheduleId" : 1.0 , "countryISO" : "PE" } "#),
];

const REFUSED: [Case; 12] = [
    (JSON, ""),
    (JSON, "{"),
    (JSON, "[]"),
    (JSON, "{}"),
    (JSON, r#"{"insuredId":"123","scheduleId":100,"countryISO":"PE"}"#),
    (JSON, r#"{"insuredId":123,"scheduleId":"100","countryISO":7}"#),
    (JSON, r#"{"insuredId":"00123","scheduleId":0,"countryISO":"pe"}"#),
    (JSON, r#"{"insuredId":"00123","scheduleId":9007199254740992,"countryISO":"AR"}"#),
    (JSON, r#"{"insuredId":"00123","scheduleId":1.5,"countryISO":"PE"}"#),
    (JSON, r#"{"insuredId":"00123","scheduleId":100,"countryISO":"PE","name":"Ana"}"#),
    (JSON, r#"{"insuredId":"0012a","countryISO":"PE","surname":null}"#),
    ("text/plain", r#"{"insuredId":"00123","scheduleId":100,"countryISO":"PE"}"#),
];

/// How one subject responds to every case, and what it asks of AWS for the accepted ones.
#[derive(Debug, PartialEq)]
pub(crate) struct Behaviour(Vec<(&'static str, Value)>);

impl Behaviour {
    /// Asks a subject, with every signature computed anew.
    pub(crate) async fn of(subject: &Subject, stand_in: &StandIn) -> Result<(Self, Sizes)> {
        let mut client = Client::connect(subject.address).await?;
        let mut all = Vec::new();
        let mut sizes = None;
        for case in ACCEPTED {
            stand_in.set(Rules { delay_ms: 0, verify_every: 1, unsigned: false }).await?;
            let response = client.send(request(case)?).await?;
            let seen = stand_in.seen().await?;
            seen.require_no_refusal()?;
            let (put, publish) = (seen.operation("PutItem")?, seen.operation("Publish")?);
            let name = subject.kind.name();
            let calls = (put.calls, publish.calls, seen.verified);
            ensure!(calls == (1, 1, 2), "{name}: not one signed call each but {calls:?} for {}", case.1);
            sizes = Some(Sizes {
                put: (put.head_bytes, put.last_body.len()),
                publish: (publish.head_bytes, publish.last_body.len()),
                response: response.body().len(),
            });
            let calls = json!({ "PutItem": item(&put.last_body)?, "Publish": message(&publish.last_body)? });
            all.push((case.1, json!({ "response": seen_by_client(&response)?, "calls": calls })));
        }
        let large = format!("{:4097}", "{}");
        for case in REFUSED {
            all.push((case.1, seen_by_client(&client.send(request(case)?).await?)?));
        }
        let too_large = Request::post("/appointments").header(CONTENT_TYPE, JSON).body(large.into())?;
        // A server may close the connection on which it refused a body.
        let response = Client::connect(subject.address).await?.send(too_large).await?;
        all.push(("a body of 4097 bytes", seen_by_client(&response)?));
        Ok((Self(all), sizes.context("no case was accepted")?))
    }

    /// Fails where another subject behaves otherwise; says at which request, and how.
    pub(crate) fn require_equal(&self, other: &Self, kind: Kind) -> Result<()> {
        for ((case, expected), (_, actual)) in self.0.iter().zip(&other.0) {
            ensure!(
                expected == actual,
                "{} does not do as the component does for {case}:\n  component: {expected}\n  {}: {actual}",
                kind.name(),
                kind.name()
            );
        }
        Ok(())
    }

    /// How many requests were compared.
    pub(crate) fn cases(&self) -> usize {
        self.0.len()
    }
}

fn request((content_type, body): Case) -> Result<Request<Bytes>> {
    Ok(Request::post("/appointments").header(CONTENT_TYPE, content_type).body(Bytes::from_static(body.as_bytes()))?)
}

/// Status, headers and body of a response. Of the texts for people only that they are there: they are the component's own.
fn seen_by_client(response: &Response<Bytes>) -> Result<Value> {
    let mut body: Value = serde_json::from_slice(response.body()).context("a response that is not JSON")?;
    forget_texts(body.as_object_mut().context("a response that is no object")?);
    if !response.status().is_success() {
        let problem = body.as_object_mut().context("a problem that is no object")?;
        // The id of the request, which the peers do not give.
        problem.remove("instance");
        for error in problem.get_mut("errors").and_then(Value::as_array_mut).into_iter().flatten() {
            forget_texts(error.as_object_mut().context("an error that is no object")?);
        }
        // A list of faults has no order that a client may rely on.
        if let Some(Value::Array(errors)) = problem.get_mut("errors") {
            errors.sort_by_key(Value::to_string);
        }
    }
    Ok(json!({
        "status": response.status().as_u16(),
        "headers": headers(response.headers()),
        "body": without_random(&body),
    }))
}

fn forget_texts(fields: &mut Map<String, Value>) {
    for (name, value) in fields {
        if matches!(name.as_str(), "title" | "detail" | "message")
            && value.as_str().is_some_and(|text| !text.is_empty())
        {
            *value = json!("<text>");
        }
    }
}

fn headers(headers: &HeaderMap) -> Value {
    ["content-type", "cache-control", "content-language", "x-content-type-options", "location"]
        .into_iter()
        .filter_map(|name| {
            let value = headers.get(name)?.to_str().ok()?;
            // JSON's media types have no parameter that means anything (RFC 8259, section 11); Fastify adds a charset.
            let value = if name == CONTENT_TYPE.as_str() { value.split(';').next().unwrap_or_default() } else { value };
            let value: Vec<String> = value.split('/').map(shape).collect();
            Some((name.to_owned(), Value::String(value.join("/"))))
        })
        .collect::<Map<_, _>>()
        .into()
}

/// A `PutItem`, as DynamoDB reads it.
fn item(body: &str) -> Result<Value> {
    Ok(without_random(&serde_json::from_str(body).context("PutItem's body")?))
}

/// A `Publish`, as SNS reads it: attributes in the order of their names, the message parsed.
fn message(body: &str) -> Result<Value> {
    let mut topic = Map::new();
    let mut entries = std::collections::BTreeMap::<String, Map<String, Value>>::new();
    for (name, value) in form_urlencoded::parse(body.as_bytes()) {
        match name.strip_prefix("MessageAttributes.entry.").and_then(|rest| rest.split_once('.')) {
            Some((number, field)) => {
                entries.entry(number.to_owned()).or_default().insert(field.to_owned(), value.into());
            }
            None if name == "Message" => {
                let message: Value = serde_json::from_str(&value).context("the message")?;
                topic.insert("Message".to_owned(), without_random(&message));
            }
            None => {
                topic.insert(name.into_owned(), value.into());
            }
        }
    }
    let mut attributes: Vec<Value> = entries.into_values().map(Value::Object).collect();
    attributes.sort_by_key(Value::to_string);
    topic.insert("MessageAttributes".to_owned(), attributes.into());
    Ok(topic.into())
}

/// The parts of a body that stay the same from booking to booking; ids and instants are named instead of shown.
fn without_random(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(shape(text)),
        Value::Array(items) => items.iter().map(without_random).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), without_random(value))).collect())
        }
        other => other.clone(),
    }
}

/// A text with what differs from booking to booking put into `<…>`.
fn shape(text: &str) -> String {
    if let Some(id) = text.strip_prefix("appointment#") {
        return format!("appointment#{}", shape(id));
    }
    if let Ok(id) = text.parse::<uuid::Uuid>() {
        return format!("<uuid version {}>", id.get_version_num());
    }
    let is_instant =
        text.len() == 24 && time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).is_ok();
    if is_instant {
        return "<instant>".to_owned();
    }
    if text.len() == 55 && text.starts_with("00-") && text.bytes().filter(|byte| *byte == b'-').count() == 3 {
        return "<traceparent>".to_owned();
    }
    if let Some((country @ ("PE" | "CL"), shard)) = text.split_once('#')
        && shard.len() == 1
    {
        return format!("{country}#<shard>");
    }
    text.to_owned()
}
