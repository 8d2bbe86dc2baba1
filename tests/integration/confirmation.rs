//! The function behind SQS_CONFIRMATION: a fault of one record of a batch affects no other record.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use appointment::{Appointment, AppointmentId, Country, Timestamp, TraceContext};
use aws_http::native::NativeTransport;
use aws_http::{Client, Credentials, Endpoint};
use backplane::AppointmentsTable;
use futures::future::join_all;
use local_stack::LocalStack;
use local_stack::ministack::REGION;
use messages::Outcome;
use operator::backplane::Durations;
use serde_json::{Value, json};
use tests::{Lease, Shared, processes_with};

use crate::fault_proxy::Action;
use crate::faulty::{ALWAYS, Booking, Faulty, PATIENCE, fresh_slot, history, insured};

const FAULT: Action = Action::Respond(500, r#"{"__type":"InternalServerError"}"#);

/// One system for all of these tests: each sends outcomes of its own appointments.
async fn faulty() -> Lease<Faulty> {
    static FAULTY: Shared<Faulty> = Shared::new();
    // What fails comes `DELIVERIES` times in a few seconds. Then it waits for the test to mend the fault, far from the dead letters.
    let patient = |durations: &mut Durations| durations.receive_delays = vec![1, 1, 1, 1, 3, 3, 60];
    FAULTY.get(async || Faulty::start("confirmation", patient).await).await
}

/// As many appointments as a batch has records, only in the table: no country gets a command for them.
async fn ten_pending(faulty: &Faulty) -> Vec<Booking> {
    let services = faulty.stack.services();
    let root = Credentials::from_keys("test", "test", None);
    let client = Client::new(NativeTransport::new(), REGION, root).with_deadline(PATIENCE);
    let table = AppointmentsTable::new(&client, services.endpoint(), &services.backplane().table.name);
    join_all((0..10).map(async |_| {
        let (now, slot, insured) = (Timestamp::from(SystemTime::now()), fresh_slot(), insured());
        let appointment = Appointment::requested(
            AppointmentId::new(now, std::array::from_fn(|_| fastrand::u8(..))),
            insured.parse().unwrap(),
            slot.try_into().unwrap(),
            if slot.is_multiple_of(2) { Country::Peru } else { Country::Chile },
            now,
        );
        let trace = TraceContext::start(std::array::from_fn(|_| fastrand::u8(..)));
        table.book(&appointment, trace, &"3600".parse().unwrap()).await.unwrap();
        Booking::of(&json!(appointment))
    }))
    .await
}

/// Puts messages on SQS_CONFIRMATION in one call, at most a batch of them.
async fn send(faulty: &Faulty, bodies: impl IntoIterator<Item = String>) {
    let services = faulty.stack.services();
    let queue = services.queue_url(&services.backplane().confirmation_queue.name).unwrap();
    let entries: Vec<Value> = bodies
        .into_iter()
        .enumerate()
        .map(|(number, body)| json!({"Id": number.to_string(), "MessageBody": body}))
        .collect();
    let sent = services.aws().sqs("SendMessageBatch", &json!({"QueueUrl": queue, "Entries": entries})).await.unwrap();
    assert_eq!(sent["Successful"].as_array().map(Vec::len), Some(entries.len()), "{sent}");
}

fn completed(bookings: &[Booking]) -> impl Iterator<Item = String> {
    bookings.iter().map(|booking| booking.outcome(Outcome::Completed).to_string())
}

/// Waits until an outcome is applied and announced, and checks that it was applied once.
async fn applied_once(faulty: &Faulty, booking: &Booking) {
    let row = faulty.until_completed(booking).await;
    assert_eq!(history(&row), ["pending", "completed"]);
    let started = Instant::now();
    while faulty.announced(booking).is_empty() {
        assert!(started.elapsed() < PATIENCE, "{} is not announced", booking.id);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let distinct: BTreeSet<_> = faulty.announced(booking).into_iter().collect();
    assert_eq!(distinct.len(), 1, "a repetition is announced as it was: {distinct:?}");
}

/// How often the records that fail come, at least.
const DELIVERIES: usize = 5;

/// A record that was handled does not come again with those of its batch that failed. It may come again alone, on a machine that
/// is so busy that its queue does not hear of it in time.
fn came_without_the_others(faulty: &Faulty, booking: &Booking) {
    let times = faulty.announced(booking).len();
    assert!(times < DELIVERIES - 1, "{} came {times} times", booking.id);
}

/// The processes of the function `appointment-update` of one stack, which their AWS endpoint identifies.
pub(crate) fn update_processes(stack: &LocalStack, endpoint: &Endpoint) -> Vec<i32> {
    let name = &stack.services().backplane().confirmation.function;
    let own = [format!("AWS_LAMBDA_FUNCTION_NAME={name}"), format!("AWS_ENDPOINT_URL={endpoint}")];
    processes_with(|variables| own.iter().all(|wanted| variables.contains(&wanted.as_str())))
}

#[tokio::test]
async fn a_function_that_is_killed_in_the_middle_of_a_batch_loses_nothing() {
    let faulty = &*faulty().await;
    let bookings = ten_pending(faulty).await;
    // One record waits for its table: the batch is not done.
    let armed = faulty.arm("confirmation", "UpdateItem", bookings[0].slot, Action::Silence, ALWAYS);
    send(faulty, completed(&bookings)).await;
    armed.has_happened().await;
    let processes = update_processes(&faulty.stack, &faulty.confirmation_endpoint);
    let processes: Vec<String> = processes.iter().map(i32::to_string).collect();
    let killed = std::process::Command::new("kill").arg("-KILL").args(&processes).status().unwrap();
    assert!(killed.success(), "of {processes:?} not all ran");
    armed.heal();
    join_all(bookings.iter().map(|booking| applied_once(faulty, booking))).await;
}

/// It is in the dead-letter queue after seven short pauses. With the growing pauses it would take minutes.
#[tokio::test]
async fn a_poison_record_costs_the_other_nine_nothing() {
    let faulty = &*faulty().await;
    let bookings = &ten_pending(faulty).await[..9];
    let poison = format!("{{\"detail-type\":{}", fresh_slot());
    send(faulty, completed(bookings).chain([poison.clone()])).await;
    join_all(bookings.iter().map(|booking| applied_once(faulty, booking))).await;

    let services = faulty.stack.services();
    let dead_letters = &services.backplane().confirmation_queue.dead_letter_queue;
    let receive = json!({"QueueUrl": services.queue_url(dead_letters).unwrap(), "WaitTimeSeconds": 5});
    let started = Instant::now();
    let received = loop {
        let received = services.aws().sqs("ReceiveMessage", &receive).await.unwrap();
        if received["Messages"].is_array() {
            break received;
        }
        assert!(started.elapsed() < PATIENCE, "nothing is in {dead_letters}");
    };
    assert_eq!(received["Messages"][0]["Body"], poison, "the original, untouched");
    for booking in bookings {
        came_without_the_others(faulty, booking);
    }
}

#[tokio::test]
async fn of_ten_records_three_that_the_table_refuses_come_again_alone() {
    let faulty = &*faulty().await;
    let bookings = ten_pending(faulty).await;
    let (refused, others) = bookings.split_at(3);
    let armed: Vec<_> =
        refused.iter().map(|booking| faulty.arm("confirmation", "UpdateItem", booking.slot, FAULT, ALWAYS)).collect();
    send(faulty, completed(&bookings)).await;
    join_all(others.iter().map(|booking| applied_once(faulty, booking))).await;
    for (armed, booking) in armed.iter().zip(refused) {
        // Each delivery tries three times.
        armed.has_happened_times(3 * DELIVERIES).await;
        assert_eq!(faulty.row(booking).await["status"]["S"], "pending");
        armed.heal();
    }
    join_all(refused.iter().map(|booking| applied_once(faulty, booking))).await;
    for booking in others {
        came_without_the_others(faulty, booking);
    }
}
