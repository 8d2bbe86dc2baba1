//! From `202` to `completed` on the local stack, hop by hop, and what the emulator's own hops take.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use appointment::{Status, Timestamp};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use local_stack::application::Host;
use local_stack::archive::{self, Entry};
use local_stack::artifacts::Artifacts;
use local_stack::http::Http;
use local_stack::progress::Progress;
use local_stack::provision::{Api, lambda_trust_policy};
use local_stack::{ApplicationOptions, LocalStack, Options, Ports, Services};
use operator::aws::Aws;
use operator::backplane::{Backplane, CatalogueKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use uuid::Uuid;

use crate::burst::{self, Burst};
use crate::measure::Spread;
use crate::subjects::Programs;

/// How long bookings may take to be completed after the last one was sent.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Bookings a second, and for how many seconds.
    pub(crate) rates: &'static [(u32, u32)],
    /// How often the emulator's own hops are timed.
    pub(crate) emulator_hops: usize,
    /// Bookings of the burst whose messages are counted.
    pub(crate) burst: u32,
    /// Whether the functions are those that are deployed, and the host at the edge is optimised; else they are as the tests
    /// have them.
    pub(crate) packaged: bool,
}

impl Plan {
    pub(crate) const FULL: Self =
        Self { rates: &[(1, 15), (10, 10), (50, 8), (100, 6)], emulator_hops: 30, burst: 800, packaged: true };
    pub(crate) const QUICK: Self = Self { rates: &[(5, 2)], emulator_hops: 3, burst: 40, packaged: false };
}

/// How bookings reach intake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EntryPoint {
    /// API Gateway, and the function behind it.
    ApiGateway,
    /// The embedded host.
    Edge,
}

impl EntryPoint {
    const ALL: [Self; 2] = [Self::ApiGateway, Self::Edge];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::ApiGateway => "API Gateway, Lambda",
            Self::Edge => "edge",
        }
    }

    pub(crate) fn target(self, stack: &LocalStack) -> Target {
        let address = match self {
            Self::ApiGateway => Address::Api(stack.api().clone()),
            Self::Edge => Address::Edge(stack.url()),
        };
        Target { address, http: Http::default() }
    }
}

/// Where bookings are sent, over connections that are kept.
#[derive(Clone)]
pub(crate) struct Target {
    address: Address,
    http: Http,
}

#[derive(Clone)]
enum Address {
    Api(Api),
    Edge(String),
}

/// Milliseconds of a hop.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Hop {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Hop {
    fn of(mut milliseconds: Vec<f64>) -> Result<Self> {
        milliseconds.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            milliseconds.get((milliseconds.len() * percent / 100).min(milliseconds.len() - 1)).copied()
        };
        Ok(Self { p50: at(50).context("nothing was timed")?, p99: at(99).context("nothing was timed")? })
    }
}

/// Milliseconds of a hop between the `202` and `completed`, and its part of them.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Share {
    pub(crate) name: &'static str,
    #[serde(flatten)]
    pub(crate) hop: Hop,
    /// The sum of the hop over all bookings against the sum of the whole time.
    pub(crate) share: f64,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) entry_point: EntryPoint,
    pub(crate) bookings_per_second: u32,
    /// Those that were accepted, which are timed.
    pub(crate) bookings: usize,
    /// Those that were answered 503: the emulator took longer than intake waits.
    pub(crate) refused: usize,
    /// From the request to its `202`.
    pub(crate) accepted: Hop,
    /// What of that intake took, its calls to DynamoDB and SNS included.
    pub(crate) intake: Hop,
    /// From the `202` to the status `completed`.
    pub(crate) whole: Hop,
    /// The hops that the whole is made of, one after another.
    pub(crate) hops: Vec<Share>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct EndToEnd {
    pub(crate) rows: Vec<Row>,
    /// Rates that the stack could not hold, and how that showed; higher ones are not tried.
    pub(crate) not_held: Vec<String>,
    /// The emulator's hops with none of our code in between.
    pub(crate) emulator: Emulator,
    pub(crate) burst: Burst,
}

