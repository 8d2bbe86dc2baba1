use http::{Method, StatusCode};
use test_host::WholeBody;

use super::*;

/// One shard in which appointments wait, and two in which they were given up.
const ONE_SHARD: &[(&str, &str)] = &[("pending_shards_read", "1")];

async fn republish(host: &TestHost, order: &Value) -> (StatusCode, Value) {
    let request = http::Request::builder().method(Method::POST).uri("/internal/republish");
    let request = request.body(WholeBody(order.to_string())).unwrap();
    let (head, body) = crate::handle(host, &request, SystemTime::now()).await.into_parts();
    (head.status, serde_json::from_slice(&body).unwrap())
}

/// What the index shows of [`ID`], which is due after so many publications.
fn due(attempt: u32) -> Value {
    json!({"Items": [{
        "insuredId": {"S": "00123"}, "sk": {"S": format!("appointment#{ID}")}, "status": {"S": "pending"},
        "pendingShard": {"S": "PE#0"}, "pendingSince": {"S": "2026-11-24T09:00:00.000Z"},
        "pendingAttempt": {"N": attempt.to_string()},
    }]})
}

fn none() -> Value {
    json!({"Items": []})
}

/// A row in this status, which waits.
fn waiting(status: &str) -> Value {
    let mut row = row(status, EVENT_ID);
    row["pendingShard"] = json!({"S": "PE#0"});
    json!({"Attributes": row})
}

#[tokio::test]
async fn what_is_due_is_claimed_published_and_put_off() {
    let host = host(ONE_SHARD).then("Query", 200, &due(0)).then("UpdateItem", 200, &waiting("pending"));
    let host = host.then_published().then("UpdateItem", 200, &waiting("pending"));
    let host = host.then("Query", 200, &none()).then("Query", 200, &none());
    let (status, report) = republish(&host, &json!({"countryISO": "PE"})).await;
    assert_eq!((status, report), (StatusCode::OK, json!({"published": 1, "givenUp": 0, "more": false})));
    let sent = host.sent();
    let (message, _) = sent[2].published();
    assert_eq!((&message["appointmentId"], &message["traceparent"]), (&json!(ID), &json!(TRACE)));
    assert_eq!(sent[3].json()["ExpressionAttributeValues"][":attempt"]["N"], "1");
    assert_eq!(host.lines()[0]["published"], 1);
}

#[tokio::test]
async fn what_another_run_has_claimed_is_left() {
    let host = host(ONE_SHARD).then("Query", 200, &due(0));
    let host = host.then("UpdateItem", 400, &condition_failed(&row("completed", EVENT_ID)));
    let host = host.then("Query", 200, &none()).then("Query", 200, &none());
    let (_, report) = republish(&host, &json!({"countryISO": "PE"})).await;
    assert_eq!(report, json!({"published": 0, "givenUp": 0, "more": false}));
}

#[tokio::test]
async fn after_its_last_publication_a_request_fails_is_announced_and_given_up() {
    let host = host(ONE_SHARD).then("Query", 200, &due(6)).then("UpdateItem", 200, &waiting("pending"));
    let id = backplane::not_processed_event_id(ID.parse().unwrap()).to_string();
    let failed = json!({"Attributes": row("failed", &id)});
    let host = host.then("UpdateItem", 200, &failed).then("PutEvents", 200, &put()).then("UpdateItem", 200, &failed);
    let host = host.then("Query", 200, &none()).then("Query", 200, &none());
    let (_, report) = republish(&host, &json!({"countryISO": "PE"})).await;
    assert_eq!(report, json!({"published": 0, "givenUp": 1, "more": false}));
    let lines = host.lines();
    assert_eq!((&lines[0]["level"], &lines[0]["appointment_id"]), (&json!("ERROR"), &json!(ID)), "the alarm");
    assert_eq!(lines[1]["given_up"], 1);
}

#[tokio::test]
async fn only_the_schedules_order_is_taken() {
    let host = host(&[]);
    assert_eq!(republish(&host, &json!({"countryISO": "AR"})).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(host.operations(), [""; 0]);
}
