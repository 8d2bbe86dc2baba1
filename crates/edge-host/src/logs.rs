//! Lines: what components print, and what the host has to say about them.
//!
//! A component's output reaches the sink line by line: lines of concurrent requests never mix. The host's own
//! messages are JSON, one object per line, in the form of every other part of the system.

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError};

/// Receives every line, without its line break. Called from the worker threads, several at a time: it must not wait long.
pub type LogSink = Arc<dyn Fn(LogLine<'_>) + Send + Sync>;

/// One line. Its `Display` is the line as a console shows it, with the component's name before what a component printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// Who wrote it.
    pub origin: Origin<'a>,
    /// The line without its line break.
    pub text: &'a str,
}

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin<'a> {
    /// The component of that name, on its standard output.
    Stdout(&'a str),
    /// The component of that name, on its standard error.
    Stderr(&'a str),
    /// The host itself.
    Host,
}

impl fmt::Display for LogLine<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin {
            Origin::Stdout(component) | Origin::Stderr(component) => write!(formatter, "[{component}] {}", self.text),
            Origin::Host => formatter.write_str(self.text),
        }
    }
}

/// The sink that a host has unless it is given another: components' output to the process's output of the same kind,
/// the host's messages to standard error, each line in one write.
#[must_use]
pub fn console() -> LogSink {
    Arc::new(|line| {
        let text = format!("{line}\n");
        // A console that is gone is no reason to stop serving.
        let _ = match line.origin {
            Origin::Stdout(_) => std::io::stdout().lock().write_all(text.as_bytes()),
            Origin::Stderr(_) | Origin::Host => std::io::stderr().lock().write_all(text.as_bytes()),
        };
    })
}

/// How much a message of the host matters.
#[derive(Debug, Clone, Copy)]
pub enum Level {
    /// It did what it should.
    Info,
    /// It heals by itself, or a caller is at fault.
    Warn,
    /// Somebody has to look.
    Error,
}

/// Writes a message of the host. `fields` is a JSON object; fields that are null are left out.
pub fn host_message(sink: &LogSink, level: Level, message: &str, fields: Value) {
    let mut line = Map::new();
    let now = OffsetDateTime::now_utc();
    let now = now.replace_millisecond(now.millisecond()).unwrap_or(now);
    line.insert("timestamp".to_owned(), json!(now.format(&Rfc3339).unwrap_or_default()));
    let level = match level {
        Level::Info => "INFO",
        Level::Warn => "WARN",
        Level::Error => "ERROR",
    };
    line.insert("level".to_owned(), json!(level));
    line.insert("service".to_owned(), json!("edge-host"));
    line.insert("message".to_owned(), json!(message));
    if let Value::Object(fields) = fields {
        line.extend(fields.into_iter().filter(|(_, value)| !value.is_null()));
    }
    sink(LogLine { origin: Origin::Host, text: &Value::Object(line).to_string() });
}

/// The longest piece of a line that is kept while its line break is awaited; a longer line leaves in pieces.
const MAX_PENDING_BYTES: usize = 64 * 1024;

/// One component instance's standard output or standard error.
#[derive(Clone)]
pub(crate) struct ComponentOutput(Arc<Lines>);

struct Lines {
    component: Arc<str>,
    is_stdout: bool,
    sink: LogSink,
    /// The beginning of a line whose break has not come yet.
    pending: Mutex<Vec<u8>>,
}

impl ComponentOutput {
    pub(crate) fn stdout(component: Arc<str>, sink: LogSink) -> Self {
        Self(Arc::new(Lines { component, is_stdout: true, sink, pending: Mutex::default() }))
    }

    pub(crate) fn stderr(component: Arc<str>, sink: LogSink) -> Self {
        Self(Arc::new(Lines { component, is_stdout: false, sink, pending: Mutex::default() }))
    }

    fn write(&self, bytes: &[u8]) {
        let mut pending = self.0.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(line) if pending.is_empty() => self.0.emit(line),
                Some(line) => {
                    pending.extend_from_slice(line);
                    self.0.emit(&pending);
                    pending.clear();
                }
                None => pending.extend_from_slice(piece),
            }
            if pending.len() >= MAX_PENDING_BYTES {
                self.0.emit(&pending);
                pending.clear();
            }
        }
    }
}

impl Lines {
    fn emit(&self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text: Cow<'_, str> = String::from_utf8_lossy(line);
        let origin = if self.is_stdout { Origin::Stdout(&self.component) } else { Origin::Stderr(&self.component) };
        (self.sink)(LogLine { origin, text: &text });
    }
}

impl Drop for Lines {
    /// A last line without a break, for example of an instance that trapped.
    fn drop(&mut self) {
        let pending = std::mem::take(self.pending.get_mut().unwrap_or_else(PoisonError::into_inner));
        if !pending.is_empty() {
            self.emit(&pending);
        }
    }
}

impl IsTerminal for ComponentOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for ComponentOutput {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for ComponentOutput {
    async fn ready(&mut self) {}
}

impl OutputStream for ComponentOutput {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        ComponentOutput::write(self, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        Ok(MAX_PENDING_BYTES)
    }
}

impl tokio::io::AsyncWrite for ComponentOutput {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        ComponentOutput::write(&self, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn output_leaves_in_whole_lines_with_the_components_name() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink: LogSink = Arc::new({
            let lines = lines.clone();
            move |line| lines.lock().unwrap().push(line.to_string())
        });
        let output = ComponentOutput::stdout("intake".into(), sink);
        for piece in ["one\ntw", "o", "\n\nthr", "ee"] {
            output.write(piece.as_bytes());
        }
        assert_eq!(*lines.lock().unwrap(), ["[intake] one", "[intake] two", "[intake] "]);
        drop(output);
        assert_eq!(lines.lock().unwrap().last().unwrap(), "[intake] three");
    }
}