/// What the emulator's hops take alone, one message after another.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Emulator {
    /// SNS's `Publish` until SQS delivers to a receiver that waits.
    pub(crate) topic_to_queue_ms: Spread,
    /// SQS's `SendMessage` until a function that a mapping feeds has the message.
    pub(crate) queue_to_function_ms: Spread,
    /// EventBridge's `PutEvents` until SQS delivers to a receiver that waits.
    pub(crate) bus_to_queue_ms: Spread,
}

impl EndToEnd {
    /// The bookings of one way at a rate.
    pub(crate) fn find(&self, entry_point: EntryPoint, bookings_per_second: u32) -> Option<&Row> {
        self.rows.iter().find(|row| row.entry_point == entry_point && row.bookings_per_second == bookings_per_second)
    }
}

pub(crate) async fn measure(programs: &Programs, plan: Plan, progress: &Progress) -> Result<EndToEnd> {
    let step = progress.noisy_step("end to end");
    // With the durations that are deployed, so that nothing comes again sooner than it would on AWS.
    let backplane = Backplane::load(&programs.root)?.with_catalogue(CatalogueKind::External);
    let artifacts =
        if plan.packaged { Artifacts::packaged(&programs.root) } else { Artifacts::build(&programs.root, &backplane)? };
    // A stack each, so that none has to work off what another was sent too fast.
    let start = async || {
        let options = Options {
            root: programs.root.clone(),
            instance: "bench".to_owned(),
            backplane: backplane.clone(),
            ports: Ports::default(),
            telemetry: BTreeMap::new(),
        };
        let application_options = ApplicationOptions::new(&programs.root, &artifacts, Host::Embedded);
        LocalStack::start(options, application_options, &Progress::silent()).await
    };
    let mut slots = (0..).map(|series: u64| series * 1_000_000 + 1);
    let mut first_slot = || slots.next().context("a series of slots");
    let (mut rows, mut not_held) = (Vec::new(), Vec::new());
    for entry_point in EntryPoint::ALL {
        let stack = start().await?;
        for &(rate, seconds) in plan.rates {
            progress.note(&format!("{}: {rate} bookings per second", entry_point.label()));
            match at_rate(&stack, entry_point, rate, seconds, first_slot()?, first_slot()?).await {
                Ok(row) => rows.push(row),
                Err(error) => {
                    not_held.push(format!("{}, {rate} per second: {error:#}", entry_point.label()));
                    break;
                }
            }
        }
    }
    progress.note(&format!("a burst of {} bookings", plan.burst));
    let stack = start().await?;
    let burst = burst::measure(&stack, plan.burst, first_slot()?).await?;
    let emulator = emulator(stack.services(), plan.emulator_hops).await?;
    step.done("");
    Ok(EndToEnd { rows, not_held, emulator, burst })
}

/// Bookings at a rate for some seconds, after one second that is not counted: functions start as many processes in it as they
/// need.
async fn at_rate(
    stack: &LocalStack,
    entry_point: EntryPoint,
    rate: u32,
    seconds: u32,
    first_slot: u64,
    counted_from: u64,
) -> Result<Row> {
    bookings(stack, entry_point, rate, rate, first_slot).await?;
    bookings(stack, entry_point, rate, rate * seconds, counted_from).await
}

async fn emulator(services: &Services, times: usize) -> Result<Emulator> {
    let aws = services.aws();
    Ok(Emulator {
        topic_to_queue_ms: Probe::topic(&aws, services.topic_arn()).await?.times(&aws, times).await?,
        queue_to_function_ms: Mapping::create(services).await?.times(&aws, times).await?,
        bus_to_queue_ms: Probe::bus(&aws, &services.backplane().bus.name).await?.times(&aws, times).await?,
    })
}

/// A booking that was accepted.
pub(crate) struct Booked {
    id: Uuid,
    sent: SystemTime,
    accepted: SystemTime,
}

