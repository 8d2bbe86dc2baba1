//! What the host calls with each message of SQS_CONFIRMATION, and of the queue of the catalogues.
#![expect(
    clippy::too_many_arguments,
    reason = "wit-bindgen makes each part of a message an argument of the export that it generates"
)]

use std::time::SystemTime;

use edge_component::run;

use crate::internal::Delivered;
use crate::projection::Subject;
use crate::waits::Delivery;
use crate::{confirm, projection};

wit_bindgen::generate!({
    path: "../../wit/spin-sqs",
    world: "spin-sqs",
});

struct Queue;

export!(Queue);

impl Guest for Queue {
    fn handle_queue_message(message: Message) -> Result<MessageAction, Error> {
        let arrived = SystemTime::now();
        let delivery = Delivery::read(arrived, &message.message_attributes);
        let body = message.body.unwrap_or_default();
        let delivered = run(async {
            match Subject::of(body.as_bytes()) {
                Some(subject) => projection::deliver(subject, body.as_bytes(), &delivery).await,
                None => confirm::deliver(body.as_bytes(), &delivery).await,
            }
        });
        match delivered {
            Delivered::Done => Ok(MessageAction::Delete),
            // What is left comes again, until the queue's receive count moves it to the dead-letter queue.
            Delivered::Left => Ok(MessageAction::Leave),
            Delivered::Poison(reason) => Err(Error::Other(reason)),
        }
    }
}
