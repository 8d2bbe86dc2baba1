//! Messages of SQS: each in its own instance, so a failure of one affects no other.

use std::collections::HashMap;
use std::time::Duration;

use aws_http::native::NativeTransport;
use aws_http::sqs::{DeliveryTimes, ReceiveDelays, Sqs};
use aws_http::{Client, Endpoint, RetryPolicy};
use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage, SqsMessageAttribute};
use edge_host::{
    Executor, Level, LogSink, Message, MessageAction, MessageAttribute, MessageAttributeValue, MessageFailure,
    host_message,
};
use futures::{StreamExt as _, stream};
use serde::Serialize;
use serde_json::json;

use crate::event::{Deadline, EventError};
use crate::settings;

/// Instances at once: the messages of a batch. Lambda hands a function one event at a time.
pub(crate) const INSTANCES: u32 = 10;

/// How long setting a message's visibility may take. An instance ends so much earlier.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// The response that `ReportBatchItemFailures` asks for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchResponse {
    batch_item_failures: Vec<ItemFailure>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemFailure {
    item_identifier: String,
}

/// The queue that messages come from: sets when one that is left is delivered again.
pub(crate) struct SourceQueue {
    client: Client<NativeTransport>,
    endpoint: Endpoint,
    delays: ReceiveDelays,
    log: LogSink,
}

impl SourceQueue {
    pub(crate) fn new(settings: settings::Queue, log: LogSink) -> Self {
        let settings::Queue { delays, endpoint, region, credentials } = settings;
        let client = Client::new(NativeTransport::new(), region, credentials)
            .with_deadline(CALL_TIMEOUT)
            .with_retries(RetryPolicy { attempts: 2, ..RetryPolicy::default() });
        Self { client, endpoint, delays, log }
    }

    /// Hides a delivery by its receive count: seconds first, minutes later. An error of the handler's own says that no later
    /// delivery can mend the message, which is soon in the dead-letter queue then.
    async fn leave(&self, delivery: &Delivery, cannot_be_mended: bool) {
        let sqs = Sqs::new(&self.client, &self.endpoint);
        let Some(receipt_handle) = &delivery.receipt_handle else { return };
        let Some(url) = delivery.queue_arn.as_deref().and_then(|arn| sqs.queue_url(arn)) else { return };
        let delay = match cannot_be_mended {
            true => self.delays.after_poison(delivery.receive_count),
            false => self.delays.after(delivery.receive_count),
        };
        if let Err(error) = sqs.change_message_visibility(&url, receipt_handle, delay).await {
            let fields = json!({ "sqs_message_id": delivery.message_id, "reason": error.to_string() });
            host_message(&self.log, Level::Warn, "a message waits for the queue's visibility timeout", fields);
        }
    }
}

/// What only the queue needs of a record.
struct Delivery {
    message_id: Option<String>,
    queue_arn: Option<String>,
    receipt_handle: Option<String>,
    receive_count: u32,
}

/// Hands each message to the component, ten at a time, and names those that it leaves or fails at.
///
/// # Errors
///
/// A message that has to come again has no id; then the whole batch has to: an empty identifier would be no failure.
pub(crate) async fn handle(
    executor: &Executor,
    component: &str,
    queue: Option<&SourceQueue>,
    batch: SqsEvent,
    deadline: Deadline,
) -> Result<BatchResponse, EventError> {
    let reserve = if queue.is_some() { CALL_TIMEOUT } else { Duration::ZERO };
    let handled = batch.records.into_iter().map(|record| async move {
        let (delivery, message) = parts(record);
        let outcome = executor.handle_message(component, message, deadline.left().saturating_sub(reserve)).await;
        if let Ok(MessageAction::Delete) = outcome {
            return None;
        }
        if let Some(queue) = queue {
            queue.leave(&delivery, matches!(outcome, Err(MessageFailure::Handler(_)))).await;
        }
        Some(delivery.message_id.filter(|id| !id.is_empty()))
    });
    let left: Vec<Option<String>> =
        stream::iter(handled).buffered(INSTANCES as usize).filter_map(std::future::ready).collect().await;
    let failure = |id: Option<String>| id.map(|item_identifier| ItemFailure { item_identifier });
    let batch_item_failures: Option<Vec<ItemFailure>> = left.into_iter().map(failure).collect();
    Ok(BatchResponse { batch_item_failures: batch_item_failures.ok_or(EventError::UnidentifiedFailure)? })
}

/// A record as a delivery of the queue, and as a message as Spin's SQS trigger has it.
fn parts(record: SqsMessage) -> (Delivery, Message) {
    let times = DeliveryTimes::read(|name| record.attributes.get(name).map(String::as_str));
    let delivery = Delivery {
        message_id: record.message_id.clone(),
        queue_arn: record.event_source_arn,
        receipt_handle: record.receipt_handle,
        receive_count: times.receive_count,
    };
    let mut message_attributes = attributes(record.message_attributes);
    // Beside the sender's: how long the message was on its way.
    message_attributes.extend(DeliveryTimes::ATTRIBUTES.into_iter().filter_map(|name| {
        let value = MessageAttributeValue::Str(record.attributes.get(name)?.clone());
        Some(MessageAttribute { name: name.to_owned(), data_type: Some("Number".to_owned()), value })
    }));
    (delivery, Message { id: record.message_id, message_attributes, body: record.body })
}

fn attributes(attributes: HashMap<String, SqsMessageAttribute>) -> Vec<MessageAttribute> {
    let convert = |(name, attribute): (String, SqsMessageAttribute)| {
        let value = match (attribute.string_value, attribute.binary_value) {
            (Some(text), _) => MessageAttributeValue::Str(text),
            (None, Some(bytes)) => MessageAttributeValue::Binary(bytes.0),
            (None, None) => return None,
        };
        Some(MessageAttribute { name, data_type: attribute.data_type, value })
    };
    attributes.into_iter().filter_map(convert).collect()
}
