//! Puts back what was given up: dead letters to their queues, and unanswered commands to the topic.
//!
//! It is what an operator does once the cause is gone. Both may be done twice: a worker answers a command that it has
//! decided with the same decision.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use appointment::{Country, Timestamp};
use aws_http::native::NativeTransport;
use aws_http::{Client, Credentials, Endpoint};
use backplane::{AppointmentsTable, CommandTopic, PendingShards};
use futures::stream::{self, StreamExt};
use serde_json::{Value, json};

use crate::aws::{Aws, CALL_LIMIT};
use crate::backplane::Backplane;
use crate::ministack::{ACCOUNT, REGION};

/// Commands that are published at once.
const IN_FLIGHT: usize = 16;

/// Rows of the index that are read at once.
const PAGE: u32 = 100;

/// What a receive gives at most.
const RECEIVE_LIMIT: u64 = 10;

/// An AWS account, or the emulator, with the rights of an operator.
pub struct Account {
    partition: String,
    region: String,
    account: String,
    topic_arn: String,
    dynamodb: Endpoint,
    sns: Endpoint,
    sqs: Aws,
    client: Client<NativeTransport>,
    emulated: bool,
}

/// What was put back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redriven {
    /// Messages by the dead-letter queue that they left. On AWS the move goes on by itself, so that it is `None`.
    pub messages: BTreeMap<String, Option<u64>>,
    /// Commands of given-up appointments that were published again.
    pub published: u64,
}

impl Account {
    /// The emulator at this endpoint, as its root.
    #[must_use]
    pub fn emulator(endpoint: &Endpoint, backplane: &Backplane) -> Self {
        let credentials = Credentials::from_keys("test", "test", None);
        Self {
            partition: "aws".to_owned(),
            region: REGION.to_owned(),
            account: ACCOUNT.to_owned(),
            topic_arn: format!("arn:aws:sns:{REGION}:{ACCOUNT}:{}", backplane.topic.name),
            dynamodb: endpoint.clone(),
            sns: endpoint.clone(),
            sqs: Aws::root(endpoint.clone()),
            client: Client::new(NativeTransport::new(), REGION, credentials).with_deadline(CALL_LIMIT),
            emulated: true,
        }
    }

    /// The account and region of a topic, with these credentials; every service at `endpoint` where one is given.
    ///
    /// # Errors
    /// When the text is no ARN of a topic.
    pub fn of_topic(topic_arn: &str, credentials: Credentials, endpoint: Option<&Endpoint>) -> Result<Self> {
        let parts: Vec<&str> = topic_arn.split(':').collect();
        let ["arn", partition, "sns", region, account, _topic] = parts.as_slice() else {
            bail!("not the ARN of a topic: {topic_arn}; Terraform's output `appointments_topic_arn` tells it");
        };
        let suffix = if *partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
        let endpoint = |service: &str| {
            if let Some(endpoint) = endpoint {
                return Ok(endpoint.clone());
            }
            let url = format!("https://{service}.{region}.{suffix}");
            Endpoint::parse(&url).with_context(|| format!("no such endpoint: {url}"))
        };
        Ok(Self {
            partition: (*partition).to_owned(),
            region: (*region).to_owned(),
            account: (*account).to_owned(),
            topic_arn: topic_arn.to_owned(),
            dynamodb: endpoint("dynamodb")?,
            sns: endpoint("sns")?,
            sqs: Aws::in_region(endpoint("sqs")?, region, credentials.clone()),
            client: Client::new(NativeTransport::new(), *region, credentials).with_deadline(CALL_LIMIT),
            emulated: false,
        })
    }

    /// Puts everything back.
    ///
    /// # Errors
    /// When a call fails. What was put back until then stays so; doing it again does no harm.
    pub async fn redrive(&self, backplane: &Backplane) -> Result<Redriven> {
        let mut redriven = Redriven::default();
        let confirmation = &backplane.confirmation_queue;
        let countries = backplane.countries().map(|country| (country.dead_letter_queue, country.queue));
        let queues = countries.chain([(confirmation.dead_letter_queue.clone(), confirmation.name.clone())]);
        for (dead_letters, queue) in queues {
            let moved = match self.emulated {
                true => Some(self.move_messages(&dead_letters, &queue).await?),
                false => {
                    self.start_move_task(&dead_letters).await?;
                    None
                }
            };
            redriven.messages.insert(dead_letters, moved);
        }
        redriven.published = self.publish_given_up(backplane).await?;
        Ok(redriven)
    }

