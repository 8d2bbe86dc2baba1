//! Reads the logs of an instance: each line of JSON is a [`LogLine`], and a line that ends a hop tells [`Span`]s.
//!
//! A line's span began `duration_ms` before its `timestamp`. What was done in between, and what was waited for before, stands in
//! the line's field `spans`: `[{"name":"dynamodb.PutItem","start_offset_ms":0.4,"duration_ms":4.2}, …]`, with offsets from the
//! beginning of the line's own span. Waits have negative ones.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::mem;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

/// How much attention a line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Of interest to who looks for a fault.
    Debug,
    /// The system did what it should.
    Info,
    /// It heals by itself, or a caller is at fault.
    Warn,
    /// Somebody has to look.
    Error,
}

/// A line of a log, in the form that all parts of the system write.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    /// When it was written, to the millisecond.
    pub timestamp: Timestamp,
    /// How much attention it asks for.
    pub level: Level,
    /// Who wrote it: `intake`, `appointment-pe`, `confirmation`, `edge-host`, …
    pub service: String,
    /// What happened.
    pub message: String,
    /// The trace of the booking or request: 32 hexadecimal digits.
    pub trace_id: Option<String>,
    /// The appointment that it is about.
    pub appointment_id: Option<String>,
    /// All other fields.
    pub fields: Map<String, Value>,
}

/// Something that took time in a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The trace of the booking or request: 32 hexadecimal digits.
    pub trace_id: String,
    /// The appointment that it is about.
    pub appointment_id: Option<String>,
    /// Who did it.
    pub service: String,
    /// What was done: the message of the line, or the name of one of its `spans`.
    pub name: String,
    /// When it began.
    pub start: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// The level of the line that tells it.
    pub level: Level,
    /// The other fields of the line; none for what was done or waited for within it.
    pub fields: Map<String, Value>,
}

impl Level {
    fn named(name: &str) -> Option<Self> {
        match name {
            "TRACE" | "DEBUG" => Some(Self::Debug),
            "INFO" => Some(Self::Info),
            "WARN" => Some(Self::Warn),
            "ERROR" => Some(Self::Error),
            _ => None,
        }
    }

    /// As logs write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

impl LogLine {
    /// A line of a log file, `None` where it is of another form, as the servers' are. A host may have put the component's name
    /// before it (`[intake] {…}`).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let json = text.get(text.find('{')?..)?;
        let Value::Object(mut fields) = serde_json::from_str(json).ok()? else { return None };
        let mut text = |name: &str| match fields.remove(name)? {
            Value::String(text) => Some(text),
            _ => None,
        };
        let timestamp = text("timestamp")?.parse().ok()?;
        let level = Level::named(&text("level")?)?;
        let (service, message) = (text("service")?, text("message")?);
        let (trace_id, appointment_id) = (text("trace_id"), text("appointment_id"));
        Some(Self { timestamp, level, service, message, trace_id, appointment_id, fields })
    }

    /// What the line tells of time: its own span first, then what was done within it and waited for before it. None where it has
    /// no trace or no duration.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let Some(trace_id) = &self.trace_id else { return Vec::new() };
        let Some(duration) = milliseconds(self.fields.get("duration_ms")) else { return Vec::new() };
        let Ok(start) = self.timestamp.checked_sub(duration) else { return Vec::new() };
        let span = |name: &str, start: Timestamp, duration: SignedDuration, fields: Map<String, Value>| Span {
            trace_id: trace_id.clone(),
            appointment_id: self.appointment_id.clone(),
            service: self.service.clone(),
            name: name.to_owned(),
            start,
            // Clocks of two machines may disagree about who was first.
            duration: duration.try_into().unwrap_or_default(),
            level: self.level,
            fields,
        };
        let mut fields = self.fields.clone();
        let told = fields.remove("spans");
        fields.remove("duration_ms");
        let mut spans = vec![span(&self.message, start, duration, fields)];
        for told in told.as_ref().and_then(Value::as_array).into_iter().flatten() {
            let name = told.get("name").and_then(Value::as_str);
            let offset = milliseconds(told.get("start_offset_ms"));
            let (Some(name), Some(offset), Some(duration)) = (name, offset, milliseconds(told.get("duration_ms")))
            else {
                continue;
            };
            if let Ok(start) = start.checked_add(offset) {
                spans.push(span(name, start, duration, Map::new()));
            }
        }
        spans
    }
}

