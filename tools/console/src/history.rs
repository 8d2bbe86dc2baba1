//! The bookings that the logs tell of: each trace with its hops, the lines of each message, and the last errors.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::spans::{Level, LogLine, Span};

/// How many traces are kept; the one that has been silent longest goes first.
const TRACES: usize = 2_000;

/// How many lines of a trace are kept: an hour of repetitions.
const LINES_PER_TRACE: usize = 500;

/// How many lines of level WARN and ERROR are kept.
const ERRORS: usize = 500;

/// How long before the line about a message that about its batch is written, at most, in milliseconds.
const MOMENT_MS: i64 = 100;

/// How many lines about a message without a trace are kept.
const STRAY_LINES: usize = 1_000;

/// What the logs have told so far.
#[derive(Debug, Default)]
pub struct History {
    traces: BTreeMap<String, Trace>,
    /// By when a trace was heard of last.
    silence: BTreeSet<(u64, String)>,
    heard: u64,
    errors: VecDeque<LogLine>,
    stray: VecDeque<LogLine>,
}

#[derive(Debug, Default)]
struct Trace {
    heard: u64,
    /// What each line tells of time: its own span, and then its parts.
    groups: Vec<Vec<Span>>,
    lines: Vec<LogLine>,
}

/// What happened to a booking, or to a change of it, in one trace.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Booking {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// The appointments that it is about: two where one takes the other's place.
    pub appointments: BTreeSet<String>,
    /// The country, where a line tells it.
    pub country: Option<String>,
    /// When the first hop began, in milliseconds since 1970.
    pub start: f64,
    /// How long it was from there to the end of the last hop.
    pub duration_ms: f64,
    /// The most alarming level of its lines.
    pub level: &'static str,
    /// What was asked for, such as `POST /appointments`.
    pub request: Option<String>,
    /// What the country decided, or the appointment's status, from the last line that says so.
    pub outcome: Option<String>,
    /// Its hops, line by line in the order of their beginning.
    pub hops: Vec<Hop>,
}

/// What a span is in the log line that tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// What was waited for before: a queue, a function's start.
    Wait,
    /// What the line is about.
    Whole,
    /// A call within it.
    Call,
}

/// A span of a booking.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hop {
    /// Who did it.
    pub service: String,
    /// What was done.
    pub name: String,
    /// How long after the booking's start it began.
    pub offset_ms: f64,
    /// How long it took.
    pub duration_ms: f64,
    /// The level of its line.
    pub level: &'static str,
    /// What it is in its log line.
    pub part: Part,
    /// What else its line says.
    pub fields: Map<String, Value>,
}

/// A log line as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// When it was written, in milliseconds since 1970.
    pub at: f64,
    /// How much attention it asks for.
    pub level: &'static str,
    /// Who wrote it.
    pub service: String,
    /// What happened.
    pub message: String,
    /// Its trace.
    pub trace_id: Option<String>,
    /// The appointment that it is about.
    pub appointment_id: Option<String>,
    /// Why, where it says so.
    pub reason: Option<String>,
}

impl Line {
    pub(crate) fn of(line: &LogLine) -> Self {
        Self {
            at: milliseconds(line.timestamp),
            level: line.level.as_str(),
            service: line.service.clone(),
            message: line.message.clone(),
            trace_id: line.trace_id.clone(),
            appointment_id: line.appointment_id.clone(),
            reason: reason(line).map(str::to_owned),
        }
    }
}

/// Whether a line is about a request that only reads.
pub(crate) fn is_look(line: &LogLine) -> bool {
    line.fields.get("method").is_some_and(|method| method == "GET" || method == "HEAD")
}

/// The spans of a line in the order in which they are shown: what was waited for before, the whole, and the calls within it.
pub(crate) fn in_order(spans: &[Span]) -> Vec<(Part, &Span)> {
    let Some((whole, parts)) = spans.split_first() else { return Vec::new() };
    let mut parts: Vec<&Span> = parts.iter().collect();
    parts.sort_by_key(|part| part.start);
    let (waits, calls): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| part.start < whole.start);
    let waits = waits.into_iter().map(|wait| (Part::Wait, wait));
    let calls = calls.into_iter().map(|call| (Part::Call, call));
    waits.chain([(Part::Whole, whole)]).chain(calls).collect()
}

/// Why something failed, as a line says it.
pub(crate) fn reason(line: &LogLine) -> Option<&str> {
    ["failure", "error", "reason"].into_iter().find_map(|name| line.fields.get(name)?.as_str())
}

impl History {
    /// Takes in a line; the trace that it changed, where it belongs to one.
    pub fn add(&mut self, line: LogLine) -> Option<String> {
        if line.level >= Level::Warn {
            push(&mut self.errors, line.clone(), ERRORS);
        }
        let Some(id) = line.trace_id.clone() else {
            if line.fields.contains_key("message_id") {
                push(&mut self.stray, line, STRAY_LINES);
            }
            return None;
        };
        self.heard += 1;
        let trace = self.traces.entry(id.clone()).or_default();
        self.silence.remove(&(trace.heard, id.clone()));
        trace.heard = self.heard;
        self.silence.insert((self.heard, id.clone()));
        if trace.lines.len() < LINES_PER_TRACE {
            trace.groups.extend(Some(line.spans()).filter(|spans| !spans.is_empty()));
            trace.lines.push(line);
        }
        while self.traces.len() > TRACES
            && let Some((_, silent)) = self.silence.pop_first()
        {
            self.traces.remove(&silent);
        }
        Some(id)
    }

