//! `Idempotency-Key` over the whole system.

use std::collections::BTreeSet;
use std::time::SystemTime;

use appointment::{Appointment, AppointmentId, Country, Timestamp, TraceContext};
use aws_http::Client;
use aws_http::native::NativeTransport;
use backplane::{AppointmentsTable, Booked};
use bytes::Bytes;
use futures::future::join_all;
use http::StatusCode;
use local_stack::LocalStack;
use local_stack::http::Http;
use local_stack::ministack::REGION;
use serde_json::{Value, json};
use tests::stack;

use crate::application::{Booking, PATIENCE, decided, fresh_slot};

/// A response to `POST /appointments`.
struct BookResponse {
    status: StatusCode,
    replayed: bool,
    location: Option<String>,
    body: Value,
}

async fn book(stack: &LocalStack, key: &str, insured: &str, slot: u64, country: &str) -> BookResponse {
    let body = json!({"insuredId": insured, "scheduleId": slot, "countryISO": country});
    let request = http::Request::post(format!("{}/appointments", stack.url()))
        .header("content-type", "application/json")
        .header("idempotency-key", key)
        .body(Bytes::from(body.to_string()))
        .unwrap();
    let response = Http::default().send_within(request, PATIENCE).await.unwrap();
    BookResponse {
        status: response.status(),
        replayed: response.headers().get("idempotency-replayed").is_some_and(|value| value == "true"),
        location: response.headers().get("location").map(|path| path.to_str().unwrap().to_owned()),
        body: serde_json::from_slice(response.body()).unwrap(),
    }
}

fn fresh_key() -> String {
    format!("test-{:032x}", fastrand::u128(..))
}

fn fresh_person() -> String {
    format!("{:05}", fastrand::u32(40_000..50_000))
}

/// How many of a person's appointments are for a slot.
async fn booked(stack: &LocalStack, insured: &str, slot: u64) -> usize {
    let response = Http::default().get(&format!("{}/appointments/{insured}?limit=100", stack.url())).await.unwrap();
    let list: Value = serde_json::from_slice(response.body()).unwrap();
    list["appointments"].as_array().unwrap().iter().filter(|found| found["scheduleId"] == slot).count()
}

#[tokio::test]
async fn the_same_key_and_request_get_the_first_response() {
    let stack = &*stack().await;
    let (key, person, slot) = (fresh_key(), fresh_person(), fresh_slot());
    let first = book(stack, &key, &person, slot, "PE").await;
    assert_eq!((first.status, first.replayed), (StatusCode::ACCEPTED, false));
    assert_eq!(decided(stack, &Booking::of(&first.body)).await["status"], "completed");

    let again = book(stack, &key, &person, slot, "PE").await;
    assert_eq!((again.status, again.replayed), (StatusCode::ACCEPTED, true));
    assert_eq!(
        (again.body, again.location),
        (first.body, first.location),
        "as it was then, though it is completed now"
    );
    assert_eq!(booked(stack, &person, slot).await, 1);

    for (slot, country) in [(slot + 1, "PE"), (slot, "CL")] {
        let other = book(stack, &key, &person, slot, country).await;
        assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(other.body["code"], "idempotency_key_reused");
    }
    // The key is the person's: somebody else's is another.
    let neighbour = format!("{:05}", (person.parse::<u32>().unwrap() + 1) % 100_000);
    let other = book(stack, &key, &neighbour, slot, "PE").await;
    assert_eq!((other.status, other.replayed), (StatusCode::ACCEPTED, false));
}

#[tokio::test]
async fn of_ten_at_once_one_is_kept_and_every_response_names_it() {
    let stack = &*stack().await;
    let (key, person, slot) = (fresh_key(), fresh_person(), fresh_slot());
    let responses = join_all((0..10).map(|_| book(stack, &key, &person, slot, "CL"))).await;
    let ids: BTreeSet<_> = responses.iter().map(|response| response.body["appointmentId"].as_str().unwrap()).collect();
    assert!(responses.iter().all(|response| response.status == StatusCode::ACCEPTED));
    assert_eq!((ids.len(), responses.iter().filter(|response| !response.replayed).count()), (1, 1));
    assert_eq!(booked(stack, &person, slot).await, 1);
}

/// DynamoDB may take days to delete an expired item. Therefore the instant counts, and not whether the item is there.
#[tokio::test]
async fn an_expired_key_is_free_again() {
    let stack = &*stack().await;
    let (key, person, slot) = (fresh_key(), fresh_person(), fresh_slot());
    let first = book(stack, &key, &person, slot, "PE").await;
    let (root, table) = (stack.services().aws(), &stack.services().backplane().table.name);
    let item_key = json!({"insuredId": {"S": person}, "sk": {"S": format!("idempotency#{key}")}});
    let kept = root.dynamodb("GetItem", &json!({"TableName": table, "Key": item_key})).await.unwrap();
    let expires_at: i64 = kept["Item"]["expiresAt"]["N"].as_str().unwrap().parse().unwrap();
    let left = expires_at - Timestamp::from(SystemTime::now()).unix_seconds();
    assert!((86_000..=86_400).contains(&left), "a key is kept for 24 hours, not {left} s");

    let expire = json!({
        "TableName": table, "Key": item_key, "UpdateExpression": "SET expiresAt = :past",
        "ExpressionAttributeValues": {":past": {"N": (expires_at - 86_401).to_string()}},
    });
    root.dynamodb("UpdateItem", &expire).await.unwrap();
    let second = book(stack, &key, &person, fresh_slot(), "CL").await;
    assert_eq!((second.status, second.replayed), (StatusCode::ACCEPTED, false));
    assert_ne!(second.body["appointmentId"], first.body["appointmentId"]);
}

/// An intake that dies after its write leaves a row that awaits its country, and a key that finds it.
#[tokio::test]
async fn a_retry_after_a_crash_between_write_and_publication_finds_the_same_appointment() {
    let stack = &*stack().await;
    let services = stack.services();
    let client = Client::new(NativeTransport::new(), REGION, services.credentials("edge").unwrap().clone());
    let table = AppointmentsTable::new(&client, services.endpoint(), &services.backplane().table.name);
    let now = Timestamp::from(SystemTime::now());
    let (key, person, slot) = (fresh_key(), fresh_person(), fresh_slot());
    let appointment = Appointment::requested(
        AppointmentId::new(now, std::array::from_fn(|_| fastrand::u8(..))),
        person.parse().unwrap(),
        slot.try_into().unwrap(),
        Country::Peru,
        now,
    );
    let trace = TraceContext::start(std::array::from_fn(|_| fastrand::u8(..)));
    let schedule = "3600".parse().unwrap();
    // What intake does first; then it dies, and publishes nothing.
    assert_eq!(table.book_once(&appointment, &key, trace, &schedule).await.unwrap(), Booked::New);

    let retried = book(stack, &key, &person, slot, "PE").await;
    assert_eq!((retried.status, retried.replayed), (StatusCode::ACCEPTED, true));
    assert_eq!(retried.body["appointmentId"], appointment.appointment_id.to_string());
    assert_eq!(booked(stack, &person, slot).await, 1);
    let row = json!({
        "TableName": services.backplane().table.name,
        "Key": {"insuredId": {"S": person}, "sk": {"S": format!("appointment#{}", appointment.appointment_id)}},
    });
    let row = services.aws().dynamodb("GetItem", &row).await.unwrap();
    assert!(row["Item"]["pendingShard"]["S"].as_str().unwrap().starts_with("PE#"), "where the republisher finds it");
}
