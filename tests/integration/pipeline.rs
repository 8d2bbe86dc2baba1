//! From the topic to the country's outcome, over the emulator, the workers as they are deployed, and PostgreSQL.
//!
//! The messages are published as intake publishes them, with intake's rights.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use appointment::{Appointment, AppointmentId, Country, Timestamp};
use futures::future::join_all;
use local_stack::Services;
use local_stack::emulator;
use messages::{AppointmentMessage, Command};
use operator::backplane::Backplane;
use operator::database::connect;
use serde_json::{Value, json};
use sqlx::{Executor, Row};
use tests::{PATIENCE, fresh_slot, lines_that_name, own_services, services, workspace};

fn request(country: Country, insured: u32, schedule: u64) -> AppointmentMessage {
    let appointment_id = AppointmentId::try_from(uuid::Uuid::now_v7()).unwrap();
    let traceparent = format!("00-{:032x}-{:016x}-01", fastrand::u128(1..), fastrand::u64(1..));
    let (person, slot) = (format!("{insured:05}").parse().unwrap(), schedule.try_into().unwrap());
    let now = Timestamp::from(std::time::SystemTime::now());
    let appointment = Appointment::requested(appointment_id, person, slot, country, now);
    AppointmentMessage::new(Command::Request, &appointment, traceparent.parse().unwrap()).unwrap()
}

async fn publish(services: &Services, message: &AppointmentMessage) {
    let edge = emulator::with_rights_of(services.endpoint().clone(), services.credentials("edge").unwrap().clone());
    let text = serde_json::to_string(message).unwrap();
    let parameters = [
        ("TopicArn", services.topic_arn()),
        ("Message", &text),
        ("MessageAttributes.entry.1.Name", "countryISO"),
        ("MessageAttributes.entry.1.Value.DataType", "String"),
        ("MessageAttributes.entry.1.Value.StringValue", message.country.code()),
    ];
    edge.sns("Publish", &parameters).await.unwrap();
}

/// The decisions of a country about appointments: id, insured person, slot, status and reason.
async fn rows(
    services: &Services,
    country: Country,
    ids: &[uuid::Uuid],
) -> Vec<(uuid::Uuid, String, i64, String, Option<String>)> {
    let mut connection = connect(services.database_url(country.code()).unwrap()).await.unwrap();
    let query = "SELECT appointment_id, insured_id::text, schedule_id, status, reason FROM appointments \
                 WHERE appointment_id = ANY($1) ORDER BY appointment_id";
    let rows = sqlx::query(query).bind(ids).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4))).collect()
}

