use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::BackplaneError;

/// Every duration of the system, in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Durations {
    /// How long a received message stays hidden where the function that left it does not say: it crashed, or its call
    /// failed.
    pub visibility_timeout: u64,
    /// What passes between the deliveries of a message that a function leaves, one fewer than `max_receive_count`.
    pub receive_delays: Vec<u64>,
    /// The worker function's time limit. AWS advises a visibility timeout of at least six times this.
    pub worker_timeout: u64,
    /// The time limit of the function that applies a country's migrations.
    pub migration_timeout: u64,
    /// The time limit of the function that imports slots: the most that Lambda gives. What it did not get done, its
    /// repetition does.
    pub import_timeout: u64,
    /// The time limit of the function that serves the API: longer than intake's own limits, shorter than the 30 s after
    /// which API Gateway gives up.
    pub intake_timeout: u64,
    /// The time limit of the function that serves the page, which calls nobody.
    pub booking_page_timeout: u64,
    /// The time limit of the function that applies outcomes, and repeats republishing while there is more.
    pub confirmation_timeout: u64,
    /// How long an event source mapping waits to fill a batch: not at all.
    pub batching_window: u64,
    /// How long a message may wait in a queue.
    pub queue_retention: u64,
    /// How long a message may wait in a dead-letter queue; SQS keeps none longer than 14 days.
    pub dead_letter_retention: u64,
    /// `ReceiveMessageWaitTimeSeconds` of the confirmation queue, for consumers that send no wait time.
    pub confirmation_receive_wait: u64,
    /// How long the bus's archive keeps events.
    pub archive_retention: u64,
    /// How often the schedule has the importer put on the bus what waits in the country's outbox.
    pub drain_interval: u64,
    /// How long the bucket keeps files of slots, and their reports: they name practitioners.
    pub slots_file_retention: u64,
    /// How often the schedule invokes the republisher.
    pub republish_interval: u64,
    /// What passes before the first republishing, between the further ones, and after the last until giving up.
    pub republish_delays: Vec<u64>,
    /// How often a country is asked about what was given up, for as long as dead letters are kept.
    pub given_up_interval: u64,
    /// For how long EventBridge tries to deliver an event to a queue: its default, which nothing here changes.
    pub event_delivery: u64,
}

impl Durations {
    /// The same with these in place of some of them.
    pub(super) fn overridden(&self, overrides: &Map<String, Value>) -> Result<Self, BackplaneError> {
        let mut merged = match serde_json::to_value(self)? {
            Value::Object(merged) => merged,
            _ => Map::new(),
        };
        merged.extend(overrides.iter().map(|(name, value)| (name.clone(), value.clone())));
        serde_json::from_value(Value::Object(merged)).map_err(BackplaneError::NoDuration)
    }

    /// [`Durations::receive_delays`], as the setting `RECEIVE_DELAYS_SECONDS` gives them.
    #[must_use]
    pub fn receive_delays_setting(&self) -> String {
        self.receive_delays.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
    }

    /// [`Durations::republish_delays`], as the variable `republish_delays_seconds` gives them.
    #[must_use]
    pub fn republish_delays_setting(&self) -> String {
        self.republish_delays.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
    }

    /// [`Durations::given_up_interval`] and [`Durations::dead_letter_retention`], as the variable
    /// `given_up_schedule_seconds` gives them.
    #[must_use]
    pub fn given_up_schedule_setting(&self) -> String {
        format!("{}/{}", self.given_up_interval, self.dead_letter_retention)
    }

    /// [`Durations::visibility_timeout`].
    #[must_use]
    pub fn visibility(&self) -> Duration {
        Duration::from_secs(self.visibility_timeout)
    }
}
