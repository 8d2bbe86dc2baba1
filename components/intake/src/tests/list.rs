use super::*;

#[tokio::test]
async fn a_page_says_where_the_next_one_begins() {
    let key = json!({"insuredId": {"S": "00123"}, "sk": {"S": format!("appointment#{ID}")}});
    let page = json!({"Items": [row("completed")], "LastEvaluatedKey": key});
    let first = host(&[]).then("Query", 200, &page);
    let response = call(&first, Method::GET, "/appointments/00123?limit=1", &[], None).await;
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(response.body["insuredId"], "00123");
    assert_eq!(response.body["appointments"][0]["status"], "completed");
    assert_eq!(response.body["appointments"][0]["message"], "Su cita está confirmada.");
    assert_eq!(response.body["appointments"][0].get("history"), None);
    let query = first.sent()[0].json();
    assert_eq!((&query["Limit"], &query["ConsistentRead"]), (&json!(1), &json!(true)));

    let cursor = response.body["pagination"]["nextCursor"].as_str().unwrap();
    let second = host(&[]).then("Query", 200, &json!({"Items": []}));
    let response = call(&second, Method::GET, &format!("/appointments/00123?cursor={cursor}"), &[], None).await;
    assert_eq!(second.sent()[0].json()["ExclusiveStartKey"], key);
    assert_eq!(response.body["pagination"], json!({"limit": 20, "nextCursor": null}));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_hides_no_other() {
    let mut broken = row("completed");
    broken["scheduleId"] = json!({"S": "none"});
    let host = host(&[]).then("Query", 200, &json!({"Items": [broken, row("pending")]}));
    let response = call(&host, Method::GET, "/appointments/00123", &[], None).await;
    assert_eq!(response.body["appointments"].as_array().unwrap().len(), 1);
    assert_eq!(host.lines()[0]["level"], "ERROR");
}

#[tokio::test]
async fn a_filter_reads_at_most_four_pages() {
    let key = json!({"insuredId": {"S": "00123"}, "sk": {"S": format!("appointment#{ID}")}});
    let mut played = host(&[]);
    for _ in 0..4 {
        played = played.then("Query", 200, &json!({"Items": [], "LastEvaluatedKey": key}));
    }
    let response = call(&played, Method::GET, "/appointments/00123?status=rejected", &[], None).await;
    assert_eq!(response.body["appointments"], json!([]));
    assert!(response.body["pagination"]["nextCursor"].is_string());
    assert_eq!(played.operations().len(), 4);
}
