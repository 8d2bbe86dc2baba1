//! Free slots, and one slot.

use super::*;

/// A slot of Peru that begins at this instant, as the projection has it.
fn slot(schedule_id: u64, starts_at: &str) -> Value {
    json!({
        "slotKey": {"S": format!("PE#{schedule_id}")}, "scheduleId": {"N": schedule_id.to_string()},
        "countryISO": {"S": "PE"}, "status": {"S": "free"}, "version": {"N": "7"}, "specialty": {"S": "Cardiología"},
        "center": {"S": "Lima Norte"}, "practitioner": {"S": "Dra. Rojas"}, "startsAt": {"S": starts_at},
        "endsAt": {"S": "2026-12-01T15:30:00.000Z"}, "timeZone": {"S": "America/Lima"}, "utcOffset": {"S": "-05:00"},
    })
}

#[tokio::test]
async fn free_slots_are_found_by_an_index_and_may_be_kept_for_a_moment() {
    let found = json!({"Items": [slot(100, "2026-12-01T15:00:00.000Z")]});
    let host = host(&[]).then("Query", 200, &found);
    let path = "/slots?countryISO=PE&specialty=Cardiolog%C3%ADa&center=Lima%20Norte";
    let response = call(&host, Method::GET, path, &[], None).await;
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(response.body["slots"][0]["scheduleId"], 100);
    assert_eq!(response.body["slots"][0]["status"], "free");
    assert_eq!(response.header("cache-control"), Some("public, max-age=2"));
    assert!(response.header("etag").is_some());
    let query = host.sent()[0].json();
    assert_eq!((&query["TableName"], &query["IndexName"]), (&json!("slots"), &json!("free-by-center")));
    assert_eq!(query["ExpressionAttributeValues"][":key"]["S"], "PE#Cardiología#Lima Norte");
    assert_eq!(query["ExpressionAttributeValues"][":from"]["S"], NOW, "nothing that has begun");
    assert_eq!(host.lines()[0]["country"], "PE");
}

#[tokio::test]
async fn a_search_without_its_parameters_names_them() {
    let host = host(&[]);
    let response = call(&host, Method::GET, "/slots", &[], None).await;
    assert_eq!(response.status, StatusCode::BAD_REQUEST);
    assert_eq!(response.body["errors"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_free_slot_that_has_begun_is_not_free() {
    for (starts_at, status) in [("2026-12-01T15:00:00.000Z", "free"), (NOW, "busy-unavailable")] {
        let host = host(&[]).then("GetItem", 200, &json!({"Item": slot(100, starts_at)}));
        let response = call(&host, Method::GET, "/slots/PE/100", &[], None).await;
        assert_eq!((response.status, &response.body["status"]), (StatusCode::OK, &json!(status)));
        assert_eq!(host.sent()[0].json()["Key"]["slotKey"]["S"], "PE#100");
    }
    let host = host(&[]).then("GetItem", 200, &json!({}));
    assert_eq!(call(&host, Method::GET, "/slots/PE/100", &[], None).await.status, StatusCode::NOT_FOUND);
}
