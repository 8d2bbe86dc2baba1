use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_http::native::NativeTransport;
use aws_http::{Terms, Transport as _};
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use serde_json::Value;
use tokio::time::timeout;

use crate::{Level, LogLine, Span};

/// Where to send, by OpenTelemetry's own names; the library reads them, and `OTEL_EXPORTER_OTLP_HEADERS`, itself.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// By which name the spans go, where it is not the program's own.
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";

/// How long sending may take: on Lambda the response waits for it.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// How many spans wait to be sent at most. A batch of ten messages has about seventy.
const CAPACITY: usize = 4096;

/// The fields of lines that become attributes, and by which name. No other does: who acted on whom (`actor`, `person`) stays in the
/// logs.
const ATTRIBUTES: [(&str, &str); 17] = [
    ("action", "messaging.outcome"),
    ("appointment_status", "appointment.status"),
    ("authentication", "appointment.authentication"),
    ("batch_size", "messaging.batch.message_count"),
    ("code", "error.type"),
    ("command", "appointment.command"),
    ("country", "appointment.country"),
    ("event_id", "appointment.event_id"),
    ("failure", "error.type"),
    ("message_id", "messaging.message.id"),
    ("method", "http.request.method"),
    ("outcome", "appointment.outcome"),
    ("reason", "appointment.reason"),
    ("receive_count", "messaging.receive_count"),
    ("replayed", "appointment.replayed"),
    ("route", "http.route"),
    ("status", "http.response.status_code"),
];

/// Sends what log lines tell, as OTLP over HTTP. Lines are handed over as they are written, and wait until they are flushed.
pub struct Exporter {
    exporter: tokio::sync::Mutex<SpanExporter>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    spans: Vec<SpanData>,
    /// What found no room since the last flush.
    dropped: usize,
}

/// Spans were not exported. The work that they describe is not affected.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The environment says something that cannot be.
    #[error("no spans are exported: {0}; correct OTEL_EXPORTER_OTLP_ENDPOINT, for example http://127.0.0.1:4318")]
    Setting(#[from] ExporterBuildError),
    /// The collector did not take them.
    #[error("the collector did not take them (spans lost: {spans}): {source}")]
    Refused {
        /// How many.
        spans: usize,
        /// Why.
        source: OTelSdkError,
    },
    /// The collector did not respond.
    #[error("the collector did not respond within {} s (spans lost: {spans})", FLUSH_LIMIT.as_secs())]
    Silent {
        /// How many.
        spans: usize,
    },
    /// More came than was flushed.
    #[error("there was no room for them (spans lost: {spans})")]
    Overflow {
        /// How many.
        spans: usize,
    },
}

impl Exporter {
    /// As the environment of the program says: `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, without which there is
    /// none. `service` names the program where `OTEL_SERVICE_NAME` does not.
    ///
    /// # Errors
    ///
    /// [`ExportError::Setting`].
    pub fn from_environment(service: &str) -> Result<Option<Self>, ExportError> {
        let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if ENDPOINTS.into_iter().find_map(given).is_none() {
            return Ok(None);
        }
        let service = given(SERVICE_NAME).unwrap_or_else(|| service.to_owned());
        let exporter = SpanExporter::builder().with_http().with_http_client(Client(NativeTransport::new())).build()?;
        Ok(Some(Self::sending(exporter, service)))
    }

    fn sending(mut exporter: SpanExporter, service: String) -> Self {
        exporter.set_resource(&Resource::builder_empty().with_service_name(service).build());
        Self { exporter: exporter.into(), waiting: Mutex::default() }
    }

    /// Takes a line of a log, as it is written. What is no span's is left alone.
    pub fn offer(&self, line: &str) {
        let spans = LogLine::parse(line).map(|line| exported(&line)).unwrap_or_default();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for span in spans {
            if waiting.spans.len() < CAPACITY {
                waiting.spans.push(span);
            } else {
                waiting.dropped += 1;
            }
        }
    }

