//! One booking of the local stack, through API Gateway or at the edge.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use local_stack::LocalStack;
use local_stack::http::Http;
use local_stack::provision::Api;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// How long a booking may take to be answered.
const LIMIT: Duration = Duration::from_secs(60);

/// How bookings reach intake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EntryPoint {
    /// API Gateway, and the function behind it.
    ApiGateway,
    /// The embedded host.
    Edge,
}

impl EntryPoint {
    pub(crate) const ALL: [Self; 2] = [Self::ApiGateway, Self::Edge];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::ApiGateway => "API Gateway, Lambda",
            Self::Edge => "edge",
        }
    }

    pub(crate) fn target(self, stack: &LocalStack) -> Target {
        let address = match self {
            Self::ApiGateway => Address::Api(stack.api().clone()),
            Self::Edge => Address::Edge(stack.url()),
        };
        Target { address, http: Http::default() }
    }
}

/// Where bookings are sent, over connections that are kept.
#[derive(Clone)]
pub(crate) struct Target {
    address: Address,
    http: Http,
}

#[derive(Clone)]
enum Address {
    Api(Api),
    Edge(String),
}

/// A booking that was accepted.
pub(crate) struct Booked {
    pub(crate) id: Uuid,
    pub(crate) sent: SystemTime,
    pub(crate) accepted: SystemTime,
}

/// Books a slot. `None` where it is answered 503.
pub(crate) async fn book(target: &Target, slot: u64) -> Result<Option<Booked>> {
    let country = if slot.is_multiple_of(2) { "PE" } else { "CL" };
    let insured_id = format!("{:05}", slot % 100_000);
    let body = json!({ "insuredId": insured_id, "scheduleId": slot, "countryISO": country });
    let request = match &target.address {
        Address::Api(api) => api.request("/appointments").method(http::Method::POST),
        Address::Edge(url) => http::Request::post(format!("{url}/appointments")),
    };
    let request = request.header(CONTENT_TYPE, "application/json").body(Bytes::from(body.to_string()))?;
    let sent = SystemTime::now();
    let answer = target.http.send_within(request, LIMIT).await?;
    let accepted = SystemTime::now();
    if answer.status() == http::StatusCode::SERVICE_UNAVAILABLE {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(answer.body());
    ensure!(answer.status() == http::StatusCode::ACCEPTED, "a booking was answered {}: {text}", answer.status());
    let answer: Value = serde_json::from_str(&text)?;
    let id = answer.get("appointmentId").and_then(Value::as_str).context("a 202 without an id")?.parse()?;
    Ok(Some(Booked { id, sent, accepted }))
}
