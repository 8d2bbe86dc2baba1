//! A booking through the whole system: over HTTP to the components, through the emulator and the workers, and back to the list.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use futures::stream::{self, StreamExt};
use http::{Method, StatusCode};
use local_stack::LocalStack;
use local_stack::http::Http;
use operator::database::connect;
use serde_json::{Value, json};
pub(crate) use tests::{Booking, PATIENCE, fresh_slot};
use tests::{own_stack, program, stack};

/// Lists read at once while bookings are waited for. The emulator serves about a thousand calls per second in all, which the
/// bookings need more than those who ask after them.
const LISTS_IN_FLIGHT: usize = 24;

/// Names and values of a request's headers.
type Headers<'a> = &'a [(&'a str, &'a str)];

/// How a request reaches the component intake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryPoint {
    /// Through the Spin application's manifest.
    Edge,
    /// Through API Gateway and the function `appointment`.
    ApiGateway,
}

impl EntryPoint {
    pub(crate) const ALL: [Self; 2] = [Self::Edge, Self::ApiGateway];

    pub(crate) fn request(self, stack: &LocalStack, path: &str) -> http::request::Builder {
        match self {
            Self::Edge => http::Request::builder().uri(format!("{}{path}", stack.url())),
            Self::ApiGateway => stack.api().request(path),
        }
    }
}

pub(crate) async fn book(stack: &LocalStack, country: &'static str, insured: u32, slot: u64) -> Booking {
    book_by(EntryPoint::Edge, stack, country, insured, slot).await.0
}

/// Books, and returns the id of the request's trace too.
pub(crate) async fn book_by(
    entry_point: EntryPoint,
    stack: &LocalStack,
    country: &'static str,
    insured: u32,
    slot: u64,
) -> (Booking, String) {
    let (insured, trace) = (format!("{insured:05}"), format!("{:032x}", fastrand::u128(1..)));
    let body = json!({"insuredId": insured, "scheduleId": slot, "countryISO": country});
    let request = entry_point
        .request(stack, "/appointments")
        .method(Method::POST)
        .header("content-type", "application/json")
        .header("traceparent", format!("00-{trace}-{:016x}-01", fastrand::u64(1..)))
        .body(Bytes::from(body.to_string()))
        .unwrap();
    let response = Http::default().send_within(request, PATIENCE).await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED, "{}", String::from_utf8_lossy(response.body()));
    let accepted: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(accepted["status"], "pending");
    (Booking::of(&accepted), trace)
}

/// As `book`, by a client that repeats a `503` with the same key: the emulator may be too slow for a burst within intake's budget.
async fn book_patiently(stack: &LocalStack, country: &'static str, insured: u32, slot: u64) -> Booking {
    let (insured, trace) = (format!("{insured:05}"), format!("{:032x}", fastrand::u128(1..)));
    let body = json!({"insuredId": insured, "scheduleId": slot, "countryISO": country}).to_string();
    let parent = format!("00-{trace}-{:016x}-01", fastrand::u64(1..));
    let headers = [("content-type", "application/json"), ("traceparent", &parent), ("idempotency-key", &trace)];
    let (status, _, accepted) = crate::race::send(stack, Method::POST, "/appointments", &headers, &body).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
    Booking::of(&accepted)
}

/// Waits until the person's list no longer says `pending`.
pub(crate) async fn decided(stack: &LocalStack, booking: &Booking) -> Value {
    decided_by(EntryPoint::Edge, stack, booking).await
}

