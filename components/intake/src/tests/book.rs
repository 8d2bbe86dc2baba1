use std::time::Duration;

use super::*;

const PATH: &str = "/appointments";

fn booking() -> Value {
    json!({"insuredId": "00123", "scheduleId": 100, "countryISO": "PE"})
}

async fn book(host: &TestHost, headers: &[(&str, &str)]) -> ApiResponse {
    call(host, Method::POST, PATH, headers, Some(booking())).await
}

#[tokio::test]
async fn a_booking_is_one_write_and_one_publication() {
    let host = host(&[]).then("PutItem", 200, &json!({})).then_published();
    let response = book(&host, &[]).await;
    assert_eq!(response.status, StatusCode::ACCEPTED);
    let id = response.body["appointmentId"].as_str().unwrap();
    assert_eq!(
        response.body,
        json!({
            "appointmentId": id, "insuredId": "00123", "scheduleId": 100, "countryISO": "PE", "status": "pending",
            "createdAt": NOW, "updatedAt": NOW, "message": "Estamos procesando su cita.",
        })
    );
    assert_eq!(response.header("location"), Some(&*format!("/appointments/00123/{id}")));
    assert_eq!(response.header("retry-after"), Some("1"));

    let sent = host.sent();
    let write = sent[0].json();
    assert_eq!(write["TableName"], "appointments");
    assert_eq!(write["ConditionExpression"], "attribute_not_exists(sk)");
    assert_eq!(write["Item"]["sk"]["S"], format!("appointment#{id}"));
    assert_eq!(write["Item"]["pendingShard"], write["Item"]["shard"], "the republisher finds it");
    let (message, form) = sent[1].published();
    assert_eq!((&message["appointmentId"], &message["type"]), (&json!(id), &json!("appointment.requested")));
    assert_eq!(message["traceparent"], write["Item"]["traceparent"]["S"]);
    assert!(form.values().any(|value| value == "PE"), "the attribute by which the topic filters");
    assert_eq!(host.lines()[0]["message"], "appointment accepted");
    assert_eq!(host.lines()[0]["appointment_id"], id);
}

#[tokio::test]
async fn a_booking_that_is_not_published_is_accepted_and_due_at_once() {
    let refused = "<ErrorResponse><Error><Code>AuthorizationError</Code></Error></ErrorResponse>";
    let host = host(&[]).then("PutItem", 200, &json!({})).then_text("Publish", 403, refused);
    let host = host.then("UpdateItem", 200, &json!({}));
    let response = book(&host, &[("prefer", "wait=5")]).await;
    assert_eq!((response.status, response.header("preference-applied")), (StatusCode::ACCEPTED, None));
    let sent = host.sent();
    let (written, due) = (sent[0].json(), sent[2].json());
    assert_eq!(due["Key"]["sk"], written["Item"]["sk"]);
    assert_eq!(due["ExpressionAttributeValues"][":since"], written["Item"]["pendingSince"]);
    assert_eq!(host.lines()[0]["level"], "WARN");
    assert_eq!(host.lines()[0]["message"], "accepted, and its publication left to the republisher");
}

#[tokio::test]
async fn a_booking_that_is_not_written_is_not_published() {
    let refused = json!({"__type": "com.amazon.coral.service#AccessDeniedException", "message": "no"});
    let host = host(&[]).then("PutItem", 400, &refused);
    let response = book(&host, &[]).await;
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.header("retry-after").is_some());
    assert_eq!(host.operations(), ["PutItem"]);
}

#[tokio::test]
async fn a_write_whose_response_is_lost_is_made_again_and_recognises_itself() {
    let own = json!({"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"});
    let host = host(&[]).then_broken("PutItem").then("PutItem", 400, &own).then_published();
    let response = call_at(SystemTime::now(), &host, Method::POST, PATH, &[], Some(booking())).await;
    assert_eq!(response.status, StatusCode::ACCEPTED);
    let sent = host.sent();
    assert_eq!(sent[0].json(), sent[1].json());
    assert_eq!(host.slept().len(), 1, "it pauses in between");
}