    /// Sends what there is, within a second. Spans that are not taken are lost.
    ///
    /// # Errors
    ///
    /// How many are lost, and why.
    pub async fn flush(&self) -> Result<(), ExportError> {
        let Waiting { spans, dropped } =
            std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let count = spans.len();
        if count > 0 {
            let exporter = self.exporter.lock().await;
            match timeout(FLUSH_LIMIT, exporter.export(spans)).await {
                Ok(Ok(())) => {}
                Ok(Err(source)) => return Err(ExportError::Refused { spans: count + dropped, source }),
                Err(_elapsed) => return Err(ExportError::Silent { spans: count + dropped }),
            }
        }
        if dropped > 0 { Err(ExportError::Overflow { spans: dropped }) } else { Ok(()) }
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Exporter").finish_non_exhaustive()
    }
}

/// The library's requests over the connections that all our native programs use.
#[derive(Debug)]
struct Client(NativeTransport);

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        Ok(self.0.send(request, Terms::within(FLUSH_LIMIT)).await?)
    }
}

/// The spans of a line as they are exported: its own first.
fn exported(line: &LogLine) -> Vec<SpanData> {
    let spans = line.spans();
    let Some((own, parts)) = spans.split_first() else { return Vec::new() };
    let Ok(trace_id) = TraceId::from_hex(&own.trace_id) else { return Vec::new() };
    let id = |field: &str| line.fields.get(field).and_then(Value::as_str).and_then(|id| SpanId::from_hex(id).ok());
    let seed = own.start.as_nanosecond().unsigned_abs() as u64;
    let own_id = id("span_id").unwrap_or_else(|| derived(u128::from_be_bytes(trace_id.to_bytes()) as u64 ^ seed));
    let caller = id("parent_span_id").unwrap_or(SpanId::INVALID);
    let scope = InstrumentationScope::builder(own.service.clone()).build();
    let data = |span: &Span, span_id: SpanId, parent: SpanId, kind: SpanKind| {
        let start = SystemTime::UNIX_EPOCH + Duration::try_from(span.start.as_duration()).unwrap_or_default();
        let context = SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, false, TraceState::default());
        SpanData {
            span_context: context,
            parent_span_id: parent,
            parent_span_is_remote: parent == caller && parent != SpanId::INVALID,
            span_kind: kind,
            name: span.name.clone().into(),
            start_time: start,
            end_time: start + span.duration,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: scope.clone(),
        }
    };
    let mut whole = data(own, own_id, caller, kind(line));
    whole.attributes = attributes(line);
    if line.level == Level::Error {
        whole.status = Status::error(line.message.clone());
    }
    let mut exported = vec![whole];
    for (index, part) in (1..).zip(parts) {
        // What was before the hop is its caller's child, beside the hop.
        let parent = if part.start < own.start { caller } else { own_id };
        let id = derived(u64::from_be_bytes(own_id.to_bytes()).wrapping_add(index));
        exported.push(data(part, id, parent, part_kind(&part.name)));
    }
    exported
}

fn kind(line: &LogLine) -> SpanKind {
    if line.fields.contains_key("method") {
        SpanKind::Server
    } else if line.fields.contains_key("parent_span_id") {
        // Who is called by another hop, and not by HTTP, takes messages.
        SpanKind::Consumer
    } else {
        SpanKind::Internal
    }
}

fn part_kind(name: &str) -> SpanKind {
    match name.split_once('.') {
        Some(("sns" | "events", _)) => SpanKind::Producer,
        Some(("dynamodb" | "postgres", _)) => SpanKind::Client,
        _ => SpanKind::Internal,
    }
}

fn attributes(line: &LogLine) -> Vec<KeyValue> {
    let id = line.appointment_id.iter().map(|id| KeyValue::new("appointment.id", id.clone()));
    let fields = ATTRIBUTES.iter().filter_map(|&(field, name)| {
        Some(match line.fields.get(field)? {
            Value::String(text) => KeyValue::new(name, text.clone()),
            Value::Number(number) => KeyValue::new(name, number.as_i64()?),
            Value::Bool(value) => KeyValue::new(name, *value),
            _ => return None,
        })
    });
    id.chain(fields).collect()
}

