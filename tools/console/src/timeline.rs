//! One trace: its hops in the order in which they began, as bars in a terminal, and how much of a booking's time they explain.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;

use crate::history::{Part, in_order, is_look, reason};
use crate::spans::{Level, LogLine, Span};
use crate::terminal::{Colour, WIDTH};

/// How the columns are shared out.
const NAME: usize = 38;
const TIME: usize = 10;
const BAR: usize = WIDTH - NAME - TIME - 2;

/// What a trace's log lines tell, each a group: the line's own span, and then its parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    trace_id: String,
    groups: Vec<Vec<Span>>,
    /// What went wrong, of all lines.
    troubles: Vec<LogLine>,
}

/// A time of which no span tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The span that ended last before it.
    pub after: String,
    /// The span that begins with its end.
    pub before: String,
    /// How long it is.
    pub duration: Duration,
}

/// How much of a booking's time, from the response `202` to the status `completed` in the table, is told by spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// From `202` to `completed`.
    pub total: Duration,
    /// The part of it of which at least one span tells.
    pub told: Duration,
    /// The rest.
    pub gaps: Vec<Gap>,
}

impl Explained {
    /// The part that is told, of 100.
    #[must_use]
    pub fn percent(&self) -> f64 {
        if self.total.is_zero() { 100.0 } else { 100.0 * self.told.as_secs_f64() / self.total.as_secs_f64() }
    }
}

/// The traces in which something was done about an appointment, the first one first. Traces of reading alone are left out.
#[must_use]
pub fn traces_of(appointment_id: &str, lines: &[LogLine]) -> Vec<String> {
    let mut traces: Vec<String> = Vec::new();
    for line in lines {
        if line.appointment_id.as_deref() != Some(appointment_id) || is_look(line) {
            continue;
        }
        if let Some(trace_id) = line.trace_id.as_ref().filter(|trace_id| !traces.contains(trace_id)) {
            traces.push(trace_id.clone());
        }
    }
    traces
}

impl Timeline {
    /// What `lines` tell of a trace; `None` where they tell nothing.
    #[must_use]
    pub fn of(trace_id: &str, lines: &[LogLine]) -> Option<Self> {
        let of_trace = || lines.iter().filter(|line| line.trace_id.as_deref() == Some(trace_id));
        let mut groups: Vec<_> = of_trace().map(LogLine::spans).filter(|spans| !spans.is_empty()).collect();
        groups.sort_by_key(|group| group.iter().map(|span| span.start).min());
        let troubles: Vec<_> = of_trace().filter(|line| line.level >= Level::Warn).cloned().collect();
        let told = !groups.is_empty() || !troubles.is_empty();
        told.then(|| Self { trace_id: trace_id.to_owned(), groups, troubles })
    }

    /// How much of the time from `202` to `completed` is told; `None` where the trace is no booking that was completed, or its
    /// request waited for the outcome.
    #[must_use]
    pub fn explained(&self) -> Option<Explained> {
        let own = |message: &str| self.groups.iter().find(|group| group.first().is_some_and(|own| own.name == message));
        let accepted = own("appointment accepted")?.first()?;
        let applied = self.groups.iter().find(|group| {
            group
                .first()
                .is_some_and(|own| own.fields.get("appointment_status").is_some_and(|status| status == "completed"))
        })?;
        let written = applied.iter().find(|span| span.name == "dynamodb.UpdateItem")?;
        let (from, to) = (end(accepted), end(written));
        (from < to && accepted.fields.get("status").is_some_and(|status| status == 202)).then(|| self.told(from, to))
    }

    fn told(&self, from: Timestamp, to: Timestamp) -> Explained {
        let mut spans: Vec<&Span> =
            self.groups.iter().flatten().filter(|span| end(span) > from && span.start < to).collect();
        spans.sort_by_key(|span| span.start);
        let (mut reached, mut after) = (from, "202".to_owned());
        let mut gaps = Vec::new();
        let label = |span: &Span| format!("{} {}", span.service, span.name);
        for span in spans {
            if span.start > reached {
                gaps.push(Gap { after, before: label(span), duration: between(reached, span.start) });
                after = label(span);
                reached = end(span);
            } else if end(span) > reached {
                after = label(span);
                reached = end(span);
            }
        }
        if reached < to {
            gaps.push(Gap { after, before: "completed".to_owned(), duration: between(reached, to) });
        }
        let total = between(from, to);
        let missing: Duration = gaps.iter().map(|gap| gap.duration).sum();
        Explained { total, told: total.saturating_sub(missing), gaps }
    }

