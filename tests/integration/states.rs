//! The states over a real table: each condition of a write, and events in whatever order they come.

use std::time::{Duration, SystemTime};

use appointment::{
    Appointment, AppointmentId, Country, Reason, Status, StatusEvent, Timestamp, TraceContext, Transition,
};
use aws_http::Client;
use aws_http::native::NativeTransport;
use backplane::{Applied, AppointmentsTable, Cancelled, RepublishSchedule};
use local_stack::Services;
use local_stack::ministack::REGION;
use messages::{Command, Envelope, Outcome, OutcomeDetail, OutcomeEvent, Version1, worker_source};
use proptest::prelude::{Just, Strategy, any};
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tests::services;
use tokio::runtime::Runtime;

use crate::backplane::assume;
use crate::components::Confirmation;

pub(crate) fn client(services: &Services) -> Client<NativeTransport> {
    Client::new(NativeTransport::new(), REGION, services.credentials("edge").unwrap().clone())
        .with_deadline(Duration::from_secs(30))
}

pub(crate) fn schedule() -> RepublishSchedule {
    "3600".parse().unwrap()
}

pub(crate) fn trace() -> TraceContext {
    TraceContext::start(std::array::from_fn(|_| fastrand::u8(..)))
}

pub(crate) fn fresh_appointment() -> Appointment {
    let now = Timestamp::from(SystemTime::now());
    Appointment::requested(
        AppointmentId::new(now, std::array::from_fn(|_| fastrand::u8(..))),
        format!("{:05}", fastrand::u32(0..100_000)).parse().unwrap(),
        fastrand::u64(1..1 << 50).try_into().unwrap(),
        Country::Peru,
        now,
    )
}

/// The message of a country for an event; `None` for the event that the person causes.
pub(crate) fn outcome_event(appointment: &Appointment, event: StatusEvent) -> Option<OutcomeEvent> {
    let (outcome, command, reason) = match event {
        StatusEvent::Completed => (Outcome::Completed, Command::Request, None),
        StatusEvent::Rejected => (Outcome::Rejected, Command::Request, Some(Reason::SlotTaken)),
        StatusEvent::Cancelled => (Outcome::Cancelled, Command::Cancellation, None),
        StatusEvent::RequestFailed => (Outcome::Failed, Command::Request, Some(Reason::ProcessingFailed)),
        StatusEvent::CancellationFailed => (Outcome::Failed, Command::Cancellation, Some(Reason::ProcessingFailed)),
        StatusEvent::CancellationRequested => return None,
    };
    let detail = OutcomeDetail {
        version: Version1,
        event_id: OutcomeEvent::event_id(appointment.appointment_id, outcome, command),
        appointment_id: appointment.appointment_id,
        insured_id: appointment.insured_id,
        schedule_id: appointment.schedule_id,
        country: appointment.country.known().unwrap(),
        command,
        reason,
        replaced_by: None,
        slot: None,
        occurred_at: Timestamp::from(SystemTime::now()),
        traceparent: trace(),
    };
    Some(OutcomeEvent { outcome, detail })
}

pub(crate) fn key(appointment: &Appointment) -> Value {
    let sort_key = format!("appointment#{}", appointment.appointment_id);
    json!({"insuredId": {"S": appointment.insured_id.as_str()}, "sk": {"S": sort_key}})
}

/// The conditions of the table's writes are made from `Status::on`; here they are asked for each pair.
#[tokio::test(flavor = "multi_thread")]
async fn every_event_moves_every_status_as_specified_in_the_table_too() {
    let services = &*services().await;
    let (client, root, name) = (client(services), services.aws(), &services.backplane().table.name);
    let table = AppointmentsTable::new(&client, services.endpoint(), name);
    let mut pairs = 0;
    for status in Status::known() {
        for event in StatusEvent::ALL.iter().copied() {
            let appointment = fresh_appointment();
            table.book(&appointment, trace(), &schedule()).await.unwrap();
            let put_into = json!({
                "TableName": name, "Key": key(&appointment), "UpdateExpression": "SET #status = :status",
                "ExpressionAttributeNames": {"#status": "status"},
                "ExpressionAttributeValues": {":status": {"S": status.as_str()}},
            });
            root.dynamodb("UpdateItem", &put_into).await.unwrap();

            let now = Timestamp::from(SystemTime::now());
            let expected = status.on(event);
            let (insured, id) = (appointment.insured_id, appointment.appointment_id);
            let fits = match outcome_event(&appointment, event) {
                Some(event) => match table.apply(&event, now).await.unwrap() {
                    Applied::Moved(change) => expected == Transition::Moves(change.status),
                    Applied::Overtaken(stays) => expected == Transition::Stays && stays == status,
                    Applied::Contradicted(stays) => expected == Transition::Contradicts && stays == status,
                    Applied::NeedsOperator => expected == Transition::NeedsOperator,
                    Applied::Repeated(_) | Applied::Unknown => false,
                },
                None => match table.request_cancellation(&insured, id, trace(), now, &schedule()).await.unwrap() {
                    Cancelled::Requested(kept) => expected == Transition::Moves(kept.appointment.status),
                    Cancelled::AlreadyRequested(kept) => {
                        expected == Transition::Stays && kept.appointment.status == Status::Cancelling
                    }
                    Cancelled::Done(kept) => {
                        expected == Transition::Stays && kept.appointment.status == Status::Cancelled
                    }
                    Cancelled::Refused => expected == Transition::Refused,
                    Cancelled::NotFound | Cancelled::AlreadyStarted | Cancelled::NotUnderstood(_) => false,
                },
            };
            assert!(fits, "{status} on {event:?} is {expected:?}");

            let kept = table.get(&insured, id).await.unwrap().unwrap();
            let after = if let Transition::Moves(to) = expected { to } else { status };
            assert_eq!(kept.appointment.status, after, "{status} on {event:?}");
            assert_eq!(kept.history.len(), if after == status { 1 } else { 2 }, "{status} on {event:?}");
            pairs += 1;
        }
    }
    println!("(state, event) pairs over the table: {pairs}");
}

