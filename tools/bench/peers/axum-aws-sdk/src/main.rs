//! The native peer of `intake`: `POST /appointments` with axum and the official AWS SDK for Rust, as one writes it without
//! Wasm.
//!
//! It shares the domain crate: it validates the same and sends the same; everything else is the usual stack of a
//! native service: tokio on every processor, axum, the SDK's clients with their pools, `tracing` with JSON lines.

mod problem;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use appointment::{Appointment, AppointmentId, AppointmentRequest, Timestamp, TraceContext};
use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sns::types::MessageAttributeValue;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use backplane::{PendingShards, RepublishSchedule};
use clap::Parser;
use messages::{AppointmentMessage, Command};
use serde::Serialize;

use crate::problem::Problem;

/// Serve `POST /appointments` with axum and the AWS SDK for Rust.
#[derive(Parser)]
struct Options {
    /// The address to serve on.
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where DynamoDB listens.
    #[arg(long, value_name = "URL")]
    dynamodb: String,
    /// Where SNS listens.
    #[arg(long, value_name = "URL")]
    sns: String,
    /// The table.
    #[arg(long)]
    table: String,
    /// The topic's ARN.
    #[arg(long)]
    topic_arn: String,
    /// As the variable of the component.
    #[arg(long)]
    republish_delays_seconds: RepublishSchedule,
}

struct Intake {
    dynamodb: aws_sdk_dynamodb::Client,
    sns: aws_sdk_sns::Client,
    table: String,
    topic_arn: String,
    schedule: RepublishSchedule,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().json().flatten_event(true).with_target(false).init();
    match serve(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("axum-aws-sdk: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(options: Options) -> std::io::Result<()> {
    let https = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let shared = aws_config::defaults(BehaviorVersion::latest()).http_client(https).load().await;
    let dynamodb = aws_sdk_dynamodb::config::Builder::from(&shared).endpoint_url(options.dynamodb).build();
    let sns = aws_sdk_sns::config::Builder::from(&shared).endpoint_url(options.sns).build();
    let intake = Intake {
        dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb),
        sns: aws_sdk_sns::Client::from_conf(sns),
        table: options.table,
        topic_arn: options.topic_arn,
        schedule: options.republish_delays_seconds,
    };
    let app = Router::new()
        .route("/appointments", post(book))
        // Both are told apart below, because the responses must have the API's form.
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::new(intake));
    let listener = tokio::net::TcpListener::bind(options.listen).await?;
    axum::serve(axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true))), app).await
}

#[derive(Serialize)]
struct Accepted<'a> {
    #[serde(flatten)]
    appointment: &'a Appointment,
    message: &'static str,
}

