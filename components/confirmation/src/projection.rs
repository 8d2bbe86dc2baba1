//! What people read of the countries' catalogues: a slot's state from an outcome, from `SlotsChanged`, and the catalogue.
//!
//! The table takes each version once and never an earlier one, so the order and the repetition of messages do not matter.

use std::time::{Duration, SystemTime};

use appointment::{Country, SlotState, TraceContext};
use aws_http::{CallLog, Client};
use backplane::{SlotsTable, StoreError};
use edge_component::{Host, Level, LogLine, RequestEntropy, Variables};
use futures::future::join_all;
use messages::{
    CATALOGUE_CHANGED_DETAIL_TYPE, CatalogueChanged, Envelope, MAX_SLOTS_PER_EVENT, SLOTS_CHANGED_DETAIL_TYPE,
    SlotsChanged, worker_source,
};
use serde::de::{DeserializeOwned, IgnoredAny};
use uuid::Uuid;

use crate::delivery::{Delivered, Delivery, ROUTE};
use crate::internal::{HandlingError, SERVICE, Settings};

/// All writes of a message together, which are made side by side.
const DEADLINE: Duration = Duration::from_millis(3_800);

/// An event about a catalogue of slots.
enum ProjectedEvent {
    Slots(SlotsChanged),
    Catalogue(CatalogueChanged),
}

/// What a log line says of a message.
struct About {
    country: Country,
    event_id: Uuid,
    trace: TraceContext,
    slots: usize,
}

/// What a message is about that is not the outcome of a command.
#[derive(Clone, Copy)]
pub(crate) enum Subject {
    Slots,
    Catalogue,
}

impl Subject {
    /// By the detail-type of a message's body.
    pub(crate) fn of(body: &[u8]) -> Option<Self> {
        match serde_json::from_slice::<Envelope<IgnoredAny>>(body).ok()?.detail_type.as_str() {
            SLOTS_CHANGED_DETAIL_TYPE => Some(Self::Slots),
            CATALOGUE_CHANGED_DETAIL_TYPE => Some(Self::Catalogue),
            _ => None,
        }
    }
}

/// Stores what a message says about a catalogue, and writes one log line about it.
pub(crate) async fn deliver(host: impl Host, subject: Subject, body: &[u8], delivery: &Delivery) -> Delivered {
    let arrived = delivery.arrived;
    let entropy = RequestEntropy::draw(host);
    let mut about = None;
    let result = keep(host, subject, body, arrived, &mut about).await;
    let caller = about.as_ref().map(|about| about.trace);
    let trace = entropy.trace(caller);
    let (delivered, level, message, written, error) = match result {
        Ok(written) => (Delivered::Done, Level::Info, "catalogue projected", Some(written), None),
        Err(failure) => {
            let (delivered, error) = (Delivered::failed(&failure), failure.to_string());
            (delivered, failure.level(), failure.message(), None, Some(error))
        }
    };
    LogLine::new(level, SERVICE, message, trace)
        .with_some("parent_span_id", caller.map(TraceContext::span_id))
        .with("route", ROUTE)
        .with("action", delivered.action())
        .with_some("country", about.as_ref().map(|about| about.country))
        .with_some("event_id", about.as_ref().map(|about| about.event_id))
        .with_some("slots", about.as_ref().map(|about| about.slots))
        .with_some("written", written)
        .with_some("error", error)
        .with_duration_since(arrived)
        .with_spans(arrived, delivery.waits(None), &CallLog::default())
        .write(host);
    delivered
}

/// How many items were newer than what was there.
async fn keep(
    host: impl Host,
    subject: Subject,
    body: &[u8],
    arrived: SystemTime,
    about: &mut Option<About>,
) -> Result<usize, HandlingError> {
    let event = read(subject, body)?;
    *about = Some(match &event {
        ProjectedEvent::Slots(event) => About {
            country: event.country,
            event_id: event.event_id,
            trace: event.traceparent,
            slots: event.slots.len(),
        },
        ProjectedEvent::Catalogue(event) => {
            About { country: event.catalogue.country, event_id: event.event_id, trace: event.traceparent, slots: 0 }
        }
    });
    let settings = Settings::read(host, &Variables::of(host), arrived)?;
    let client = settings.client.clone().with_deadline(DEADLINE);
    let table = SlotsTable::new(&client, &settings.dynamodb, &settings.slots);
    match event {
        ProjectedEvent::Slots(event) => {
            let outcomes = join_all(event.slots.iter().map(|state| table.put(state))).await;
            let written = outcomes.into_iter().collect::<Result<Vec<bool>, StoreError>>()?;
            Ok(written.into_iter().filter(|written| *written).count())
        }
        ProjectedEvent::Catalogue(event) => Ok(usize::from(table.put_catalogue(&event.catalogue).await?)),
    }
}

fn read(subject: Subject, body: &[u8]) -> Result<ProjectedEvent, HandlingError> {
    match subject {
        Subject::Slots => {
            let Envelope { source, detail, .. } = envelope::<SlotsChanged>(body)?;
            check_source(&source, detail.country)?;
            if detail.slots.len() > MAX_SLOTS_PER_EVENT {
                return Err(HandlingError::Poison(format!("it has more than {MAX_SLOTS_PER_EVENT} slots")));
            }
            if detail.slots.iter().any(|state| state.slot.country != detail.country) {
                return Err(HandlingError::Poison("a slot is of another country than the event".to_owned()));
            }
            Ok(ProjectedEvent::Slots(detail))
        }
        Subject::Catalogue => {
            let Envelope { source, detail, .. } = envelope::<CatalogueChanged>(body)?;
            check_source(&source, detail.catalogue.country)?;
            Ok(ProjectedEvent::Catalogue(detail))
        }
    }
}

fn check_source(source: &str, country: Country) -> Result<(), HandlingError> {
    if source == worker_source(country) {
        return Ok(());
    }
    Err(HandlingError::Poison("the source is not the worker of the country that the detail names".to_owned()))
}

/// The error of `serde_json` can quote the body, which is personal data, so only its place is told.
fn envelope<Detail: DeserializeOwned>(body: &[u8]) -> Result<Envelope<Detail>, HandlingError> {
    serde_json::from_slice(body).map_err(|error| {
        HandlingError::Poison(format!("not a catalogue's event: line {}, column {}", error.line(), error.column()))
    })
}

/// Stores the state that an outcome gives a slot.
pub(crate) async fn project<H: Host>(
    settings: &Settings<H>,
    client: &Client<H::Transport>,
    state: Option<&SlotState>,
) -> Result<(), HandlingError> {
    let Some(state) = state else { return Ok(()) };
    SlotsTable::new(client, &settings.dynamodb, &settings.slots).put(state).await?;
    Ok(())
}
