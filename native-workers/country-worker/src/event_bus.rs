use std::future::Future;
use std::time::Duration;

use appointment::Country;
use aws_http::eventbridge::{self, PutEventsEntry, RefusedEntry};
use aws_http::native::NativeTransport;
use aws_http::{Client, Credentials, Endpoint, Retry, RetryPolicy};
use futures::StreamExt as _;
use messages::{
    CATALOGUE_CHANGED_DETAIL_TYPE, CatalogueChanged, OutcomeEvent, SLOTS_CHANGED_DETAIL_TYPE, SlotsChanged,
    worker_source,
};

use crate::aws;
use crate::setting::InvalidSetting;

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

/// An event that is sent twice has the same id. The pauses are those of the AWS SDKs.
const RETRIES: RetryPolicy = RetryPolicy { attempts: 3, base: Duration::from_secs(1), cap: Duration::from_secs(2) };

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
    client: Client<NativeTransport>,
    endpoint: Endpoint,
    bus_name: String,
}

/// An entry of `PutEvents`, of the bus that it is put on.
struct Entry {
    source: String,
    detail_type: &'static str,
    detail: String,
}

impl EventBridge {
    /// A bus as the environment of a Lambda function describes it: credentials from `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, the region from `AWS_REGION`, and another endpoint than the
    /// region's from `AWS_ENDPOINT_URL`.
    ///
    /// # Errors
    ///
    /// Names the first variable that is missing or malformed.
    pub fn read(variable: impl Fn(&str) -> Option<String>, bus_name: String) -> Result<Self, InvalidSetting> {
        let environment = aws::Environment::read(variable)?;
        Ok(Self::over(environment.client(), environment.endpoint("events")?, bus_name))
    }

    /// A bus at `endpoint`.
    #[must_use]
    pub fn new(region: &str, credentials: Credentials, endpoint: Endpoint, bus_name: String) -> Self {
        Self::over(Client::new(NativeTransport::new(), region, credentials), endpoint, bus_name)
    }

    fn over(client: Client<NativeTransport>, endpoint: Endpoint, bus_name: String) -> Self {
        let client = client.with_attempt_limit(ATTEMPT_TIMEOUT).with_deadline(CALL_TIMEOUT).with_retries(RETRIES);
        Self { client, endpoint, bus_name }
    }

    /// One call, for up to ten events.
    async fn call(&self, entries: Vec<Entry>) -> Vec<Result<(), NotAccepted>> {
        let count = entries.len();
        let entries: Vec<_> = entries.iter().map(|entry| entry.on(&self.bus_name)).collect();
        match eventbridge::EventBridge::new(&self.client, &self.endpoint).put_events(&entries, Retry::Safe).await {
            Ok(response) => {
                let results = response.entries.into_iter();
                results.map(|entry| entry.map(drop).map_err(|RefusedEntry { code }| NotAccepted { code })).collect()
            }
            Err(error) => {
                let code = aws::code(&error);
                tracing::error!(event_bus = self.bus_name, code, "PutEvents failed: none of its events is accepted");
                vec![Err(NotAccepted { code }); count]
            }
        }
    }
}

impl Entry {
    fn new(reporter: Country, detail_type: &'static str, detail: String) -> Self {
        Self { source: worker_source(reporter), detail_type, detail }
    }

    fn outcome(event: &OutcomeEvent) -> Self {
        Self::new(event.detail.country, event.outcome.detail_type(), event.detail.to_json())
    }

    fn announcement(announcement: &Announcement) -> Self {
        match announcement {
            Announcement::Slots(detail) => Self::new(detail.country, SLOTS_CHANGED_DETAIL_TYPE, detail.to_json()),
            Announcement::Catalogue(detail) => {
                Self::new(detail.catalogue.country, CATALOGUE_CHANGED_DETAIL_TYPE, detail.to_json())
            }
            Announcement::Cancelled(event) => Self::outcome(event),
        }
    }

    fn on<'a>(&'a self, event_bus_name: &'a str) -> PutEventsEntry<'a> {
        let Self { source, detail_type, detail } = self;
        PutEventsEntry { event_bus_name, source, detail_type, detail }
    }
}

impl EventBus for EventBridge {
    async fn put(&self, events: &[OutcomeEvent]) -> Vec<Result<(), NotAccepted>> {
        let entries = |chunk: &[OutcomeEvent]| chunk.iter().map(Entry::outcome).collect();
        let calls: Vec<_> = events.chunks(ENTRIES_PER_CALL).map(|chunk| self.call(entries(chunk))).collect();
        futures::stream::iter(calls).buffered(CALLS_IN_FLIGHT).concat().await
    }
}

impl AnnouncementBus for EventBridge {
    async fn announce(&self, announcements: &[Announcement]) -> Vec<Result<(), NotAccepted>> {
        let mut results = Vec::with_capacity(announcements.len());
        // One call after the other: they are told in their order.
        for part in parts(announcements.iter().map(Entry::announcement)) {
            results.extend(self.call(part).await);
        }
        results
    }
}

/// Entries as `PutEvents` takes them: not too many, nor too much, at once. An entry that is too large by itself is refused by
/// the service.
fn parts(entries: impl Iterator<Item = Entry>) -> Vec<Vec<Entry>> {
    let mut parts: Vec<Vec<Entry>> = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let size = entry.detail.len() + ENTRY_OVERHEAD_BYTES;
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
