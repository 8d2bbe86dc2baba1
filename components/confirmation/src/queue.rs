//! What the host calls with each message of SQS_CONFIRMATION, and of the queue of the catalogues.
#![expect(
    clippy::too_many_arguments,
    reason = "wit-bindgen makes each part of a message an argument of the export that it generates"
)]

use std::time::Instant;

use spin_sdk::http::run;

use crate::projection::Subject;
use crate::{confirm, projection};

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
        let done = run(async {
            match Subject::of(body.as_bytes()) {
                Some(subject) => projection::deliver(subject, body.as_bytes(), arrived).await,
                None => confirm::deliver(body.as_bytes(), arrived).await,
            }
        });
        // What is left comes again, until the queue's receive count moves it to the dead-letter queue.
        Ok(if done { MessageAction::Delete } else { MessageAction::Leave })
    }
}
