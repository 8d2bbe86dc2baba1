//! What happens when a hop between the application and AWS fails: the rows of `docs/failures.md`, over the whole system
//! with a proxy between the components and the emulator.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use appointment::Country;
use futures::future::join_all;
use http::StatusCode;
use local_stack::application::{Application, ApplicationSettings, Host};
use local_stack::artifacts::Artifacts;
use messages::{Command, Outcome, OutcomeEvent};
use operator::backplane::Durations;
use serde_json::{Value, json};
use tests::{Lease, Shared, workspace};

use crate::fault_proxy::Action;
use crate::faulty::{ALWAYS, Booking, Faulty, PATIENCE, body, fresh_slot, history, insured, is_given_up, post};

const FAULT: Action = Action::Respond(500, r#"{"__type":"InternalServerError"}"#);
const THROTTLED: Action = Action::Respond(400, r#"{"__type":"ThrottlingException"}"#);
const XML_FAULT: Action =
    Action::Respond(500, "<ErrorResponse><Error><Code>InternalError</Code></Error></ErrorResponse>");
const XML_THROTTLED: Action =
    Action::Respond(400, "<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>");
const REFUSED_ENTRY: Action =
    Action::Respond(200, r#"{"FailedEntryCount":1,"Entries":[{"ErrorCode":"InternalFailure","ErrorMessage":"x"}]}"#);

/// One system for most of these tests: each fails the calls about its own slot.
async fn faulty() -> Lease<Faulty> {
    static FAULTY: Shared<Faulty> = Shared::new();
    // What is published is decided before it is published again, also on a busy machine.
    let shorter = |durations: &mut Durations| {
        durations.republish_interval = 2;
        durations.republish_delays = vec![10; 6];
    };
    FAULTY.get(async || Faulty::start("faults", shorter).await).await
}

/// One system for the tests in which something is given up: after ten seconds.
async fn giving_up() -> Lease<Faulty> {
    static GIVING_UP: Shared<Faulty> = Shared::new();
    let soon = |durations: &mut Durations| {
        durations.republish_interval = 1;
        durations.republish_delays = vec![6, 1, 1, 1, 1, 1];
        durations.given_up_interval = 2;
    };
    GIVING_UP.get(async || Faulty::start("giving-up", soon).await).await
}

/// An appointment that nobody has asked for.
fn nobodys(slot: u64) -> Booking {
    let country = if slot.is_multiple_of(2) { Country::Peru } else { Country::Chile };
    Booking { country, insured: insured(), id: uuid::Uuid::now_v7().try_into().unwrap(), slot }
}

#[tokio::test]
async fn a_table_that_refuses_or_is_silent_is_a_503_in_time() {
    let faulty = &*faulty().await;
    let denied = Action::Respond(400, r#"{"__type":"AccessDeniedException","message":"not allowed"}"#);
    join_all([FAULT, THROTTLED, Action::Cut, Action::Silence, denied].map(async |action| {
        let slot = fresh_slot();
        let armed = faulty.arm("intake", "PutItem", slot, action.clone(), ALWAYS);
        // The host's own limit is ten minutes; the component's is 3 s.
        let (url, body) = (faulty.stack.url(), body("00123", slot));
        let received = tokio::time::timeout(Duration::from_secs(30), post(&url, &body)).await;
        let (status, headers, problem) = received.unwrap().unwrap();
        assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("temporarily_unavailable")), "{action:?}");
        assert!(headers.contains_key("retry-after"), "{action:?}");
        assert!((1..=3).contains(&armed.happened()), "{action:?}: {} attempts", armed.happened());
        assert_eq!(faulty.listed("00123", slot).await, Vec::<Value>::new(), "{action:?}");
    }))
    .await;
}

#[tokio::test]
async fn a_table_that_recovers_in_time_costs_the_person_nothing() {
    let faulty = &*faulty().await;
    join_all([FAULT, THROTTLED, Action::Cut, Action::LoseResponse, Action::Delay(Duration::from_millis(500))].map(
        async |action| {
            let slot = fresh_slot();
            let armed = faulty.arm("intake", "PutItem", slot, action.clone(), 1);
            let booking = faulty.book(slot).await;
            assert_eq!(armed.happened(), 1, "{action:?}");
            faulty.until_completed(&booking).await;
            assert_eq!(faulty.listed(&booking.insured, slot).await.len(), 1, "{action:?}");
            assert_eq!(faulty.decisions(slot).await, [(booking.id.to_string(), "booked".to_owned())], "{action:?}");
        },
    ))
    .await;
}

/// A 503 does not mean that nothing was kept; what was kept is handled like any other appointment.
#[tokio::test]
async fn a_booking_whose_every_response_is_lost_is_still_handled() {
    let faulty = &*faulty().await;
    let (slot, insured) = (fresh_slot(), insured());
    let armed = faulty.arm("intake", "PutItem", slot, Action::LoseResponse, ALWAYS);
    let (status, _, _) = post(&faulty.stack.url(), &body(&insured, slot)).await.unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(armed.happened() > 1, "it was tried again");
    let booking = faulty.only_one(&insured, slot).await;
    faulty.until_completed(&booking).await;
    assert_eq!(faulty.decisions(slot).await, [(booking.id.to_string(), "booked".to_owned())]);
}

#[tokio::test]
async fn a_publication_that_fails_is_made_up_for() {
    let faulty = &*faulty().await;
    join_all([XML_FAULT, XML_THROTTLED, Action::Cut, Action::Silence, Action::LoseResponse].map(async |action| {
        let slot = fresh_slot();
        let armed = faulty.arm("intake", "Publish", slot, action.clone(), ALWAYS);
        let booking = faulty.book(slot).await;
        assert!(armed.happened() > 0, "{action:?}");
        let row = faulty.until_completed(&booking).await;
        assert!(row.get("pendingShard").is_none() && row.get("pendingSince").is_none(), "{action:?}: {row}");
        assert_eq!(faulty.decisions(slot).await, [(booking.id.to_string(), "booked".to_owned())], "{action:?}");
        let published = faulty.proxy.taken("Publish", &slot.to_string()).len();
        assert!(published > 0, "{action:?}: by the republisher, or by intake with its response lost");
    }))
    .await;
}

/// A cancellation is handled like a request: what is not published is made up for, and the slot is free again.
#[tokio::test]
async fn a_cancellation_that_is_not_published_is_made_up_for() {
    let faulty = &*faulty().await;
    join_all([XML_FAULT, Action::Cut, Action::LoseResponse].map(async |action| {
        let booking = faulty.book(fresh_slot()).await;
        faulty.until_completed(&booking).await;
        let armed = faulty.arm("intake", "Publish", booking.slot, action.clone(), ALWAYS);
        assert_eq!(faulty.cancel(&booking).await, StatusCode::ACCEPTED, "{action:?}");
        assert!(armed.happened() > 0, "{action:?}");
        let row = faulty.until(&booking, "cancelled", |row| row["status"]["S"] == "cancelled").await;
        assert_eq!(history(&row), ["pending", "completed", "cancelling", "cancelled"], "{action:?}");
        assert!(row.get("pendingShard").is_none(), "{action:?}: {row}");
        armed.heal();
        let next = faulty.book(booking.slot).await;
        faulty.until_completed(&next).await;
    }))
    .await;
}

#[tokio::test]
async fn intake_that_dies_between_write_and_publication_loses_nothing() {
    let faulty = &*faulty().await;
    let (slot, insured) = (fresh_slot(), insured());
    let endpoint = faulty.proxy.serve(faulty.stack.services().endpoint().clone(), "intake").await;
    let doomed = Application::start(ApplicationSettings {
        host: Host::Embedded,
        root: &workspace(),
        edge_host: &Artifacts::at(&workspace()).edge_host(),
        port: None,
        variables: faulty.stack.services().variables_by_way_of(&endpoint).unwrap(),
        telemetry: BTreeMap::new(),
        log: faulty.stack.services().logs().join("doomed-application.log"),
    })
    .await
    .unwrap();
    let armed = faulty.arm("intake", "Publish", slot, Action::Silence, ALWAYS);
    let url = doomed.url();
    let request = tokio::spawn({
        let body = body(&insured, slot);
        async move { post(&url, &body).await.map(|(status, _, _)| status) }
    });
    armed.has_happened().await;
    // Killed, because a request to stop would let it respond first.
    let killed = std::process::Command::new("kill").args(["-KILL", &doomed.process_id().to_string()]).status();
    assert!(killed.unwrap().success());
    assert!(request.await.unwrap().is_err(), "the person gets no response");

    let booking = faulty.only_one(&insured, slot).await;
    faulty.until_completed(&booking).await;
    assert_eq!(faulty.decisions(slot).await, [(booking.id.to_string(), "booked".to_owned())]);
}

/// Of a request that can never be published the person learns, and the operator finds it in the shard `given_up`; also
/// although the first run dies between the failure and its announcement.
#[tokio::test]
async fn giving_up_is_visible_and_announced() {
    let faulty = &*giving_up().await;
    join_all([0, 3].map(async |lost_announcements| {
        let slot = fresh_slot();
        let _intake = faulty.arm("intake", "Publish", slot, XML_FAULT, ALWAYS);
        let _republisher = faulty.arm("confirmation", "Publish", slot, XML_FAULT, ALWAYS);
        let announcement = faulty.arm("confirmation", "PutEvents", slot, FAULT, lost_announcements);
        let booking = faulty.book(slot).await;
        let row = faulty.until(&booking, "given up", is_given_up).await;
        assert_eq!((&row["status"]["S"], &row["reason"]["S"]), (&json!("failed"), &json!("not_processed")));
        assert_eq!(history(&row), ["pending", "failed"]);
        let listed = faulty.listed(&booking.insured, slot).await;
        assert_eq!((&listed[0]["status"], &listed[0]["reason"]), (&json!("failed"), &json!("not_processed")));
        assert_eq!(announcement.happened(), lost_announcements);
        let announced = faulty.announced(&booking);
        let event_id = backplane::not_processed_event_id(booking.id).to_string();
        assert!(!announced.is_empty());
        assert!(announced.iter().all(|event| *event == ("failed".to_owned(), event_id.clone())), "{announced:?}");
        assert_eq!(faulty.decisions(slot).await, []);
        // The line that raises the alarm.
        faulty.until_logged(&["request given up", &booking.id.to_string(), r#""level":"ERROR""#]).await;
    }))
    .await;
}

/// The outcome is held up for longer than anybody waits, and a booked slot is shown as `failed`. The country's decision corrects that
/// without an operator. A request without a decision is refused for good, and never booked late.
#[tokio::test]
async fn what_was_given_up_is_made_right_by_its_countrys_decision() {
    let faulty = &*giving_up().await;
    let services = faulty.stack.services();
    let bus = &services.backplane().bus;
    let rule = json!({"Name": bus.rules.outcomes.name, "EventBusName": bus.name});
    let (decided, undecided) = (fresh_slot(), fresh_slot());
    let silent = ["intake", "confirmation"].map(|who| faulty.arm(who, "Publish", undecided, XML_FAULT, ALWAYS));
    services.aws().events("DisableRule", &rule).await.unwrap();
    let (booked, lost) = (faulty.book(decided).await, faulty.book(undecided).await);
    let started = Instant::now();
    while faulty.decisions(decided).await.is_empty() {
        assert!(started.elapsed() < PATIENCE, "the country does not decide");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for booking in [&booked, &lost] {
        let row = faulty.until(booking, "given up", is_given_up).await;
        assert_eq!((&row["status"]["S"], &row["reason"]["S"]), (&json!("failed"), &json!("not_processed")));
    }
    assert_eq!(faulty.decisions(decided).await, [(booked.id.to_string(), "booked".to_owned())], "all the while");
    assert_eq!(faulty.decisions(undecided).await, [], "nobody knows of it");

    services.aws().events("EnableRule", &rule).await.unwrap();
    silent.iter().for_each(|armed| armed.heal());
    let row = faulty.until_completed(&booked).await;
    assert_eq!(history(&row), ["pending", "failed", "completed"]);
    assert!(row.get("reason").is_none() && row.get("pendingShard").is_none(), "{row}");
    let row = faulty.until(&lost, "rejected", |row| row["status"]["S"] == "rejected").await;
    assert_eq!((history(&row), &row["reason"]["S"]), (vec!["pending", "failed", "rejected"], &json!("not_processed")));
    assert!(row.get("pendingShard").is_none(), "{row}");
    assert_eq!(faulty.decisions(undecided).await, [(lost.id.to_string(), "rejected".to_owned())], "never booked");
    faulty.until_announced(&booked, &["failed", "completed"]).await;
    faulty.until_announced(&lost, &["failed", "rejected"]).await;
    for booking in [&booked, &lost] {
        let sequences: Vec<_> = faulty.announcements(booking).iter().map(|event| event["sequence"].clone()).collect();
        assert!(sequences.iter().all(|sequence| *sequence == 2 || *sequence == 3), "{sequences:?}");
    }
}

/// An outcome is applied but not announced, and then the person cancels: it is still announced, as it was.
#[tokio::test]
async fn an_outcome_that_the_person_overtook_is_announced_as_it_was() {
    let faulty = &*faulty().await;
    let booking = faulty.book_unannounced().await;
    let outcome = booking.outcome(Outcome::Completed);
    assert_eq!(faulty.cancel(&booking).await, StatusCode::ACCEPTED);
    let row = faulty.until(&booking, "cancelled", |row| row["status"]["S"] == "cancelled").await;
    assert_eq!(history(&row), ["pending", "completed", "cancelling", "cancelled"]);
    // The queue may have given up meanwhile, so the test delivers it itself; twice, with the same effect.
    for _ in 0..2 {
        assert!(faulty.deliver(&outcome).await);
    }
    faulty.until_announced(&booking, &["completed", "cancelled"]).await;
    let announced = faulty.announcements(&booking);
    let completed: Vec<_> = announced.iter().filter(|event| event["status"] == "completed").collect();
    assert!(completed.len() >= 2 && completed.iter().all(|event| *event == completed[0]), "{announced:#?}");
    let entry = &row["history"]["L"][1]["M"];
    assert_eq!((&completed[0]["eventId"], &completed[0]["sequence"]), (&entry["eventId"]["S"], &json!(2)));
    assert_eq!(completed[0]["occurredAt"], entry["at"]["S"]);
    let cancelled = announced.iter().find(|event| event["status"] == "cancelled").unwrap();
    assert_eq!(cancelled["sequence"], 4, "what the person did is not announced, and counts");
}

/// More rows than one call reads of a shard can never be published; a younger one behind them still gets its turn.
#[tokio::test]
async fn stuck_rows_never_starve_others() {
    const STUCK: u64 = 120;
    let faulty = &*faulty().await;
    let slot = fresh_slot() & !1;
    // The message of each names this slot.
    let _stuck = faulty.arm("confirmation", "Publish", slot, XML_FAULT, ALWAYS);
    let services = faulty.stack.services();
    let put = async |number: u64, slot: u64, since: Duration| {
        let booking = nobodys(slot);
        let at = |ago: Duration| appointment::Timestamp::from(std::time::SystemTime::now() - ago).to_string();
        let item = json!({
            "insuredId": {"S": booking.insured}, "sk": {"S": format!("appointment#{}", booking.id)},
            "scheduleId": {"N": slot.to_string()}, "countryISO": {"S": "PE"}, "status": {"S": "pending"},
            "createdAt": {"S": at(since)}, "updatedAt": {"S": at(since)},
            "history": {"L": [{"M": {"status": {"S": "pending"}, "at": {"S": at(since)}}}]},
            "traceparent": {"S": format!("00-{:032x}-{:016x}-01", fastrand::u128(1..), fastrand::u64(1..))},
            "shard": {"S": "PE#0"}, "pendingShard": {"S": "PE#0"}, "pendingSince": {"S": at(since)},
            "pendingAttempt": {"N": "0"},
        });
        let item = json!({"TableName": services.backplane().table.name, "Item": item});
        services.aws().dynamodb("PutItem", &item).await.unwrap_or_else(|error| panic!("row {number}: {error:#}"));
        booking
    };
    let stuck = join_all((0..STUCK).map(|number| put(number, slot, Duration::from_secs(60)))).await;
    let younger = put(STUCK, fresh_slot() & !1, Duration::from_secs(1)).await;
    let row = faulty.until_completed(&younger).await;
    assert_eq!(history(&row), ["pending", "completed"]);
    let waiting = join_all(stuck.iter().map(|booking| faulty.row(booking))).await;
    assert!(waiting.iter().all(|row| row["status"]["S"] != "completed"), "the stuck ones are stuck");
}

#[tokio::test]
async fn an_outcome_waits_for_the_table() {
    let faulty = &*faulty().await;
    join_all([FAULT, THROTTLED, Action::Cut, Action::Silence].map(async |action| {
        let slot = fresh_slot();
        let armed = faulty.arm("confirmation", "UpdateItem", slot, action.clone(), ALWAYS);
        let booking = faulty.book(slot).await;
        armed.has_happened().await;
        // Within the function's time: only the record fails.
        assert!(!faulty.deliver(&booking.outcome(Outcome::Completed)).await, "{action:?}");
        assert_eq!(faulty.row(&booking).await["status"]["S"], "pending", "{action:?}");
        armed.heal();
        let row = faulty.until_completed(&booking).await;
        assert_eq!(history(&row), ["pending", "completed"], "{action:?}");
    }))
    .await;
}

#[tokio::test]
async fn an_outcome_whose_response_is_lost_is_applied_once() {
    let faulty = &*faulty().await;
    let slot = fresh_slot();
    let armed = faulty.arm("confirmation", "UpdateItem", slot, Action::LoseResponse, 1);
    let booking = faulty.book(slot).await;
    let row = faulty.until_completed(&booking).await;
    assert_eq!(history(&row), ["pending", "completed"]);
    assert_eq!(armed.happened(), 1);
    let started = Instant::now();
    while faulty.announced(&booking).is_empty() {
        assert!(started.elapsed() < PATIENCE, "the change is not announced");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_change_that_is_not_announced_comes_again_with_the_same_event_id() {
    let faulty = &*faulty().await;
    // Three attempts are one delivery; a refused entry is not tried again within it.
    join_all([(FAULT, 3), (REFUSED_ENTRY, 1), (Action::Silence, 1)].map(async |(action, times)| {
        let slot = fresh_slot();
        let armed = faulty.arm("confirmation", "PutEvents", slot, action.clone(), times);
        let booking = faulty.book(slot).await;
        let row = faulty.until_completed(&booking).await;
        let event_id = OutcomeEvent::event_id(booking.id, Outcome::Completed, Command::Request).to_string();
        let started = Instant::now();
        while faulty.announced(&booking).is_empty() {
            assert!(started.elapsed() < PATIENCE, "{action:?}: the queue does not repeat the outcome");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(armed.happened(), times, "{action:?}");
        assert_eq!(faulty.announced(&booking), [("completed".to_owned(), event_id)], "{action:?}");
        assert_eq!(faulty.row(&booking).await, row, "{action:?}: the repetition changes nothing");
    }))
    .await;
}

#[tokio::test]
async fn a_repeated_or_late_outcome_changes_nothing() {
    let faulty = &*faulty().await;
    let booking = faulty.book(fresh_slot()).await;
    let row = faulty.until_completed(&booking).await;
    let started = Instant::now();
    while faulty.announced(&booking).is_empty() {
        assert!(started.elapsed() < PATIENCE, "the change is not announced");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // A repetition of the last event is announced again, with the same id; a late one is not.
    assert!(faulty.deliver(&booking.outcome(Outcome::Completed)).await);
    assert!(faulty.deliver(&booking.outcome(Outcome::Failed)).await);
    let announced = faulty.announced(&booking);
    assert_eq!(announced.len(), 2, "{announced:?}");
    assert_eq!(announced[0], announced[1]);
    assert_eq!(faulty.row(&booking).await, row);
}

#[tokio::test]
async fn a_poison_message_ends_in_the_confirmation_dead_letter_queue() {
    let faulty = &*faulty().await;
    let services = faulty.stack.services();
    let names = &services.backplane().confirmation_queue;
    let nobodys = nobodys(fresh_slot());
    let bodies = ["{\"detail-type\":".to_owned(), nobodys.outcome(Outcome::Completed).to_string()];
    for body in &bodies {
        let message = json!({"QueueUrl": services.queue_url(&names.name).unwrap(), "MessageBody": body});
        services.aws().sqs("SendMessage", &message).await.unwrap();
    }
    let good = faulty.book(fresh_slot()).await;
    faulty.until_completed(&good).await;
    let started = Instant::now();
    loop {
        let count = json!({
            "QueueUrl": services.queue_url(&names.dead_letter_queue).unwrap(),
            "AttributeNames": ["ApproximateNumberOfMessages"],
        });
        let count = services.aws().sqs("GetQueueAttributes", &count).await.unwrap();
        if count["Attributes"]["ApproximateNumberOfMessages"] == "2" {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{count}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let receive = json!({"QueueUrl": services.queue_url(&names.dead_letter_queue).unwrap(), "MaxNumberOfMessages": 10});
    let received = services.aws().sqs("ReceiveMessage", &receive).await.unwrap();
    let mut found: Vec<String> = received["Messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["Body"].as_str().unwrap().to_owned())
        .collect();
    found.sort();
    let mut expected = bodies.to_vec();
    expected.sort();
    assert_eq!(found, expected, "the originals, untouched");
}
