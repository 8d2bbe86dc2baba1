//! One booking of the local stack, through API Gateway or at the edge.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use appointment::Status;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Response, StatusCode};
use local_stack::LocalStack;
use local_stack::http::Http;
use local_stack::provision::Api;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// How long a response may take.
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
    insured_id: String,
    pub(crate) sent: SystemTime,
    pub(crate) accepted: SystemTime,
}

impl Target {
    /// Sends a request for `path`, with a body of JSON if there is one.
    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Response<Bytes>> {
        let request = match &self.address {
            Address::Api(api) => api.request(path).method(method),
            Address::Edge(url) => http::Request::builder().method(method).uri(format!("{url}{path}")),
        };
        let request = request.header(CONTENT_TYPE, "application/json");
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        Ok(self.http.send_within(request.body(body)?, LIMIT).await?)
    }

    /// Whether the appointment of a booking is `completed`, as its person sees it.
    pub(crate) async fn is_completed(&self, booked: &Booked) -> Result<bool> {
        let path = format!("/appointments/{}/{}", booked.insured_id, booked.id);
        let response = self.send(Method::GET, &path, None).await?;
        let text = String::from_utf8_lossy(response.body());
        ensure!(response.status() == StatusCode::OK, "the response to {path} is {}: {text}", response.status());
        let appointment: Value = serde_json::from_str(&text)?;
        Ok(appointment.get("status").and_then(Value::as_str) == Some(Status::Completed.as_str()))
    }
}

/// Books a slot. `None` if the response is 503.
pub(crate) async fn book(target: &Target, slot: u64) -> Result<Option<Booked>> {
    let country = if slot.is_multiple_of(2) { "PE" } else { "CL" };
    let insured_id = format!("{:05}", slot % 100_000);
    let body = json!({ "insuredId": insured_id, "scheduleId": slot, "countryISO": country });
    let sent = SystemTime::now();
    let response = target.send(Method::POST, "/appointments", Some(body)).await?;
    let accepted = SystemTime::now();
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(response.body());
    ensure!(response.status() == StatusCode::ACCEPTED, "the response to a booking is {}: {text}", response.status());
    let appointment: Value = serde_json::from_str(&text)?;
    let id = appointment.get("appointmentId").and_then(Value::as_str).context("a 202 without an id")?.parse()?;
    Ok(Some(Booked { id, insured_id, sent, accepted }))
}
