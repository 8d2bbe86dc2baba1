//! What a worker sends to the event bus, and what it does if the bus refuses an event.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use appointment::AppointmentId;
use aws_http::{Credentials, Endpoint};
use country_worker::EventBridge;
use messages::{AppointmentMessage, Command, Outcome, OutcomeEvent};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::worker_fixture::{
    Bus, Queue, appointment, batch, bodies, command, connected, database, failures, insert, request, rows, worker,
    worker_of,
};

#[tokio::test]
async fn an_event_names_its_command_and_keeps_its_id_when_it_is_sent_again() {
    let url = database().await;
    let bus = Bus::default();
    let worker = worker(&url, &bus);
    let message = request(1, 123, 100);
    for delivery in 1..=2 {
        worker.process(batch(&bodies(std::slice::from_ref(&message)), delivery)).await.unwrap();
    }
    let [first, second] = <[OutcomeEvent; 2]>::try_from(bus.taken()).unwrap();
    assert_eq!(first, second, "a resend is the same event, the instant of the decision included");
    let detail = first.detail;
    assert_eq!(detail.event_id, OutcomeEvent::event_id(message.appointment_id, Outcome::Completed, Command::Request));
    assert_eq!(
        (detail.appointment_id, detail.insured_id, detail.schedule_id, detail.command),
        (message.appointment_id, message.insured_id, message.schedule_id, Command::Request)
    );
    assert_eq!(detail.traceparent.trace_id(), message.traceparent.trace_id(), "the trace goes on");
    assert_eq!(detail.traceparent, message.traceparent.child([7; 8]), "with a span of its own");
}

#[tokio::test]
async fn the_answer_to_a_question_for_a_decision_names_it_and_keeps_its_id() {
    let url = database().await;
    insert(&url, &["a1 p1 s1 booked"]).await;
    let bus = Bus::default();
    let worker = worker(&url, &bus);
    for (number, outcome) in [(1, Outcome::Completed), (2, Outcome::Rejected)] {
        let message = command(Command::Decision, number, u32::try_from(number).unwrap(), number);
        for delivery in 1..=2 {
            let response = worker.process(batch(&bodies(std::slice::from_ref(&message)), delivery)).await.unwrap();
            assert_eq!(failures(&response), [""; 0]);
        }
        let [first, second] = <[OutcomeEvent; 2]>::try_from(std::mem::take(&mut *bus.taken.lock().unwrap())).unwrap();
        assert_eq!(first, second);
        assert_eq!((first.outcome, first.detail.command), (outcome, Command::Decision));
        let id = OutcomeEvent::event_id(message.appointment_id, outcome, Command::Decision);
        assert_eq!(first.detail.event_id, id);
    }
}

#[tokio::test]
async fn a_refused_event_comes_again_and_the_others_do_not() {
    let url = database().await;
    let bus = Bus::refusing(&[appointment(2), appointment(3)]);
    let worker = worker(&url, &bus);
    let messages: Vec<AppointmentMessage> = (1..=5).map(|n| request(n, 1, n)).collect();
    let response = worker.process(batch(&bodies(&messages), 1)).await.unwrap();
    assert_eq!(failures(&response), ["m1", "m2"]);
    assert_eq!(bus.taken().len(), 3);

    bus.recover();
    let response = worker.process(batch(&bodies(&messages[1..3]), 2)).await.unwrap();
    assert_eq!(failures(&response), [""; 0]);
    assert_eq!(bus.tally(), BTreeMap::from([("AppointmentCompleted".to_owned(), 5)]));
    assert_eq!(rows(&url).await.len(), 5);
}

/// A double of EventBridge: keeps the entries of each call, and returns an error for the appointments that it refuses.
async fn event_bridge(refused: Vec<AppointmentId>) -> (EventBridge, Arc<Mutex<Vec<Vec<Value>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let calls: Arc<Mutex<Vec<Vec<Value>>>> = Arc::default();
    let kept = Arc::clone(&calls);
    let refused: Arc<HashSet<String>> = Arc::new(refused.iter().map(ToString::to_string).collect());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (kept, refused) = (Arc::clone(&kept), Arc::clone(&refused));
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                while let Ok(1..) = stream.read_buf(&mut bytes).await {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let head = head.to_ascii_lowercase();
                    let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
                    if body.len() < length.trim().parse().unwrap() {
                        continue;
                    }
                    assert!(head.contains("x-amz-target: awsevents.putevents"), "{head}");
                    assert!(head.contains("authorization: aws4-hmac-sha256"), "{head}");
                    let body: Value = serde_json::from_str(body).unwrap();
                    let entries = body["Entries"].as_array().unwrap().clone();
                    let results: Vec<Value> = entries
                        .iter()
                        .map(|entry| {
                            let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
                            if refused.contains(detail["appointmentId"].as_str().unwrap()) {
                                json!({ "ErrorCode": "ThrottlingException", "ErrorMessage": "slow down" })
                            } else {
                                json!({ "EventId": "1" })
                            }
                        })
                        .collect();
                    kept.lock().unwrap().push(entries);
                    let response = json!({ "FailedEntryCount": refused.len(), "Entries": results }).to_string();
                    let head = format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
                        response.len()
                    );
                    stream.write_all(format!("{head}{response}").as_bytes()).await.unwrap();
                    bytes.clear();
                }
            });
        }
    });
    let endpoint = Endpoint::parse(&format!("http://{address}")).unwrap();
    let credentials = Credentials::from_keys("AKIDEXAMPLE", "secret", None);
    (EventBridge::new("us-east-1", credentials, endpoint, "appointments".to_owned()), calls)
}

#[tokio::test]
async fn put_events_takes_ten_entries_per_call_and_tells_the_refused_ones() {
    for (count, expected_calls) in [(1, vec![1]), (10, vec![10]), (25, vec![10, 10, 5])] {
        let url = database().await;
        let (bus, calls) = event_bridge(vec![appointment(1)]).await;
        let worker = worker_of(connected(&url), &bus, &Queue::default());
        let messages: Vec<AppointmentMessage> = (1..=count).map(|n| request(n, 1, n)).collect();
        let response = worker.process(batch(&bodies(&messages), 1)).await.unwrap();
        assert_eq!(failures(&response), ["m0"], "{count} messages");

        let calls = calls.lock().unwrap();
        let mut sizes: Vec<usize> = calls.iter().map(Vec::len).collect();
        sizes.sort_unstable_by(|one, other| other.cmp(one));
        assert_eq!(sizes, expected_calls, "{count} messages");
        let entry = calls.iter().flatten().next().unwrap();
        assert_eq!(entry["EventBusName"], "appointments");
        assert_eq!(entry["Source"], "appointments.worker.PE");
        assert_eq!(entry["DetailType"], "AppointmentCompleted");
        let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
        assert_eq!(detail["version"], 1);
        assert_eq!(detail["insuredId"], "00001");
        assert_eq!(detail["command"], "appointment.requested");
    }
}
