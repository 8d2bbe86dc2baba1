//! What a host calls that receives from SQS_CONFIRMATION itself.
#![expect(
    clippy::too_many_arguments,
    reason = "wit-bindgen makes each part of a message an argument of the export that it generates"
)]

use std::time::Instant;

use spin_sdk::http::run;

use crate::confirm::deliver;

wit_bindgen::generate!({
    path: "../../wit/spin-sqs",
    world: "spin-sqs",
});

/// How log lines name this way in, where those of HTTP name their route.
const ROUTE: &str = "handle-queue-message";

struct Queue;

export!(Queue);

impl Guest for Queue {
    /// Asks for no key: only the host can call it, and only who may receive from the queue has anything to give to it.
    fn handle_queue_message(message: Message) -> Result<MessageAction, Error> {
        let arrived = Instant::now();
        let body = message.body.unwrap_or_default().into_bytes();
        let answer = run(deliver(Ok(body), ROUTE, arrived));
        // What is left comes again, until the queue's receive count moves it to the dead-letter queue.
        Ok(if answer.status().is_success() { MessageAction::Delete } else { MessageAction::Leave })
    }
}
