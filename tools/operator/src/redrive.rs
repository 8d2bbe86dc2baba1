//! Puts back what was given up: dead letters to their queues, and undecided commands to the topic.
//!
//! It is what an operator does once the cause is gone. Both may be done twice: a worker gives the same outcome again for a command
//! that it has decided.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use appointment::{Country, Status, Timestamp};
use backplane::{AppointmentsTable, CommandTopic, PendingShards, StoredAppointment};
use futures::stream::{self, StreamExt, TryStreamExt};
use messages::AppointmentMessage;
use serde::Serialize;
use serde_json::{Value, json};

use crate::account::Account;
use crate::backplane::Backplane;

/// Commands that are published at once.
const IN_FLIGHT: usize = 16;

/// Rows of the index that are read at once.
const PAGE: u32 = 100;

/// What a receive gives at most.
const RECEIVE_LIMIT: u64 = 10;

/// What was put back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redriven {
    /// What became of each dead-letter queue.
    pub queues: BTreeMap<String, Moved>,
    /// Commands of given-up appointments that were published again.
    pub published: u64,
}

/// What became of the messages of a dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// They are back in their queue, or dropped.
    Done {
        /// How many were put back.
        put_back: u64,
        /// How many were about an erased appointment, and deleted.
        dropped: u64,
    },
    /// They would be moved; nothing was.
    WouldMove {
        /// How many there are about.
        messages: u64,
    },
    /// SQS moves them by itself. The functions drop those about an erased appointment.
    Started,
    /// The call was refused, for example because a move is under way; the other queues are not affected.
    Refused(String),
}

/// A message that its queue gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Where it lies.
    pub queue: String,
    /// Where a redrive puts it.
    pub back_to: String,
    /// The id that it has had since it was sent.
    pub message_id: String,
    /// How long ago it was sent, in seconds.
    pub age_seconds: u64,
    /// What was sent, as it was. It holds personal data.
    pub body: String,
    /// Which appointment it is about, where that can be read.
    pub appointment_id: Option<String>,
    /// Its trace, where that can be read.
    pub trace_id: Option<String>,
    /// The command or the kind of event, where that can be read.
    pub kind: Option<String>,
}

/// An appointment that was given up, and what its country would be asked again.
#[derive(Debug, Clone, PartialEq)]
pub struct GivenUp {
    /// Its status: `failed` or `cancelling`.
    pub status: Status,
    /// When its country is asked next.
    pub next: Timestamp,
    /// The command that a redrive publishes. It names the person.
    pub command: AppointmentMessage,
}

/// What a redrive does with a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedriveAction {
    /// It is put back into its queue.
    PutBack,
    /// It is about an appointment that was erased, and is deleted.
    Drop,
}

impl Redriven {
    /// Whether a queue was left out.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.queues.values().any(|moved| matches!(moved, Moved::Refused(_)))
    }
}

impl Account {
    /// Puts everything back; with `dry_run`, only says how much there is.
    ///
    /// # Errors
    /// When the given-up commands cannot be published. What was put back until then stays so; doing it again does no
    /// harm. A refused queue is in the result.
    pub async fn redrive(&self, backplane: &Backplane, dry_run: bool) -> Result<Redriven> {
        let mut redriven = Redriven::default();
        for (queue, dead_letters) in backplane.queues() {
            let moved = match dry_run {
                true => self.messages_in(&dead_letters).await.map(|messages| Moved::WouldMove { messages }),
                false => self.put_back(&dead_letters, &queue, backplane).await,
            };
            let moved = moved.unwrap_or_else(|error| Moved::Refused(format!("{error:#}")));
            redriven.queues.insert(self.name(&dead_letters), moved);
        }
        redriven.published = self.publish_given_up(backplane, dry_run).await?;
        Ok(redriven)
    }

    /// Puts the messages of a dead-letter queue back into their queue.
    pub(crate) async fn put_back(&self, dead_letters: &str, queue: &str, backplane: &Backplane) -> Result<Moved> {
        match self.has_move_tasks {
            true => self.start_move_task(dead_letters).await,
            false => self.move_messages(dead_letters, queue, None, backplane).await,
        }
    }

