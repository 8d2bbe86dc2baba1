//! What the emulator's own hops take, with none of our code in between, and queues of the benchmark's own.

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use local_stack::Services;
use local_stack::archive::{self, Entry};
use local_stack::provision::lambda_trust_policy;
use operator::aws::Aws;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::measure::Spread;

/// How long a function may take to get a message.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the emulator's hops take alone, one message after another.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Emulator {
    /// SNS's `Publish` until SQS delivers to a receiver that waits.
    pub(crate) topic_to_queue_ms: Spread,
    /// SQS's `SendMessage` until a function that a mapping feeds has the message.
    pub(crate) queue_to_function_ms: Spread,
    /// EventBridge's `PutEvents` until SQS delivers to a receiver that waits.
    pub(crate) bus_to_queue_ms: Spread,
}

pub(crate) async fn measure(services: &Services, times: usize) -> Result<Emulator> {
    let aws = services.aws();
    Ok(Emulator {
        topic_to_queue_ms: Probe::topic(&aws, services.topic_arn()).await?.times(&aws, times).await?,
        queue_to_function_ms: Mapping::create(services).await?.times(&aws, times).await?,
        bus_to_queue_ms: Probe::bus(&aws, &services.backplane().bus.name).await?.times(&aws, times).await?,
    })
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
