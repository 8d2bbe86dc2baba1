//! From `202` to `completed` on the local stack, hop by hop, and what the emulator's own hops take.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use local_stack::application::Host;
use local_stack::artifacts::Artifacts;
use local_stack::aws::Aws;
use local_stack::backplane::Backplane;
use local_stack::http::Http;
use local_stack::postgres;
use local_stack::progress::Progress;
use local_stack::{Front, LocalStack, Options};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::Row as _;
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use uuid::Uuid;

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
}

impl Plan {
    pub(crate) const FULL: Self = Self { rates: &[(1, 15), (10, 10), (50, 8)], emulator_hops: 30 };
    pub(crate) const QUICK: Self = Self { rates: &[(5, 2)], emulator_hops: 3 };
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

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) bookings_per_second: u32,
    pub(crate) bookings: usize,
    /// From the request to its `202`.
    pub(crate) accepted: Hop,
    /// From the `202` to the country's decision: SNS, SQS, the Lambda's mapping, the worker's SQL.
    pub(crate) decided: Hop,
    /// From the decision to the status `completed`: `PutEvents`, rule, SQS, pipe, the confirmation's write.
    pub(crate) completed: Hop,
    /// From the `202` to the status `completed`.
    pub(crate) whole: Hop,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct EndToEnd {
    pub(crate) rows: Vec<Row>,
    /// SNS's `Publish` until SQS delivers, with none of our code in between.
    pub(crate) emulator_topic_to_queue_ms: Spread,
    /// EventBridge's `PutEvents` until SQS delivers.
    pub(crate) emulator_bus_to_queue_ms: Spread,
}

pub(crate) async fn measure(programs: &Programs, plan: Plan, progress: &Progress) -> Result<EndToEnd> {
    let step = progress.noisy_step("end to end: the local stack");
    let backplane = Backplane::load(&programs.root)?.shortened()?;
    let artifacts = Artifacts::build(&programs.root, &backplane, Host::Embedded)?;
    let options = Options { root: programs.root.clone(), instance: "bench".to_owned(), backplane };
    let front = Front::embedded(&programs.root, &artifacts);
    let stack = LocalStack::start(options, front, &Progress::silent()).await?;
    step.done(&stack.url());

    let step = progress.step("end to end: bookings");
    let mut rows = Vec::new();
    for (slots, &(rate, seconds)) in plan.rates.iter().enumerate() {
        // The first one of a rate is not counted: a function starts its process with it.
        bookings(&stack, 2, 2, slots as u64 * 2 + 1).await?;
        rows.push(bookings(&stack, rate, rate * seconds, slots as u64 * 2 + 2).await?);
    }
    let aws = stack.services().aws();
    let topic = Probe::topic(&aws, stack.services().topic_arn()).await?.times(&aws, plan.emulator_hops).await?;
    let bus_name = stack.services().backplane().bus.name.clone();
    let bus = Probe::bus(&aws, &bus_name).await?.times(&aws, plan.emulator_hops).await?;
    step.done("");
    stack.stop().await;
    Ok(EndToEnd { rows, emulator_topic_to_queue_ms: topic, emulator_bus_to_queue_ms: bus })
}

struct Booked {
    id: Uuid,
    insured_id: String,
    country: &'static str,
    sent: SystemTime,
    accepted: SystemTime,
}

/// Books `count` slots at a rate, waits until all are completed, and times the hops. `series` keeps the slots apart.
async fn bookings(stack: &LocalStack, rate: u32, count: u32, series: u64) -> Result<Row> {
    let began = Instant::now();
    let (url, http) = (stack.url(), Http::default());
    let mut tasks = JoinSet::new();
    for number in 0..count {
        sleep_until((began + Duration::from_secs(1) * number / rate).into()).await;
        tasks.spawn(book(url.clone(), http.clone(), series * 1_000_000 + u64::from(number)));
    }
    let mut booked = Vec::new();
    while let Some(one) = tasks.join_next().await {
        booked.push(one??);
    }
    let (mut accepted, mut decided, mut completed, mut whole) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let given_up = Instant::now() + PATIENCE;
    let (aws, table) = (stack.services().aws(), &stack.services().backplane().table.name);
    for one in &booked {
        let completed_at = loop {
            if let Some(at) = completed_at(&aws, table, one).await? {
                break at;
            }
            ensure!(Instant::now() < given_up, "a booking was not completed in {} s", PATIENCE.as_secs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let decided_at = decided_at(stack, one).await?;
        accepted.push(between(one.sent, one.accepted));
        decided.push(between(one.accepted, decided_at));
        completed.push(between(decided_at, completed_at));
        whole.push(between(one.accepted, completed_at));
    }
    Ok(Row {
        bookings_per_second: rate,
        bookings: booked.len(),
        accepted: Hop::of(accepted)?,
        decided: Hop::of(decided)?,
        completed: Hop::of(completed)?,
        whole: Hop::of(whole)?,
    })
}

/// Zero where the clock's milliseconds make the later instant the earlier one.
fn between(earlier: SystemTime, later: SystemTime) -> f64 {
    later.duration_since(earlier).unwrap_or_default().as_secs_f64() * 1000.0
}

async fn book(url: String, http: Http, slot: u64) -> Result<Booked> {
    let country = if slot.is_multiple_of(2) { "PE" } else { "CL" };
    let insured_id = format!("{:05}", slot % 100_000);
    let body = json!({ "insuredId": insured_id, "scheduleId": slot, "countryISO": country });
    let request = http::Request::post(format!("{url}/appointments"))
        .header(CONTENT_TYPE, "application/json")
        .body(Bytes::from(body.to_string()))?;
    let sent = SystemTime::now();
    let answer = http.send(request).await?;
    let accepted = SystemTime::now();
    ensure!(answer.status() == http::StatusCode::ACCEPTED, "a booking was answered {}", answer.status());
    let answer: Value = serde_json::from_slice(answer.body())?;
    let id = answer.get("appointmentId").and_then(Value::as_str).context("a 202 without an id")?.parse()?;
    Ok(Booked { id, insured_id, country, sent, accepted })
}

/// When the row's status became `completed`, by its history.
async fn completed_at(aws: &Aws, table: &str, booked: &Booked) -> Result<Option<SystemTime>> {
    let key = json!({ "insuredId": { "S": booked.insured_id }, "sk": { "S": format!("appointment#{}", booked.id) } });
    let get = json!({ "TableName": table, "Key": key, "ConsistentRead": true });
    let row = aws.dynamodb("GetItem", &get).await?;
    let steps = row.pointer("/Item/history/L").and_then(Value::as_array).context("a row without a history")?;
    let completed = steps.iter().find(|step| step.pointer("/M/status/S") == Some(&json!("completed")));
    let Some(at) = completed.and_then(|step| step.pointer("/M/at/S")?.as_str()) else { return Ok(None) };
    Ok(Some(at.parse::<appointment::Timestamp>()?.into()))
}

/// When the country decided, by its own row.
async fn decided_at(stack: &LocalStack, booked: &Booked) -> Result<SystemTime> {
    let mut connection = postgres::connect(stack.services().database_url(booked.country)?).await?;
    let query = "SELECT decided_at FROM appointments WHERE appointment_id = $1";
    let row = sqlx::query(query).bind(booked.id).fetch_one(&mut connection).await?;
    Ok(row.try_get::<time::OffsetDateTime, _>(0)?.into())
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
            // The receiver waits already, as a mapping or a pipe does.
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

/// Creates a queue that a service may send to; its URL and its ARN.
async fn queue(aws: &Aws, name: &str, service: &str) -> Result<(String, String)> {
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