/// What happens to one appointment: whether its person cancels it, and what its country sends, in the order of arrival.
#[derive(Debug, Clone)]
struct Life {
    cancelled_by_person: bool,
    arrivals: Vec<StatusEvent>,
}

impl Life {
    /// The state in which every order and repetition has to end: the highest that was reached.
    fn end(&self) -> Status {
        let has = |event| self.arrivals.contains(&event);
        let decision = [(StatusEvent::Completed, Status::Completed), (StatusEvent::Rejected, Status::Rejected)];
        if self.cancelled_by_person {
            if has(StatusEvent::Cancelled) { Status::Cancelled } else { Status::Cancelling }
        } else if let Some((_, status)) = decision.into_iter().find(|(event, _)| has(*event)) {
            status
        } else if has(StatusEvent::RequestFailed) {
            Status::Failed
        } else {
            Status::Pending
        }
    }
}

/// The events that one appointment can have, each up to three times, in any order. A country decides once.
fn lives() -> impl Strategy<Value = Life> {
    let decision = select(vec![None, Some(StatusEvent::Completed), Some(StatusEvent::Rejected)]);
    (any::<bool>(), decision, any::<[bool; 3]>()).prop_flat_map(
        |(cancelled_by_person, decision, [failed, lost, done])| {
            let possible = [
                (StatusEvent::RequestFailed, failed),
                (StatusEvent::CancellationFailed, lost && cancelled_by_person),
                (StatusEvent::Cancelled, done && cancelled_by_person),
            ];
            let events = possible.into_iter().filter(|(_, happens)| *happens).map(|(event, _)| event).chain(decision);
            let times: Vec<_> = events.map(|event| (1..=3_usize).prop_map(move |times| vec![event; times])).collect();
            times
                .prop_flat_map(|repeated| Just(repeated.concat()).prop_shuffle())
                .prop_map(move |arrivals| Life { cancelled_by_person, arrivals })
        },
    )
}

/// Gives the shipped component the events of an appointment's life, and checks the final state.
async fn live(services: &Services, confirmation: &Confirmation, life: &Life) {
    let (client, name) = (client(services), &services.backplane().table.name);
    let table = AppointmentsTable::new(&client, services.endpoint(), name);
    let appointment = fresh_appointment();
    let (insured, id) = (appointment.insured_id, appointment.appointment_id);
    table.book(&appointment, trace(), &schedule()).await.unwrap();
    if life.cancelled_by_person {
        let now = Timestamp::from(SystemTime::now());
        let cancelled = table.request_cancellation(&insured, id, trace(), now, &schedule()).await.unwrap();
        assert!(matches!(cancelled, Cancelled::Requested(_)));
    }
    for event in &life.arrivals {
        let event = outcome_event(&appointment, *event).unwrap();
        let envelope = Envelope {
            time: None,
            source: worker_source(appointment.country.known().unwrap()),
            detail_type: event.outcome.detail_type().to_owned(),
            detail: event.detail,
        };
        let body = serde_json::to_string(&envelope).unwrap();
        assert!(confirmation.deliver(&body).await, "{life:?}");
    }

    let row = json!({"TableName": name, "Key": key(&appointment), "ConsistentRead": true});
    let row = services.aws().dynamodb("GetItem", &row).await.unwrap()["Item"].clone();
    let end = life.end();
    assert_eq!(row["status"]["S"], end.as_str());
    let reason = match end {
        Status::Rejected => Some(Reason::SlotTaken),
        Status::Failed => Some(Reason::ProcessingFailed),
        _ => None,
    };
    assert_eq!(row["reason"]["S"].as_str(), reason.as_ref().map(Reason::as_str));
    assert_eq!(row.get("pendingShard").is_some(), end.awaits_country(), "the index holds what awaits its country");
    assert_eq!(row.get("pendingSince").is_some(), end.awaits_country());
}

#[test]
fn every_order_and_repetition_of_an_appointments_events_ends_in_the_same_status() {
    let runtime = Runtime::new().unwrap();
    let (services, confirmation) = runtime.block_on(async {
        let services = services().await;
        let keys = assume(&services.aws(), &services.backplane().confirmation.function).await;
        let session = keys.session_token();
        let endpoint = services.emulator_url();
        (services, Confirmation::start(&endpoint, keys.access_key_id(), keys.secret_access_key(), session).await)
    });
    let mut runner =
        TestRunner::new(Config { cases: 128, failure_persistence: None, max_shrink_iters: 64, ..Config::default() });
    let deliveries = std::cell::Cell::new(0);
    runner
        .run(&lives(), |life| {
            deliveries.set(deliveries.get() + life.arrivals.len());
            // A case that fails panics, which proptest takes as its failure and makes smaller.
            runtime.block_on(live(&services, &confirmation, &life));
            Ok(())
        })
        .unwrap();
    println!("lives tried: 128, with {} deliveries in all", deliveries.get());
}
