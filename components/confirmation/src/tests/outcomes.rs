use super::*;

fn completed() -> Value {
    json!({
        "source": "appointments.worker.PE", "detail-type": "AppointmentCompleted",
        "detail": {
            "version": 1, "eventId": EVENT_ID, "appointmentId": ID, "insuredId": "00123", "scheduleId": 100,
            "countryISO": "PE", "command": "appointment.requested", "occurredAt": "2026-11-24T09:00:02.000Z",
            "traceparent": TRACE,
        },
    })
}

#[tokio::test]
async fn an_outcome_is_written_announced_and_projected() {
    let mut message = completed();
    message["detail"]["slot"] = slot_state(7, "busy");
    let host = host(&[]).then("UpdateItem", 200, &json!({"Attributes": row("completed", EVENT_ID)}));
    let host = host.then("PutEvents", 200, &put()).then("PutItem", 200, &json!({}));
    assert_eq!(deliver(&host, &message).await, Delivered::Done);
    let sent = host.sent();
    assert_eq!(sent[0].json()["Key"]["sk"]["S"], format!("appointment#{ID}"));
    let announced = &sent[1].json()["Entries"][0];
    assert_eq!(announced["DetailType"], "AppointmentStatusChanged");
    let detail: Value = serde_json::from_str(announced["Detail"].as_str().unwrap()).unwrap();
    assert_eq!((&detail["eventId"], &detail["sequence"]), (&json!(EVENT_ID), &json!(2)));
    let item = &sent[2].json()["Item"];
    assert_eq!((&item["slotKey"]["S"], &item["version"]["N"]), (&json!("PE#100"), &json!("7")));
    assert_eq!(
        (&host.lines()[0]["message"], &host.lines()[0]["action"]),
        (&json!("outcome applied"), &json!("delete"))
    );
}

#[tokio::test]
async fn an_outcome_that_comes_again_is_announced_again_and_an_overtaken_one_is_not() {
    let repeated = condition_failed(&row("completed", EVENT_ID));
    let host_of_the_first = host(&[]).then("UpdateItem", 400, &repeated).then("PutEvents", 200, &put());
    assert_eq!(deliver(&host_of_the_first, &completed()).await, Delivered::Done);
    assert_eq!(host_of_the_first.operations(), ["UpdateItem", "PutEvents"]);

    let other = "00000000-0000-5000-8000-000000000000";
    for (status, level) in [("cancelled", "INFO"), ("rejected", "ERROR"), ("teleported", "ERROR")] {
        let host = host(&[]).then("UpdateItem", 400, &condition_failed(&row(status, other)));
        assert_eq!(deliver(&host, &completed()).await, Delivered::Done);
        assert_eq!(host.operations(), ["UpdateItem"]);
        assert_eq!(host.lines()[0]["level"], level, "{status}");
    }
}

#[tokio::test]
async fn an_outcome_that_is_not_announced_is_left_to_the_queue() {
    let refused = json!({"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure", "ErrorMessage": "x"}]});
    let host = host(&[]).then("UpdateItem", 200, &json!({"Attributes": row("completed", EVENT_ID)}));
    // The call is repeated as often as the client's policy says.
    let host = (0..3).fold(host, |host, _| host.then("PutEvents", 200, &refused));
    assert_eq!(deliver(&host, &completed()).await, Delivered::Left);
    assert_eq!((&host.lines()[0]["level"], &host.lines()[0]["action"]), (&json!("WARN"), &json!("leave")));
}

#[tokio::test]
async fn what_no_delivery_can_mend_is_an_error() {
    let mut foreign = completed();
    foreign["source"] = json!("appointments.worker.CL");
    for message in [json!({"insuredId": "00123"}), foreign] {
        let host = host(&[]);
        assert!(matches!(deliver(&host, &message).await, Delivered::Poison(_)), "{message}");
        assert_eq!(host.operations(), [""; 0]);
    }
}

#[tokio::test]
async fn an_outcome_of_an_erased_appointment_is_dropped() {
    let missing = json!({"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"});
    for (erasure, dropped) in [(json!({"Item": {"insuredId": {"S": "erased"}}}), true), (json!({}), false)] {
        let host = host(&[]).then("UpdateItem", 400, &missing).then("GetItem", 200, &erasure);
        assert_eq!(deliver(&host, &completed()).await == Delivered::Done, dropped);
    }
}

#[tokio::test]
async fn a_component_that_is_not_set_up_leaves_the_message() {
    let host = host(&[("confirmation_secret_access_key", "")]);
    assert_eq!(deliver(&host, &completed()).await, Delivered::Left);
    assert!(host.lines()[0]["error"].as_str().unwrap().contains("confirmation_secret_access_key"));
}
