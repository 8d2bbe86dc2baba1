use std::time::{Duration, SystemTime};

use appointment::{Timestamp, TraceContext};
use aws_http::CallLog;
use serde::Serialize;

use crate::Host;

/// How much attention a log line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A heartbeat that found nothing to do.
    Debug,
    /// The system did what it should.
    Info,
    /// A dependency failed in a way that heals by itself, or a caller did something wrong.
    Warn,
    /// Somebody has to look.
    Error,
}

/// What a request did, or waited for before it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Such as `dynamodb.PutItem` or `sqs.wait`.
    pub name: String,
    /// When it began.
    pub started: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
}

/// A [`Hop`] in a line.
#[derive(Serialize)]
struct ToldHop<'a> {
    name: &'a str,
    /// From the beginning of the line's own duration; negative for what was before it.
    start_offset_ms: f64,
    duration_ms: f64,
}

/// One line of JSON on standard output: what became of one request.
///
/// Fields are flat; each identifier has its own field, and numbers carry their unit in the name (`duration_ms`). An
/// insured id, a key, a token or a body is never in a line.
#[derive(Debug)]
pub struct LogLine {
    text: String,
    /// When it was begun.
    at: SystemTime,
}

impl LogLine {
    /// Starts a line of `service`, in the trace of the request: `trace` is the place of this hop.
    #[must_use]
    pub fn new(level: Level, service: &str, message: &str, trace: TraceContext) -> Self {
        let level = match level {
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
        };
        let at = SystemTime::now();
        Self { text: String::with_capacity(384), at }
            .with("timestamp", Timestamp::from(at))
            .with("level", level)
            .with("service", service)
            .with("message", message)
            .with("trace_id", trace.trace_id())
            .with("span_id", trace.span_id())
    }

    /// Adds a field. A value that does not serialise is left out: a log line never fails a request.
    #[must_use]
    pub fn with(self, name: &'static str, value: impl Serialize) -> Self {
        self.with_json(name, serde_json::to_string(&value).ok())
    }

    /// Apart from [`LogLine::with`], which is compiled once for each type of value.
    #[inline(never)]
    fn with_json(mut self, name: &'static str, value: Option<String>) -> Self {
        if let Some(value) = value {
            self.text.push(if self.text.is_empty() { '{' } else { ',' });
            // The names are ours, and need no escape.
            self.text.push('"');
            self.text.push_str(name);
            self.text.push_str("\":");
            self.text.push_str(&value);
        }
        self
    }

    /// Adds a field if there is a value.
    #[must_use]
    pub fn with_some(self, name: &'static str, value: Option<impl Serialize>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds `duration_ms`, from the instant to the line's own. Where the clock was set back in between, it is 0.
    #[must_use]
    pub fn with_duration_since(self, arrived: SystemTime) -> Self {
        let duration = self.at.duration_since(arrived).unwrap_or_default();
        self.with("duration_ms", milliseconds(duration))
    }

    /// Adds `spans`: what the request waited for before it arrived, and its calls, up to the line's own instant. Nothing where
    /// there were none.
    #[must_use]
    pub fn with_spans(self, arrived: SystemTime, waits: Vec<Hop>, calls: &CallLog) -> Self {
        let mut hops = waits;
        hops.extend(calls.calls(self.at).into_iter().map(|call| Hop {
            name: call.name,
            started: call.started,
            ended: call.ended,
        }));
        if hops.is_empty() {
            return self;
        }
        let told: Vec<_> = hops
            .iter()
            .map(|hop| ToldHop {
                name: &hop.name,
                start_offset_ms: match hop.started.duration_since(arrived) {
                    Ok(after) => milliseconds(after),
                    Err(before) => -milliseconds(before.duration()),
                },
                duration_ms: milliseconds(hop.ended.duration_since(hop.started).unwrap_or_default()),
            })
            .collect();
        self.with("spans", told)
    }

    /// Writes the line.
    pub fn write(mut self, host: impl Host) {
        self.text.push_str("}\n");
        host.log(&self.text);
    }
}

/// With three decimals.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