    /// A trace, where it is a booking: about an appointment, and more than a look at it.
    #[must_use]
    pub fn booking(&self, trace_id: &str) -> Option<Booking> {
        self.traces.get(trace_id)?.booking(trace_id)
    }

    /// The latest bookings, latest first.
    #[must_use]
    pub fn latest(&self, limit: usize) -> Vec<Booking> {
        let latest = self.silence.iter().rev().filter_map(|(_, id)| self.booking(id));
        latest.take(limit).collect()
    }

    /// The bookings whose trace is `text`, or that are about one of `appointments`, latest first.
    #[must_use]
    pub fn find(&self, text: &str, appointments: &BTreeSet<String>) -> Vec<Booking> {
        let mut found = self.latest(TRACES);
        found.retain(|booking| booking.trace_id == text || !booking.appointments.is_disjoint(appointments));
        found
    }

    /// The last lines of level WARN and ERROR, latest first.
    pub fn errors(&self) -> impl Iterator<Item = &LogLine> {
        self.errors.iter().rev()
    }

    /// Why something failed, as a line says it, with what befell the whole batch at that moment: the service tells that in a
    /// line before, without a trace.
    #[must_use]
    pub fn cause(&self, line: &LogLine) -> Option<String> {
        let reason = reason(line)?;
        let at_that_moment = |other: &&LogLine| {
            let before = line.timestamp.as_millisecond() - other.timestamp.as_millisecond();
            other.trace_id.is_none() && other.service == line.service && (0..=MOMENT_MS).contains(&before)
        };
        let of_batch = self.errors().filter(|other| other.level == Level::Error).find(at_that_moment);
        Some(match of_batch.filter(|other| *other != line).and_then(self::reason) {
            Some(cause) => format!("{reason}: {cause}"),
            None => reason.to_owned(),
        })
    }

    /// The lines about a message: those of its trace, or, without a trace, those that name it.
    #[must_use]
    pub fn lines_of(&self, message_id: &str, trace_id: Option<&str>) -> Vec<&LogLine> {
        let names_it = |line: &&LogLine| line.fields.get("message_id").and_then(Value::as_str) == Some(message_id);
        match trace_id.and_then(|id| self.traces.get(id)) {
            Some(trace) => trace.lines.iter().collect(),
            None => self.stray.iter().filter(names_it).collect(),
        }
    }
}

impl Trace {
    fn booking(&self, id: &str) -> Option<Booking> {
        if !self.lines.iter().any(|line| line.appointment_id.is_some() && !is_look(line)) {
            return None;
        }
        let start = self.groups.iter().flatten().map(|span| span.start).min()?;
        let field = |names: &[&str]| {
            let texts =
                self.lines.iter().rev().map(|line| names.iter().find_map(|name| line.fields.get(*name)?.as_str()));
            texts.flatten().next().map(str::to_owned)
        };
        let request = self.lines.iter().find_map(|line| {
            let text = |name: &str| line.fields.get(name)?.as_str();
            Some(format!("{} {}", text("method")?, text("route")?))
        });
        let mut groups: Vec<&Vec<Span>> = self.groups.iter().collect();
        // What was waited for before may have begun long ago, for all deliveries of a message at once.
        groups.sort_by_key(|group| group.first().map(|whole| whole.start));
        let hops: Vec<Hop> = groups
            .into_iter()
            .flat_map(|group| in_order(group))
            .map(|(part, span)| Hop::new(span, part, start))
            .collect();
        Some(Booking {
            trace_id: id.to_owned(),
            appointments: self.lines.iter().filter_map(|line| line.appointment_id.clone()).collect(),
            country: field(&["country"]),
            start: milliseconds(start),
            duration_ms: hops.iter().map(|hop| hop.offset_ms + hop.duration_ms).fold(0.0, f64::max),
            level: self.lines.iter().map(|line| line.level).max().unwrap_or(Level::Info).as_str(),
            request,
            outcome: field(&["appointment_status", "outcome"]),
            hops,
        })
    }
}

impl Hop {
    fn new(span: &Span, part: Part, start: Timestamp) -> Self {
        Self {
            service: span.service.clone(),
            name: span.name.clone(),
            offset_ms: milliseconds(span.start) - milliseconds(start),
            duration_ms: span.duration.as_secs_f64() * 1000.0,
            level: span.level.as_str(),
            part,
            fields: span.fields.clone(),
        }
    }
}

fn push(lines: &mut VecDeque<LogLine>, line: LogLine, limit: usize) {
    if lines.len() == limit {
        lines.pop_front();
    }
    lines.push_back(line);
}

