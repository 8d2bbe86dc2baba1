use std::future::Future;
use std::time::Duration;

use appointment::Country;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::error::ProvideErrorMetadata as _;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use futures::StreamExt as _;
use messages::{
    CATALOGUE_CHANGED_DETAIL_TYPE, CatalogueChanged, OutcomeEvent, SLOTS_CHANGED_DETAIL_TYPE, SlotsChanged,
    worker_source,
};

use crate::aws;

/// `PutEvents` takes this many entries (<https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>).
const ENTRIES_PER_CALL: usize = 10;

/// What all entries of one call may hold (<https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html>), and what
/// counts of an entry besides its detail.
const MAX_CALL_BYTES: usize = 256 * 1024;
const ENTRY_OVERHEAD_BYTES: usize = 256;

/// How many calls of one batch are under way at once.
const CALLS_IN_FLIGHT: usize = 8;

/// The longest wait for one try of `PutEvents`, and for all of its tries: with the database's, within the function's
/// 30 s (`infra/backplane.json`).
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
const CALL_TIMEOUT: Duration = Duration::from_secs(8);

/// The port to the event bus.
pub trait EventBus: Send + Sync {
    /// Puts `events` on the bus, and returns for each of them, in their order, whether the bus accepted it.
    fn put(&self, events: &[OutcomeEvent]) -> impl Future<Output = Vec<Result<(), NotAccepted>>> + Send;
}

/// What the country tells without a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announcement {
    /// Slots changed.
    Slots(SlotsChanged),
    /// The catalogue did.
    Catalogue(CatalogueChanged),
    /// An appointment was cancelled that nobody asked to cancel.
    Cancelled(OutcomeEvent),
}

/// The port to the event bus for what the country tells without a command.
pub trait AnnouncementBus: Send + Sync {
    /// Puts `announcements`, at most ten, on the bus, and returns for each of them, in their order, whether the bus accepted it.
    fn announce(&self, announcements: &[Announcement]) -> impl Future<Output = Vec<Result<(), NotAccepted>>> + Send;
}

/// The bus did not accept an event, or its response was lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}")]
pub struct NotAccepted {
    /// The code of the error as EventBridge gives it (`ThrottlingException`), or why there was no response.
    pub code: String,
}

/// Amazon EventBridge.
#[derive(Debug, Clone)]
pub struct EventBridge {
    client: Client,
    bus_name: String,
}

impl EventBridge {
    /// A bus as the environment of a Lambda function describes it: credentials from `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, the region from `AWS_REGION`, and another endpoint than the
    /// region's from `AWS_ENDPOINT_URL`.
    pub async fn from_environment(bus_name: String) -> Self {
        let timeouts =
            TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).operation_timeout(CALL_TIMEOUT).build();
        Self::new(Client::new(&aws::from_environment(timeouts).await), bus_name)
    }

    /// A bus reached through `client`.
    #[must_use]
    pub const fn new(client: Client, bus_name: String) -> Self {
        Self { client, bus_name }
    }

    fn entry(&self, reporter: Country, detail_type: &str, detail: String) -> PutEventsRequestEntry {
        PutEventsRequestEntry::builder()
            .event_bus_name(&self.bus_name)
            .source(worker_source(reporter))
            .detail_type(detail_type)
            .detail(detail)
            .build()
    }

    fn outcome(&self, event: &OutcomeEvent) -> PutEventsRequestEntry {
        self.entry(event.detail.country, event.outcome.detail_type(), event.detail.to_json())
    }

    fn announcement(&self, announcement: &Announcement) -> PutEventsRequestEntry {
        match announcement {
            Announcement::Slots(detail) => self.entry(detail.country, SLOTS_CHANGED_DETAIL_TYPE, detail.to_json()),
            Announcement::Catalogue(detail) => {
                self.entry(detail.catalogue.country, CATALOGUE_CHANGED_DETAIL_TYPE, detail.to_json())
            }
            Announcement::Cancelled(event) => self.outcome(event),
        }
    }

    /// One call, for up to ten events.
    async fn call(&self, entries: Vec<PutEventsRequestEntry>) -> Vec<Result<(), NotAccepted>> {
        let count = entries.len();
        match self.client.put_events().set_entries(Some(entries)).send().await {
            Ok(response) => {
                let mut results = response.entries().iter().map(|entry| match entry.error_code() {
                    None => Ok(()),
                    Some(code) => Err(NotAccepted { code: code.to_owned() }),
                });
                (0..count)
                    .map(|_| results.next().unwrap_or_else(|| Err(NotAccepted { code: "NoResponse".to_owned() })))
                    .collect()
            }
            Err(error) => {
                let code = error.code().map_or_else(|| aws::kind(&error).to_owned(), ToOwned::to_owned);
                tracing::error!(event_bus = self.bus_name, code, "PutEvents failed: none of its events is accepted");
                vec![Err(NotAccepted { code }); count]
            }
        }
    }
}

impl EventBus for EventBridge {
    async fn put(&self, events: &[OutcomeEvent]) -> Vec<Result<(), NotAccepted>> {
        let entries = |chunk: &[OutcomeEvent]| chunk.iter().map(|event| self.outcome(event)).collect();
        let calls: Vec<_> = events.chunks(ENTRIES_PER_CALL).map(|chunk| self.call(entries(chunk))).collect();
        futures::stream::iter(calls).buffered(CALLS_IN_FLIGHT).concat().await
    }
}

impl AnnouncementBus for EventBridge {
    async fn announce(&self, announcements: &[Announcement]) -> Vec<Result<(), NotAccepted>> {
        let mut results = Vec::with_capacity(announcements.len());
        // One call after the other: they are told in their order.
        for part in parts(announcements.iter().map(|announcement| self.announcement(announcement))) {
            results.extend(self.call(part).await);
        }
        results
    }
}

/// Entries as `PutEvents` takes them: not too many, nor too much, at once. An entry that is too large by itself is refused by
/// the service.
fn parts(entries: impl Iterator<Item = PutEventsRequestEntry>) -> Vec<Vec<PutEventsRequestEntry>> {
    let mut parts: Vec<Vec<PutEventsRequestEntry>> = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let size = entry.detail().map_or(0, str::len) + ENTRY_OVERHEAD_BYTES;
        match parts.last_mut().filter(|part| part.len() < ENTRIES_PER_CALL && bytes + size <= MAX_CALL_BYTES) {
            Some(part) => {
                bytes += size;
                part.push(entry);
            }
            None => {
                bytes = size;
                parts.push(vec![entry]);
            }
        }
    }
    parts
}
