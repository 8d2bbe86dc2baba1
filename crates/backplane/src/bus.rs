use aws_http::eventbridge::{EventBridge, PutEventsEntry, RefusedEntry};
use aws_http::{Client, Endpoint, Error, Retry, Transport};
use messages::{STATUS_CHANGED_DETAIL_TYPE, STATUS_CHANGED_SOURCE, StatusChanged};

/// The EventBridge bus on which changes of status are announced to the rest of the clinic.
#[derive(Clone, Copy, Debug)]
pub struct StatusBus<'a, T> {
    eventbridge: EventBridge<'a, T>,
    name: &'a str,
}

/// Why an announcement was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// The call failed.
    #[error(transparent)]
    Call(#[from] Error),
    /// The call succeeded, but EventBridge did not take the event.
    #[error(transparent)]
    Refused(#[from] RefusedEntry),
}

impl<'a, T: Transport> StatusBus<'a, T> {
    /// The bus of this name.
    pub fn new(client: &'a Client<T>, endpoint: &'a Endpoint, name: &'a str) -> Self {
        Self { eventbridge: EventBridge::new(client, endpoint), name }
    }

    /// Announces a change of status. A call whose response was lost is tried again: consumers recognise the repetition by its `eventId`.
    ///
    /// # Errors
    ///
    /// See [`AnnounceError`].
    pub async fn announce(&self, change: &StatusChanged) -> Result<(), AnnounceError> {
        let detail = change.to_json();
        let entry = PutEventsEntry {
            event_bus_name: self.name,
            source: STATUS_CHANGED_SOURCE,
            detail_type: STATUS_CHANGED_DETAIL_TYPE,
            detail: &detail,
        };
        let output = self.eventbridge.put_events(&[entry], Retry::Safe).await?;
        for outcome in output.entries {
            outcome?;
        }
        Ok(())
    }
}
