//! What a line says about time beside its own duration.

use std::time::{Duration, Instant, SystemTime};

use aws_http::sqs::{DeliveryTimes, Wait};
use aws_lambda_events::event::sqs::SqsMessage;
use serde::Serialize;

use crate::log::milliseconds;

/// Something that was done for a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) started: Instant,
    pub(crate) duration: Duration,
}

/// When a batch began, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beginning {
    pub(crate) instant: Instant,
    pub(crate) time: SystemTime,
}

/// A part of a line's field `spans`.
#[derive(Serialize)]
struct Span {
    name: &'static str,
    /// From the beginning of the batch; negative for what was before it.
    start_offset_ms: f64,
    duration_ms: f64,
}

impl Beginning {
    pub(crate) fn now() -> Self {
        Self { instant: Instant::now(), time: SystemTime::now() }
    }

    /// A message's field `spans`, as JSON: what it waited for before the batch began, as its queue tells, and what was done for the
    /// batch.
    pub(crate) fn spans(&self, record: &SqsMessage, steps: &[Step]) -> String {
        let waits = delivery(record).waits(self.time).map(|Wait { name, started, ended }| Span {
            name,
            start_offset_ms: self.offset(started),
            duration_ms: milliseconds(ended.duration_since(started).unwrap_or_default()),
        });
        let steps = steps.iter().map(|step| Span {
            name: step.name,
            start_offset_ms: milliseconds(step.started.saturating_duration_since(self.instant)),
            duration_ms: milliseconds(step.duration),
        });
        let spans: Vec<Span> = waits.chain(steps).collect();
        // Names and numbers always serialise.
        serde_json::to_string(&spans).unwrap_or_default()
    }

    /// An instant of the queue, in milliseconds from the beginning of the batch: negative, as a rule.
    fn offset(&self, at: SystemTime) -> f64 {
        match at.duration_since(self.time) {
            Ok(after) => milliseconds(after),
            Err(before) => -milliseconds(before.duration()),
        }
    }
}

/// What the queue says about this delivery.
pub(crate) fn delivery(record: &SqsMessage) -> DeliveryTimes {
    DeliveryTimes::read(|name| record.attributes.get(name).map(String::as_str))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use serde_json::{Value, json};

    use super::*;

    fn spans(attributes: &[(&str, &str)]) -> Value {
        let mut record = SqsMessage::default();
        record.attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let instant = Instant::now();
        let beginning = Beginning { instant, time: UNIX_EPOCH + Duration::from_micros(1_000_500) };
        let started = instant + Duration::from_micros(250);
        let step = Step { name: "postgres.decide", started, duration: Duration::from_millis(4) };
        serde_json::from_str(&beginning.spans(&record, &[step])).unwrap_or_default()
    }

    #[test]
    fn waits_come_before_the_batch_and_steps_within_it() {
        let decide = json!({"name": "postgres.decide", "start_offset_ms": 0.25, "duration_ms": 4.0});
        assert_eq!(spans(&[]), json!([decide]));
        let attributes = [("SentTimestamp", "900"), ("ApproximateFirstReceiveTimestamp", "960")];
        let told = spans(&attributes);
        let wait = json!({"name": "sqs.wait", "start_offset_ms": -100.5, "duration_ms": 60.0});
        let invoke = json!({"name": "lambda.invoke", "start_offset_ms": -40.5, "duration_ms": 40.5});
        assert_eq!(told, json!([wait, invoke, decide]));
        let again = spans(&[("ApproximateReceiveCount", "2"), ("ApproximateFirstReceiveTimestamp", "960")]);
        assert_eq!(again.pointer("/0/name"), Some(&json!("sqs.redelivery")));
        // A queue's clock that is ahead.
        let ahead = spans(&[("SentTimestamp", "1002"), ("ApproximateFirstReceiveTimestamp", "1001")]);
        assert_eq!(ahead.pointer("/0/duration_ms"), Some(&json!(0.0)));
        assert_eq!(spans(&[("SentTimestamp", "soon")]), json!([decide]));
    }
}
