//! What log lines say about time. Every part of the system writes a line of JSON where a hop ends; this crate makes [`Span`]s of it
//! ([`LogLine::spans`]), and an [`Exporter`] sends them to an OpenTelemetry collector. The lines are the one source: whoever looks at
//! the logs and whoever looks at a trace sees the same.
//!
//! A line's own span began `duration_ms` before its `timestamp`. Its `span_id` and `parent_span_id` are those of the `traceparent` by
//! which the hops call each other (W3C Trace Context). What was done in between, and waited for before, is in its field
//! `spans`: `[{"name":"dynamodb.PutItem","start_offset_ms":0.4,"duration_ms":4.2}, …]`, with offsets from the beginning of the line's
//! own span. Waits have negative ones. Queues tell their instants in whole milliseconds, as lines do.

mod export;
mod line;

pub use export::{ExportError, Exporter};
pub use line::{Level, LogLine, Span};
