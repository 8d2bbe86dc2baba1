//! Nothing that a person is shown, or that is announced, is untrue: announcements from the event that was applied, values of
//! later versions, cancellations that were given up. The components as they are shipped, against a double of AWS, and the
//! table's writes on the emulator. What needs the whole system is in `faults`.

use std::time::{Instant, SystemTime};

use appointment::{Status, Timestamp};
use backplane::{AppointmentsTable, Cancelled};
use futures::stream::{self, StreamExt as _};
use http::{Method, StatusCode};
use messages::{Command, Outcome, OutcomeEvent};
use serde_json::{Value, json};
use tests::services;

use crate::components::{
    Confirmation, Double, EVENT_ID, ID, JSON, REPUBLISH, call, completed, condition_failed, host, row,
};
use crate::faulty::PATIENCE;
use crate::states::{client, fresh_appointment, key, schedule, trace};

const LATER: &str = "00000000-0000-5000-8000-000000000000";
const TRACE: &str = "00-11111111111111111111111111111111-2222222222222222-01";

/// A step of a history, with the event that made it.
fn step(status: &str, at: &str, event: Option<&str>) -> Value {
    let mut entry = json!({"status": {"S": status}, "at": {"S": at}});
    if let Some(event) = event {
        entry["eventId"] = json!({"S": event});
        entry["traceparent"] = json!({"S": TRACE});
    }
    json!({"M": entry})
}

/// A row with this history, in the last step's status.
fn row_after(history: &[Value], last_event_id: &str) -> Value {
    let status = history.last().unwrap()["M"]["status"]["S"].as_str().unwrap();
    let mut row = row(status, last_event_id);
    row["history"] = json!({"L": history});
    row
}

