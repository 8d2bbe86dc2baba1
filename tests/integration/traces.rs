//! A booking's way as spans: in the logs, and at an OpenTelemetry collector.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use console::spans::{LogFolder, LogLine};
use console::timeline::{Timeline, traces_of};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tests::{stack, stack_with_collector};
use tokio::net::TcpListener;

use crate::application::{EntryPoint, PATIENCE, book_by, decided, fresh_slot};

/// The part of the time from `202` to `completed` of which spans have to tell.
const EXPLAINED_PERCENT: f64 = 95.0;

/// What passes between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// How long lines are waited for before another booking brings them along.
const NEXT_INVOCATION: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_bookings_time_is_explained_by_spans() {
    let stack = &*stack().await;
    for (entry_point, country) in
        EntryPoint::ALL.into_iter().flat_map(|entry_point| [(entry_point, "PE"), (entry_point, "CL")])
    {
        let (booking, trace) = book_by(entry_point, stack, country, fastrand::u32(0..100_000), fresh_slot()).await;
        assert_eq!(decided(stack, &booking).await["status"], "completed");

        let started = Instant::now();
        let mut asked = started;
        let mut logs = LogFolder::new(stack.services().logs());
        let mut lines: Vec<LogLine> = Vec::new();
        let hops =
            ["intake".to_owned(), format!("appointment-{}", country.to_ascii_lowercase()), "confirmation".to_owned()];
        let timeline = loop {
            lines.extend(logs.read().unwrap());
            let told = |hop: &String| {
                let mut own = lines.iter().filter(|line| line.trace_id.as_ref() == Some(&trace));
                own.any(|line| line.service == *hop)
            };
            if hops.iter().all(told) {
                break Timeline::of(&trace, &lines).unwrap();
            }
            assert!(started.elapsed() < PATIENCE, "the logs do not tell of all hops of {}", booking.id);
            tokio::time::sleep(PAUSE).await;
            // The emulator gives a function's output up to 50 ms to reach it, and else takes it with the next invocation.
            if asked.elapsed() > NEXT_INVOCATION {
                book_by(entry_point, stack, country, fastrand::u32(0..100_000), fresh_slot()).await;
                asked = Instant::now();
            }
        };
        let explained = timeline.explained().expect("from 202 to completed");
        let text = timeline.text(console::terminal::Colour::Off);
        println!("{entry_point:?}\n{text}");
        assert!(explained.percent() >= EXPLAINED_PERCENT, "{} % in {explained:#?}\n{text}", explained.percent());
        assert_eq!(traces_of(&booking.id.to_string(), &lines), [trace.as_str()]);
        for part in ["(sqs.wait)", "(lambda.invoke)", "(eventbridge.wait)", "  dynamodb.PutItem", "  sns.Publish"]
            .into_iter()
            .chain(["  postgres.decide", "  events.PutEvents", "  dynamodb.UpdateItem"])
        {
            assert!(text.contains(part), "no {part} in\n{text}");
        }
    }
}

/// A collector: it takes OTLP over HTTP, and keeps what it got.
struct Collector {
    url: String,
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = requests.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = kept.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let kept = kept.clone();
                    async move {
                        assert_eq!((request.method(), request.uri().path()), (&Method::POST, "/v1/traces"));
                        assert_eq!(request.headers()["content-type"], "application/x-protobuf");
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        kept.lock().unwrap().push(ExportTraceServiceRequest::decode(body).unwrap());
                        Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, requests }
    }

    /// The spans of a trace, each with the name of the program that sent it.
    fn spans(&self, trace: &str) -> Vec<(String, Span)> {
        let mut found = Vec::new();
        for resource in self.requests.lock().unwrap().iter().flat_map(|request| &request.resource_spans) {
            let attributes = attributes(&resource.resource.as_ref().unwrap().attributes);
            let spans = resource.scope_spans.iter().flat_map(|scope| &scope.spans);
            let own = spans.filter(|span| hexadecimal(&span.trace_id) == trace);
            found.extend(own.map(|span| (attributes["service.name"].clone(), span.clone())));
        }
        found
    }
}

