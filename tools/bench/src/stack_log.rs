//! What the logs of the local stack tell of its bookings, hop by hop.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use appointment::{Status, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::booking::Booked;

/// When a booking went from one hop to the next.
pub(crate) struct Steps {
    pub(crate) accepted: SystemTime,
    /// The worker had the message.
    pub(crate) received: SystemTime,
    /// The worker had decided, and handed its event to the bus.
    pub(crate) decided: SystemTime,
    /// The confirmation had the event.
    pub(crate) delivered: SystemTime,
    /// The confirmation had written the status and the slot.
    pub(crate) completed: SystemTime,
}

/// A line of a function's or of the application's log, by its fields.
#[derive(Deserialize)]
struct Line {
    timestamp: Timestamp,
    trace_id: Option<String>,
    /// Of a line about a batch: its traces, one space between.
    trace_ids: Option<String>,
    batch_size: Option<u64>,
    appointment_id: Option<Uuid>,
    appointment_status: Option<Status>,
    /// Of a line about an outcome that a country reported.
    outcome: Option<String>,
    /// Of a line about a request.
    method: Option<String>,
    #[serde(default)]
    duration_ms: f64,
    put_events_duration_ms: Option<f64>,
}

impl Line {
    /// How long before the line was written something was, by a duration that it tells.
    fn before(&self, milliseconds: f64) -> SystemTime {
        SystemTime::from(self.timestamp) - Duration::from_secs_f64(milliseconds / 1000.0)
    }
}

/// What the functions got from their queues.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Deliveries {
    /// Messages in the workers' batches.
    pub(crate) commands: u64,
    /// Messages that the confirmation handled.
    pub(crate) outcomes: u64,
}

/// What the logs of the stack tell of its bookings.
#[derive(Default)]
pub(crate) struct Logged {
    /// Intake's line about the request, by the appointment.
    booked: HashMap<Uuid, Line>,
    /// The worker's lines about its batches.
    batches: Vec<Arc<Line>>,
    /// The same by the traces in them.
    batches_by_trace: HashMap<String, Arc<Line>>,
    /// When the confirmation handled an outcome.
    outcomes: Vec<Timestamp>,
    /// The confirmation's line about the outcome that completed it, by the appointment.
    confirmed: HashMap<Uuid, Line>,
}

impl Logged {
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let mut logged = Self::default();
        for file in ["application.log", "functions.log", "workers.log"] {
            for text in fs::read_to_string(folder.join(file))?.lines() {
                // The host at the edge writes the component's name before a line.
                let Some(start) = text.find('{') else { continue };
                let Some(line) = text.get(start..).and_then(|text| serde_json::from_str::<Line>(text).ok()) else {
                    continue;
                };
                logged.take(line);
            }
        }
        Ok(logged)
    }

    fn take(&mut self, line: Line) {
        if let Some(traces) = line.trace_ids.clone() {
            let line = Arc::new(line);
            self.batches.push(line.clone());
            self.batches_by_trace.extend(traces.split(' ').map(|trace| (trace.to_owned(), line.clone())));
            return;
        }
        let Some(id) = line.appointment_id else { return };
        if line.method.as_deref() == Some("POST") {
            self.booked.insert(id, line);
        } else if let (Some(status), true) = (line.appointment_status, line.outcome.is_some()) {
            self.outcomes.push(line.timestamp);
            if status == Status::Completed {
                // The first: a repetition completes nothing.
                self.confirmed.entry(id).or_insert(line);
            }
        }
    }

    /// `None` as long as a line is missing.
    pub(crate) fn steps(&self, booked: &Booked) -> Option<Steps> {
        let confirmed = self.confirmed.get(&booked.id)?;
        let batch = self.batches_by_trace.get(confirmed.trace_id.as_deref()?)?;
        Some(Steps {
            accepted: booked.accepted,
            received: batch.before(batch.duration_ms),
            decided: batch.before(batch.put_events_duration_ms?),
            delivered: confirmed.before(confirmed.duration_ms),
            completed: confirmed.before(0.0),
        })
    }

    /// How long intake took. `None` as long as its line is missing.
    pub(crate) fn intake_ms(&self, booked: &Booked) -> Option<f64> {
        Some(self.booked.get(&booked.id)?.duration_ms)
    }

    /// When a booking was completed.
    pub(crate) fn completed(&self, booked: &Booked) -> Option<SystemTime> {
        Some(self.confirmed.get(&booked.id)?.before(0.0))
    }

    pub(crate) fn deliveries_since(&self, time: SystemTime) -> Deliveries {
        let batches = self.batches.iter().filter(|line| SystemTime::from(line.timestamp) >= time);
        let outcomes = self.outcomes.iter().filter(|timestamp| SystemTime::from(**timestamp) >= time);
        Deliveries { commands: batches.filter_map(|line| line.batch_size).sum(), outcomes: outcomes.count() as u64 }
    }
}