    /// Puts one dead letter back into its queue; nothing is done where it is not there any more.
    ///
    /// # Errors
    /// When a call fails. Then it is in one of the two queues, or in both, which does no harm.
    pub async fn put_back_one(&self, letter: &DeadLetter, backplane: &Backplane) -> Result<Moved> {
        self.move_messages(&letter.queue, &letter.back_to, Some(&letter.message_id), backplane).await
    }

    /// What a redrive would do with a dead letter now.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn redrive_action(&self, letter: &DeadLetter, backplane: &Backplane) -> Result<RedriveAction> {
        let erased = self.is_about_erased(&letter.body, backplane).await?;
        Ok(if erased { RedriveAction::Drop } else { RedriveAction::PutBack })
    }

    /// SQS moves the messages to the queues that they came from, by itself, one task per queue at a time
    /// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html>).
    async fn start_move_task(&self, dead_letters: &str) -> Result<Moved> {
        let source = self.arn("sqs", "", dead_letters);
        self.aws("sqs")?.sqs("StartMessageMoveTask", &json!({"SourceArn": source})).await?;
        Ok(Moved::Started)
    }

    /// In place of `StartMessageMoveTask`, which the emulator lacks: receives, sends and deletes as many messages as there are now,
    /// because one that comes back at once would be moved for ever. If `only` is given, only the one with this id.
    async fn move_messages(
        &self,
        dead_letters: &str,
        queue: &str,
        only: Option<&str>,
        backplane: &Backplane,
    ) -> Result<Moved> {
        let sqs = self.aws("sqs")?;
        let (from, to) = (self.queue_url(dead_letters).await?, self.queue_url(queue).await?);
        let count = self.messages_in(dead_letters).await?;
        let (mut put_back, mut dropped, mut left) = (0, 0, Vec::new());
        while put_back + dropped + (left.len() as u64) < count && (only.is_none() || put_back + dropped == 0) {
            let receive = json!({
                "QueueUrl": from,
                "MaxNumberOfMessages": RECEIVE_LIMIT.min(count - put_back - dropped),
                "MessageAttributeNames": ["All"],
                "WaitTimeSeconds": 0,
            });
            let received = sqs.sqs("ReceiveMessage", &receive).await?;
            let messages = received.get("Messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            if messages.is_empty() {
                break;
            }
            for message in messages {
                let part = |name: &str| message.get(name).cloned().unwrap_or_default();
                if only.is_some_and(|only| part("MessageId") != only) {
                    left.push(part("ReceiptHandle"));
                    continue;
                }
                if self.is_about_erased(part("Body").as_str().unwrap_or_default(), backplane).await? {
                    dropped += 1;
                } else {
                    let mut send = json!({"QueueUrl": to, "MessageBody": part("Body")});
                    if let (Some(attributes), Some(send)) = (message.get("MessageAttributes"), send.as_object_mut()) {
                        send.insert("MessageAttributes".to_owned(), attributes.clone());
                    }
                    sqs.sqs("SendMessage", &send).await?;
                    put_back += 1;
                }
                let delete = json!({"QueueUrl": from, "ReceiptHandle": part("ReceiptHandle")});
                sqs.sqs("DeleteMessage", &delete).await?;
            }
        }
        for receipt in left {
            let show = json!({"QueueUrl": from, "ReceiptHandle": receipt, "VisibilityTimeout": 0});
            sqs.sqs("ChangeMessageVisibility", &show).await?;
        }
        Ok(Moved::Done { put_back, dropped })
    }

    /// Whether a command, or an outcome, is about an appointment that was erased.
    async fn is_about_erased(&self, body: &str, backplane: &Backplane) -> Result<bool> {
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let about = body.get("appointmentId").or_else(|| body.pointer("/detail/appointmentId"));
        let Some(appointment) = about.and_then(Value::as_str).and_then(|id| id.parse().ok()) else { return Ok(false) };
        let (dynamodb, table) = (self.endpoint("dynamodb")?, self.table(backplane));
        Ok(AppointmentsTable::new(&self.client, &dynamodb, &table).is_erased(appointment).await?)
    }

    /// About how many messages a queue holds that can be received.
    pub(crate) async fn messages_in(&self, queue: &str) -> Result<u64> {
        let question =
            json!({"QueueUrl": self.queue_url(queue).await?, "AttributeNames": ["ApproximateNumberOfMessages"]});
        let response = self.aws("sqs")?.sqs("GetQueueAttributes", &question).await?;
        let count = response.pointer("/Attributes/ApproximateNumberOfMessages").and_then(Value::as_str);
        count.and_then(|count| count.parse().ok()).with_context(|| format!("{queue} does not tell its length"))
    }

    /// About how many messages a queue holds, those on their way and those being processed included.
    pub(crate) async fn all_messages_in(&self, queue: &str) -> Result<u64> {
        let names = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesDelayed",
            "ApproximateNumberOfMessagesNotVisible",
        ];
        let question = json!({"QueueUrl": self.queue_url(queue).await?, "AttributeNames": names});
        let response = self.aws("sqs")?.sqs("GetQueueAttributes", &question).await?;
        let attribute = |name: &str| response.get("Attributes")?.get(name)?.as_str()?.parse::<u64>().ok();
        Ok(names.iter().filter_map(|name| attribute(name)).sum())
    }

    pub(crate) async fn queue_url(&self, name: &str) -> Result<String> {
        let response = self.aws("sqs")?.sqs("GetQueueUrl", &json!({"QueueName": self.name(name)})).await?;
        let url = response.get("QueueUrl").and_then(Value::as_str);
        Ok(url.with_context(|| format!("no URL of {name}"))?.to_owned())
    }

    /// Publishes the command of everything that was given up, which the country's outcome takes out of the index.
    async fn publish_given_up(&self, backplane: &Backplane, dry_run: bool) -> Result<u64> {
        let given_up = self.given_up(backplane).await?;
        if !dry_run {
            let publications = given_up.iter().map(|given_up| self.publish_again(given_up));
            stream::iter(publications.collect::<Vec<_>>()).buffer_unordered(IN_FLIGHT).try_collect::<()>().await?;
        }
        Ok(given_up.len() as u64)
    }

    /// Publishes the command of an appointment that was given up. To do it twice is harmless: the country responds with the same
    /// decision.
    ///
    /// # Errors
    /// When SNS does not accept it.
    pub async fn publish_again(&self, given_up: &GivenUp) -> Result<()> {
        let sns = self.endpoint("sns")?;
        let topic = CommandTopic::new(&self.client, &sns, &self.topic_arn);
        Ok(topic.publish(&given_up.command).await?)
    }

    /// Everything that was given up and that its country has not decided since.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn given_up(&self, backplane: &Backplane) -> Result<Vec<GivenUp>> {
        let dynamodb = self.endpoint("dynamodb")?;
        let table = self.table(backplane);
        let table = AppointmentsTable::new(&self.client, &dynamodb, &table);
        let shards: PendingShards = backplane.table.index.shards.to_string().parse()?;
        let countries = backplane.codes().map(str::parse).collect::<Result<Vec<Country>, _>>()?;
        // The shard of an earlier version comes with each country.
        let shards: BTreeSet<String> = countries.into_iter().flat_map(|country| shards.given_up(country)).collect();
        let whenever = Timestamp::from_unix_milliseconds(i64::MAX);
        let mut all = Vec::new();
        for shard in shards {
            let mut start = None;
            loop {
                let page = table.due(&shard, whenever, PAGE, start).await?;
                // The index tells no slot, and may be older than the table.
                let stored = page.appointments.iter().map(|row| table.get(&row.insured_id, row.appointment_id));
                let stored: Vec<_> = stream::iter(stored.collect::<Vec<_>>()).buffered(IN_FLIGHT).try_collect().await?;
                let found =
                    page.appointments.iter().zip(stored).map(|(row, stored): (_, Option<StoredAppointment>)| {
                        let command = stored.as_ref()?.undecided_command()?;
                        Some(GivenUp { status: row.status, next: row.since, command })
                    });
                all.extend(found.flatten());
                start = page.next;
                if start.is_none() {
                    break;
                }
            }
        }
        all.sort_by_key(|given_up| given_up.command.appointment_id);
        Ok(all)
    }
}
