//! `Prefer: wait=N`: one response instead of polling, on the component as it is shipped.

use std::time::{Duration, Instant};

use futures::future::join_all;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use tests::PATIENCE;

use crate::components::{BOOKING, Double, EVENT_ID, ID, JSON, OWN_ID, Scripted, host_with, row};
use crate::contract::call;

const WAIT: (&str, &str) = ("prefer", "wait=10");

/// The table's response to a read, in this status.
fn kept(id: &str, status: &str) -> (&'static str, u16, String) {
    let mut row = row(status, EVENT_ID);
    row["sk"]["S"] = json!(format!("appointment#{id}"));
    if status == "rejected" {
        row["reason"] = json!({"S": "slot_taken"});
    }
    ("GetItem", 200, json!({ "Item": row }).to_string())
}

fn reads(double: &Double) -> usize {
    double.operations().iter().filter(|operation| *operation == "GetItem").count()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

/// A case's name, what is read, the response's status, the appointment's status in it, and how often it is read.
type Followed<'a> = (&'a str, Vec<(&'static str, u16, String)>, u16, &'a str, usize);

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_that_waits_gets_its_outcome() {
    let fault = || ("GetItem", 400, r#"{"__type":"AccessDeniedException"}"#.to_owned());
    let kept = |status: &str| kept(OWN_ID, status);
    let cases: Vec<Followed> = vec![
        ("booked at once", vec![kept("completed")], 201, "completed", 1),
        ("booked later", vec![kept("pending"), kept("completed")], 201, "completed", 2),
        ("refused", vec![kept("pending"), kept("rejected")], 200, "rejected", 2),
        ("a failure is not final", vec![kept("failed"), kept("completed")], 201, "completed", 2),
        ("cancelled meanwhile", vec![kept("cancelling"), kept("cancelled")], 200, "cancelled", 2),
        ("a read fails", vec![fault(), kept("completed")], 201, "completed", 2),
    ];
    for (name, script, expected, shown, times) in cases {
        let double = Double::start(&script).await;
        let host = host_with(&double.url, &double.url, &[]).await;
        let (status, headers, body) = call(&host, Method::POST, "/appointments", &[JSON, WAIT], BOOKING).await;
        assert_eq!((status.as_u16(), body["status"].as_str()), (expected, Some(shown)), "{name}: {body}");
        assert_eq!(reads(&double), times, "{name}");
        assert_eq!(text(&headers, "preference-applied"), Some("wait=10"), "{name}");
        assert_eq!(text(&headers, "retry-after"), None, "{name}");
        let location = format!("/appointments/00123/{}", body["appointmentId"].as_str().unwrap());
        assert_eq!(text(&headers, "location"), Some(&*location), "{name}");
        if shown == "rejected" {
            let told = (body["reason"].as_str(), body["message"].as_str());
            let message = "Otra persona ya reservó este horario. Por favor, elija otro.";
            assert_eq!(told, (Some("slot_taken"), Some(message)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_in_vain_is_told_to_come_back_after_five_reads() {
    let double = Double::start(&[kept(OWN_ID, "pending")]).await;
    let host = host_with(&double.url, &double.url, &[]).await;
    let started = Instant::now();
    let headers = [JSON, ("prefer", "wait=1")];
    let (status, headers, body) = call(&host, Method::POST, "/appointments", &headers, BOOKING).await;
    assert!(started.elapsed() >= Duration::from_secs(1), "the pauses fill the time");
    assert_eq!((status, body["status"].as_str()), (StatusCode::ACCEPTED, Some("pending")));
    assert_eq!((text(&headers, "preference-applied"), text(&headers, "retry-after")), (Some("wait=1"), Some("1")));
    assert_eq!(double.operations(), [&["PutItem", "Publish"][..], &["GetItem"; 5]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_waits_too_and_never_creates() {
    let moved = |status: &str| ("UpdateItem", 200, json!({"Attributes": row(status, EVENT_ID)}).to_string());
    let path = format!("/appointments/00123/{ID}");
    let script = [moved("cancelling"), kept(ID, "cancelling"), kept(ID, "cancelled")];
    let double = Double::start(&script).await;
    let host = host_with(&double.url, &double.url, &[]).await;
    let (status, headers, body) = call(&host, Method::DELETE, &path, &[WAIT], "").await;
    assert_eq!((status, body["status"].as_str()), (StatusCode::OK, Some("cancelled")));
    assert_eq!((text(&headers, "preference-applied"), text(&headers, "location")), (Some("wait=10"), None));
    assert_eq!(double.operations(), ["UpdateItem", "Publish", "GetItem", "GetItem"]);

    let double = Double::start(&[moved("cancelling"), kept(ID, "cancelling")]).await;
    let host = host_with(&double.url, &double.url, &[]).await;
    let (status, headers, body) = call(&host, Method::DELETE, &path, &[("prefer", "wait=1")], "").await;
    assert_eq!((status, body["status"].as_str()), (StatusCode::ACCEPTED, Some("cancelling")));
    assert_eq!(text(&headers, "retry-after"), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_waits_on_the_appointment_of_the_first_request() {
    let key = json!({
        "insuredId": {"S": "00123"}, "sk": {"S": "idempotency#k"}, "appointmentId": {"S": ID}, "scheduleId": {"N": "100"},
        "countryISO": {"S": "PE"}, "createdAt": {"S": "2026-11-24T09:29:59.000Z"}, "expiresAt": {"N": "1795685399"},
    });
    let reasons = json!([{"Code": "ConditionalCheckFailed", "Item": key}, {"Code": "None"}]);
    let cancelled = json!({"__type": "TransactionCanceledException", "CancellationReasons": reasons}).to_string();
    let double = Double::start(&[("TransactWriteItems", 400, cancelled), kept(ID, "completed")]).await;
    let host = host_with(&double.url, &double.url, &[]).await;
    let headers = [JSON, ("idempotency-key", "k")];
    let (status, response_headers, body) = call(&host, Method::POST, "/appointments", &headers, BOOKING).await;
    assert_eq!((status, body["status"].as_str()), (StatusCode::ACCEPTED, Some("pending")), "as in the first response");
    assert_eq!(text(&response_headers, "idempotency-replayed"), Some("true"));
    let headers = [JSON, ("idempotency-key", "k"), WAIT];
    let (status, response_headers, body) = call(&host, Method::POST, "/appointments", &headers, BOOKING).await;
    assert_eq!(
        (status, &body["status"], &body["appointmentId"]),
        (StatusCode::CREATED, &json!("completed"), &json!(ID))
    );
    assert_eq!(text(&response_headers, "idempotency-replayed"), Some("true"));
    assert_eq!(double.operations(), ["TransactWriteItems", "TransactWriteItems", "GetItem"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_lasts_as_long_as_the_client_prefers_and_the_host_allows() {
    let cases: [(&str, &[&str], Option<&str>); 13] = [
        ("10", &["wait=3"], Some("wait=3")),
        ("10", &["wait=\"3\""], Some("wait=3")),
        ("10", &["respond-async, Wait = 3 ; x=y"], Some("wait=3")),
        ("10", &["respond-async", "wait=3", "wait=4"], Some("wait=3")),
        ("10", &["wait=99"], Some("wait=10")),
        ("99", &["wait=99"], Some("wait=10")),
        ("2", &["wait=5"], Some("wait=2")),
        ("0", &["wait=5"], None),
        ("10", &["wait=0"], None),
        ("10", &["wait=-1"], None),
        ("10", &["wait=soon"], None),
        ("10", &["wait", "respond-async"], None),
        ("10", &[], None),
    ];
    for (limit, preferences, applied) in cases {
        let double = Double::start(&[kept(OWN_ID, "completed")]).await;
        let host = host_with(&double.url, &double.url, &[("wait_limit_seconds", limit)]).await;
        let headers: Vec<_> = preferences.iter().map(|preference| ("prefer", *preference)).chain([JSON]).collect();
        let (status, headers, _) = call(&host, Method::POST, "/appointments", &headers, BOOKING).await;
        assert_eq!(text(&headers, "preference-applied"), applied, "{limit} {preferences:?}");
        let expected = if applied.is_some() { (201, 1) } else { (202, 0) };
        assert_eq!((status.as_u16(), reads(&double)), expected, "{limit} {preferences:?}");
    }
}

/// What is not published cannot have an outcome soon.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_what_is_not_published() {
    let failed: Scripted = (500, String::new());
    let double = Double::start(&[("Publish", failed.0, failed.1)]).await;
    let host = host_with(&double.url, &double.url, &[]).await;
    let (status, headers, _) = call(&host, Method::POST, "/appointments", &[JSON, WAIT], BOOKING).await;
    assert_eq!((status, text(&headers, "preference-applied")), (StatusCode::ACCEPTED, None));
    assert_eq!(reads(&double), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_are_bounded_and_leave_the_service_to_others() {
    const SECONDS: u64 = 3;
    let double = Double::start(&[kept(OWN_ID, "pending")]).await;
    let host = host_with(&double.url, &double.url, &[]).await;
    let prefer = format!("wait={SECONDS}");
    let ask = async || {
        let (started, asked) = (Instant::now(), [JSON, ("prefer", prefer.as_str())]);
        loop {
            let (status, headers, body) = call(&host, Method::POST, "/appointments", &asked, BOOKING).await;
            // A busy machine may have no time for so many at once.
            if status == StatusCode::SERVICE_UNAVAILABLE && started.elapsed() < PATIENCE {
                continue;
            }
            assert_eq!((status, &body["status"]), (StatusCode::ACCEPTED, &Value::from("pending")));
            break headers.contains_key("preference-applied").then(Instant::now);
        }
    };
    let ended: Vec<Option<Instant>> = join_all((0..160).map(|_| ask())).await;
    let waited: Vec<Instant> = ended.iter().copied().flatten().collect();
    assert!(waited.len() >= 20 && waited.len() < ended.len(), "{} of {} waited", waited.len(), ended.len());
    // Each waited for that long before its response came, so at least this many waited at the same time.
    let at_once = |instant: &Instant| {
        let window = Duration::from_secs(SECONDS);
        waited.iter().filter(|other| *other >= instant && other.duration_since(*instant) < window).count()
    };
    let most = waited.iter().map(at_once).max().unwrap();
    assert!(most <= 70, "{most} waited at once");
}