async fn book(State(intake): State<Arc<Intake>>, headers: HeaderMap, body: Bytes) -> Response {
    let arrived = Instant::now();
    let mut random = [0; 34];
    if getrandom::fill(&mut random).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let [id @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = random;
    let [_, _, _, _, _, _, _, _, _, _, span @ ..] = random;
    let trace = match headers.get("traceparent").and_then(|value| value.to_str().ok()?.parse::<TraceContext>().ok()) {
        Some(caller) => caller.child(id_span(span)),
        None => TraceContext::start(span),
    };
    let booked = intake.book(&headers, &body, id, trace).await;
    let duration_ms = arrived.elapsed().as_secs_f64() * 1000.0;
    match booked {
        Ok(appointment) => {
            tracing::info!(
                trace_id = trace.trace_id(),
                method = "POST",
                route = "/appointments",
                status = 202,
                appointment_id = %appointment.appointment_id,
                country = appointment.country.as_str(),
                duration_ms,
                "appointment accepted"
            );
            accepted(&appointment)
        }
        Err(problem) => {
            tracing::warn!(trace_id = trace.trace_id(), code = problem.code(), duration_ms, "request refused");
            problem.into_response()
        }
    }
}

fn id_span(random: [u8; 24]) -> [u8; 8] {
    let [span @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = random;
    span
}

fn accepted(appointment: &Appointment) -> Response {
    let body = Accepted { appointment, message: "Estamos procesando su cita." };
    let location = format!("/appointments/{}/{}", appointment.insured_id.as_str(), appointment.appointment_id);
    let headers = [
        (CONTENT_TYPE, "application/json".to_owned()),
        (CACHE_CONTROL, "no-store".to_owned()),
        (CONTENT_LANGUAGE, "es".to_owned()),
        (LOCATION, location),
    ];
    let body = serde_json::to_vec(&body).unwrap_or_default();
    (StatusCode::ACCEPTED, headers, [("x-content-type-options", "nosniff")], body).into_response()
}

impl Intake {
    async fn book(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        random: [u8; 10],
        trace: TraceContext,
    ) -> Result<Appointment, Problem> {
        let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()?.split(';').next());
        if !media_type.is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case("application/json")) {
            return Err(Problem::UNSUPPORTED_MEDIA_TYPE);
        }
        if body.len() > 4096 {
            return Err(Problem::BODY_TOO_LARGE);
        }
        let wanted = AppointmentRequest::from_json(body).map_err(Problem::from)?;
        let now = Timestamp::from(SystemTime::now());
        let appointment = wanted.into_appointment(AppointmentId::new(now, random), now);
        self.write(&appointment, trace).await?;
        self.publish(&appointment, trace).await;
        Ok(appointment)
    }

    async fn write(&self, appointment: &Appointment, trace: TraceContext) -> Result<(), Problem> {
        let created_at = appointment.created_at.to_string();
        let shard = PendingShards::default().of(appointment.country, appointment.appointment_id);
        let since = self.schedule.first(appointment.created_at).to_string();
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let first = AttributeValue::M(
            [("status", text(appointment.status.as_str())), ("at", text(&created_at))]
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
        );
        self.dynamodb
            .put_item()
            .table_name(&self.table)
            .condition_expression("attribute_not_exists(sk)")
            .item("insuredId", text(appointment.insured_id.as_str()))
            .item("sk", AttributeValue::S(format!("appointment#{}", appointment.appointment_id)))
            .item("scheduleId", AttributeValue::N(appointment.schedule_id.to_string()))
            .item("countryISO", text(appointment.country.as_str()))
            .item("status", text(appointment.status.as_str()))
            .item("createdAt", text(&created_at))
            .item("updatedAt", text(&created_at))
            .item("history", AttributeValue::L(vec![first]))
            .item("traceparent", AttributeValue::S(trace.to_string()))
            .item("shard", text(&shard))
            .item("pendingShard", AttributeValue::S(shard))
            .item("pendingSince", AttributeValue::S(since))
            .item("pendingAttempt", AttributeValue::N("0".to_owned()))
            .send()
            .await
            .map_err(|error| {
                tracing::warn!(error = %aws_sdk_dynamodb::error::DisplayErrorContext(&error), "PutItem failed");
                Problem::TEMPORARILY_UNAVAILABLE
            })?;
        Ok(())
    }

    /// A failure is left to the republisher: the row is in the index `pending`.
    async fn publish(&self, appointment: &Appointment, trace: TraceContext) {
        let Some(message) = AppointmentMessage::new(Command::Request, appointment, trace) else { return };
        let attribute =
            |value: &str| MessageAttributeValue::builder().data_type("String").string_value(value).build().ok();
        let attributes = [("countryISO", appointment.country.as_str()), ("type", Command::Request.as_str())]
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), attribute(value)?)))
            .collect();
        let published = self
            .sns
            .publish()
            .topic_arn(&self.topic_arn)
            .message(message.to_json())
            .set_message_attributes(Some(attributes))
            .send()
            .await;
        if let Err(error) = published {
            tracing::warn!(error = %aws_sdk_sns::error::DisplayErrorContext(&error), "Publish failed");
        }
    }
}