/// Books `count` slots from `first_slot` on at a rate, waits until all are completed, and times the hops.
async fn bookings(stack: &LocalStack, entry_point: EntryPoint, rate: u32, count: u32, first_slot: u64) -> Result<Row> {
    let began = Instant::now();
    let target = entry_point.target(stack);
    let mut tasks = JoinSet::new();
    for number in 0..count {
        sleep_until((began + Duration::from_secs(1) * number / rate).into()).await;
        let target = target.clone();
        tasks.spawn(async move { book(&target, first_slot + u64::from(number)).await });
    }
    let (mut booked, mut refused) = (Vec::new(), 0);
    while let Some(one) = tasks.join_next().await {
        match one?? {
            Some(one) => booked.push(one),
            None => refused += 1,
        }
    }
    let given_up = Instant::now() + PATIENCE;
    let (steps, intake) = loop {
        let logged = Logged::read(&stack.services().logs())?;
        let steps = booked.iter().map(|one| logged.steps(one)).collect::<Option<Vec<_>>>();
        let intake = booked.iter().map(|one| logged.intake_ms(one)).collect::<Option<Vec<_>>>();
        if let Some(both) = steps.zip(intake) {
            break both;
        }
        ensure!(Instant::now() < given_up, "a booking was not completed in {} s", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    let whole: Vec<f64> = steps.iter().map(|steps| between(steps.accepted, steps.completed)).collect();
    let hop = |name, from: fn(&Steps) -> SystemTime, to: fn(&Steps) -> SystemTime| -> Result<Share> {
        let each: Vec<f64> = steps.iter().map(|steps| between(from(steps), to(steps))).collect();
        Ok(Share { name, share: each.iter().sum::<f64>() / whole.iter().sum::<f64>(), hop: Hop::of(each)? })
    };
    let hops = vec![
        hop("SNS, SQS, mapping", |steps| steps.accepted, |steps| steps.received)?,
        hop("worker: SQL", |steps| steps.received, |steps| steps.decided)?,
        hop("PutEvents, rule, SQS, mapping", |steps| steps.decided, |steps| steps.delivered)?,
        hop("confirmation", |steps| steps.delivered, |steps| steps.completed)?,
    ];
    Ok(Row {
        entry_point,
        bookings_per_second: rate,
        bookings: booked.len(),
        refused,
        accepted: Hop::of(booked.iter().map(|one| between(one.sent, one.accepted)).collect())?,
        intake: Hop::of(intake)?,
        whole: Hop::of(whole)?,
        hops,
    })
}

/// Zero where the clock's milliseconds make the later instant the earlier one, and where the topic was faster than `202`.
fn between(earlier: SystemTime, later: SystemTime) -> f64 {
    later.duration_since(earlier).unwrap_or_default().as_secs_f64() * 1000.0
}

/// When a booking went from one hop to the next.
struct Steps {
    accepted: SystemTime,
    /// The worker had the message.
    received: SystemTime,
    /// The worker had decided, and handed its event to the bus.
    decided: SystemTime,
    /// The confirmation had the event.
    delivered: SystemTime,
    /// The confirmation had written the status.
    completed: SystemTime,
}

/// A line of a function's or of the application's log, by its members.
#[derive(Deserialize)]
struct Line {
    timestamp: Timestamp,
    trace_id: Option<String>,
    /// Of a line about a batch: its traces, one space between.
    trace_ids: Option<String>,
    batch_size: Option<u64>,
    appointment_id: Option<Uuid>,
    appointment_status: Option<Status>,
    /// Of a line about an outcome that a country reported.
    outcome: Option<String>,
    /// Of a line about a request.
    method: Option<String>,
    #[serde(default)]
    duration_ms: f64,
    put_events_duration_ms: Option<f64>,
}

impl Line {
    /// How long before the line was written something was, by a duration that it tells.
    fn before(&self, milliseconds: f64) -> SystemTime {
        SystemTime::from(self.timestamp) - Duration::from_secs_f64(milliseconds / 1000.0)
    }
}

/// What the functions got from their queues.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Deliveries {
    /// Messages in the workers' batches.
    pub(crate) commands: u64,
    /// Messages that the confirmation handled.
    pub(crate) outcomes: u64,
}

/// What the logs of the stack tell of its bookings.
#[derive(Default)]
pub(crate) struct Logged {
    /// Intake's line about the request, by the appointment.
    booked: HashMap<Uuid, Line>,
    /// The worker's lines about its batches.
    batches: Vec<Arc<Line>>,
    /// The same by the traces in them.
    batches_by_trace: HashMap<String, Arc<Line>>,
    /// When the confirmation handled an outcome.
    outcomes: Vec<Timestamp>,
    /// The confirmation's line about the outcome that completed it, by the appointment.
    confirmed: HashMap<Uuid, Line>,
}

impl Logged {
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let mut logged = Self::default();
        for file in ["application.log", "functions.log", "workers.log"] {
            for text in fs::read_to_string(folder.join(file))?.lines() {
                // The host at the edge writes the component's name before a line.
                let Some(start) = text.find('{') else { continue };
                let Some(line) = text.get(start..).and_then(|text| serde_json::from_str::<Line>(text).ok()) else {
                    continue;
                };
                logged.take(line);
            }
        }
        Ok(logged)
    }

    fn take(&mut self, line: Line) {
        if let Some(traces) = line.trace_ids.clone() {
            let line = Arc::new(line);
            self.batches.push(line.clone());
            self.batches_by_trace.extend(traces.split(' ').map(|trace| (trace.to_owned(), line.clone())));
            return;
        }
        let Some(id) = line.appointment_id else { return };
        if line.method.as_deref() == Some("POST") {
            self.booked.insert(id, line);
        } else if let (Some(status), true) = (line.appointment_status, line.outcome.is_some()) {
            self.outcomes.push(line.timestamp);
            if status == Status::Completed {
                // The first: a repetition completes nothing.
                self.confirmed.entry(id).or_insert(line);
            }
        }
    }

    /// `None` as long as a line is missing.
    fn steps(&self, booked: &Booked) -> Option<Steps> {
        let confirmed = self.confirmed.get(&booked.id)?;
        let batch = self.batches_by_trace.get(confirmed.trace_id.as_deref()?)?;
        Some(Steps {
            accepted: booked.accepted,
            received: batch.before(batch.duration_ms),
            decided: batch.before(batch.put_events_duration_ms?),
            delivered: confirmed.before(confirmed.duration_ms),
            completed: confirmed.before(0.0),
        })
    }

    /// How long intake took. `None` as long as its line is missing.
    fn intake_ms(&self, booked: &Booked) -> Option<f64> {
        Some(self.booked.get(&booked.id)?.duration_ms)
    }

    /// When a booking was completed.
    pub(crate) fn completed(&self, booked: &Booked) -> Option<SystemTime> {
        Some(self.confirmed.get(&booked.id)?.before(0.0))
    }

    pub(crate) fn deliveries_since(&self, time: SystemTime) -> Deliveries {
        let batches = self.batches.iter().filter(|line| SystemTime::from(line.timestamp) >= time);
        let outcomes = self.outcomes.iter().filter(|timestamp| SystemTime::from(**timestamp) >= time);
        Deliveries { commands: batches.filter_map(|line| line.batch_size).sum(), outcomes: outcomes.count() as u64 }
    }
}