fn milliseconds(value: Option<&Value>) -> Option<SignedDuration> {
    SignedDuration::try_from_secs_f64(value?.as_f64()? / 1000.0).ok()
}

/// Reads the files `*.log` of a folder again and again, each time what is new.
#[derive(Debug)]
pub struct LogFolder {
    folder: PathBuf,
    files: BTreeMap<PathBuf, Place>,
    /// What was read and not handed out yet.
    lines: Vec<LogLine>,
}

/// How far a file has been read.
#[derive(Debug, Default)]
struct Place {
    /// Tells the file from another one that has taken its name.
    file: u64,
    offset: u64,
    /// The beginning of a line whose end was not there yet.
    half: Vec<u8>,
}

impl LogFolder {
    /// The logs in a folder, which need not be there yet.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), files: BTreeMap::new(), lines: Vec::new() }
    }

    /// The lines that were written since the last call, in the order of their time; at first all of them. A file that was replaced
    /// or cut off is read from its beginning. Lines of another form are left out.
    ///
    /// # Errors
    ///
    /// A file cannot be read. What was read of others comes with the next call.
    pub fn read(&mut self) -> io::Result<Vec<LogLine>> {
        for path in logs(&self.folder)? {
            let place = self.files.entry(path.clone()).or_default();
            place.read(&path, &mut self.lines)?;
        }
        let mut lines = mem::take(&mut self.lines);
        lines.sort_by_key(|line: &LogLine| line.timestamp);
        Ok(lines)
    }
}

fn logs(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("log")) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

impl Place {
    fn read(&mut self, path: &Path, lines: &mut Vec<LogLine>) -> io::Result<()> {
        let mut log = match File::open(path) {
            Ok(log) => log,
            // Gone since the folder was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let metadata = log.metadata()?;
        let file = identity(&metadata);
        if file != self.file || metadata.len() < self.offset {
            *self = Self { file, ..Self::default() };
        }
        log.seek(SeekFrom::Start(self.offset))?;
        let mut new = Vec::new();
        let read = log.read_to_end(&mut new)?;
        self.offset += u64::try_from(read).unwrap_or_default();
        self.half.append(&mut new);
        let whole = self.half.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let rest = self.half.split_off(whole);
        let text = String::from_utf8_lossy(&self.half);
        lines.extend(text.lines().filter_map(LogLine::parse));
        self.half = rest;
        Ok(())
    }
}

#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn identity(_: &fs::Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

    use std::io::Write as _;

    use super::*;