    /// The trace as lines of at most 80 columns, each with its end.
    #[must_use]
    pub fn text(&self, colour: Colour) -> String {
        let mut text = String::new();
        let ids: Vec<&str> = self.appointments();
        let about =
            if ids.is_empty() { String::new() } else { format!("\nappointment {}", ids.join("\n            ")) };
        // Writing to a string does not fail.
        let _ = writeln!(text, "trace {}{about}", self.trace_id);
        let spans = || self.groups.iter().flatten();
        if let (Some(from), Some(to)) = (spans().map(|span| span.start).min(), spans().map(end).max()) {
            let total = between(from, to);
            let scale = format!("{:>width$}", milliseconds(total), width = BAR - 4);
            let _ = writeln!(text, "{:NAME$} 0 ms{scale}", format!("{} UTC", shortened(from)));
            for group in &self.groups {
                for (part, span) in in_order(group) {
                    let (name, mark, code) = match part {
                        Part::Wait => (format!("  ({})", span.name), '░', "2"),
                        Part::Whole => (format!("{}: {}", span.service, span.name), '█', "32"),
                        Part::Call => (format!("  {}", span.name), '▒', "36"),
                    };
                    let code = Colour::code(span.level).unwrap_or(code);
                    let name = format!("{:NAME$}", cut(&name, NAME));
                    let name = if part == Part::Whole { colour.heading(&name) } else { name };
                    let bar = colour.paint(code, &bar(between(from, span.start), span.duration, total, mark));
                    let _ = writeln!(text, "{name} {bar} {:>TIME$}", milliseconds(span.duration));
                }
            }
        }
        for line in &self.troubles {
            let why = reason(line).map(|why| format!(": {why}")).unwrap_or_default();
            let told = format!("{} {} {}{why}", line.level.as_str(), line.service, line.message);
            let _ = writeln!(text, "{}", colour.of_level(line.level, &cut(&told, WIDTH)));
        }
        if let Some(explained) = self.explained() {
            let Explained { total, gaps, .. } = &explained;
            let total = milliseconds(*total);
            let _ = writeln!(text, "{total} from 202 to completed, {:.1} % of it in spans", explained.percent());
            for gap in gaps.iter().filter(|gap| gap.duration >= Duration::from_micros(100)) {
                let told = format!("  {} after {}, before {}", milliseconds(gap.duration), gap.after, gap.before);
                let _ = writeln!(text, "{}", cut(&told, WIDTH));
            }
        }
        text
    }

    fn appointments(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = Vec::new();
        for id in self.groups.iter().flatten().filter_map(|span| span.appointment_id.as_deref()) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    }
}

fn end(span: &Span) -> Timestamp {
    span.start.checked_add(span.duration).unwrap_or(span.start)
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from).try_into().unwrap_or_default()
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