fn error_line(lines: &[String], texts: &[&str]) -> bool {
    lines.iter().any(|line| line.contains(r#""level":"ERROR""#) && texts.iter().all(|text| line.contains(text)))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_applied_is_announced_again_as_it_was() {
    const BOOKED: &str = "2026-11-24T09:30:01.000Z";
    let pending = step("pending", "2026-11-24T09:29:59.000Z", None);
    let failed = step("failed", "2026-11-24T09:30:00.500Z", Some("11111111-1111-5111-8111-111111111111"));
    let booked = step("completed", BOOKED, Some(EVENT_ID));
    let cancelling = step("cancelling", "2026-11-24T09:30:02.000Z", None);
    let cancelled = step("cancelled", "2026-11-24T09:30:03.000Z", Some(LATER));
    let own = |event: &str| row_after(&[pending.clone(), booked.clone()], event);
    let as_it_was = |sequence: u32| {
        json!({
            "version": 1, "eventId": EVENT_ID, "sequence": sequence, "appointmentId": ID, "insuredId": "00123",
            "scheduleId": 100, "countryISO": "PE", "status": "completed", "occurredAt": BOOKED, "traceparent": TRACE,
        })
    };
    // An earlier version kept only the id of the last event, and no trace of it.
    let without_id = step("completed", BOOKED, None);
    let mut delivered = as_it_was(2);
    delivered["traceparent"] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into();
    let cases = [
        ("applied before", own(EVENT_ID), Some(as_it_was(2))),
        (
            "overtaken by the person",
            row_after(&[pending.clone(), booked.clone(), cancelling.clone()], EVENT_ID),
            Some(as_it_was(2)),
        ),
        (
            "overtaken for good",
            row_after(&[pending.clone(), failed.clone(), booked, cancelling.clone(), cancelled.clone()], LATER),
            Some(as_it_was(3)),
        ),
        (
            "applied by an earlier version",
            row_after(&[pending.clone(), without_id.clone(), cancelling.clone()], EVENT_ID),
            Some(delivered),
        ),
        ("never applied", row_after(&[pending.clone(), cancelling.clone()], LATER), None),
        ("another decision's", row_after(&[pending.clone(), without_id], LATER), None),
        ("never applied, and cancelled", row_after(&[pending, cancelling, cancelled], LATER), None),
    ];
    for (name, row, expected) in cases {
        let (status, body) = condition_failed(Some(row));
        let double = Double::start(&[("UpdateItem", status, body)]).await;
        assert!(Confirmation::over(&double).await.deliver(&completed()).await, "{name}");
        let sent = double.sent.lock().unwrap();
        let announced: Vec<Value> = sent
            .iter()
            .filter(|sent| sent.operation == "PutEvents")
            .map(|sent| serde_json::from_str(sent.json()["Entries"][0]["Detail"].as_str().unwrap()).unwrap())
            .collect();
        assert_eq!(announced, expected.into_iter().collect::<Vec<_>>(), "{name}");
    }
}

/// What a later version wrote is passed on; a row that nobody can read hides no other.
#[tokio::test(flavor = "multi_thread")]
async fn responses_pass_on_the_values_of_a_later_version() {
    let mut later = row_after(
        &[step("pending", "2026-11-24T09:29:59.000Z", None), step("no_show", "2026-11-24T09:30:00.000Z", Some(LATER))],
        LATER,
    );
    later["reason"] = json!({"S": "clinic_closed"});
    later["room"] = json!({"M": {"floor": {"N": "3"}}});
    let broken = json!({"sk": {"S": "appointment#broken"}, "status": {"S": "pending"}});
    let known = row("completed", EVENT_ID);
    let conflict = condition_failed(Some(later.clone()));
    let double = Double::start(&[
        ("Query", 200, json!({"Items": [later, broken, known]}).to_string()),
        ("GetItem", 200, json!({"Item": later}).to_string()),
        ("UpdateItem", conflict.0, conflict.1),
    ])
    .await;
    let host = host(&double).await;
    let one = format!("/appointments/00123/{ID}");

    let (status, _, list) = call(&host, Method::GET, "/appointments/00123", &[], "").await;
    assert_eq!(status, StatusCode::OK, "{list}");
    let listed: Vec<_> = list["appointments"].as_array().unwrap().iter().map(|one| one["status"].as_str()).collect();
    assert_eq!(listed, [Some("no_show"), Some("completed")]);
    assert_eq!(list["appointments"][0]["reason"], "clinic_closed");
    let (status, _, shown) = call(&host, Method::GET, &one, &[], "").await;
    assert_eq!(
        (status, &shown["status"], &shown["reason"]),
        (StatusCode::OK, &json!("no_show"), &json!("clinic_closed"))
    );
    let history = json!([
        {"status": "pending", "at": "2026-11-24T09:29:59.000Z"}, {"status": "no_show", "at": "2026-11-24T09:30:00.000Z"},
    ]);
    assert_eq!(shown["history"], history, "nothing internal is told");
    let (status, _, problem) = call(&host, Method::DELETE, &one, &[], "").await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("not_cancellable")));
    assert_eq!(double.operations(), ["Query", "GetItem", "UpdateItem"], "and nothing moves");
    let (status, _, problem) = call(&host, Method::GET, "/appointments/00123?status=no_show", &[], "").await;
    assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("invalid_parameter")), "nobody can ask for it");

    let lines = host.lines().lock().unwrap().clone();
    let about = ["the status 'no_show' is of a later version"];
    assert!(error_line(&lines, &[about[0], "\"GET\"", "appointment#broken"]), "{lines:#?}");
    assert!(error_line(&lines, &[about[0], "\"GET\"", ID]), "{lines:#?}");
    assert!(error_line(&lines, &[about[0], "\"DELETE\""]), "{lines:#?}");
}

/// A later version serves more countries. What a person has there is passed on, and only that version moves it.
#[tokio::test(flavor = "multi_thread")]
async fn an_appointment_in_a_country_of_a_later_version_is_shown_and_moves_nowhere() {
    let mut later = row("completed", EVENT_ID);
    later["countryISO"]["S"] = json!("CO");
    let conflict = condition_failed(Some(later.clone()));
    let double = Double::start(&[
        ("Query", 200, json!({"Items": [later, row("completed", EVENT_ID)]}).to_string()),
        ("GetItem", 200, json!({"Item": later}).to_string()),
        ("UpdateItem", conflict.0, conflict.1),
    ])
    .await;
    let host = host(&double).await;
    let one = format!("/appointments/00123/{ID}");
    let (status, _, list) = call(&host, Method::GET, "/appointments/00123", &[], "").await;
    assert_eq!(status, StatusCode::OK, "{list}");
    let listed: Vec<_> = list["appointments"].as_array().unwrap().iter().map(|one| &one["countryISO"]).collect();
    assert_eq!(listed, ["CO", "PE"]);
    let (status, _, shown) = call(&host, Method::GET, &one, &[], "").await;
    assert_eq!((status, &shown["countryISO"], &shown["status"]), (StatusCode::OK, &json!("CO"), &json!("completed")));
    let (status, _, problem) = call(&host, Method::DELETE, &one, &[], "").await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("not_cancellable")));
    assert_eq!(double.operations(), ["Query", "GetItem", "UpdateItem"], "and nothing is published");
    let lines = host.lines().lock().unwrap().clone();
    for method in ["\"GET\"", "\"DELETE\""] {
        assert!(error_line(&lines, &["the countryISO 'CO' is of a later version", method]), "{lines:#?}");
    }
}