#[expect(clippy::cast_precision_loss, reason = "a time of this age has 51 bits of microseconds")]
fn milliseconds(at: Timestamp) -> f64 {
    at.as_microsecond() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

    use super::*;

    fn line(second: f64, service: &str, rest: &str) -> LogLine {
        let text =
            format!(r#"{{"timestamp":"2026-11-28T03:41:{second:06.3}Z","level":"INFO","service":"{service}",{rest}}}"#);
        LogLine::parse(&text).unwrap()
    }

    fn told(history: &mut History, lines: impl IntoIterator<Item = LogLine>) {
        for line in lines {
            history.add(line);
        }
    }

    #[test]
    fn a_booking_is_told_by_the_lines_of_its_trace_in_any_order() {
        let mut history = History::default();
        let worker = r#""message":"appointment decided and reported","trace_id":"a","appointment_id":"1","country":"PE","outcome":"AppointmentCompleted","duration_ms":20,"spans":[{"name":"sqs.wait","start_offset_ms":-10,"duration_ms":10}]"#;
        let intake = r#""message":"appointment accepted","trace_id":"a","appointment_id":"1","method":"POST","route":"/appointments","duration_ms":10,"spans":[{"name":"sns.Publish","start_offset_ms":6,"duration_ms":3}]"#;
        told(&mut history, [line(5.1, "appointment-pe", worker), line(5.01, "intake", intake)]);
        let booking = history.booking("a").unwrap();
        assert_eq!(booking.request.as_deref(), Some("POST /appointments"));
        assert_eq!(booking.outcome.as_deref(), Some("AppointmentCompleted"));
        assert_eq!(booking.country.as_deref(), Some("PE"));
        let hops: Vec<_> =
            booking.hops.iter().map(|hop| (hop.service.as_str(), hop.offset_ms.round(), hop.part)).collect();
        assert_eq!(
            hops,
            [
                ("intake", 0.0, Part::Whole),
                ("intake", 6.0, Part::Call),
                ("appointment-pe", 70.0, Part::Wait),
                ("appointment-pe", 80.0, Part::Whole),
            ]
        );
        assert!((booking.duration_ms - 100.0).abs() < 0.01, "{booking:?}");
    }

    #[test]
    fn a_look_at_an_appointment_is_no_booking() {
        let mut history = History::default();
        let look = r#""message":"request handled","trace_id":"a","appointment_id":"1","method":"GET","duration_ms":1"#;
        let health = r#""message":"request handled","trace_id":"b","duration_ms":1"#;
        told(&mut history, [line(1.0, "intake", look), line(2.0, "intake", health)]);
        assert_eq!(history.latest(10), []);
    }

    #[test]
    fn bookings_are_found_by_trace_and_by_appointment() {
        let mut history = History::default();
        let booked = |trace: &str, id: &str| {
            line(1.0, "s", &format!(r#""message":"m","trace_id":"{trace}","appointment_id":"{id}","duration_ms":1"#))
        };
        told(&mut history, [booked("a", "1"), booked("b", "1"), booked("c", "2")]);
        let found = |text: &str, ids: &[&str]| -> Vec<String> {
            let ids = ids.iter().map(|id| (*id).to_owned()).collect();
            history.find(text, &ids).into_iter().map(|booking| booking.trace_id).collect()
        };
        assert_eq!(found("a", &[]), ["a"]);
        assert_eq!(found("", &["1"]), ["b", "a"]);
        assert_eq!(found("d", &["3"]), [] as [&str; 0]);
    }

    #[test]
    fn old_traces_and_errors_make_room_for_new_ones() {
        let mut history = History::default();
        for number in 0..TRACES + 10 {
            let rest = format!(r#""message":"m","trace_id":"{number}","appointment_id":"1","duration_ms":1"#);
            let mut line = line(1.0, "s", &rest);
            line.level = Level::Error;
            history.add(line);
        }
        assert!(history.booking("9").is_none() && history.booking("10").is_some());
        assert_eq!((history.traces.len(), history.silence.len(), history.errors.len()), (TRACES, TRACES, ERRORS));
    }

    #[test]
    fn why_a_message_failed_is_told_with_what_befell_its_batch() {
        let mut history = History::default();
        let mut batch = line(5.0, "w", r#""message":"batch undecided","error":"no database""#);
        batch.level = Level::Error;
        let message =
            line(5.001, "w", r#""message":"goes to the dead letters","trace_id":"a","failure":"no_response""#);
        told(&mut history, [batch, message.clone()]);
        assert_eq!(history.cause(&message).as_deref(), Some("no_response: no database"));
        let later = line(6.0, "w", r#""message":"goes to the dead letters","trace_id":"a","failure":"no_response""#);
        assert_eq!(history.cause(&later).as_deref(), Some("no_response"));
    }

    #[test]
    fn a_message_without_a_trace_has_the_lines_that_name_it() {
        let mut history = History::default();
        let poison = r#""message":"no command","message_id":"m1","failure":"expected value""#;
        told(&mut history, [line(1.0, "w", poison), line(2.0, "w", r#""message":"other","message_id":"m2""#)]);
        let lines = history.lines_of("m1", None);
        assert_eq!(lines.len(), 1);
        assert_eq!(reason(lines[0]), Some("expected value"));
    }
}