/// Books a slot. `None` where it is answered 503.
pub(crate) async fn book(target: &Target, slot: u64) -> Result<Option<Booked>> {
    let country = if slot.is_multiple_of(2) { "PE" } else { "CL" };
    let insured_id = format!("{:05}", slot % 100_000);
    let body = json!({ "insuredId": insured_id, "scheduleId": slot, "countryISO": country });
    let request = match &target.address {
        Address::Api(api) => api.request("/appointments").method(http::Method::POST),
        Address::Edge(url) => http::Request::post(format!("{url}/appointments")),
    };
    let request = request.header(CONTENT_TYPE, "application/json").body(Bytes::from(body.to_string()))?;
    let sent = SystemTime::now();
    let answer = target.http.send_within(request, PATIENCE).await?;
    let accepted = SystemTime::now();
    if answer.status() == http::StatusCode::SERVICE_UNAVAILABLE {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(answer.body());
    ensure!(answer.status() == http::StatusCode::ACCEPTED, "a booking was answered {}: {text}", answer.status());
    let answer: Value = serde_json::from_str(&text)?;
    let id = answer.get("appointmentId").and_then(Value::as_str).context("a 202 without an id")?.parse()?;
    Ok(Some(Booked { id, sent, accepted }))
}

/// A queue of the benchmark's own behind the topic or the bus.
struct Probe<'a> {
    queue_url: String,
    send: Send<'a>,
}

