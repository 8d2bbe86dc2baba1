//! Amazon EventBridge, JSON 1.1.

use serde::{Deserialize, Serialize};

use crate::client::{Client, JsonVersion};
use crate::endpoint::{Endpoint, Service};
use crate::error::{Error, ErrorKind};
use crate::retry::Retry;
use crate::transport::Transport;

/// EventBridge at one endpoint.
#[derive(Clone, Copy, Debug)]
pub struct EventBridge<'a, T> {
    client: &'a Client<T>,
    service: Service<'a>,
}

/// One event. It has no `Debug`: its detail may hold personal data.
#[derive(Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PutEventsEntry<'a> {
    /// The bus's name or ARN.
    pub event_bus_name: &'a str,
    /// Who reports it, for example `appointments.confirmation`.
    pub source: &'a str,
    /// What happened, for example `AppointmentStatusChanged`.
    pub detail_type: &'a str,
    /// The detail: a JSON object, as text.
    pub detail: &'a str,
}

/// What became of each entry of one `PutEvents`. EventBridge returns 200 even if it refused some.
#[derive(Debug)]
#[must_use = "PutEvents succeeds as a call although it may have refused entries"]
pub struct PutEventsOutput {
    /// For each entry, in the request's order, its event id or why it was refused.
    pub entries: Vec<Result<String, RefusedEntry>>,
}

/// An entry that EventBridge did not accept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("EventBridge refused the event ({code})")]
pub struct RefusedEntry {
    /// The error code, for example `ThrottlingException` or `InternalFailure`.
    pub code: String,
}

impl<'a, T: Transport> EventBridge<'a, T> {
    /// EventBridge through this client.
    pub fn new(client: &'a Client<T>, endpoint: &'a Endpoint) -> Self {
        Self { client, service: endpoint.service("events") }
    }

    /// `PutEvents`: one to ten events, 256 KiB in all.
    ///
    /// The client's policy repeats the call as a whole. It does not repeat a single refused entry: the caller decides about that.
    ///
    /// # Errors
    /// See [`ErrorKind`]. Refused entries are not an error of the call.
    pub async fn put_events(&self, entries: &[PutEventsEntry<'_>], retry: Retry) -> Result<PutEventsOutput, Error> {
        let wire: WireOutput = self
            .client
            .json(self.service, JsonVersion::V1_1, "AWSEvents.PutEvents", &WireInput { entries }, retry)
            .await?;
        let outcomes: Option<Vec<_>> = wire.entries.into_iter().map(WireEntry::outcome).collect();
        match outcomes {
            Some(outcomes) if outcomes.len() == entries.len() => Ok(PutEventsOutput { entries: outcomes }),
            _ => {
                let reason = "it does not say of each entry what became of it".to_owned();
                Err(Error::new(ErrorKind::InvalidResponse { reason }, self.service.signing_name, "PutEvents", 1, false))
            }
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WireInput<'a> {
    entries: &'a [PutEventsEntry<'a>],
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireOutput {
    #[serde(default)]
    entries: Vec<WireEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireEntry {
    event_id: Option<String>,
    error_code: Option<String>,
}

impl WireEntry {
    fn outcome(self) -> Option<Result<String, RefusedEntry>> {
        match (self.error_code, self.event_id) {
            (Some(code), _) => Some(Err(RefusedEntry { code })),
            (None, Some(id)) => Some(Ok(id)),
            (None, None) => None,
        }
    }
}
