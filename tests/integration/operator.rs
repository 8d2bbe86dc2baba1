//! What an operator does once the cause of a failure is gone, or when a person asks to be forgotten.

use std::collections::BTreeMap;
use std::time::Instant;

use appointment::{Appointment, Country};
use aws_http::Credentials;
use http::{Method, StatusCode};
use local_stack::Services;
use local_stack::emulator;
use local_stack::http::Http;
use messages::{AppointmentMessage, Command, Outcome};
use operator::account::Account;
use operator::database::connect;
use operator::forget::{forget, tombstone_lifetime};
use operator::redrive::Moved;
use regex::Regex;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::console::{ask, console_of, json_of};
use crate::fault_proxy::{Action, Fault};
use crate::faulty::{ALWAYS, Faulty, PATIENCE, fresh_slot, history, is_given_up};

const XML_FAULT: Action =
    Action::Respond(500, "<ErrorResponse><Error><Code>InternalError</Code></Error></ErrorResponse>");

async fn execute(services: &Services, country: &str, statement: String) {
    let mut connection = connect(services.database_url(country).unwrap()).await.unwrap();
    sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
}

/// The messages of a queue, as the emulator shows them without receiving.
async fn messages_in(services: &Services, queue: &str) -> u64 {
    let url = services.queue_url(queue).unwrap();
    let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
    let question = json!({"QueueUrl": url, "AttributeNames": names});
    let response = services.aws().sqs("GetQueueAttributes", &question).await.unwrap();
    names.iter().map(|name| response["Attributes"][*name].as_str().unwrap().parse::<u64>().unwrap()).sum()
}

