use super::*;

fn path() -> String {
    format!("/appointments/00123/{ID}")
}

#[tokio::test]
async fn an_appointment_has_its_history_and_a_tag() {
    let item = json!({"Item": row("rejected")});
    let first = host(&[]).then("GetItem", 200, &item);
    let response = call(&first, Method::GET, &path(), &[("accept-language", "en")], None).await;
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(response.header("content-language"), Some("en"));
    assert_eq!(response.body["history"].as_array().unwrap().len(), 2);
    let tag = response.header("etag").unwrap();

    let second = host(&[]).then("GetItem", 200, &item);
    let headers = [("accept-language", "en"), ("if-none-match", tag)];
    let response = call(&second, Method::GET, &path(), &headers, None).await;
    assert_eq!((response.status, response.body), (StatusCode::NOT_MODIFIED, Value::Null));
    // The tag is of the language too.
    let third = host(&[]).then("GetItem", 200, &item);
    let response = call(&third, Method::GET, &path(), &[("if-none-match", tag)], None).await;
    assert_eq!(response.status, StatusCode::OK);
}

#[tokio::test]
async fn an_appointment_that_is_not_there_is_not_found() {
    let host = host(&[]).then("GetItem", 200, &json!({}));
    let response = call(&host, Method::GET, &path(), &[], None).await;
    assert_eq!(response.status, StatusCode::NOT_FOUND);
    assert_eq!(host.lines()[0]["appointment_id"], ID);
}

#[tokio::test]
async fn a_status_of_a_later_version_is_passed_on_and_asks_for_an_operator() {
    let host = host(&[]).then("GetItem", 200, &json!({"Item": row("teleported")}));
    let response = call(&host, Method::GET, &path(), &[], None).await;
    assert_eq!((response.status, &response.body["status"]), (StatusCode::OK, &json!("teleported")));
    assert_eq!(host.lines()[0]["level"], "ERROR");
}
