//! What the host calls with each message: the export of Spin's SQS trigger.
#![expect(
    clippy::too_many_arguments,
    reason = "wit-bindgen makes each part of a message an argument of the export that it generates"
)]

use std::time::SystemTime;

use edge_component::{WasiHost, run};

use crate::delivery::Delivered;
use crate::message::deliver;

wit_bindgen::generate!({
    path: "../../wit/spin-sqs",
    world: "spin-sqs",
});

use fermyon::spin_sqs::sqs_types::MessageAttributeValue;

struct Queue;

export!(Queue);

impl Guest for Queue {
    fn handle_queue_message(message: Message) -> Result<MessageAction, Error> {
        let arrived = SystemTime::now();
        let attributes = message.message_attributes;
        let text_of = |name: &str| match &attributes.iter().find(|attribute| attribute.name == name)?.value {
            MessageAttributeValue::Str(text) => Some(text.as_str()),
            MessageAttributeValue::Binary(_) => None,
        };
        let body = message.body.unwrap_or_default();
        match run(deliver(WasiHost, body.as_bytes(), arrived, text_of)) {
            Delivered::Done => Ok(MessageAction::Delete),
            // What is left comes again, until the queue's receive count moves it to the dead-letter queue.
            Delivered::Left => Ok(MessageAction::Leave),
            Delivered::Poison(reason) => Err(Error::Other(reason)),
        }
    }
}
