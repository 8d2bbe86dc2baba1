use std::mem;
use std::time::SystemTime;

use appointment::{Timestamp, TraceContext};
use serde::Serialize;
use wasi::cli::stdout::get_stdout;

/// How much one call writes (`wasi:io/streams`, `blocking-write-and-flush`). Lines are shorter.
const WRITE_LIMIT: usize = 4096;

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

/// One line of JSON on standard output: what became of one request.
///
/// Members are flat; identifiers are members of their own, and numbers carry their unit in the name (`duration_ms`). An
/// insured id, a key, a token or a body never stands in a line.
#[derive(Debug)]
pub struct LogLine {
    text: String,
    /// When it was begun.
    at: SystemTime,
}

impl LogLine {
    /// Starts a line of `service`, in the trace of the request.
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
    }

    /// Adds a member. A value that does not serialise is left out: a log line never fails a request.
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

    /// Adds a member where there is a value.
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
        self.with("duration_ms", duration.as_micros() as f64 / 1000.0)
    }

    /// Writes the line. Without a standard output there is nobody to tell, so that an error is ignored.
    pub fn write(mut self) {
        self.text.push_str("}\n");
        // Past the standard library, which asks more of the host; and the stream is left to the host.
        let output = mem::ManuallyDrop::new(get_stdout());
        for piece in self.text.as_bytes().chunks(WRITE_LIMIT) {
            if output.blocking_write_and_flush(piece).is_err() {
                break;
            }
        }
    }
}
