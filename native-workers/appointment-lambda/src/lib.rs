//! One component of the Spin application as a Lambda function (`provided.al2023`).
//!
//! The package holds this program as `bootstrap`, the unchanged `spin.toml`, and each component compiled ahead of time
//! (`<component>.cwasm`). `SPIN_COMPONENT` says which one a function runs. The component speaks Spin's two trigger interfaces;
//! this program turns Lambda's events into them, in process:
//!
//! | event | what the component gets |
//! | --- | --- |
//! | an HTTP API's request (payload format 2.0) | the HTTP request, where one of its public routes matches |
//! | messages of SQS | each message by `handle-queue-message`, in its own instance, ten at a time; the response names those that failed |
//! | `{"countryISO":"PE"}`, from the schedule | `POST /internal/republish` with that body, again while the response says `more` and there is time |
//!
//! The function responds when the event's instances have ended and their lines are on the standard output: after that Lambda freezes the
//! process.
//!
//! The crate is not called `appointment`, as the function is, because the domain is (`crates/appointment`).

mod event;
mod function;
mod gateway;
mod queue;
mod schedule;
mod settings;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use edge_host::{Level, LogSink, SpanExport, host_message};
use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

use crate::event::Deadline;
use crate::function::Function;

/// The whole program: loads the component and processes events until Lambda stops the execution environment.
#[must_use]
pub fn run() -> ExitCode {
    let log = standard_output();
    let panics = log.clone();
    // A panic's message may quote what was being handled, and stays out.
    std::panic::set_hook(Box::new(move |panic| {
        let location = panic.location().map(ToString::to_string);
        host_message(&panics, Level::Error, "panicked", json!({ "location": location }));
    }));
    let finished = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::from)
        .and_then(|runtime| runtime.block_on(serve(log.clone())));
    match finished {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            host_message(&log, Level::Error, "the function did not start", json!({ "reason": error.to_string() }));
            ExitCode::FAILURE
        }
    }
}

/// Where a collector is set (`OTEL_EXPORTER_OTLP_ENDPOINT`), it gets the spans of each event before the function responds.
async fn serve(log: LogSink) -> Result<(), Error> {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        return Err("AWS_LAMBDA_RUNTIME_API is not set: this is a Lambda function, which only Lambda starts".into());
    }
    let (log, spans) = SpanExport::from_environment(&std::env::var("SPIN_COMPONENT").unwrap_or_default(), log);
    let function = &Function::of_package(log.clone())?;
    let (log, spans) = (&log, &spans);
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| async move {
        let deadline = Deadline::at(event.context.deadline);
        let result = function.handle(event.payload, deadline).await;
        if let Err(error) = &result {
            let fields = json!({ "reason": error.to_string(), "aws_request_id": event.context.request_id });
            host_message(log, Level::Error, "an event failed", fields);
        }
        if let Some(spans) = spans {
            spans.flush().await;
        }
        result.map_err(Diagnostic::from)
    }))
    .await
}

/// Lambda takes lines from the standard output. Each leaves in one write, and nothing stays behind.
fn standard_output() -> LogSink {
    Arc::new(|line| {
        let text = format!("{}\n", line.text);
        let mut output = std::io::stdout().lock();
        // If the output is gone, nobody can be told.
        let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    })
}
