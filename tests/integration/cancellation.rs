//! Cancellations over the whole system.

use std::time::{Duration, Instant, SystemTime};

use appointment::{Appointment, AppointmentId, Country, Timestamp, TraceContext};
use aws_http::Client;
use aws_http::native::NativeTransport;
use backplane::{AppointmentsTable, CommandTopic};
use bytes::Bytes;
use http::StatusCode;
use local_stack::LocalStack;
use local_stack::http::Http;
use local_stack::ministack::REGION;
use messages::{AppointmentMessage, Command};
use serde_json::{Value, json};
use tests::stack;

use crate::application::{Booking, PATIENCE, book, decided, fresh_slot, row};

async fn cancel(stack: &LocalStack, booking: &Booking) -> (StatusCode, Value) {
    let path = format!("{}{}", stack.url(), booking.path());
    let request = http::Request::delete(path).body(Bytes::new()).unwrap();
    let response = Http::default().send_within(request, PATIENCE).await.unwrap();
    (response.status(), serde_json::from_slice(response.body()).unwrap())
}

async fn read(stack: &LocalStack, booking: &Booking) -> Value {
    let path = format!("{}{}", stack.url(), booking.path());
    let response = Http::default().get(&path).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    serde_json::from_slice(response.body()).unwrap()
}

/// Waits until the appointment is in this status, and returns it with its history.
async fn until(stack: &LocalStack, booking: &Booking, status: &str) -> Value {
    let started = Instant::now();
    loop {
        let found = read(stack, booking).await;
        if found["status"] == status {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "not {status}: {found}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn history(appointment: &Value) -> Vec<&str> {
    appointment["history"].as_array().unwrap().iter().map(|entry| entry["status"].as_str().unwrap()).collect()
}

fn person() -> u32 {
    fastrand::u32(50_000..60_000)
}

#[tokio::test]
async fn a_cancelled_slot_can_be_booked_by_somebody_else() {
    let stack = &*stack().await;
    for country in ["PE", "CL"] {
        let slot = fresh_slot();
        let booking = book(stack, country, person(), slot).await;
        assert_eq!(decided(stack, &booking).await["status"], "completed");

        let (status, accepted) = cancel(stack, &booking).await;
        assert_eq!((status, accepted["status"].as_str()), (StatusCode::ACCEPTED, Some("cancelling")));
        let cancelled = until(stack, &booking, "cancelled").await;
        assert_eq!(history(&cancelled), ["pending", "completed", "cancelling", "cancelled"]);
        assert_eq!(row(stack, country, &booking).await.as_deref(), Some("cancelled"));
        let (status, again) = cancel(stack, &booking).await;
        assert_eq!((status, again["status"].as_str()), (StatusCode::OK, Some("cancelled")));

        let next = book(stack, country, person(), slot).await;
        assert_eq!(decided(stack, &next).await["status"], "completed");
        assert_eq!(row(stack, country, &next).await.as_deref(), Some("booked"));
    }
}

/// An appointment that is kept, and whose request is not published yet.
async fn kept(stack: &LocalStack, country: Country) -> (Appointment, TraceContext) {
    let services = stack.services();
    let client = Client::new(NativeTransport::new(), REGION, services.credentials("edge").unwrap().clone());
    let table = AppointmentsTable::new(&client, services.endpoint(), &services.backplane().table.name);
    let now = Timestamp::from(SystemTime::now());
    let appointment = Appointment::requested(
        AppointmentId::new(now, std::array::from_fn(|_| fastrand::u8(..))),
        format!("{:05}", person()).parse().unwrap(),
        fresh_slot().try_into().unwrap(),
        country,
        now,
    );
    let trace = TraceContext::start(std::array::from_fn(|_| fastrand::u8(..)));
    table.book(&appointment, trace, &"3600".parse().unwrap()).await.unwrap();
    (appointment, trace)
}

/// Publishes an appointment's request, as intake or the republisher does, or the queue once more.
async fn publish(stack: &LocalStack, appointment: &Appointment, trace: TraceContext) {
    let services = stack.services();
    let client = Client::new(NativeTransport::new(), REGION, services.credentials("edge").unwrap().clone())
        .with_deadline(PATIENCE);
    let message = AppointmentMessage::new(Command::Request, appointment, trace).unwrap();
    CommandTopic::new(&client, services.endpoint(), services.topic_arn()).publish(&message).await.unwrap();
}

/// How often the worker of Peru has told an outcome of an appointment.
fn outcomes_told(stack: &LocalStack, id: AppointmentId) -> usize {
    let log = std::fs::read_to_string(stack.services().logs().join("workers.log")).unwrap();
    let id = id.to_string();
    log.lines().filter(|line| line.contains(&id) && line.contains("\"outcome\"")).count()
}

async fn until_outcomes_told(stack: &LocalStack, id: AppointmentId, expected: usize) {
    let started = Instant::now();
    while outcomes_told(stack, id) < expected {
        assert!(started.elapsed() < PATIENCE, "the worker told {} outcomes of {id}", outcomes_told(stack, id));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_cancellation_that_overtakes_its_request_wins() {
    let stack = &*stack().await;
    let (appointment, trace) = kept(stack, Country::Peru).await;
    let booking = Booking::of(&json!(appointment));
    assert_eq!(cancel(stack, &booking).await.0, StatusCode::ACCEPTED);
    let cancelled = until(stack, &booking, "cancelled").await;
    assert_eq!(history(&cancelled), ["pending", "cancelling", "cancelled"]);
    assert_eq!(row(stack, "PE", &booking).await.as_deref(), Some("cancelled"), "a tombstone, since no request came");

    publish(stack, &appointment, trace).await;
    until_outcomes_told(stack, booking.id, 2).await;
    assert_eq!(row(stack, "PE", &booking).await.as_deref(), Some("cancelled"));
    assert_eq!(history(&read(stack, &booking).await), ["pending", "cancelling", "cancelled"]);
    // The slot was never taken.
    let other = book(stack, "PE", person(), appointment.schedule_id.get()).await;
    assert_eq!(decided(stack, &other).await["status"], "completed");
}

#[tokio::test]
async fn a_request_that_comes_again_after_its_rejection_never_books() {
    let stack = &*stack().await;
    let (late, trace) = kept(stack, Country::Peru).await;
    let slot = late.schedule_id.get();
    let holder = book(stack, "PE", person(), slot).await;
    assert_eq!(decided(stack, &holder).await["status"], "completed");
    publish(stack, &late, trace).await;
    let rejected = Booking::of(&json!(late));
    let shown = decided(stack, &rejected).await;
    assert_eq!((shown["status"].as_str(), shown["reason"].as_str()), (Some("rejected"), Some("slot_taken")));
    let (status, problem) = cancel(stack, &rejected).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::CONFLICT, Some("not_cancellable")));

    // The slot becomes free, and then the queue delivers the request once more.
    cancel(stack, &holder).await;
    until(stack, &holder, "cancelled").await;
    // The rejection. The cancellation was refused before a country heard of it.
    until_outcomes_told(stack, rejected.id, 1).await;
    publish(stack, &late, trace).await;
    until_outcomes_told(stack, rejected.id, 2).await;
    assert_eq!(row(stack, "PE", &rejected).await.as_deref(), Some("rejected"));
    assert_eq!(history(&read(stack, &rejected).await), ["pending", "rejected"]);
    let next = book(stack, "PE", person(), slot).await;
    assert_eq!(decided(stack, &next).await["status"], "completed");
}
