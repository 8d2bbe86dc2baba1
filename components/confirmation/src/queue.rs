//! What the host calls with each message of SQS_CONFIRMATION.
#![expect(
    clippy::too_many_arguments,
    reason = "wit-bindgen makes each part of a message an argument of the export that it generates"
)]

use std::time::SystemTime;

use edge_component::run;

use crate::confirm::deliver;

wit_bindgen::generate!({
    path: "../../wit/spin-sqs",
    world: "spin-sqs",
});

struct Queue;

export!(Queue);

impl Guest for Queue {
    fn handle_queue_message(message: Message) -> Result<MessageAction, Error> {
        let arrived = SystemTime::now();
        let body = message.body.unwrap_or_default();
        let done = run(deliver(body.as_bytes(), arrived));
        // What is left comes again, until the queue's receive count moves it to the dead-letter queue.
        Ok(if done { MessageAction::Delete } else { MessageAction::Leave })
    }
}