fn attributes(attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &any_value::Value| match value {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let pair = |pair: &opentelemetry_proto::tonic::common::v1::KeyValue| {
        let value = pair.value.as_ref().and_then(|value| value.value.as_ref()).map(text);
        (pair.key.clone(), value.unwrap_or_default())
    };
    attributes.iter().map(pair).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn the_spans_of_a_booking_reach_a_collector_in_one_trace() {
    let collector = Collector::start().await;
    let stack = stack_with_collector("collector", collector.url.clone()).await;
    for (entry_point, program) in [(EntryPoint::Edge, "edge-host"), (EntryPoint::ApiGateway, "intake")] {
        let (booking, trace) = book_by(entry_point, &stack, "PE", 4711, fresh_slot()).await;
        assert_eq!(decided(&stack, &booking).await["status"], "completed");

        let started = Instant::now();
        let spans = loop {
            let spans = collector.spans(&trace);
            let programs = [program, "appointment-pe", "confirmation"];
            if programs.iter().all(|program| spans.iter().any(|(from, _)| from == program)) {
                break spans;
            }
            assert!(started.elapsed() < PATIENCE, "the collector has only {spans:#?}");
            tokio::time::sleep(PAUSE).await;
        };
        let find = |program: &str, name: &str| {
            let mut found = spans.iter().filter(|(from, span)| from == program && span.name == name);
            let (_, span) = found.next().unwrap_or_else(|| panic!("no {name} of {program} in {spans:#?}"));
            assert!(found.next().is_none(), "two {name} of {program} in {spans:#?}");
            span
        };
        let hops = [
            (program, "appointment accepted", vec!["dynamodb.PutItem", "sns.Publish"], vec![]),
            (
                "appointment-pe",
                "appointment decided and reported",
                vec!["postgres.decide", "events.PutEvents"],
                vec!["sqs.wait", "lambda.invoke"],
            ),
            (
                "confirmation",
                "outcome applied",
                vec!["dynamodb.UpdateItem", "events.PutEvents"],
                vec!["eventbridge.wait", "sqs.wait", "lambda.invoke"],
            ),
        ];
        let mut caller: Option<&Span> = None;
        let mut expected = 0;
        for (program, name, calls, waits) in &hops {
            let hop = find(program, name);
            // The request's own `traceparent` names a client that exports nothing.
            match caller {
                Some(caller) => assert_eq!(hop.parent_span_id, caller.span_id, "{name}"),
                None => assert_eq!(hop.parent_span_id.len(), 8, "{name}"),
            }
            for call in calls {
                let call = find(program, call);
                assert_eq!(call.parent_span_id, hop.span_id, "{call:#?}");
                assert!(call.start_time_unix_nano >= hop.start_time_unix_nano, "{call:#?}");
                assert!(call.end_time_unix_nano <= hop.end_time_unix_nano + 1_000_000, "{call:#?}");
            }
            for wait in waits {
                let wait = find(program, wait);
                assert_eq!(wait.parent_span_id, hop.parent_span_id, "{wait:#?}");
                assert!(wait.start_time_unix_nano <= hop.start_time_unix_nano, "{wait:#?}");
            }
            let told = attributes(&hop.attributes);
            assert_eq!((&*told["appointment.id"], &*told["appointment.country"]), (&*booking.id.to_string(), "PE"));
            caller = Some(hop);
            expected += 1 + calls.len() + waits.len();
        }
        assert_eq!(spans.len(), expected, "{spans:#?}");
        let texts = spans.iter().flat_map(|(_, span)| attributes(&span.attributes).into_values());
        let mut texts = texts.chain(spans.iter().map(|(_, span)| span.name.clone()));
        assert!(texts.all(|text| text != booking.insured), "a span names the person");
    }
}
