//! Slots through the whole system: a file in a country's bucket, the list of what is free, a booking, and the slot's withdrawal.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use local_stack::LocalStack;
use serde_json::{Value, json};
use tests::{PATIENCE, SAMPLE_DAYS, own_stack_with_slots};

use crate::race::send;

const HEADER: &str = "scheduleId,specialty,center,practitioner,start,durationMinutes,timeZone,state\n";

/// Asks until the response fulfils a condition.
async fn until(what: &str, ask: impl AsyncFn() -> Value, wanted: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let response = ask().await;
        if wanted(&response) {
            return response;
        }
        assert!(started.elapsed() < PATIENCE, "{what}: {response}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Puts a file into Peru's bucket; the report on it.
async fn import(stack: &LocalStack, name: &str, lines: &str) -> Value {
    let services = stack.services();
    let peru = services.backplane().countries().next().unwrap();
    let file = format!("/{}/{}{name}", peru.slots_bucket, peru.slots_files);
    let report = format!("/{}/{}{name}.json", peru.slots_bucket, peru.slots_reports);
    services.aws().s3(Method::PUT, &file, Bytes::from(format!("{HEADER}{lines}"))).await.unwrap();
    let read = async || match services.aws().s3(Method::GET, &report, Bytes::new()).await {
        Ok(report) => serde_json::from_slice(&report).unwrap(),
        Err(_) => Value::Null,
    };
    until(name, read, |report| !report.is_null()).await
}

async fn get(stack: &LocalStack, path: &str) -> Value {
    send(stack, Method::GET, path, &[], "").await.2
}

#[tokio::test]
async fn a_file_in_the_bucket_is_imported_shown_booked_and_withdrawn() {
    let stack = own_stack_with_slots("slots", SAMPLE_DAYS).await;
    let slot = "5000,Oftalmología,Clínica Miraflores,Dra. Vega,2098-12-01T09:00,30,America/Lima";
    let lines = format!("{slot},open\n5001,,Clínica Miraflores,Dra. Vega,2098-12-01T10:00,30,America/Lima,open\n");
    let report = import(&stack, "vega.csv", &lines).await;
    let counts = ["lines", "accepted", "changed", "refused"].map(|count| report[count].as_u64());
    assert_eq!(counts, [2, 1, 1, 1].map(Some), "{report}");
    let line = if report["refusals"][0]["line"] == 3 { 3 } else { 2 };
    assert_eq!(
        report["refusals"],
        json!([{
            "line": line, "code": report["refusals"][0]["code"], "field": "specialty", "message": report["refusals"][0]["message"],
        }])
    );

    let free = "/slots?countryISO=PE&specialty=Oftalmolog%C3%ADa&from=2098-12-01&to=2098-12-02";
    let page = until("the slot is free", async || get(&stack, free).await, |page| page["slots"][0].is_object()).await;
    assert_eq!(page["slots"][0]["start"], "2098-12-01T09:00:00-05:00", "{page}");
    let catalog = until(
        "the catalogue",
        async || get(&stack, "/catalog/PE").await,
        |catalog| catalog["specialties"].as_array().is_some_and(|all| all.contains(&json!("Oftalmología"))),
    );
    assert_eq!(catalog.await["specialties"], json!(["Cardiología", "Dermatología", "Oftalmología", "Pediatría"]));

    let body = json!({"insuredId": "00123", "scheduleId": 5000, "countryISO": "PE"}).to_string();
    let headers = [("content-type", "application/json"), ("prefer", "wait=10")];
    let (status, _, booked) = send(&stack, Method::POST, "/appointments", &headers, &body).await;
    assert!([StatusCode::CREATED, StatusCode::ACCEPTED].contains(&status), "{booked}");
    let path = format!("/appointments/00123/{}", booked["appointmentId"].as_str().unwrap());
    let shown = until("it is booked", async || get(&stack, &path).await, |shown| shown["status"] == "completed").await;
    assert_eq!(
        (&shown["slot"]["practitioner"], &shown["slot"]["center"]),
        (&json!("Dra. Vega"), &json!("Clínica Miraflores"))
    );
    until("it is free no longer", async || get(&stack, free).await, |page| page["slots"] == json!([])).await;

    let unknown = json!({"insuredId": "00123", "scheduleId": 5001, "countryISO": "PE"}).to_string();
    let (_, _, refused) = send(&stack, Method::POST, "/appointments", &headers, &unknown).await;
    let refused = format!("/appointments/00123/{}", refused["appointmentId"].as_str().unwrap());
    let refused =
        until("no such slot", async || get(&stack, &refused).await, |shown| shown["status"] == "rejected").await;
    assert_eq!(refused["reason"], "slot_unknown");

    let report = import(&stack, "withdrawn.csv", &format!("{slot},withdrawn\n")).await;
    assert_eq!((&report["changed"], &report["cancelledAppointments"]), (&json!(1), &json!(1)), "{report}");
    let cancelled =
        until("it is cancelled", async || get(&stack, &path).await, |shown| shown["status"] == "cancelled").await;
    assert_eq!(cancelled["reason"], "slot_withdrawn");
    let gone = async || get(&stack, "/slots/PE/5000").await;
    until("it is withdrawn", gone, |shown| shown["status"] == "busy-unavailable").await;
}