    /// SQS moves the messages to the queues that they came from, by itself
    /// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html>).
    async fn start_move_task(&self, dead_letters: &str) -> Result<()> {
        let Self { partition, region, account, .. } = self;
        let source = format!("arn:{partition}:sqs:{region}:{account}:{dead_letters}");
        self.sqs.sqs("StartMessageMoveTask", &json!({"SourceArn": source})).await?;
        Ok(())
    }

    /// What the emulator lacks `StartMessageMoveTask` for: receives, sends and deletes as many messages as there are now,
    /// so that one that comes back at once is not moved for ever.
    async fn move_messages(&self, dead_letters: &str, queue: &str) -> Result<u64> {
        let (from, to) = (self.queue_url(dead_letters).await?, self.queue_url(queue).await?);
        let count = json!({"QueueUrl": from, "AttributeNames": ["ApproximateNumberOfMessages"]});
        let count = self.sqs.sqs("GetQueueAttributes", &count).await?;
        let count = count.pointer("/Attributes/ApproximateNumberOfMessages").and_then(Value::as_str);
        let count: u64 = count.and_then(|count| count.parse().ok()).context("the queue does not tell its length")?;
        let mut moved = 0;
        while moved < count {
            let receive = json!({
                "QueueUrl": from,
                "MaxNumberOfMessages": RECEIVE_LIMIT.min(count - moved),
                "MessageAttributeNames": ["All"],
                "WaitTimeSeconds": 0,
            });
            let received = self.sqs.sqs("ReceiveMessage", &receive).await?;
            let messages = received.get("Messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            if messages.is_empty() {
                break;
            }
            for message in messages {
                let part = |name: &str| message.get(name).cloned().unwrap_or_default();
                let mut send = json!({"QueueUrl": to, "MessageBody": part("Body")});
                if let (Some(attributes), Some(send)) = (message.get("MessageAttributes"), send.as_object_mut()) {
                    send.insert("MessageAttributes".to_owned(), attributes.clone());
                }
                self.sqs.sqs("SendMessage", &send).await?;
                let delete = json!({"QueueUrl": from, "ReceiptHandle": part("ReceiptHandle")});
                self.sqs.sqs("DeleteMessage", &delete).await?;
                moved += 1;
            }
        }
        Ok(moved)
    }

    async fn queue_url(&self, name: &str) -> Result<String> {
        let answer = self.sqs.sqs("GetQueueUrl", &json!({"QueueName": name})).await?;
        let url = answer.get("QueueUrl").and_then(Value::as_str);
        Ok(url.with_context(|| format!("no URL of {name}"))?.to_owned())
    }

    /// Publishes the command of everything that was given up, which the country's answer takes out of the index.
    async fn publish_given_up(&self, backplane: &Backplane) -> Result<u64> {
        let table = AppointmentsTable::new(&self.client, &self.dynamodb, &backplane.table.name);
        let topic = CommandTopic::new(&self.client, &self.sns, &self.topic_arn);
        let shards: PendingShards = backplane.table.index.shards.to_string().parse()?;
        let countries = backplane.countries.iter().map(|code| code.parse()).collect::<Result<Vec<Country>, _>>()?;
        // The shard of an earlier version comes with each country.
        let shards: BTreeSet<String> = countries.into_iter().flat_map(|country| shards.given_up(country)).collect();
        let whenever = Timestamp::from_unix_milliseconds(i64::MAX);
        let mut published = 0;
        for shard in shards {
            let mut start = None;
            loop {
                let page = table.due(&shard, whenever, PAGE, start).await?;
                let mut outcomes = stream::iter(&page.appointments)
                    .map(async |given_up| {
                        // The index tells no slot, and may be older than the table.
                        let kept = table.get(&given_up.insured_id, given_up.appointment_id).await?;
                        let Some(message) = kept.and_then(|kept| kept.unanswered_command()) else { return Ok(0) };
                        topic.publish(&message).await?;
                        anyhow::Ok(1)
                    })
                    .buffer_unordered(IN_FLIGHT);
                while let Some(outcome) = outcomes.next().await {
                    published += outcome?;
                }
                drop(outcomes);
                start = page.next;
                if start.is_none() {
                    break;
                }
            }
        }
        Ok(published)
    }
}