enum Send<'a> {
    Topic(&'a str),
    Bus(&'a str),
}

impl<'a> Probe<'a> {
    /// A queue that a topic delivers to, as it does to a country's.
    async fn topic(aws: &Aws, topic_arn: &'a str) -> Result<Self> {
        let (queue_url, queue_arn) = queue(aws, "bench-topic", "sns.amazonaws.com").await?;
        let raw = [("Attributes.entry.1.key", "RawMessageDelivery"), ("Attributes.entry.1.value", "true")];
        let filter =
            [("Attributes.entry.2.key", "FilterPolicy"), ("Attributes.entry.2.value", r#"{"countryISO":["bench"]}"#)];
        let target = [("TopicArn", topic_arn), ("Protocol", "sqs"), ("Endpoint", &queue_arn)];
        aws.sns("Subscribe", &[&target[..], &raw[..], &filter[..]].concat()).await?;
        Ok(Self { queue_url, send: Send::Topic(topic_arn) })
    }

    /// A queue that a rule of a bus delivers to, as it does to the confirmation's.
    async fn bus(aws: &Aws, bus: &'a str) -> Result<Self> {
        let (queue_url, queue_arn) = queue(aws, "bench-bus", "events.amazonaws.com").await?;
        let rule = json!({ "Name": "bench", "EventBusName": bus, "EventPattern": r#"{"source":["bench"]}"# });
        aws.events("PutRule", &rule).await?;
        let targets = json!({ "Rule": "bench", "EventBusName": bus, "Targets": [{ "Id": "bench", "Arn": queue_arn }] });
        aws.events("PutTargets", &targets).await?;
        Ok(Self { queue_url, send: Send::Bus(bus) })
    }

    /// Sends and receives, one after another.
    async fn times(&self, aws: &Aws, count: usize) -> Result<Spread> {
        let mut times = Vec::new();
        for _ in 0..count {
            let receive = json!({ "QueueUrl": self.queue_url, "WaitTimeSeconds": 10 });
            let began = Instant::now();
            // The receiver waits already, as a mapping does.
            let (sent, received) = tokio::join!(self.send(aws), aws.sqs("ReceiveMessage", &receive));
            sent?;
            let received = received?;
            times.push(began.elapsed().as_secs_f64() * 1000.0);
            let receipt = received.pointer("/Messages/0/ReceiptHandle").context("nothing was delivered")?;
            aws.sqs("DeleteMessage", &json!({ "QueueUrl": self.queue_url, "ReceiptHandle": receipt })).await?;
        }
        Spread::of(times).context("nothing was timed")
    }

    async fn send(&self, aws: &Aws) -> Result<()> {
        match self.send {
            Send::Topic(topic_arn) => {
                let attribute = [
                    ("MessageAttributes.entry.1.Name", "countryISO"),
                    ("MessageAttributes.entry.1.Value.DataType", "String"),
                    ("MessageAttributes.entry.1.Value.StringValue", "bench"),
                ];
                aws.sns("Publish", &[&[("TopicArn", topic_arn), ("Message", "{}")][..], &attribute].concat()).await?;
            }
            Send::Bus(bus) => {
                let entry = json!({ "EventBusName": bus, "Source": "bench", "DetailType": "bench", "Detail": "{}" });
                aws.events("PutEvents", &json!({ "Entries": [entry] })).await?;
            }
        }
        Ok(())
    }
}

/// A function that does nothing, behind a queue of its own.
struct Mapping {
    queue_url: String,
}

impl Mapping {
    const NAME: &str = "bench-idle";
    const LOG_GROUP: &str = "/aws/lambda/bench-idle";

    async fn create(services: &Services) -> Result<Self> {
        let aws = services.aws();
        let zip = services.logs().with_file_name("idle-function.zip");
        let content = include_bytes!("../idle-function/bootstrap");
        archive::write(&zip, 1, &[Entry { path: "bootstrap", content, executable: true }])?;
        let (queue_url, queue_arn) = queue(&aws, Self::NAME, "lambda.amazonaws.com").await?;
        aws.logs("CreateLogGroup", &json!({ "logGroupName": Self::LOG_GROUP })).await?;
        let trust = lambda_trust_policy().to_string();
        aws.iam("CreateRole", &[("RoleName", Self::NAME), ("AssumeRolePolicyDocument", &trust)]).await?;
        let function = json!({
            "FunctionName": Self::NAME,
            "Runtime": "provided.al2023",
            "Handler": "bootstrap",
            "Role": format!("arn:aws:iam::{}:role/{}", local_stack::ministack::ACCOUNT, Self::NAME),
            "Code": { "ZipFile": BASE64_STANDARD.encode(fs::read(&zip)?) },
        });
        aws.lambda("/2015-03-31/functions", &function).await?;
        let mapping = json!({ "FunctionName": Self::NAME, "EventSourceArn": queue_arn, "BatchSize": 10 });
        aws.lambda("/2015-03-31/event-source-mappings/", &mapping).await?;
        Ok(Self { queue_url })
    }

    /// Sends messages, one after another. That which starts the function's process is not counted.
    async fn times(&self, aws: &Aws, count: usize) -> Result<Spread> {
        let mut ages = Vec::new();
        for number in 0..=count {
            let sent = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64() * 1000.0;
            aws.sqs("SendMessage", &json!({ "QueueUrl": self.queue_url, "MessageBody": sent.to_string() })).await?;
            let given_up = Instant::now() + PATIENCE;
            while ages.len() <= number {
                ensure!(Instant::now() < given_up, "the function got no message in {} s", PATIENCE.as_secs());
                tokio::time::sleep(Duration::from_millis(50)).await;
                ages = Self::ages(aws).await?;
            }
        }
        Spread::of(ages.into_iter().skip(1)).context("nothing was timed")
    }

    /// How old each message was when the function had it, in the order of the log.
    async fn ages(aws: &Aws) -> Result<Vec<f64>> {
        let found = aws.logs("FilterLogEvents", &json!({ "logGroupName": Self::LOG_GROUP })).await?;
        let events = found.get("events").and_then(Value::as_array).context("no log events")?;
        let messages = events.iter().filter_map(|event| event.get("message")?.as_str());
        let lines = messages.filter_map(|message| serde_json::from_str::<Value>(message).ok());
        Ok(lines.filter_map(|line| line.get("age_ms")?.as_f64()).collect())
    }
}

/// Creates a queue that a service may send to; its URL and its ARN.
pub(crate) async fn queue(aws: &Aws, name: &str, service: &str) -> Result<(String, String)> {
    let arn = format!("arn:aws:sqs:{}:{}:{name}", local_stack::ministack::REGION, local_stack::ministack::ACCOUNT);
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow", "Principal": { "Service": service }, "Action": "sqs:SendMessage", "Resource": arn,
        }],
    });
    let create = json!({ "QueueName": name, "Attributes": { "Policy": policy.to_string() } });
    let created = aws.sqs("CreateQueue", &create).await?;
    let url = created.get("QueueUrl").and_then(Value::as_str).context("a queue without a URL")?;
    Ok((url.to_owned(), arn))
}
