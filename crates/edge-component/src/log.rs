use std::io::Write as _;
use std::time::SystemTime;

use appointment::{Timestamp, TraceContext};
use serde::Serialize;

/// How much attention a log line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
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
pub struct LogLine(String);

impl LogLine {
    /// Starts a line of `service`, in the trace of the request.
    #[must_use]
    pub fn new(level: Level, service: &str, message: &str, trace: TraceContext) -> Self {
        let level = match level {
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
        };
        Self(String::with_capacity(384))
            .with("timestamp", Timestamp::from(SystemTime::now()))
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
            self.0.push(if self.0.is_empty() { '{' } else { ',' });
            // The names are ours, and need no escape.
            self.0.push('"');
            self.0.push_str(name);
            self.0.push_str("\":");
            self.0.push_str(&value);
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

    /// Writes the line. Without a standard output there is nobody to tell, so that an error is ignored.
    pub fn write(mut self) {
        self.0.push_str("}\n");
        let _ = std::io::stdout().write_all(self.0.as_bytes());
    }
}
