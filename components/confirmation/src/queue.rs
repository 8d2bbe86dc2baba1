//! What the host calls with each message of SQS_CONFIRMATION.
#![expect(
    clippy::too_many_arguments,
    reason = "wit-bindgen makes each part of a message an argument of the export that it generates"
)]

use std::time::Instant;

use spin_sdk::http::run;

use crate::confirm::{Delivered, deliver};

wit_bindgen::generate!({
    path: "../../wit/spin-sqs",
    world: "spin-sqs",
});

struct Queue;

export!(Queue);

impl Guest for Queue {
    fn handle_queue_message(message: Message) -> Result<MessageAction, Error> {
        let arrived = Instant::now();
        let body = message.body.unwrap_or_default();
        match run(deliver(body.as_bytes(), arrived)) {
            Delivered::Done => Ok(MessageAction::Delete),
            // What is left comes again, until the queue's receive count moves it to the dead-letter queue.
            Delivered::Left => Ok(MessageAction::Leave),
            Delivered::Poison(reason) => Err(Error::Other(reason)),
        }
    }
}