/// The country cannot decide, and the original message is in its dead-letter queue; or nobody can publish, and a request and a
/// cancellation are given up. Once the causes are gone, all of them end. The request that was given up is refused for good, because
/// the person was told that it failed, and may have booked elsewhere.
#[tokio::test]
async fn what_was_given_up_completes_after_a_redrive() {
    let faulty = Faulty::start("redrive", |durations| {
        durations.visibility_timeout = 2;
        durations.worker_timeout = 2;
        // The first publication has failed for good before it is repeated.
        durations.receive_delays = vec![1; 7];
        durations.republish_interval = 1;
        durations.republish_delays = vec![12, 1, 1, 1, 1, 1];
        // Only the operator asks.
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
    let account = emulator::account(services.endpoint(), backplane).unwrap();
    let dry = account.redrive(backplane, true).await.unwrap();
    assert_eq!(dry.published, 2, "{dry:?}");
    assert!(matches!(dry.queues[&peru.dead_letter_queue], Moved::WouldMove { messages: 1.. }), "{dry:?}");
    // By the console, only the cancellation.
    let (console, _watch) = console_of(&faulty.stack).await;
    let only = format!("{}api/redrive?only={}", console.url(), cancelled.id);
    let previewed = json_of(&ask(Method::GET, &only, &[]).await);
    let step = format!("{}: appointment.cancellation_requested is published again", cancelled.id);
    assert_eq!(previewed, json!({"steps": [step]}));
    assert_eq!(account.redrive(backplane, true).await.unwrap().published, 2, "a preview does nothing");
    let published = json_of(&ask(Method::POST, &only, &[]).await);
    assert_eq!(published, json!({"steps": [format!("{}: published again", cancelled.id)]}));
    let row = faulty.until(&cancelled, "cancelled", |row| row["status"]["S"] == "cancelled").await;
    assert!(row.get("pendingShard").is_none(), "{row}");
    assert_eq!(ask(Method::POST, &only, &[]).await.status(), StatusCode::NOT_FOUND, "it is not given up any more");
    assert!(is_given_up(&faulty.row(&other).await), "the other one is left alone");

    let redriven = account.redrive(backplane, false).await.unwrap();
    assert_eq!(redriven.published, 1, "{redriven:?}");
    assert!(
        matches!(redriven.queues[&peru.dead_letter_queue], Moved::Done { put_back: 1.., dropped: 0 }),
        "{redriven:?}"
    );
    let row = faulty.until_completed(&one).await;
    assert_eq!(history(&row), ["pending", "failed", "completed"]);
    assert!(row.get("reason").is_none() && row.get("pendingShard").is_none(), "{row}");
    assert_eq!(faulty.decisions(one.slot).await, [(one.id.to_string(), "booked".to_owned())]);
    let row = faulty.until(&other, "rejected", |row| row["status"]["S"] == "rejected").await;
    assert_eq!(history(&row), ["pending", "failed", "rejected"]);
    assert!(row["reason"]["S"] == "not_processed" && row.get("pendingShard").is_none(), "{row}");
    assert_eq!(faulty.decisions(other.slot).await, [(other.id.to_string(), "rejected".to_owned())]);
    assert_eq!(messages_in(services, &peru.dead_letter_queue).await, 0);
    let again = account.redrive(backplane, false).await.unwrap();
    let nothing = Moved::Done { put_back: 0, dropped: 0 };
    assert!(again.published == 0 && again.queues.values().all(|moved| *moved == nothing), "{again:?}");
}

/// On AWS SQS moves the messages by itself. The emulator lacks that operation, so the proxy responds to it. A move that is refused
/// because one is under way does not stop the others.
#[tokio::test]
async fn on_aws_sqs_is_asked_to_move_the_messages_and_a_refusal_holds_up_no_other_queue() {
    let faulty = Faulty::start("redrive-aws", |_| {}).await;
    let services = faulty.stack.services();
    let endpoint = faulty.proxy.serve(services.endpoint().clone(), "operator").await;
    let dead_letters = ["SQS_PE_DLQ", "SQS_CL_DLQ", "SQS_CONFIRMATION_DLQ"];
    let tasks = dead_letters.map(|queue| {
        let about = format!("\"arn:aws:sqs:us-east-1:000000000000:{queue}\"");
        let busy =
            r#"{"__type":"com.amazonaws.sqs#UnsupportedOperation","message":"There is already a task running."}"#;
        let action = match queue {
            "SQS_PE_DLQ" => Action::Respond(400, busy),
            _ => Action::Respond(200, r#"{"TaskHandle":"task"}"#),
        };
        faulty.proxy.arm(Fault { caller: "operator", operation: "StartMessageMoveTask", about, action, times: ALWAYS })
    });
    let credentials = Credentials::from_keys("test", "test", None);
    let of_topic = |arn: &str| Account::of_topic(arn, credentials.clone(), Some(&endpoint), services.backplane());
    let account = of_topic(services.topic_arn()).unwrap();
    let redriven = account.redrive(services.backplane(), false).await.unwrap();
    assert!(tasks.iter().all(|task| task.happened() == 1));
    let Moved::Refused(why) = &redriven.queues["SQS_PE_DLQ"] else { panic!("{redriven:?}") };
    assert!(why.contains("already a task running"), "{why}");
    assert_eq!([&redriven.queues["SQS_CL_DLQ"], &redriven.queues["SQS_CONFIRMATION_DLQ"]], [&Moved::Started; 2]);
    assert!(redriven.is_partial() && redriven.published == 0, "{redriven:?}");
    for wrong in ["appointment-commands", "arn:aws:sns:us-east-1:000000000000:another"] {
        let error = of_topic(wrong).err().unwrap().to_string();
        assert!(error.contains("appointments_topic_arn"), "{error}");
    }
    // After a restore the table in use has another name.
    let restored = of_topic(services.topic_arn()).unwrap().with_table("appointments-20261125");
    let error = format!("{:#}", restored.given_up(services.backplane()).await.unwrap_err());
    assert!(error.contains("ResourceNotFoundException"), "{error}");
}

/// A person is erased while a command of theirs is in a dead-letter queue, and their outcomes in another: neither the redrive
/// nor anything late brings them back, nobody is alarmed, and they may book again.
#[tokio::test]
async fn a_person_is_forgotten_in_the_table_and_in_every_country_and_no_redrive_brings_them_back() {
    let faulty = Faulty::start("forget", |durations| {
        durations.visibility_timeout = 2;
        durations.worker_timeout = 2;
        durations.receive_delays = vec![1; 7];
        durations.republish_delays = vec![600; 6];
    })
    .await;
    let services = faulty.stack.services();
    let backplane = services.backplane();
    let peru = backplane.countries().next().unwrap();
    let account = emulator::account(services.endpoint(), backplane).unwrap();
    let urls: BTreeMap<String, String> = backplane
        .countries()
        .map(|country| (country.code.clone(), services.database_url(&country.code).unwrap().to_owned()))
        .collect();
    let forget = async |who: &str, dry_run: bool| {
        forget(&account, backplane, &urls, who.parse().unwrap(), dry_run).await.unwrap()
    };
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
    let undecidable = fresh_slot() & !1;
    let constraint =
        format!("ALTER TABLE appointments ADD CONSTRAINT undecidable CHECK (schedule_id <> {undecidable})");
    execute(services, "PE", constraint).await;
    let dead = faulty.book_for(&person, undecidable).await;
    let started = Instant::now();
    while messages_in(services, &peru.dead_letter_queue).await == 0 {
        assert!(started.elapsed() < PATIENCE, "the command is not in {}", peru.dead_letter_queue);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    execute(services, "PE", "ALTER TABLE appointments DROP CONSTRAINT undecidable".to_owned()).await;

    let dry = forget(&person, true).await;
    assert_eq!(faulty.decisions(slots[0]).await.len(), 1, "a dry run erases nothing");
    let forgotten = forget(&person, false).await;
    assert_eq!(dry, forgotten, "a dry run says what would be");
    assert_eq!((forgotten.appointments, forgotten.idempotency_keys), (3, 1), "{forgotten:?}");
    assert_eq!(forgotten.decisions.values().sum::<u64>(), 2, "{forgotten:?}");
    let again = forget(&person, false).await;
    assert_eq!((again.appointments, again.decisions.values().sum::<u64>()), (0, 0), "{again:?}");

    // The command in the dead-letter queue is dropped; one that came before the redrive, and late outcomes, are too.
    let redriven = account.redrive(backplane, false).await.unwrap();
    assert!(
        matches!(redriven.queues[&peru.dead_letter_queue], Moved::Done { put_back: 0, dropped: 1.. }),
        "{redriven:?}"
    );
    let (who, slot) = (person.parse().unwrap(), dead.slot.try_into().unwrap());
    let asked_at = "2026-11-24T09:30:00.000Z".parse().unwrap();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
    let appointment = Appointment::requested(dead.id, who, slot, Country::Peru, asked_at);
    let command = AppointmentMessage::new(Command::Request, &appointment, trace).unwrap();
    let send = json!({"QueueUrl": services.queue_url(&peru.queue).unwrap(), "MessageBody": command.to_json()});
    services.aws().sqs("SendMessage", &send).await.unwrap();
    for booking in bookings.iter().chain([&dead]) {
        let event = booking.outcome(Outcome::Completed);
        let entry = json!({
            "EventBusName": backplane.bus.name, "Source": event["source"], "DetailType": event["detail-type"],
            "Detail": event["detail"].to_string(),
        });
        services.aws().events("PutEvents", &json!({"Entries": [entry]})).await.unwrap();
    }
    let dropped = ["command of an erased appointment dropped", "outcome of an erased appointment dropped"];
    let expected = [(&dead, dropped[0]), (&dead, dropped[1]), (&bookings[0], dropped[1]), (&bookings[1], dropped[1])];
    let started = Instant::now();
    for (booking, text) in expected {
        let about = |line: &String| line.contains(&booking.id.to_string()) && line.contains(text);
        while !lines_of(services).iter().any(about) {
            assert!(started.elapsed() < PATIENCE, "no line of {}: {text}", booking.id);
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
    let confirmation = &backplane.confirmation_queue;
    for queue in [&confirmation.name, &confirmation.dead_letter_queue] {
        while messages_in(services, queue).await > 0 {
            assert!(started.elapsed() < PATIENCE, "{queue} still holds an outcome");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
    for booking in bookings.iter().chain([&dead]) {
        assert_eq!(faulty.decisions(booking.slot).await, [], "slot {}", booking.slot);
        assert_eq!(faulty.row(booking).await, Value::Null);
    }
    let poison = "message cannot be taken";
    assert!(!lines_of(services).iter().any(|line| line.contains(poison)), "nobody is alarmed");
    let list = async |who: &str| -> Value {
        let response = Http::default().get(&format!("{}/appointments/{who}", faulty.stack.url())).await.unwrap();
        serde_json::from_slice(response.body()).unwrap()
    };
    assert_eq!(list(&person).await["appointments"], json!([]));
    assert_eq!(list(&bystander).await["appointments"].as_array().unwrap().len(), 1, "others are not touched");
    assert_eq!(faulty.decisions(other.slot).await.len(), 1, "others are not touched");

    // The slots are free again, for others and for the person, who is like anybody else.
    for (who, slot) in [(&person, slots[0]), (&bystander, slots[1]), (&person, undecidable)] {
        faulty.until_completed(&faulty.book_for(who, slot).await).await;
    }

    // What stays holds an id and an expiry.
    let scanned = services.aws().dynamodb("Scan", &json!({"TableName": backplane.table.name})).await.unwrap();
    let tombstones: Vec<&Value> =
        scanned["Items"].as_array().unwrap().iter().filter(|item| item["sk"]["S"] == "erased").collect();
    assert_eq!(tombstones.len(), 3, "{tombstones:?}");
    let latest = std::time::SystemTime::now() + tombstone_lifetime(&backplane.durations);
    let latest = latest.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for tombstone in tombstones {
        let names: Vec<&String> = tombstone.as_object().unwrap().keys().collect();
        assert_eq!(names, ["expiresAt", "insuredId", "sk"], "{tombstone}");
        assert!(!tombstone.to_string().contains(&format!("\"{person}\"")), "{tombstone}");
        let expires_at: u64 = tombstone["expiresAt"]["N"].as_str().unwrap().parse().unwrap();
        assert!(expires_at <= latest && expires_at + 600 > latest, "{tombstone}");
    }
    let dead_letter_retention = 2 * backplane.durations.dead_letter_retention;
    assert!(tombstone_lifetime(&backplane.durations).as_secs() > dead_letter_retention, "longer than both queues");

    let named = Regex::new(&format!(r#"[/"]{person}\b"#)).unwrap();
    let lines = lines_of(services);
    assert_eq!(lines.iter().find(|line| named.is_match(line)), None, "a line names the person");
}

/// The lines of every log of what is deployed: not PostgreSQL's own, nor the emulator's.
fn lines_of(services: &Services) -> Vec<String> {
    let logs = std::fs::read_dir(services.logs()).unwrap().map(|entry| entry.unwrap().path());
    let deployed = logs.filter(|log| !log.ends_with("postgres.log") && !log.ends_with("ministack.log"));
    deployed
        .flat_map(|log| std::fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}
