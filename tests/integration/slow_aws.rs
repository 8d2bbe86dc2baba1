//! Calls to AWS that take long: one timer of the host serves several of them, and each has its own limit all the same.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};

use crate::components::{BOOKING, Double, JSON, call, host};

/// Books while `PutItem` and `Publish` take so long; returns the calls, and how long the response took.
async fn book(put_ms: u64, publish_ms: u64) -> (Vec<String>, Duration) {
    let double = Double::start(&[]).await;
    let host = host(&double).await;
    // Whatever a first request has to wait for has no part in it.
    call(&host, Method::GET, "/health", &[], "").await;
    let delays = [("PutItem", put_ms), ("Publish", publish_ms)];
    double.delays.lock().unwrap().extend(delays.map(|(operation, delay)| (operation, Duration::from_millis(delay))));
    let started = Instant::now();
    let (status, _, body) = call(&host, Method::POST, "/appointments", &[JSON], BOOKING).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    (double.operations(), started.elapsed())
}

/// Books as [`book`], without a call that takes too long, and returns how long it took. A machine that is busy may be late once;
/// a timer that is wrong is wrong each time.
async fn book_in_time(put_ms: u64, publish_ms: u64) -> Duration {
    let mut attempts = Vec::new();
    for _ in 0..3 {
        let (operations, took) = book(put_ms, publish_ms).await;
        if operations == ["PutItem", "Publish"] {
            return took;
        }
        attempts.push((operations, took));
    }
    panic!("a call took too long each time: {attempts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_that_ends_within_a_later_call_leaves_it_the_rest_of_its_time() {
    let took = book_in_time(700, 600).await;
    assert!(took >= Duration::from_millis(1_300), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_has_more_time_than_one_timer() {
    book_in_time(1_200, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_slow_write_a_publication_without_a_response_ends_after_its_own_second() {
    let (operations, took) = book(700, 60_000).await;
    assert_eq!(operations, ["PutItem", "Publish", "UpdateItem"], "the booking is due at once");
    assert!(took >= Duration::from_millis(1_650), "the publication has its whole second: {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}