/// To the millisecond.
fn shortened(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// A bar in its place among [`BAR`] columns; whatever it tells of has one column at least.
fn bar(offset: Duration, duration: Duration, total: Duration, mark: char) -> String {
    let column = |at: Duration| -> usize {
        let share = if total.is_zero() { 0.0 } else { at.as_secs_f64() / total.as_secs_f64() };
        // Not negative, and not more than the columns.
        (share * BAR as f64).round() as usize
    };
    let from = column(offset).min(BAR - 1);
    let to = column(offset + duration).clamp(from + 1, BAR);
    (0..BAR).map(|at| if (from..to).contains(&at) { mark } else { ' ' }).collect()
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width - 1).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const TRACE: &str = "f44af53fcfacf9aa38d2748c17b35542";
    const APPOINTMENT: &str = "01a2203e-0613-7677-9165-7fc241f3c1e9";

    /// A line that ends so many milliseconds after a quarter to four.
    fn line(ms: u32, level: &str, service: &str, message: &str, rest: &str) -> LogLine {
        let head = format!(
            r#""timestamp":"2026-11-28T03:45:00.{ms:03}Z","level":"{level}","service":"{service}","message":"{message}""#
        );
        LogLine::parse(&format!(r#"{{{head},"trace_id":"{TRACE}","appointment_id":"{APPOINTMENT}",{rest}}}"#)).unwrap()
    }

    fn booking() -> Vec<LogLine> {
        vec![
            line(
                10,
                "INFO",
                "intake",
                "appointment accepted",
                r#""method":"POST","status":202,"duration_ms":10,"spans":[{"name":"dynamodb.PutItem","start_offset_ms":1,"duration_ms":5},
                {"name":"sns.Publish","start_offset_ms":6,"duration_ms":4}]"#,
            ),
            line(
                60,
                "INFO",
                "appointment-pe",
                "appointment decided and reported",
                r#""duration_ms":20,"spans":[{"name":"sqs.wait","start_offset_ms":-32,"duration_ms":22},
                {"name":"lambda.invoke","start_offset_ms":-10,"duration_ms":10}]"#,
            ),
            line(
                120,
                "WARN",
                "confirmation",
                "outcome applied",
                r#""appointment_status":"completed","error":"slow","duration_ms":20,"spans":[{"name":"sqs.wait","start_offset_ms":-36,"duration_ms":36},
                {"name":"dynamodb.UpdateItem","start_offset_ms":0,"duration_ms":10}]"#,
            ),
            line(140, "INFO", "intake", "request handled", r#""method":"GET","duration_ms":3"#),
        ]
    }

    #[test]
    fn what_no_span_tells_of_is_named() {
        let explained = Timeline::of(TRACE, &booking()).unwrap().explained().unwrap();
        let gap = Gap {
            after: "appointment-pe appointment decided and reported".to_owned(),
            before: "confirmation sqs.wait".to_owned(),
            duration: Duration::from_millis(4),
        };
        // From 10 to 110 ms, and nothing from 60 to 64.
        let (total, told) = (Duration::from_millis(100), Duration::from_millis(96));
        assert_eq!(explained, Explained { total, told, gaps: vec![gap] });
        assert_eq!(format!("{:.1}", explained.percent()), "96.0");
    }

    #[test]
    fn a_hop_that_is_missing_is_a_gap() {
        let mut lines = booking();
        lines.remove(1);
        let explained = Timeline::of(TRACE, &lines).unwrap().explained().unwrap();
        assert_eq!(format!("{:.1}", explained.percent()), "46.0");
        lines.pop();
        lines.pop();
        assert_eq!(Timeline::of(TRACE, &lines).unwrap().explained(), None, "it is not completed");
    }

    #[test]
    fn a_trace_is_bars_of_eighty_columns() {
        let timeline = Timeline::of(TRACE, &booking()).unwrap();
        let text = timeline.text(Colour::Off);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(!text.contains('\u{1b}'));
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows.first(), Some(&"trace f44af53fcfacf9aa38d2748c17b35542"));
        assert!(text.contains("intake: appointment accepted           ██"), "{text}");
        assert!(text.contains("  (sqs.wait)"), "{text}");
        assert!(text.contains("WARN confirmation outcome applied: slow"), "{text}");
        assert!(text.contains("100.0 ms from 202 to completed, 96.0 % of it in spans\n  4.0 ms after"), "{text}");
        let coloured = timeline.text(Colour::On);
        assert!(coloured.contains("\u{1b}[32m"), "{coloured}");
        assert_eq!(Timeline::of("another", &booking()), None);
    }

    #[test]
    fn an_appointments_traces_are_those_that_change_it() {
        let mut lines = booking();
        let cancelled = line(500, "INFO", "intake", "cancellation accepted", r#""method":"DELETE","duration_ms":3"#);
        let other = LogLine { trace_id: Some("cancelled".to_owned()), ..cancelled };
        let read = lines.last().cloned().unwrap();
        lines.push(LogLine { trace_id: Some("read".to_owned()), ..read });
        lines.push(other);
        assert_eq!(traces_of(APPOINTMENT, &lines), [TRACE, "cancelled"]);
    }
}
