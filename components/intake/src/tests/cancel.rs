use super::*;

async fn cancel(host: &TestHost) -> ApiResponse {
    call(host, Method::DELETE, &format!("/appointments/00123/{ID}"), &[], None).await
}

#[tokio::test]
async fn a_cancellation_is_one_write_and_one_publication() {
    let host = host(&[]).then("UpdateItem", 200, &json!({"Attributes": row("cancelling")})).then_published();
    let response = cancel(&host).await;
    assert_eq!((response.status, response.header("location")), (StatusCode::ACCEPTED, None));
    assert_eq!(response.body["status"], "cancelling");
    let sent = host.sent();
    assert_eq!(sent[0].json()["Key"]["sk"]["S"], format!("appointment#{ID}"));
    let (message, _) = sent[1].published();
    assert_eq!(
        (&message["appointmentId"], &message["type"]),
        (&json!(ID), &json!("appointment.cancellation_requested"))
    );
}

#[tokio::test]
async fn what_is_cancelled_or_about_to_be_is_not_published_again() {
    for (status, expected) in [("cancelling", StatusCode::ACCEPTED), ("cancelled", StatusCode::OK)] {
        let host = host(&[]).then("UpdateItem", 400, &condition_failed(&row(status)));
        let response = cancel(&host).await;
        assert_eq!((response.status, &response.body["status"]), (expected, &json!(status)));
        assert_eq!(host.operations(), ["UpdateItem"]);
    }
}

#[tokio::test]
async fn what_cannot_be_cancelled_is_refused() {
    let missing = json!({"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"});
    let later = condition_failed(&row("teleported"));
    for (refusal, expected, level) in [
        (condition_failed(&row("rejected")), StatusCode::CONFLICT, "WARN"),
        (later, StatusCode::CONFLICT, "ERROR"),
        (missing, StatusCode::NOT_FOUND, "WARN"),
    ] {
        let host = host(&[]).then("UpdateItem", 400, &refusal);
        assert_eq!(cancel(&host).await.status, expected, "{refusal}");
        assert_eq!(host.lines()[0]["level"], level, "{refusal}");
        assert_eq!(host.operations(), ["UpdateItem"]);
    }
}
