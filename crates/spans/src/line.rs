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

    /// What the line says about time: its own span first, then what was done within it and waited for before it. None where it has
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

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
}