/// The table itself refuses to cancel it, whatever its status.
#[tokio::test]
async fn an_appointment_in_a_country_of_a_later_version_is_not_cancelled() {
    let services = &*services().await;
    let (client, root, name) = (client(services), services.aws(), &services.backplane().table.name);
    let table = AppointmentsTable::new(&client, services.endpoint(), name);
    let appointment = fresh_appointment();
    table.book(&appointment, trace(), &schedule()).await.unwrap();
    let move_away = json!({
        "TableName": name, "Key": key(&appointment), "UpdateExpression": "SET countryISO = :country",
        "ExpressionAttributeValues": {":country": {"S": "CO"}},
    });
    root.dynamodb("UpdateItem", &move_away).await.unwrap();
    let (insured, id) = (appointment.insured_id, appointment.appointment_id);
    let now = Timestamp::from(SystemTime::now());
    let cancelled = table.request_cancellation(&insured, id, trace(), now, &schedule()).await.unwrap();
    let Cancelled::NotUnderstood(kept) = cancelled else { panic!("{cancelled:?}") };
    assert_eq!((kept.appointment.country.as_str(), kept.appointment.status), ("CO", Status::Pending));
    assert!(kept.undecided_command().is_none(), "nobody here knows its queue");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_with_values_of_a_later_version_is_applied_or_left_and_always_reported() {
    let event = |kind: &str, field: &str, value: Value| {
        let mut event: Value = serde_json::from_str(&completed()).unwrap();
        event["detail-type"] = kind.into();
        event["detail"]["reason"] = "slot_taken".into();
        event["detail"][field] = value;
        event.to_string()
    };
    let (pending, now) = (step("pending", "2026-11-24T09:29:59.000Z", None), "2026-11-24T09:30:00.000Z");
    let mut rejected = step("rejected", now, Some(EVENT_ID));
    rejected["M"]["reason"] = json!({"S": "clinic_closed"});
    let applied = (200, json!({"Attributes": row_after(&[pending.clone(), rejected], EVENT_ID)}).to_string());
    let unmoved = condition_failed(Some(row_after(&[pending, step("no_show", now, Some(LATER))], LATER)));
    #[rustfmt::skip]
    let cases = [
        ("a reason", event("AppointmentRejected", "reason", json!("clinic_closed")), applied.clone(), true, vec!["UpdateItem", "PutEvents"]),
        ("the row's status", event("AppointmentRejected", "room", json!(5)), unmoved, true, vec!["UpdateItem"]),
        ("a detail-type", event("AppointmentMoved", "room", json!(5)), applied.clone(), false, vec![]),
        ("a command", event("AppointmentRejected", "command", json!("appointment.swap_requested")), applied.clone(), false, vec![]),
        ("a version", event("AppointmentRejected", "version", json!(2)), applied.clone(), false, vec![]),
        ("a country", event("AppointmentRejected", "countryISO", json!("BR")), applied, false, vec![]),
    ];
    for (name, event, (status, body), done, operations) in cases {
        let double = Double::start(&[("UpdateItem", status, body)]).await;
        let confirmation = Confirmation::over(&double).await;
        assert_eq!(confirmation.deliver(&event).await, done, "{name}");
        assert_eq!(double.operations(), operations, "{name}");
        let lines = confirmation.lines.lock().unwrap().clone();
        assert!(error_line(&lines, &[]), "{name} is not reported: {lines:#?}");
        let sent = double.sent.lock().unwrap();
        if let Some(announced) = sent.iter().find(|sent| sent.operation == "PutEvents") {
            assert_eq!(sent[0].json()["ExpressionAttributeValues"][":reason"]["S"], "clinic_closed");
            assert!(announced.body.contains("clinic_closed"), "the reason is passed on: {}", announced.body);
        }
    }
}

#[tokio::test]
async fn a_cancellation_that_was_given_up_can_be_asked_for_again() {
    let services = &*services().await;
    let (client, root, name) = (client(services), services.aws(), &services.backplane().table.name);
    let table = AppointmentsTable::new(&client, services.endpoint(), name);
    let now = Timestamp::from(SystemTime::now());
    for change in [
        "SET pendingShard = :old, pendingAttempt = :attempt",
        "SET pendingShard = :new, pendingAttempt = :attempt",
        "REMOVE pendingShard, pendingSince, pendingAttempt",
    ] {
        let appointment = fresh_appointment();
        let (insured, id) = (appointment.insured_id, appointment.appointment_id);
        table.book(&appointment, trace(), &schedule()).await.unwrap();
        let first = table.request_cancellation(&insured, id, trace(), now, &schedule()).await.unwrap();
        let Cancelled::Requested(first) = first else { panic!("{first:?}") };
        let read = json!({"TableName": name, "Key": key(&appointment), "ConsistentRead": true});
        let before = root.dynamodb("GetItem", &read).await.unwrap()["Item"].clone();
        let values = json!({":old": {"S": "given_up"}, ":new": {"S": "PE#0#given_up"}, ":attempt": {"N": "7"}});
        let used = values.as_object().unwrap().iter().filter(|(value, _)| change.contains(value.as_str()));
        let used: serde_json::Map<String, Value> = used.map(|(name, value)| (name.clone(), value.clone())).collect();
        let mut give_up = json!({"TableName": name, "Key": key(&appointment), "UpdateExpression": change});
        if !used.is_empty() {
            give_up["ExpressionAttributeValues"] = used.into();
        }
        root.dynamodb("UpdateItem", &give_up).await.unwrap();

        let again = table.request_cancellation(&insured, id, trace(), now, &schedule()).await.unwrap();
        let Cancelled::Requested(again) = again else { panic!("{change}: {again:?}") };
        assert_eq!(again.undecided_command(), first.undecided_command(), "{change}: the same command");
        let after = root.dynamodb("GetItem", &read).await.unwrap()["Item"].clone();
        assert_eq!(after, before, "{change}: the row waits for its country as at the beginning");
        let third = table.request_cancellation(&insured, id, trace(), now, &schedule()).await.unwrap();
        assert!(matches!(third, Cancelled::AlreadyRequested(_)), "{change}: {third:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_person_who_cancels_again_has_the_command_published_again() {
    let mut waiting = row("cancelling", EVENT_ID);
    waiting["shard"] = json!({"S": "PE#0"});
    waiting["pendingShard"] = json!({"S": "PE#0"});
    let mut given_up = waiting.clone();
    given_up["pendingShard"] = json!({"S": "PE#0#given_up"});
    for (name, found, operations) in [
        ("given up", given_up, &["UpdateItem", "UpdateItem", "Publish"] as &[_]),
        ("waiting", waiting.clone(), &["UpdateItem"]),
    ] {
        let (status, body) = condition_failed(Some(found));
        let done = json!({"Attributes": waiting}).to_string();
        let double = Double::start(&[("UpdateItem", status, body), ("UpdateItem", 200, done)]).await;
        let host = host(&double).await;
        let (status, _, shown) = call(&host, Method::DELETE, &format!("/appointments/00123/{ID}"), &[JSON], "").await;
        assert_eq!((status, &shown["status"]), (StatusCode::ACCEPTED, &json!("cancelling")), "{name}");
        assert_eq!(double.operations(), operations, "{name}");
    }
}

/// Readers of more shards find what writers of fewer put, and those of an earlier version.
#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_shards_is_a_setting() {
    let double = Double::start(&[("Query", 200, json!({"Items": []}).to_string())]).await;
    let shards = [("pending_shards_read", "8")];
    let confirmation = Confirmation::start_with(&double.url, "key", "secret", None, &shards).await;
    let (status, _) = confirmation.call(Method::POST, REPUBLISH, r#"{"countryISO":"CL"}"#).await;
    assert_eq!((status, double.operations().len()), (StatusCode::OK, 2 * 8 + 1));
    for shards in ["0", "33", "four", ""] {
        assert!(shards.parse::<backplane::PendingShards>().is_err(), "{shards}");
    }
    let appointments: Vec<_> = (0..200).map(|_| fresh_appointment()).collect();
    for (written, read) in [("4", "4"), ("4", "8"), ("8", "8"), ("32", "32")] {
        let [written, read] = [written, read].map(|number| number.parse::<backplane::PendingShards>().unwrap());
        let found: std::collections::BTreeSet<_> = read.waiting(appointment::Country::Peru).collect();
        let used = appointments.iter().map(|one| written.of(one.country, one.appointment_id));
        assert!(used.clone().all(|shard| found.contains(&shard)));
        assert!(used.collect::<std::collections::BTreeSet<_>>().len() > 3, "all of them are used");
    }
}

/// What a call reports, as the schedule makes it; a problem where a busy machine had no time even to read the rows.
async fn republished(confirmation: &Confirmation) -> Value {
    let (status, report) = confirmation.call(Method::POST, REPUBLISH, r#"{"countryISO":"PE"}"#).await;
    assert!(status == StatusCode::OK || report["code"] == "temporarily_unavailable", "{report}");
    report
}

/// What is due while the topic is away keeps its number of attempts, is due at once, and is published once it is back.
#[tokio::test(flavor = "multi_thread")]
async fn more_rows_than_one_call_has_time_for_are_published_once_each() {
    const ROWS: usize = 300;
    let services = &*services().await;
    let (client, name) = (client(services), &services.backplane().table.name);
    let table = AppointmentsTable::new(&client, services.endpoint(), name);
    let due = "1".parse().unwrap();
    let mut appointments = Vec::new();
    for _ in 0..ROWS {
        let mut appointment = fresh_appointment();
        // Long due, so they are published before those of other tests.
        appointment.created_at = Timestamp::from_unix_milliseconds(1_600_000_000_000);
        appointment.updated_at = appointment.created_at;
        appointments.push(appointment);
    }
    stream::iter(&appointments)
        .for_each_concurrent(16, async |appointment| table.book(appointment, trace(), &due).await.unwrap())
        .await;
    let keys = crate::backplane::assume(&services.aws(), &services.backplane().confirmation.function).await;
    let topic = [("appointments_topic_arn", services.topic_arn())];
    let (key, secret, session) = (keys.access_key_id(), keys.secret_access_key(), keys.session_token());
    let confirmation = Confirmation::start_with(&services.emulator_url(), key, secret, session, &topic).await;
    let (mut published, mut calls) = (0, 0);
    loop {
        let report = republished(&confirmation).await;
        published += report["published"].as_u64().unwrap_or(0);
        calls += 1;
        // A call that a busy machine let publish nothing is not repeated by itself; the next schedule's is.
        if report["more"] == false && published > 0 {
            break;
        }
        assert!(calls < 60, "{published} after {calls} calls");
    }
    println!("{published} rows in {calls} calls");
    let started = Instant::now();
    for appointment in &appointments {
        // A row for which a busy machine had no time is due again; and its country may have decided meanwhile.
        loop {
            let kept = table.get(&appointment.insured_id, appointment.appointment_id).await.unwrap().unwrap();
            if kept.pending_attempt > 0 || !kept.appointment.status.awaits_country() {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "{kept:?}");
            republished(&confirmation).await;
        }
    }
    let lines = confirmation.lines.lock().unwrap().clone();
    assert!(lines.iter().any(|line| line.contains("\"oldest_due_seconds\":1")), "the age of the oldest: {lines:#?}");
}

/// The outcome of the question for a decision is another event than the outcome of the request: both may arrive.
#[test]
fn a_decision_has_its_own_event_id() {
    let id = ID.parse().unwrap();
    let ids = Command::ALL.iter().map(|command| OutcomeEvent::event_id(id, Outcome::Completed, *command));
    let ids: Vec<_> = ids.collect();
    assert!(ids.iter().enumerate().all(|(place, id)| !ids[..place].contains(id)), "{ids:?}");
    assert_eq!(Status::Failed.on(appointment::StatusEvent::Rejected), appointment::Transition::Moves(Status::Rejected));
}
