//! Messages of SQS: each in an instance of its own, so that what happens to one is that one's alone.

use std::collections::HashMap;

use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage, SqsMessageAttribute};
use edge_host::{Executor, Message, MessageAction, MessageAttribute, MessageAttributeValue};
use futures::{StreamExt as _, stream};
use serde::Serialize;

use crate::event::{Deadline, EventError};
use crate::function::INSTANCES;

/// The answer that `ReportBatchItemFailures` asks for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchAnswer {
    batch_item_failures: Vec<ItemFailure>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemFailure {
    item_identifier: String,
}

/// Hands each message to the component, ten at a time, and names those that it leaves or fails at.
///
/// # Errors
///
/// A message that has to come again has no id; then the whole batch has to: an empty identifier would be no failure.
pub(crate) async fn handle(
    executor: &Executor,
    component: &str,
    batch: SqsEvent,
    deadline: Deadline,
) -> Result<BatchAnswer, EventError> {
    let handled = batch.records.into_iter().map(|record| async move {
        let id = record.message_id.clone().filter(|id| !id.is_empty());
        match executor.handle_message(component, message(record), deadline.left()).await {
            Ok(MessageAction::Delete) => None,
            // The place to set the message's visibility by its receive count: see docs/failures.md.
            Ok(MessageAction::Leave) | Err(_) => Some(id),
        }
    });
    let left: Vec<Option<String>> =
        stream::iter(handled).buffered(INSTANCES as usize).filter_map(std::future::ready).collect().await;
    let failure = |id: Option<String>| id.map(|item_identifier| ItemFailure { item_identifier });
    let batch_item_failures: Option<Vec<ItemFailure>> = left.into_iter().map(failure).collect();
    Ok(BatchAnswer { batch_item_failures: batch_item_failures.ok_or(EventError::UnidentifiedFailure)? })
}

/// A message as Spin's SQS trigger has it.
fn message(record: SqsMessage) -> Message {
    let message_attributes = attributes(record.message_attributes);
    Message { id: record.message_id, message_attributes, body: record.body }
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
