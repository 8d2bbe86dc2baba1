use std::sync::Arc;

use serde_json::json;
use spans::Exporter;

use crate::logs::{Level, LogSink, host_message};

/// Sends what lines say about time to the OpenTelemetry collector that the environment names.
#[derive(Clone)]
pub struct SpanExport {
    exporter: Arc<Exporter>,
    log: LogSink,
}

impl SpanExport {
    /// The sink `log`, which from now on also hands each line to the export, and the export: `None` where the environment names no
    /// collector (`OTEL_EXPORTER_OTLP_ENDPOINT`), or one that cannot be, of which a line tells. `service` names the program where
    /// `OTEL_SERVICE_NAME` does not.
    #[must_use]
    pub fn from_environment(service: &str, log: LogSink) -> (LogSink, Option<Self>) {
        match Exporter::from_environment(service) {
            Ok(None) => (log, None),
            Ok(Some(exporter)) => {
                let exporter = Arc::new(exporter);
                let export = Self { exporter: exporter.clone(), log: log.clone() };
                let tee: LogSink = Arc::new(move |line| {
                    exporter.offer(line.text);
                    log(line);
                });
                (tee, Some(export))
            }
            Err(fault) => {
                let fields = json!({ "reason": fault.to_string() });
                host_message(&log, Level::Error, "started without an exporter of spans", fields);
                (log, None)
            }
        }
    }

    /// Sends what there is, within a second. A line says what was lost.
    pub async fn flush(&self) {
        if let Err(error) = self.exporter.flush().await {
            let fields = json!({ "reason": error.to_string() });
            host_message(&self.log, Level::Warn, "spans were not exported", fields);
        }
    }
}
