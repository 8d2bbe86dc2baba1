//! A host that receives from SQS_CONFIRMATION itself, by Spin's SQS trigger, in place of the pipe.

use std::time::{Duration, Instant};

use local_stack::Confirm;
use serde_json::{Value, json};

use crate::fault_proxy::Action;
use crate::faulty::{Faulty, PATIENCE, fresh_slot};

/// How often the component was handed a message about an appointment.
fn deliveries(faulty: &Faulty, id: &str) -> usize {
    let log = std::fs::read_to_string(faulty.stack.services().logs().join("application.log")).unwrap();
    log.lines().filter(|line| line.contains("\"route\":\"handle-queue-message\"") && line.contains(id)).count()
}

#[tokio::test]
async fn the_hosts_own_trigger_deletes_leaves_and_keeps_messages() {
    let faulty = Faulty::start_with("queue-trigger", |durations| durations.visibility_timeout = 1, Confirm::Sqs).await;
    let services = faulty.stack.services();
    assert!(!services.logs().join("pipe.log").exists(), "the pipe runs beside the trigger");

    // A message that no handler ever takes: left each time, until the queue moves it away.
    let [queue, dead_letters] =
        ["SQS_CONFIRMATION", "SQS_CONFIRMATION_DLQ"].map(|name| services.queue_url(name).unwrap());
    let poison = json!({"QueueUrl": queue, "MessageBody": "no outcome"});
    services.aws().sqs("SendMessage", &poison).await.unwrap();

    // Of each country, and the second with a table that takes longer to answer than the message's visibility timeout.
    let slot = fresh_slot() & !1;
    let prompt = faulty.book(slot).await;
    faulty.until_completed(&prompt).await;
    let armed = faulty.arm("confirmation", "UpdateItem", slot + 1, Action::Delay(Duration::from_millis(1_800)), 1);
    let slow = faulty.book(slot + 1).await;
    faulty.until_completed(&slow).await;
    assert_eq!(armed.happened(), 1);

    let started = Instant::now();
    let left = loop {
        let receive = json!({"QueueUrl": dead_letters, "WaitTimeSeconds": 1});
        let answer = services.aws().sqs("ReceiveMessage", &receive).await.unwrap();
        match answer["Messages"].as_array().and_then(|messages| messages.first()) {
            Some(message) => break message["Body"].clone(),
            None => assert!(started.elapsed() < PATIENCE, "the message is in no dead-letter queue"),
        }
    };
    assert_eq!(left, Value::from("no outcome"));

    // By now a message that was not deleted, or whose lease ran out, would have come again.
    for booking in [prompt, slow] {
        assert_eq!(deliveries(&faulty, &booking.id.to_string()), 1, "{}", booking.id);
    }
}
