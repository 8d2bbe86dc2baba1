use super::*;

fn changed(slots: Value) -> Value {
    json!({
        "source": "appointments.worker.PE", "detail-type": "SlotsChanged",
        "detail": {
            "version": 1, "eventId": EVENT_ID, "countryISO": "PE", "slots": slots,
            "occurredAt": "2026-11-24T09:00:02.000Z", "traceparent": TRACE,
        },
    })
}

#[tokio::test]
async fn slots_are_written_each_under_its_version() {
    let older = condition_failed(&json!({}));
    let host = host(&[]).then("PutItem", 200, &json!({})).then("PutItem", 400, &older);
    let message = changed(json!([slot_state(7, "free"), slot_state(6, "busy")]));
    assert_eq!(deliver(&host, &message).await, Delivered::Done);
    assert_eq!((&host.lines()[0]["slots"], &host.lines()[0]["written"]), (&json!(2), &json!(1)));
    let item = &host.sent()[0].json()["Item"];
    assert_eq!(item["freeSpecialty"]["S"], "PE#Cardiología");
    assert_eq!(host.sent()[1].json()["Item"].get("freeSpecialty"), None, "a slot that is taken is in no index");
}

#[tokio::test]
async fn slots_of_another_country_are_an_error() {
    let mut slot = slot_state(7, "free");
    slot["countryISO"] = json!("CL");
    let host = host(&[]);
    assert!(matches!(deliver(&host, &changed(json!([slot]))).await, Delivered::Poison(_)));
    let many = Value::Array((0..26).map(|version| slot_state(version, "free")).collect());
    let other = TestHost::of("confirmation", &[]);
    assert!(matches!(deliver(&other, &changed(many)).await, Delivered::Poison(_)));
}
