//! What an operator does once the cause of a failure is gone, or when a person asks to be forgotten.

use std::collections::BTreeMap;
use std::time::Instant;

use aws_http::Credentials;
use http::StatusCode;
use local_stack::Services;
use local_stack::forget::forget;
use local_stack::http::Http;
use local_stack::postgres::connect;
use local_stack::redrive::Account;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::fault_proxy::{Action, Fault};
use crate::faulty::{ALWAYS, Faulty, PATIENCE, fresh_slot, history, is_given_up};

const XML_FAULT: Action =
    Action::Answer(500, "<ErrorResponse><Error><Code>InternalError</Code></Error></ErrorResponse>");

async fn execute(services: &Services, country: &str, statement: String) {
    let mut connection = connect(services.database_url(country).unwrap()).await.unwrap();
    sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
}

/// The messages of a queue, as the emulator shows them without receiving.
async fn messages_in(services: &Services, queue: &str) -> u64 {
    let url = services.queue_url(queue).unwrap();
    let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
    let question = json!({"QueueUrl": url, "AttributeNames": names});
    let answer = services.aws().sqs("GetQueueAttributes", &question).await.unwrap();
    names.iter().map(|name| answer["Attributes"][*name].as_str().unwrap().parse::<u64>().unwrap()).sum()
}