async fn decided_by(entry_point: EntryPoint, stack: &LocalStack, booking: &Booking) -> Value {
    let started = Instant::now();
    let http = Http::default();
    loop {
        let request =
            entry_point.request(stack, &format!("/appointments/{}", booking.insured)).body(Bytes::new()).unwrap();
        let response = http.send(request).await.unwrap();
        let list: Value = serde_json::from_slice(response.body()).unwrap();
        let own =
            list["appointments"].as_array().unwrap().iter().find(|found| found["appointmentId"] == json!(booking.id));
        let own = own.expect("the list is read consistently").clone();
        if own["status"] != "pending" {
            return own;
        }
        assert!(started.elapsed() < PATIENCE, "still pending: {}", booking.id);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The status of an appointment in a country's database.
pub(crate) async fn row(stack: &LocalStack, country: &str, booking: &Booking) -> Option<String> {
    let mut connection = connect(stack.services().database_url(country).unwrap()).await.unwrap();
    let query = sqlx::query_scalar("SELECT status FROM appointments WHERE appointment_id = $1");
    let query = query.bind(booking.id.as_uuid());
    query.fetch_optional(&mut connection).await.unwrap()
}

#[tokio::test]
async fn a_booking_completes_in_its_own_country_and_one_grep_shows_its_life() {
    let stack = &*stack().await;
    let bookings = [("PE", "CL"), ("CL", "PE")]
        .into_iter()
        .flat_map(|countries| EntryPoint::ALL.map(|entry_point| (entry_point, countries)));
    for (entry_point, (country, other)) in bookings {
        let (booking, trace) = book_by(entry_point, stack, country, fastrand::u32(0..10_000), fresh_slot()).await;
        assert_eq!(decided_by(entry_point, stack, &booking).await["status"], "completed", "{entry_point:?}");
        assert_eq!(row(stack, country, &booking).await.as_deref(), Some("booked"));
        assert_eq!(row(stack, other, &booking).await, None);

        let services = ["intake", if country == "PE" { "appointment-pe" } else { "appointment-cl" }, "confirmation"];
        let started = Instant::now();
        loop {
            let logs = ["application.log", "functions.log", "workers.log"]
                .map(|log| std::fs::read_to_string(stack.services().logs().join(log)).unwrap());
            let lines: Vec<&str> =
                logs.iter().flat_map(|log| log.lines()).filter(|line| line.contains(&trace)).collect();
            let told = |service: &&str| {
                lines.iter().any(|line| {
                    line.contains(&format!("\"service\":\"{service}\"")) && line.contains(&booking.id.to_string())
                })
            };
            if services.iter().all(told) {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "of {services:?} the logs hold only {lines:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// API Gateway and the Lambda host add nothing to a response and remove nothing from it.
#[tokio::test]
async fn both_ways_give_the_same_responses() {
    let stack = &*stack().await;
    let nobody = uuid::Uuid::now_v7();
    let one = format!("/appointments/00123/{nobody}");
    let booking = json!({"insuredId": "12", "scheduleId": 0, "countryISO": "AR"}).to_string();
    let json = [("content-type", "application/json"), ("accept-language", "en")];
    let long = "1".repeat(5_000);
    let requests: &[(Method, &str, Headers, &str)] = &[
        // Not /health: the emulator has its own on every host.
        (Method::GET, "/openapi.yaml", &[], ""),
        (Method::HEAD, "/openapi.yaml", &[], ""),
        (Method::POST, "/appointments", &json, &booking),
        (Method::POST, "/appointments", &json, "{"),
        (Method::POST, "/appointments", &json, &long),
        (Method::POST, "/appointments", &[("content-type", "text/plain")], "ñ"),
        (Method::PUT, "/appointments", &json, ""),
        (Method::GET, "/appointments/77777?limit=5&status=rejected", &[], ""),
        (Method::GET, "/appointments/77777?limit=x&status=%zz", &[], ""),
        // Not a path with escapes, which API Gateway decodes before the function gets it.
        (Method::GET, "/appointment/00-23", &[], ""),
        (Method::GET, &one, &[("accept-language", "es")], ""),
        (Method::DELETE, &one, &[], ""),
        (Method::GET, "/appointments/00123/x/y", &[], ""),
        (Method::GET, "/internal/republish", &[], ""),
    ];
    for (method, path, headers, body) in requests {
        let mut responses = Vec::new();
        for entry_point in EntryPoint::ALL {
            let mut request = entry_point.request(stack, path).method(method.clone());
            for (name, value) in *headers {
                request = request.header(*name, *value);
            }
            let request = request.body(Bytes::from((*body).to_owned())).unwrap();
            let (head, body) = Http::default().send_within(request, PATIENCE).await.unwrap().into_parts();
            // What a server says of itself and of the connection.
            let own = ["apigw-requestid", "connection", "date", "keep-alive", "server", "transfer-encoding"];
            let mut headers: Vec<_> = head
                .headers
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned()))
                .filter(|(name, _)| !own.contains(&name.as_str()) && !name.starts_with("x-amz"))
                .collect();
            headers.sort();
            // The id of the request, in a problem.
            let mut response: Value = serde_json::from_slice(&body).unwrap_or_default();
            let instance = response.as_object_mut().and_then(|problem| problem.remove("instance"));
            let text = if instance.is_some() { response.to_string().into() } else { body };
            responses.push((head.status, headers, text));
        }
        assert_eq!(responses[0], responses[1], "{method} {path}");
    }
}

#[tokio::test]
async fn fifty_bookings_one_after_another() {
    let stack = &*stack().await;
    let mut times = Vec::new();
    for person in 0..50 {
        let country = if person % 2 == 0 { "PE" } else { "CL" };
        let booking = book(stack, country, 10_000 + person, fresh_slot()).await;
        let accepted = Instant::now();
        assert_eq!(decided(stack, &booking).await["status"], "completed");
        times.push(accepted.elapsed());
    }
    times.sort();
    println!("from 202 to completed, median of 50 bookings: {} ms", times[25].as_millis());
    // The limit is loose, because other tests run at the same time. A retry by the visibility timeout would take longer.
    assert!(times[25] < Duration::from_secs(5), "{times:?}");
}

#[tokio::test]
async fn a_hundred_bookings_at_once() {
    // Its own stack: the emulator is too slow for a burst, and the clients of the other tests are less patient.
    let stack = &own_stack("burst").await;
    let bookings = join_all((0..100).map(|person| {
        let country = if person % 2 == 0 { "PE" } else { "CL" };
        book_patiently(stack, country, 20_000 + person, fresh_slot())
    }))
    .await;
    let outcomes: Vec<Value> =
        stream::iter(&bookings).map(|booking| decided(stack, booking)).buffered(LISTS_IN_FLIGHT).collect().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome["status"] == "completed").count(), 100);
    for (country, other) in [("PE", "CL"), ("CL", "PE")] {
        let ids =
            bookings.iter().filter(|booking| booking.country.code() == country).map(|booking| booking.id.as_uuid());
        let ids: Vec<uuid::Uuid> = ids.collect();
        for (database, expected) in [(country, 50), (other, 0)] {
            let mut connection = connect(stack.services().database_url(database).unwrap()).await.unwrap();
            let query = "SELECT count(*) FROM appointments WHERE appointment_id = ANY($1) AND status = 'booked'";
            let found: i64 = sqlx::query_scalar(query).bind(&ids).fetch_one(&mut connection).await.unwrap();
            assert_eq!(found, expected, "rows of {country}'s bookings in {database}'s database");
        }
    }
    for (name, url) in stack.services().queue_urls() {
        let started = Instant::now();
        loop {
            let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
            let question = json!({"QueueUrl": url, "AttributeNames": names});
            let response = stack.services().aws().sqs("GetQueueAttributes", &question).await.unwrap();
            if names.iter().all(|attribute| response["Attributes"][*attribute] == "0") {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "{name} holds {response}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
async fn of_twenty_people_who_want_a_slot_one_gets_it() {
    let stack = &*stack().await;
    let slot = fresh_slot();
    let bookings = join_all((0..20).map(|person| book(stack, "CL", 30_000 + person, slot))).await;
    let outcomes = join_all(bookings.iter().map(|booking| decided(stack, booking))).await;
    let completed = outcomes.iter().filter(|outcome| outcome["status"] == "completed").count();
    let taken = outcomes.iter().filter(|outcome| outcome["status"] == "rejected" && outcome["reason"] == "slot_taken");
    assert_eq!((completed, taken.count()), (1, 19), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tests_on_spin_say_where_to_get_it() {
    let output = tokio::task::spawn_blocking(|| {
        let mut xtask = std::process::Command::new(program("xtask"));
        xtask.args(["test", "--host", "spin"]).env("PATH", "/nowhere").output().unwrap()
    });
    let output = output.await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("`spin` is not on the PATH: install Spin"), "{error}");
}
