use super::*;

async fn move_to(host: &TestHost, schedule_id: u64, headers: &[(&str, &str)]) -> ApiResponse {
    let path = format!("/appointments/00123/{ID}/move");
    call(host, Method::POST, &path, headers, Some(json!({"scheduleId": schedule_id}))).await
}

#[tokio::test]
async fn a_move_is_one_read_one_write_and_one_publication() {
    let host = host(&[]).then("GetItem", 200, &json!({"Item": row("completed")}));
    let host = host.then("PutItem", 200, &json!({})).then_published();
    let response = move_to(&host, 101, &[]).await;
    assert_eq!(response.status, StatusCode::ACCEPTED);
    let id = response.body["appointmentId"].as_str().unwrap();
    assert_ne!(id, ID);
    assert_eq!((&response.body["scheduleId"], &response.body["status"]), (&json!(101), &json!("pending")));
    let original = json!({"appointmentId": ID, "scheduleId": 100});
    assert_eq!(response.body["replaces"], original);
    assert_eq!(response.header("location"), Some(&*format!("/appointments/00123/{id}")));
    let (message, _) = host.sent()[2].published();
    assert_eq!((&message["type"], &message["replaces"]), (&json!("appointment.move_requested"), &original));
}

#[tokio::test]
async fn what_is_not_booked_cannot_be_moved() {
    let mut begun = row("completed");
    begun["slot"] = json!({"M": {
        "specialty": {"S": "s"}, "center": {"S": "c"}, "practitioner": {"S": "p"}, "startsAt": {"S": NOW},
        "endsAt": {"S": "2026-11-24T10:00:00.000Z"}, "timeZone": {"S": "America/Lima"}, "utcOffset": {"S": "-05:00"},
    }});
    let same_slot = (row("completed"), 100, "same_slot");
    for (row, to, code) in [(row("pending"), 101, "not_movable"), same_slot, (begun, 101, "already_started")] {
        let host = host(&[]).then("GetItem", 200, &json!({"Item": row}));
        let response = move_to(&host, to, &[]).await;
        assert_eq!(response.body["code"], code);
        assert_eq!(host.operations(), ["GetItem"]);
    }
    let host = host(&[]).then("GetItem", 200, &json!({}));
    assert_eq!(move_to(&host, 101, &[]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_move_that_came_before_gets_its_response_from_its_key() {
    let new = "01930000-0000-7000-8000-000000000002";
    let operation = format!("POST /appointments/00123/{ID}/move");
    let key = json!({
        "insuredId": {"S": "00123"}, "sk": {"S": "idempotency#a key"}, "operation": {"S": operation},
        "appointmentId": {"S": new}, "scheduleId": {"N": "101"}, "countryISO": {"S": "PE"},
        "createdAt": {"S": "2026-11-24T09:29:00.000Z"}, "expiresAt": {"N": "1900000000"},
        "replaces": {"M": {"appointmentId": {"S": ID}, "scheduleId": {"N": "100"}}},
    });
    let host = host(&[]).then("GetItem", 200, &json!({"Item": row("cancelled")}));
    let host = host.then("GetItem", 200, &json!({"Item": key}));
    let response = move_to(&host, 101, &[("idempotency-key", "a key")]).await;
    assert_eq!((response.status, response.header("idempotency-replayed")), (StatusCode::ACCEPTED, Some("true")));
    assert_eq!(response.body["appointmentId"], new);
}