#[tokio::test]
async fn every_fault_of_a_body_is_reported_before_anything_is_called() {
    let host = host(&[]);
    let body = json!({"insuredId": "123", "scheduleId": 0, "countryISO": "AR", "colour": "x"});
    let response = call(&host, Method::POST, PATH, &[("accept-language", "en")], Some(body)).await;
    assert_eq!(response.status, StatusCode::BAD_REQUEST);
    let faults = response.body["errors"].as_array().unwrap().iter();
    let mut fields: Vec<_> = faults.map(|fault| fault["field"].as_str().unwrap()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["colour", "countryISO", "insuredId", "scheduleId"]);
    assert_eq!(host.operations(), [""; 0]);
}

#[tokio::test]
async fn a_body_is_json_of_at_most_four_kibibytes() {
    let host = host(&[]);
    let long = Some(json!("x".repeat(4 * 1024)));
    assert_eq!(call(&host, Method::POST, PATH, &[], long).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(call(&host, Method::POST, PATH, &[], None).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

/// What DynamoDB says to a booking under a key that was used before, for this slot.
fn key_used(schedule_id: u64) -> Value {
    json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "CancellationReasons": [
            {"Code": "ConditionalCheckFailed", "Item": {
                "insuredId": {"S": "00123"}, "sk": {"S": "idempotency#a key"}, "operation": {"S": "POST /appointments"},
                "appointmentId": {"S": ID}, "scheduleId": {"N": schedule_id.to_string()}, "countryISO": {"S": "PE"},
                "createdAt": {"S": "2026-11-24T09:00:00.000Z"}, "expiresAt": {"N": "1764061200"},
            }},
            {"Code": "None"},
        ],
    })
}

#[tokio::test]
async fn the_same_key_gives_the_first_response_and_publishes_nothing() {
    let host = host(&[]).then("TransactWriteItems", 400, &key_used(100));
    let response = book(&host, &[("idempotency-key", "a key")]).await;
    assert_eq!((response.status, response.header("idempotency-replayed")), (StatusCode::ACCEPTED, Some("true")));
    assert_eq!(response.body["appointmentId"], ID);
    let transaction = host.sent()[0].json();
    assert_eq!(transaction["TransactItems"][0]["Put"]["Item"]["sk"]["S"], "idempotency#a key");
    assert_eq!(host.lines()[0]["appointment_id"], ID);
}

#[tokio::test]
async fn the_same_key_with_another_request_is_refused() {
    let host = host(&[]).then("TransactWriteItems", 400, &key_used(101));
    let response = book(&host, &[("idempotency-key", "a key")]).await;
    assert_eq!(response.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(host.operations(), ["TransactWriteItems"]);
}

#[tokio::test]
async fn who_waits_gets_the_outcome_and_frees_the_place() {
    let host = host(&[]).then("PutItem", 200, &json!({})).then_published();
    let host = host.then("GetItem", 200, &json!({"Item": row("pending")}));
    let host = host.then("GetItem", 200, &json!({"Item": row("completed")}));
    let response = book(&host, &[("prefer", "wait=31")]).await;
    assert_eq!((response.status, response.header("preference-applied")), (StatusCode::CREATED, Some("wait=10")));
    assert_eq!(response.body["status"], "completed");
    let parts = [1, 2].map(|parts| Duration::from_secs(10) * parts / 31);
    assert_eq!(host.slept(), parts);
    assert_eq!(host.operations(), ["PutItem", "Publish", "GetItem", "GetItem"]);
    assert_eq!(host.stored_keys(), [""; 0]);
}

#[tokio::test]
async fn who_finds_the_place_taken_gets_the_response_at_once() {
    let until = seconds_later(100 * 365 * 24 * 60 * 60).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let host = host(&[]).keeping("wait/0", &until.to_be_bytes()).then("PutItem", 200, &json!({})).then_published();
    let response = book(&host, &[("prefer", "wait=5")]).await;
    assert_eq!((response.status, response.header("preference-applied")), (StatusCode::ACCEPTED, None));
    assert_eq!(host.stored_keys(), ["wait/0"], "it is still taken");
}