/// An id that no other span of its trace has, but by chance: the output of SplitMix64
/// (<https://prng.di.unimi.it/splitmix64.c>), whose states are apart.
fn derived(seed: u64) -> SpanId {
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    SpanId::from_bytes((bits ^ (bits >> 31)).max(1).to_be_bytes())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

    use opentelemetry_otlp::WithExportConfig as _;

    use super::*;

    #[test]
    fn a_hop_is_its_callers_child_its_calls_are_its_own_and_waits_stand_beside_it() {
        let line = LogLine::parse(
            r#"{"timestamp":"2026-11-28T03:41:05.500Z","level":"ERROR","service":"confirmation","message":"outcome applied",
            "trace_id":"f44af53fcfacf9aa38d2748c17b35542","span_id":"8841ef29519acfdd","parent_span_id":"35b00db0f3252153",
            "appointment_id":"01a2203e-0613-7677-9165-7fc241f3c1e9","country":"PE","person":"0123456789abcdef","actor":"ana",
            "duration_ms":10,"spans":[{"name":"sqs.wait","start_offset_ms":-7,"duration_ms":6},
            {"name":"dynamodb.UpdateItem","start_offset_ms":0,"duration_ms":4},
            {"name":"events.PutEvents","start_offset_ms":4,"duration_ms":6}]}"#,
        );
        let spans = exported(&line.unwrap());
        let (own, caller) =
            (SpanId::from_hex("8841ef29519acfdd").unwrap(), SpanId::from_hex("35b00db0f3252153").unwrap());
        let told: Vec<_> =
            spans.iter().map(|span| (&*span.name, span.parent_span_id, span.span_kind.clone())).collect();
        assert_eq!(
            told,
            [
                ("outcome applied", caller, SpanKind::Consumer),
                ("sqs.wait", caller, SpanKind::Internal),
                ("dynamodb.UpdateItem", own, SpanKind::Client),
                ("events.PutEvents", own, SpanKind::Producer),
            ]
        );
        assert_eq!(spans[0].span_context.span_id(), own);
        assert_eq!(spans[0].status, Status::error("outcome applied"));
        let mut ids: Vec<_> = spans.iter().map(|span| span.span_context.span_id()).collect();
        ids.dedup();
        assert_eq!(ids.len(), 4);
        let attributes: Vec<_> = spans[0].attributes.iter().map(|pair| pair.key.as_str()).collect();
        assert_eq!(attributes, ["appointment.id", "appointment.country"], "who acted on whom stays in the logs");
    }

    #[tokio::test]
    async fn what_a_collector_does_not_take_is_lost_and_told() {
        let client = Client(NativeTransport::new());
        let builder = SpanExporter::builder().with_http().with_endpoint("http://127.0.0.1:1/v1/traces");
        let exporter = Exporter::sending(builder.with_http_client(client).build().unwrap(), "intake".to_owned());
        assert!(exporter.flush().await.is_ok(), "nothing to send");
        let line = r#"{"timestamp":"2026-11-28T03:41:05Z","level":"INFO","service":"s","message":"m","duration_ms":1,
            "trace_id":"f44af53fcfacf9aa38d2748c17b35542"}"#;
        for _ in 0..=CAPACITY {
            exporter.offer(line);
        }
        let began = std::time::Instant::now();
        let error = exporter.flush().await.unwrap_err().to_string();
        assert!(error.contains("(spans lost: 4097)"), "{error}");
        assert!(began.elapsed() < FLUSH_LIMIT * 3, "a function's response waits for it");
        assert!(exporter.flush().await.is_ok(), "they are not sent again");
    }

    #[test]
    fn a_line_without_ids_begins_a_trace_and_one_without_a_trace_is_no_span() {
        let line = |trace: &str| {
            let text = format!(
                r#"{{"timestamp":"2026-11-28T03:41:05Z","level":"INFO","service":"s","message":"m","duration_ms":1{trace}}}"#
            );
            exported(&LogLine::parse(&text).unwrap())
        };
        let spans = line(r#","trace_id":"f44af53fcfacf9aa38d2748c17b35542""#);
        assert_eq!((spans.len(), spans[0].parent_span_id), (1, SpanId::INVALID));
        assert_ne!(spans[0].span_context.span_id(), SpanId::INVALID);
        assert_eq!(line("").len() + line(r#","trace_id":"no hexadecimal digits""#).len(), 0);
    }
}
