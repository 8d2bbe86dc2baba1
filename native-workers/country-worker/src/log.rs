use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use appointment::Timestamp;
use serde::Serialize;
use serde_json::{Map, Number, Value};
use spans::Exporter;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Writes this crate's log lines from `INFO` on, and the libraries' from `WARN` on (below that they show requests and
/// responses, which hold personal data), to the standard output: one JSON object a line with `timestamp`, `level`,
/// `service`, `message` and the event's fields beside them. A panic becomes a line with its place; its message may quote
/// what was being handled, and stays out.
///
/// Where a collector is set (`OTEL_EXPORTER_OTLP_ENDPOINT`), the lines go to the exporter too, which sends them when it is flushed.
pub(crate) fn start(service: String) -> Option<Arc<Exporter>> {
    let levels = Targets::new().with_default(Level::WARN).with_target(env!("CARGO_CRATE_NAME"), Level::INFO);
    let (exporter, fault) = match Exporter::from_environment(&service) {
        Ok(exporter) => (exporter.map(Arc::new), None),
        Err(fault) => (None, Some(fault)),
    };
    let lines = tracing_subscriber::fmt::layer().event_format(Lines { service, exporter: exporter.clone() });
    // A second call, as by a test that runs two workers in one process, keeps the first one's lines.
    let _ = tracing_subscriber::registry().with(levels).with(lines).try_init();
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, "panicked");
    }));
    if let Some(fault) = fault {
        tracing::error!(error = %fault, "started without an exporter of spans");
    }
    exporter
}

/// The time that something took, in milliseconds with three decimals.
pub(crate) fn milliseconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

struct Lines {
    service: String,
    exporter: Option<Arc<Exporter>>,
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'static str,
    service: &'a str,
    message: String,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = Line {
            timestamp: Timestamp::from(SystemTime::now()).to_string(),
            level: event.metadata().level().as_str(),
            service: &self.service,
            message: fields.message,
            fields: fields.others,
        };
        let text = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        if let Some(exporter) = &self.exporter {
            exporter.offer(&text);
        }
        writeln!(writer, "{text}")
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        self.others.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.set(field, format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            // The one field that is a list: events have only flat ones, so it comes as JSON.
            "spans" => self.set(field, serde_json::from_str::<Value>(value).unwrap_or_default()),
            _ => self.set(field, value),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, Number::from_f64(value).map_or(Value::Null, Value::Number));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }
}