    const INTAKE: &str = r#"[intake] {"timestamp":"2026-11-28T03:41:05.434Z","level":"INFO","service":"intake","message":"appointment accepted","trace_id":"f44af53fcfacf9aa38d2748c17b35542","request_id":"35b00db0f3252153","status":202,"appointment_id":"01a2203e-0613-7677-9165-7fc241f3c1e9","country":"PE","duration_ms":8.078}"#;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_line_is_a_span_that_ends_with_it() {
        let line = LogLine::parse(INTAKE).unwrap();
        assert_eq!((line.level, line.service.as_str()), (Level::Info, "intake"));
        assert_eq!(line.fields["status"], 202);
        let spans = line.spans();
        assert_eq!(spans.len(), 1);
        let span = &spans[0];
        assert_eq!(span.trace_id, "f44af53fcfacf9aa38d2748c17b35542");
        assert_eq!(span.appointment_id.as_deref(), Some("01a2203e-0613-7677-9165-7fc241f3c1e9"));
        assert_eq!(span.name, "appointment accepted");
        assert_eq!(span.start, at("2026-11-28T03:41:05.425922Z"));
        assert_eq!(span.duration, Duration::from_micros(8_078));
        assert_eq!(span.fields.keys().collect::<Vec<_>>(), ["country", "request_id", "status"]);
    }

    #[test]
    fn a_line_tells_what_was_done_within_and_waited_for_before() {
        let line = r#"{"timestamp":"2026-11-28T03:41:05.500Z","level":"WARN","service":"confirmation","message":"outcome applied",
            "trace_id":"f44af53fcfacf9aa38d2748c17b35542","duration_ms":10,"spans":[
            {"name":"sqs.wait","start_offset_ms":-7.5,"duration_ms":6},
            {"name":"dynamodb.UpdateItem","start_offset_ms":0.5,"duration_ms":4},
            {"name":"backwards","start_offset_ms":0,"duration_ms":-3},
            {"name":"without a place"}, 5]}"#;
        let spans = LogLine::parse(line).unwrap().spans();
        let told: Vec<_> = spans.iter().map(|span| (span.name.as_str(), span.start, span.duration)).collect();
        let ms = Duration::from_millis;
        assert_eq!(
            told,
            [
                ("outcome applied", at("2026-11-28T03:41:05.490Z"), ms(10)),
                ("sqs.wait", at("2026-11-28T03:41:05.4825Z"), ms(6)),
                ("dynamodb.UpdateItem", at("2026-11-28T03:41:05.4905Z"), ms(4)),
                ("backwards", at("2026-11-28T03:41:05.490Z"), ms(0)),
            ]
        );
        assert!(spans.iter().all(|span| span.level == Level::Warn && span.fields.is_empty()));
    }

    #[test]
    fn a_line_without_a_trace_or_a_duration_is_no_span() {
        for line in [
            r#"{"timestamp":"2026-11-28T03:41:05Z","level":"INFO","service":"a","message":"b","duration_ms":1}"#,
            r#"{"timestamp":"2026-11-28T03:41:05Z","level":"INFO","service":"a","message":"b","trace_id":"c"}"#,
        ] {
            assert_eq!(LogLine::parse(line).unwrap().spans(), []);
        }
    }

    #[test]
    fn what_is_of_another_form_is_no_line() {
        for text in
            ["", "Serving http://127.0.0.1:3000", "{", "[intake] {\"level\":\"INFO\"}", "{\"timestamp\":\"yesterday\"}"]
        {
            assert_eq!(LogLine::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_folder_is_read_on_where_it_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("logs");
        let mut reader = LogFolder::new(&logs);
        assert_eq!(reader.read().unwrap(), []);

        fs::create_dir(&logs).unwrap();
        let line = |second: u32, message: &str| {
            format!(
                r#"{{"timestamp":"2026-11-28T03:41:{second:02}Z","level":"INFO","service":"s","message":"{message}"}}"#
            )
        };
        let messages = |reader: &mut LogFolder| -> Vec<String> {
            reader.read().unwrap().into_iter().map(|line| line.message).collect()
        };
        let application = logs.join("application.log");
        fs::write(&application, format!("starting\n{}\n{}", line(2, "second"), &line(3, "third")[..30])).unwrap();
        fs::write(logs.join("workers.log"), line(1, "first") + "\n").unwrap();
        fs::write(logs.join("notes.txt"), line(1, "no log") + "\n").unwrap();
        assert_eq!(messages(&mut reader), ["first", "second"]);
        assert_eq!(reader.read().unwrap(), []);

        let mut log = File::options().append(true).open(&application).unwrap();
        writeln!(log, "{}\n{}", &line(3, "third")[30..], line(4, "fourth")).unwrap();
        assert_eq!(messages(&mut reader), ["third", "fourth"]);

        // Cut off, and begun anew.
        fs::write(&application, line(5, "fifth") + "\n").unwrap();
        assert_eq!(messages(&mut reader), ["fifth"]);
        // Replaced by another file, which is longer.
        let replacement = logs.join("replacement");
        fs::write(&replacement, format!("{}\n{}\n", line(6, "sixth"), line(7, "seventh"))).unwrap();
        fs::rename(&replacement, &application).unwrap();
        assert_eq!(messages(&mut reader), ["sixth", "seventh"]);
    }
}