/// Waits until a country has decided about all of these appointments.
async fn decided(
    services: &Services,
    country: Country,
    ids: &[uuid::Uuid],
) -> Vec<(uuid::Uuid, String, i64, String, Option<String>)> {
    let started = Instant::now();
    loop {
        let rows = rows(services, country, ids).await;
        if rows.len() == ids.len() {
            return rows;
        }
        assert!(started.elapsed() < PATIENCE, "{country}: {} of {} decided", rows.len(), ids.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn id(message: &AppointmentMessage) -> uuid::Uuid {
    message.appointment_id.to_string().parse().unwrap()
}

/// How many messages a queue holds, those being processed included.
async fn messages_in(services: &Services, queue: &str) -> u64 {
    let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
    let request = json!({"QueueUrl": services.queue_url(queue).unwrap(), "AttributeNames": names});
    let response = services.aws().sqs("GetQueueAttributes", &request).await.unwrap();
    names.iter().map(|name| response["Attributes"][*name].as_str().unwrap().parse::<u64>().unwrap()).sum()
}

async fn until_messages_in(services: &Services, queue: &str, expected: u64) {
    let started = Instant::now();
    loop {
        let found = messages_in(services, queue).await;
        if found == expected {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{queue} holds {found} messages, not {expected}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_request_is_decided_by_its_own_country_only() {
    let services = &*services().await;
    for (country, other) in [(Country::Peru, Country::Chile), (Country::Chile, Country::Peru)] {
        let slot = fresh_slot();
        let message = request(country, 123, slot);
        publish(services, &message).await;
        let expected = (id(&message), "00123".to_owned(), i64::try_from(slot).unwrap(), "booked".to_owned(), None);
        assert_eq!(decided(services, country, &[id(&message)]).await, [expected]);
        assert_eq!(rows(services, other, &[id(&message)]).await, []);
    }
}

/// One `grep` by trace id shows what a worker did with a message, and no personal data.
#[tokio::test]
async fn a_workers_log_names_the_trace_and_not_the_person() {
    let services = &*services().await;
    let message = request(Country::Chile, 86_421, fresh_slot());
    publish(services, &message).await;
    let started = Instant::now();
    let lines = loop {
        let log = std::fs::read_to_string(services.logs().join("workers.log")).unwrap();
        let trace = message.traceparent.trace_id();
        let lines: Vec<Value> =
            log.lines().filter(|line| line.contains(&trace)).map(|line| serde_json::from_str(line).unwrap()).collect();
        // The message's own line and its batch's.
        if lines.len() >= 2 {
            assert_eq!(lines_that_name(&log, "86421"), Vec::<&str>::new(), "the log names the insured person");
            break lines;
        }
        assert!(started.elapsed() < PATIENCE, "the workers' log holds {} lines of the trace", lines.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let own = lines.iter().find(|line| line["trace_id"].is_string()).unwrap();
    assert_eq!(own["service"], "appointment-cl");
    assert_eq!(own["appointment_id"], message.appointment_id.to_string());
    assert_eq!(own["outcome"], "AppointmentCompleted");
}

#[tokio::test]
async fn of_twenty_people_one_gets_the_slot() {
    let services = &*services().await;
    let slot = fresh_slot();
    let messages: Vec<AppointmentMessage> = (0..20).map(|person| request(Country::Peru, person, slot)).collect();
    join_all(messages.iter().map(|message| publish(services, message))).await;
    let ids: Vec<uuid::Uuid> = messages.iter().map(id).collect();
    let rows = decided(services, Country::Peru, &ids).await;
    let booked = rows.iter().filter(|row| row.3 == "booked").count();
    let taken = rows.iter().filter(|row| row.3 == "rejected" && row.4.as_deref() == Some("slot_taken")).count();
    assert_eq!((booked, taken), (1, 19), "{rows:?}");
}

#[tokio::test]
async fn three_hundred_requests_at_once_all_arrive_and_leave_no_message_behind() {
    // No batch that a busy machine takes long for is delivered a second time.
    let services = own_services("three-hundred", |durations| durations.visibility_timeout = 120).await;
    let messages: Vec<AppointmentMessage> = (0..300)
        .map(|person| request(Country::ALL[usize::try_from(person % 2).unwrap()], person, fresh_slot()))
        .collect();
    let started = Instant::now();
    join_all(messages.iter().map(|message| publish(&services, message))).await;
    for country in Country::ALL {
        let (own, others): (Vec<_>, Vec<_>) = messages.iter().partition(|message| message.country == country);
        let rows = decided(&services, country, &own.iter().copied().map(id).collect::<Vec<_>>()).await;
        let people: BTreeSet<&str> = rows.iter().map(|row| row.1.as_str()).collect();
        assert_eq!(people.len(), own.len(), "one row a person");
        assert!(rows.iter().all(|row| row.3 == "booked"));
        assert_eq!(self::rows(&services, country, &others.iter().copied().map(id).collect::<Vec<_>>()).await, []);
    }
    println!("300 requests over two countries were decided in {} ms", started.elapsed().as_millis());
    let confirmation = &services.backplane().confirmation_queue;
    // Nobody consumes the outcomes here: each one is there, once.
    until_messages_in(&services, &confirmation.name, 300).await;
    assert_eq!(messages_in(&services, &confirmation.dead_letter_queue).await, 0);
    for country in services.backplane().countries() {
        until_messages_in(&services, &country.queue, 0).await;
        assert_eq!(messages_in(&services, &country.dead_letter_queue).await, 0, "{}", country.dead_letter_queue);
    }
}

#[tokio::test]
async fn a_malformed_message_ends_in_the_dead_letter_queue_and_delays_nobody() {
    let services = own_services("malformed", |durations| {
        durations.visibility_timeout = 2;
        durations.worker_timeout = 2;
    })
    .await;
    let peru = services.backplane().countries().next().unwrap();
    let body = "{\"version\":1,\"type\":\"appointment.requested\"";
    let queue_url = services.queue_url(&peru.queue).unwrap();
    services.aws().sqs("SendMessage", &json!({"QueueUrl": queue_url, "MessageBody": body})).await.unwrap();

    let good: Vec<AppointmentMessage> = (0..9).map(|person| request(Country::Peru, person, fresh_slot())).collect();
    join_all(good.iter().map(|message| publish(&services, message))).await;
    let rows = decided(&services, Country::Peru, &good.iter().map(id).collect::<Vec<_>>()).await;
    assert!(rows.iter().all(|row| row.3 == "booked"));
    assert_eq!(
        messages_in(&services, &peru.dead_letter_queue).await,
        0,
        "the good messages did not wait for the bad one"
    );

    until_messages_in(&services, &peru.dead_letter_queue, 1).await;
    let dead_letters = json!({"QueueUrl": services.queue_url(&peru.dead_letter_queue).unwrap()});
    let received = services.aws().sqs("ReceiveMessage", &dead_letters).await.unwrap();
    assert_eq!(received["Messages"][0]["Body"], body, "the original, untouched");
    assert_eq!(messages_in(&services, &peru.queue).await, 0);
}

/// The workers have the rights of the user that the migration created, and no others: a grant that is missing shows here
/// and not only on RDS.
#[tokio::test]
async fn a_missing_grant_shows_and_the_message_waits_for_it() {
    let services = own_services("grant", |durations| {
        durations.visibility_timeout = 2;
        durations.worker_timeout = 2;
    })
    .await;
    let mut owner = connect(services.database_url("PE").unwrap()).await.unwrap();
    owner.execute("REVOKE EXECUTE ON FUNCTION public.decide(jsonb) FROM worker").await.unwrap();
    let message = request(Country::Peru, 123, fresh_slot());
    publish(&services, &message).await;
    let started = Instant::now();
    let log = services.logs().join("workers.log");
    while !std::fs::read_to_string(&log).unwrap().contains("permission denied for function decide") {
        assert!(started.elapsed() < PATIENCE, "the worker decides without the right to");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(rows(&services, Country::Peru, &[id(&message)]).await, []);
    owner.execute("GRANT EXECUTE ON FUNCTION public.decide(jsonb) TO worker").await.unwrap();
    assert_eq!(decided(&services, Country::Peru, &[id(&message)]).await[0].3, "booked");
}

/// With the pauses of production: the worker sets when a message is delivered again, after seconds at first. By the queue's visibility timeout
/// it would be minutes.
#[tokio::test]
async fn a_database_that_is_away_for_ten_seconds_delays_a_booking_by_less_than_a_minute() {
    let services = own_services("away", |durations| {
        let deployed = Backplane::load(&workspace()).unwrap().durations;
        durations.receive_delays = deployed.receive_delays;
        durations.visibility_timeout = deployed.visibility_timeout;
    })
    .await;
    let url = services.database_url("PE").unwrap();
    let (server, database) = url.rsplit_once('/').unwrap();
    let mut owner = connect(&format!("{server}/postgres")).await.unwrap();
    let mut allow_connections = async |allowed: bool| {
        let change = format!("ALTER DATABASE {database} WITH ALLOW_CONNECTIONS {allowed}");
        owner.execute(sqlx::AssertSqlSafe(change)).await.unwrap();
        let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1";
        sqlx::query(end).bind(database).execute(&mut owner).await.unwrap();
    };
    allow_connections(false).await;
    let message = request(Country::Peru, 123, fresh_slot());
    let started = Instant::now();
    publish(&services, &message).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    allow_connections(true).await;
    assert_eq!(decided(&services, Country::Peru, &[id(&message)]).await[0].3, "booked");
    let waited = started.elapsed();
    assert!(waited < Duration::from_secs(60), "{waited:?}");
    println!("a database that was away for 10 s delayed a booking by {waited:?}");
}