/// The country cannot decide, so that the original is in its dead-letter queue; or nobody can publish, so that a request and a
/// cancellation were given up. Once the causes are gone, all of them come to their end: the person was told that the request
/// which was given up failed, and may have booked elsewhere, so that it is refused for good.
#[tokio::test]
async fn what_was_given_up_completes_after_a_redrive() {
    let faulty = Faulty::start("redrive", |durations| {
        durations.visibility_timeout = 2;
        durations.worker_timeout = 2;
        // The first publication has failed for good before it is repeated.
        durations.republish_delays = vec![20, 1, 1, 1, 1, 1, 1];
        // Nobody asks but the operator.
        durations.given_up_interval = 3600;
    })
    .await;
    let services = faulty.stack.services();
    let backplane = services.backplane();
    let peru = backplane.countries().next().unwrap();
    let (undecidable, unpublishable) = (fresh_slot() & !1, fresh_slot());
    let constraint =
        format!("ALTER TABLE appointments ADD CONSTRAINT undecidable CHECK (schedule_id <> {undecidable})");
    execute(services, "PE", constraint).await;
    let silent = ["intake", "confirmation"].map(|who| faulty.arm(who, "Publish", unpublishable, XML_FAULT, ALWAYS));

    let cancelled = faulty.book(fresh_slot()).await;
    faulty.until_completed(&cancelled).await;
    let mute = ["intake", "confirmation"].map(|who| faulty.arm(who, "Publish", cancelled.slot, XML_FAULT, ALWAYS));
    assert_eq!(faulty.cancel(&cancelled).await, StatusCode::ACCEPTED);
    let (one, other) = (faulty.book(undecidable).await, faulty.book(unpublishable).await);
    let row = faulty.until(&one, "failed", |row| row["status"]["S"] == "failed").await;
    assert_eq!(row["reason"]["S"], "processing_failed", "{row}");
    let started = Instant::now();
    while messages_in(services, &peru.dead_letter_queue).await == 0 {
        assert!(started.elapsed() < PATIENCE, "the original is not in {}", peru.dead_letter_queue);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let row = faulty.until(&other, "given up", is_given_up).await;
    assert_eq!(row["reason"]["S"], "not_processed", "{row}");
    let row = faulty.until(&cancelled, "given up", is_given_up).await;
    assert_eq!(history(&row), ["pending", "completed", "cancelling"], "the status stays");
    // The line that raises the alarm.
    faulty.until_logged(&["cancellation given up", &cancelled.id.to_string(), r#""level":"ERROR""#]).await;

    execute(services, "PE", "ALTER TABLE appointments DROP CONSTRAINT undecidable".to_owned()).await;
    silent.iter().chain(&mute).for_each(|armed| armed.heal());
    let account = Account::emulator(services.endpoint(), backplane);
    let redriven = account.redrive(backplane).await.unwrap();
    assert_eq!(redriven.published, 2, "{redriven:?}");
    assert!(redriven.messages[&peru.dead_letter_queue] >= Some(1), "{redriven:?}");
    let row = faulty.until_completed(&one).await;
    assert_eq!(history(&row), ["pending", "failed", "completed"]);
    assert!(row.get("reason").is_none() && row.get("pendingShard").is_none(), "{row}");
    assert_eq!(faulty.decisions(one.slot).await, [(one.id.to_string(), "booked".to_owned())]);
    let row = faulty.until(&other, "rejected", |row| row["status"]["S"] == "rejected").await;
    assert_eq!(history(&row), ["pending", "failed", "rejected"]);
    assert!(row["reason"]["S"] == "not_processed" && row.get("pendingShard").is_none(), "{row}");
    assert_eq!(faulty.decisions(other.slot).await, [(other.id.to_string(), "rejected".to_owned())]);
    let row = faulty.until(&cancelled, "cancelled", |row| row["status"]["S"] == "cancelled").await;
    assert!(row.get("pendingShard").is_none(), "{row}");
    assert_eq!(messages_in(services, &peru.dead_letter_queue).await, 0);
    let again = account.redrive(backplane).await.unwrap();
    assert_eq!((again.published, again.messages.values().flatten().sum::<u64>()), (0, 0), "nothing is left");
}

/// On AWS SQS moves the messages by itself; the emulator lacks that operation, so that its answer is the proxy's.
#[tokio::test]
async fn on_aws_sqs_is_asked_to_move_the_messages() {
    let faulty = Faulty::start("redrive-aws", |_| {}).await;
    let services = faulty.stack.services();
    let endpoint = faulty.proxy.serve(services.endpoint().clone(), "operator").await;
    let dead_letters = ["SQS_PE_DLQ", "SQS_CL_DLQ", "SQS_CONFIRMATION_DLQ"];
    let tasks = dead_letters.map(|queue| {
        let about = format!("\"arn:aws:sqs:us-east-1:000000000000:{queue}\"");
        let action = Action::Answer(200, r#"{"TaskHandle":"task"}"#);
        faulty.proxy.arm(Fault { caller: "operator", operation: "StartMessageMoveTask", about, action, times: ALWAYS })
    });
    let credentials = Credentials::from_keys("test", "test", None);
    let account = Account::of_topic(services.topic_arn(), credentials.clone(), Some(&endpoint)).unwrap();
    let redriven = account.redrive(services.backplane()).await.unwrap();
    assert!(tasks.iter().all(|task| task.happened() == 1));
    let expected: BTreeMap<String, Option<u64>> = dead_letters.map(|queue| (queue.to_owned(), None)).into();
    assert_eq!((redriven.messages, redriven.published), (expected, 0));
    let wrong = Account::of_topic("appointment-commands", credentials, None).err().unwrap().to_string();
    assert!(wrong.contains("appointments_topic_arn"), "{wrong}");
}

#[tokio::test]
async fn a_person_is_forgotten_in_the_table_and_in_every_country() {
    let faulty = Faulty::start("forget", |durations| durations.republish_delays = vec![15; 7]).await;
    let services = faulty.stack.services();
    let backplane = services.backplane();
    let urls: BTreeMap<String, String> = backplane
        .countries()
        .map(|country| (country.code.clone(), services.database_url(&country.code).unwrap().to_owned()))
        .collect();
    let forget = async |who: &str| forget(who.parse().unwrap(), services.endpoint(), backplane, &urls).await;
    let (person, bystander) = ("00123".to_owned(), "00124".to_owned());
    let slots = [fresh_slot() & !1, fresh_slot() | 1];
    let mut bookings = Vec::new();
    for slot in slots {
        bookings.push(faulty.book_for(&person, slot).await);
    }
    let other = faulty.book_for(&bystander, fresh_slot()).await;
    for booking in bookings.iter().chain([&other]) {
        faulty.until_completed(booking).await;
    }
    let key = json!({
        "insuredId": {"S": person}, "sk": {"S": "idempotency#a-key"}, "appointmentId": {"S": bookings[0].id},
        "expiresAt": {"N": "4102444800"},
    });
    let key = json!({"TableName": backplane.table.name, "Item": key});
    services.aws().dynamodb("PutItem", &key).await.unwrap();

    let waiting_slot = fresh_slot();
    let silent = ["intake", "confirmation"].map(|who| faulty.arm(who, "Publish", waiting_slot, XML_FAULT, ALWAYS));
    let waiting = faulty.book_for(&person, waiting_slot).await;
    let refused = forget(&person).await.unwrap_err().to_string();
    assert!(refused.contains("1 appointments still await") && !refused.contains(&person), "{refused}");
    assert_eq!(faulty.decisions(slots[0]).await.len(), 1, "nothing was erased");
    silent.iter().for_each(|armed| armed.heal());
    // The republisher's turn.
    faulty.until_completed(&waiting).await;

    let forgotten = forget(&person).await.unwrap();
    assert_eq!((forgotten.appointments, forgotten.idempotency_keys), (3, 1), "{forgotten:?}");
    assert_eq!(forgotten.decisions.values().sum::<u64>(), 3, "{forgotten:?}");
    for slot in slots.into_iter().chain([waiting_slot]) {
        assert_eq!(faulty.decisions(slot).await, [], "slot {slot}");
    }
    let list = async |who: &str| -> Value {
        let answer = Http::default().get(&format!("{}/appointments/{who}", faulty.stack.url())).await.unwrap();
        serde_json::from_slice(answer.body()).unwrap()
    };
    assert_eq!(list(&person).await["appointments"], json!([]));
    assert_eq!(list(&bystander).await["appointments"].as_array().unwrap().len(), 1, "others are not touched");
    assert_eq!(faulty.decisions(other.slot).await.len(), 1, "others are not touched");

    let logs = std::fs::read_dir(services.logs()).unwrap();
    for log in logs.map(|entry| entry.unwrap().path()) {
        // PostgreSQL's own log and the emulator's are no part of what is deployed.
        if log.ends_with("postgres.log") || log.ends_with("ministack.log") {
            continue;
        }
        let text = std::fs::read_to_string(&log).unwrap();
        let named =
            text.lines().find(|line| line.contains(&format!("\"{person}\"")) || line.contains(&format!("/{person}")));
        assert_eq!(named, None, "{} names the person", log.display());
    }
}
