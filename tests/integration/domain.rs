//! The booking domain as tables: which values are accepted, what every event does in every status, how messages are written.

use appointment::{
    Appointment, AppointmentId, AppointmentRequest, Country, FieldErrorCode, InsuredId, InvalidRequest, Reason,
    ScheduleId, Status, StatusEvent, Timestamp, TraceContext, Transition,
};
use messages::{
    AppointmentMessage, Command, Envelope, InvalidOutcomeEvent, Outcome, OutcomeDetail, OutcomeEvent, StatusChanged,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const ID: &str = "01890f3e-6b7c-7cc2-98c4-dc0c0c07398f";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const INSTANT: &str = "2026-11-24T09:30:00.000Z";

/// Asserts that each JSON value is taken and written back as it was, and that each of the others is refused.
fn check<T: DeserializeOwned + Serialize>(taken: &[Value], refused: &[Value]) {
    for value in taken {
        let parsed: T = serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{value}: {error}"));
        assert_eq!(serde_json::to_value(&parsed).unwrap(), *value);
    }
    for value in refused {
        assert!(serde_json::from_value::<T>(value.clone()).is_err(), "{value} is taken");
    }
}

#[test]
fn values_are_checked_by_their_only_constructors() {
    let long = "1".repeat(1000);
    check::<InsuredId>(
        &[json!("00000"), json!("00123"), json!("99999")],
        &[
            json!(""),
            json!("0012"),
            json!("001234"),
            json!("0012a"),
            json!(" 0123"),
            json!("-0123"),
            json!("+0123"),
            json!("٠٠١٢٣"),
            json!("１２"),
            json!("0012\n"),
            json!("0012\u{0}"),
            json!(123),
            json!(null),
            json!(long),
        ],
    );
    check::<ScheduleId>(
        &[json!(1), json!(100), json!(9_007_199_254_740_991_u64)],
        &[json!(0), json!(-1), json!(9_007_199_254_740_992_u64), json!(u64::MAX), json!(1.5), json!("1"), json!(null)],
    );
    check::<Country>(
        &[json!("PE"), json!("CL")],
        &[json!("pe"), json!("Pe"), json!("PER"), json!("ZZ"), json!(""), json!(1)],
    );
    check::<AppointmentId>(
        &[json!(ID)],
        &[
            // Versions 4, 1 and nil; a variant of another family; no UUID.
            json!("f47ac10b-58cc-4372-a567-0e02b2c3d479"),
            json!("c232ab00-9414-11ec-b3c8-9f6bdeced846"),
            json!("00000000-0000-0000-0000-000000000000"),
            json!("01890f3e-6b7c-7cc2-c8c4-dc0c0c07398f"),
            json!("01890f3e-6b7c-7cc2-98c4-dc0c0c07398"),
            json!(""),
            json!(7),
        ],
    );
    check::<TraceContext>(
        &[json!(TRACEPARENT)],
        &[
            json!("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            json!("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"),
            json!("00-00000000000000000000000000000000-00f067aa0ba902b7-01"),
            json!("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"),
            json!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"),
            json!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-00"),
            json!("00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            json!(""),
        ],
    );
    let statuses = ["pending", "failed", "completed", "rejected", "cancelling", "cancelled"];
    // A value that a later version wrote is passed on.
    let (long, unknown) = ("x".repeat(48), [json!("Pending"), json!("no_show"), json!("x".repeat(47))]);
    let no_values = [json!(""), json!(long), json!(1), json!(null)];
    check::<Status>(&statuses.map(Value::from), &no_values);
    check::<Status>(&unknown, &[]);
    let reasons = [
        "slot_taken",
        "already_booked",
        "processing_failed",
        "not_processed",
        "slot_unknown",
        "slot_past",
        "slot_withdrawn",
        "too_many_open",
        "original_not_booked",
        "already_started",
        "moved",
    ];
    check::<Reason>(&reasons.map(Value::from), &no_values);
    check::<Reason>(&unknown, &[]);
    // The forms that the databases and the paths hold are the same as those in JSON.
    assert!(Status::known().map(|status| status.to_string()).eq(statuses));
    assert!(Reason::known().map(|reason| reason.to_string()).eq(reasons));
    // What a client asks for has to be known.
    assert!(["Pending", "no_show", ""].iter().all(|text| text.parse::<Status>().is_err()));
    for text in statuses {
        assert_eq!(text.parse::<Status>().unwrap().to_string(), text);
    }
    for text in reasons {
        assert_eq!(text.parse::<Reason>().unwrap().to_string(), text);
    }
}

#[test]
fn an_appointment_has_one_path() {
    assert_eq!(ID.parse::<AppointmentId>().unwrap().to_string(), ID);
    for other in
        [ID.to_uppercase(), ID.replace('-', ""), format!("{{{ID}}}"), format!("urn:uuid:{ID}"), format!("{ID} ")]
    {
        assert!(other.parse::<AppointmentId>().is_err(), "{other} is taken");
    }
}

#[test]
fn instants_are_utc_with_milliseconds() {
    for (text, written) in [
        (INSTANT, INSTANT),
        ("2026-11-24T09:30:00Z", "2026-11-24T09:30:00.000Z"),
        ("2026-11-24T04:30:00.1239-05:00", "2026-11-24T09:30:00.123Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
        ("2024-02-29T23:59:59.999Z", "2024-02-29T23:59:59.999Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
    ] {
        assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), written);
    }
    for text in ["", "2026-11-24", "2026-11-24T09:30:00", "2026-02-30T09:30:00Z", "1969-12-31T23:59:59Z", "1764000000"]
    {
        assert!(text.parse::<Timestamp>().is_err(), "{text} is taken");
    }
    assert_eq!(Timestamp::from_unix_milliseconds(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    assert_eq!(Timestamp::from_unix_milliseconds(-1).to_string(), "1970-01-01T00:00:00.000Z");
}

#[test]
fn ids_sort_by_the_instant_and_derived_ids_repeat() {
    let ids = [0, 1, 1_764_000_000_000, 1_764_000_000_001].map(|milliseconds| {
        // The later the instant, the smaller the random part: it is the instant that sorts.
        let random = [u8::try_from(255 - milliseconds % 7).unwrap(); 10];
        AppointmentId::new(Timestamp::from_unix_milliseconds(milliseconds), random)
    });
    assert!(ids.is_sorted());
    assert!(ids.map(|id| id.to_string()).is_sorted());
    for id in ids {
        assert_eq!(id.to_string().parse::<AppointmentId>().unwrap(), id);
        let event = |outcome| OutcomeEvent::event_id(id, outcome, Command::Request);
        assert_eq!(event(Outcome::Completed), event(Outcome::Completed));
        let mut all: Vec<_> = Outcome::ALL.iter().copied().map(event).collect();
        for command in [Command::Move, Command::Decision, Command::Cancellation] {
            all.extend(Outcome::ALL.iter().map(|outcome| OutcomeEvent::event_id(id, *outcome, command)));
        }
        all.extend(Command::ALL.iter().map(|command| AppointmentMessage::event_id(id, *command)));
        all.push(id.as_uuid());
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 4 * 4 + 4 + 1, "two events share an id");
    }
}

#[test]
fn personal_data_is_not_shown_by_debug() {
    let request =
        AppointmentRequest::from_json(br#"{"insuredId":"71923","scheduleId":100,"countryISO":"PE"}"#).unwrap();
    assert!(!format!("{request:?}").contains("71923"), "{request:?}");
    let detail: OutcomeDetail = serde_json::from_value(detail("PE", None)).unwrap();
    assert!(!format!("{detail:?}").contains("00123"), "{detail:?}");
}

#[test]
fn a_body_is_checked_whole() {
    use FieldErrorCode::{
        DuplicateField, InvalidFormat, InvalidType, OutOfRange, Required, UnknownField, UnsupportedValue,
    };
    let good = AppointmentRequest::from_json(br#" {"scheduleId":1e2,"countryISO":"CL","insuredId":"00123"} "#).unwrap();
    assert_eq!((good.insured_id.as_str(), good.schedule_id.get(), good.country), ("00123", 100, Country::Chile));

    let faults = |body: &str| match AppointmentRequest::from_json(body.as_bytes()) {
        Err(InvalidRequest::Fields(faults)) => faults.into_iter().map(|fault| (fault.field, fault.code)).collect(),
        other => panic!("{body}: {other:?}"),
    };
    let table: [(&str, &[(&str, FieldErrorCode)]); 9] = [
        ("{}", &[("insuredId", Required), ("scheduleId", Required), ("countryISO", Required)]),
        (r#"{"insuredId":"00123","scheduleId":100}"#, &[("countryISO", Required)]),
        (
            r#"{"insuredId":"123","scheduleId":0,"countryISO":"pe"}"#,
            &[("insuredId", InvalidFormat), ("scheduleId", OutOfRange), ("countryISO", UnsupportedValue)],
        ),
        (
            r#"{"insuredId":123,"scheduleId":"100","countryISO":null}"#,
            &[("insuredId", InvalidType), ("scheduleId", InvalidType), ("countryISO", InvalidType)],
        ),
        (r#"{"insuredId":"00123","scheduleId":1.5,"countryISO":"PE"}"#, &[("scheduleId", InvalidType)]),
        (r#"{"insuredId":"00123","scheduleId":1e300,"countryISO":"PE"}"#, &[("scheduleId", OutOfRange)]),
        (r#"{"insuredId":"00123","scheduleId":9007199254740992,"countryISO":"PE"}"#, &[("scheduleId", OutOfRange)]),
        (r#"{"insuredId":"00123","scheduleId":1,"countryISO":"PE","room":5}"#, &[("room", UnknownField)]),
        (
            r#"{"insuredId":"00123","insuredId":"00124","scheduleId":1,"countryISO":"PE"}"#,
            &[("insuredId", DuplicateField)],
        ),
    ];
    for (body, expected) in table {
        let found: Vec<(String, FieldErrorCode)> = faults(body);
        let expected: Vec<_> = expected.iter().map(|(field, code)| ((*field).to_owned(), *code)).collect();
        assert_eq!(found, expected, "{body}");
    }
    for (body, expected) in [
        ("", InvalidRequest::Empty),
        (" \n", InvalidRequest::Empty),
        ("[]", InvalidRequest::NotAnObject),
        ("null", InvalidRequest::NotAnObject),
        ("{", InvalidRequest::NotJson { line: 1, column: 1 }),
        ("{}\n}", InvalidRequest::NotJson { line: 2, column: 1 }),
    ] {
        assert_eq!(AppointmentRequest::from_json(body.as_bytes()), Err(expected), "{body:?}");
    }
    assert!(matches!(AppointmentRequest::from_json(b"{\"insuredId\":\"\xff\"}"), Err(InvalidRequest::NotJson { .. })));
    let deep = "[".repeat(100_000);
    assert!(AppointmentRequest::from_json(format!("{{\"a\":{deep}").as_bytes()).is_err());
}

/// The states of the design, pair by pair and not by rank: an independent statement of the same rules.
#[test]
fn every_event_moves_every_status_as_specified() {
    use Transition::{Contradicts, Moves, NeedsOperator, Refused, Stays};
    let (failed, completed, rejected) = (Moves(Status::Failed), Moves(Status::Completed), Moves(Status::Rejected));
    let (cancelling, cancelled) = (Moves(Status::Cancelling), Moves(Status::Cancelled));
    #[rustfmt::skip]
    let table = [
        // from                Completed    Rejected     Cancelled  RequestFailed CancellationFailed CancellationRequested
        (Status::Pending,    [completed,   rejected,    cancelled, failed,       Stays,             cancelling]),
        (Status::Failed,     [completed,   rejected,    cancelled, Stays,        Stays,             cancelling]),
        (Status::Completed,  [Stays,       Contradicts, cancelled, Stays,        Stays,             cancelling]),
        (Status::Rejected,   [Contradicts, Stays,       cancelled, Stays,        Stays,             Refused]),
        (Status::Cancelling, [Stays,       Stays,       cancelled, Stays,        NeedsOperator,     Stays]),
        (Status::Cancelled,  [Stays,       Stays,       Stays,     Stays,        Stays,             Stays]),
    ];
    let mut pairs = 0;
    for (status, expected) in table {
        for (event, expected) in StatusEvent::ALL.iter().copied().zip(expected) {
            assert_eq!(status.on(event), expected, "{status} on {event:?}");
            // The conditions of the database's updates are made from the same function.
            let moves = matches!(expected, Moves(_));
            assert_eq!(event.moves_from().any(|from| from == status), moves, "{status} on {event:?}");
            pairs += 1;
        }
    }
    assert_eq!(pairs, Status::known().count() * StatusEvent::ALL.len());
    println!("(state, event) pairs: {pairs}");
    let awaiting: Vec<_> = Status::known().filter(|status| status.awaits_country()).collect();
    assert_eq!(awaiting, [Status::Pending, Status::Cancelling]);
}

/// No order and no repetition of the events that one appointment can really have ends in another status.
#[test]
fn every_order_of_an_appointments_events_ends_in_the_same_status() {
    fn orders(events: &[StatusEvent], status: Status, ends: &mut Vec<Status>) {
        if events.is_empty() {
            ends.push(status);
        }
        for (position, event) in events.iter().enumerate() {
            let next = match status.on(*event) {
                Transition::Moves(to) => to,
                Transition::Contradicts => panic!("{status} on {event:?} contradicts"),
                _ => status,
            };
            let mut rest = events.to_vec();
            rest.remove(position);
            orders(&rest, next, ends);
        }
    }
    use StatusEvent::{CancellationFailed, CancellationRequested, Cancelled, Completed, Rejected, RequestFailed};
    for (events, end) in [
        (vec![Completed, Completed, RequestFailed, RequestFailed], Status::Completed),
        (vec![Rejected, Rejected, RequestFailed, RequestFailed], Status::Rejected),
        (vec![Completed, RequestFailed, CancellationRequested, CancellationRequested], Status::Cancelling),
        (
            vec![Completed, RequestFailed, CancellationRequested, CancellationFailed, Cancelled, Cancelled],
            Status::Cancelled,
        ),
        (vec![CancellationRequested, Cancelled, Completed, Completed, RequestFailed], Status::Cancelled),
    ] {
        let mut ends = Vec::new();
        orders(&events, Status::Pending, &mut ends);
        assert!(ends.iter().all(|found| *found == end), "{events:?} end in {ends:?}");
    }
}

fn message(kind: &str) -> Value {
    json!({
        "version": 1, "type": kind, "eventId": "6ba7b810-9dad-51d1-80b4-00c04fd430c8", "appointmentId": ID,
        "insuredId": "00123", "scheduleId": 100, "countryISO": "PE", "occurredAt": INSTANT, "traceparent": TRACEPARENT,
    })
}

fn detail(country: &str, reason: Option<&str>) -> Value {
    let mut detail = json!({
        "version": 1, "eventId": "6ba7b810-9dad-51d1-80b4-00c04fd430c8", "appointmentId": ID, "insuredId": "00123",
        "scheduleId": 100, "countryISO": country, "command": "appointment.requested", "occurredAt": INSTANT,
        "traceparent": TRACEPARENT,
    });
    if let Some(reason) = reason {
        detail["reason"] = reason.into();
    }
    detail
}

/// For each field: the value without it, and the value with another content of it.
fn spoilt(whole: &Value) -> Vec<Value> {
    let fields: Vec<String> = whole.as_object().unwrap().keys().cloned().collect();
    let mut all = Vec::new();
    for field in fields {
        let mut without = whole.clone();
        without.as_object_mut().unwrap().remove(&field);
        let mut other = whole.clone();
        other[&field] = json!({});
        all.extend([without, other]);
    }
    all
}

#[test]
fn messages_are_written_as_the_design_says_and_read_strictly() {
    let kinds = [
        "appointment.requested",
        "appointment.move_requested",
        "appointment.decision_requested",
        "appointment.cancellation_requested",
    ];
    assert!(Command::ALL.iter().map(|command| command.as_str()).eq(kinds));
    assert!(Command::ALL.is_sorted(), "of several commands for one appointment the greatest is decided");
    for kind in kinds {
        check::<AppointmentMessage>(&[message(kind)], &spoilt(&message(kind)));
    }
    let mut refused = Vec::new();
    for (field, value) in [
        ("version", json!(2)),
        ("type", json!("appointment.moved")),
        ("scheduleId", json!(0)),
        ("insuredId", json!("1")),
        ("countryISO", json!("ZZ")),
        ("occurredAt", json!("yesterday")),
    ] {
        let mut other = message("appointment.requested");
        other[field] = value;
        refused.push(other);
    }
    check::<AppointmentMessage>(&[], &refused);
    // What a later version adds is not in the way.
    let mut more = message("appointment.requested");
    more["channel"] = json!("app");
    assert!(serde_json::from_value::<AppointmentMessage>(more).is_ok());

    check::<OutcomeDetail>(&[detail("PE", None), detail("CL", Some("slot_taken"))], &spoilt(&detail("PE", None)));
    let changed = json!({
        "version": 1, "eventId": "6ba7b810-9dad-51d1-80b4-00c04fd430c8", "sequence": 2, "appointmentId": ID, "insuredId": "00123",
        "scheduleId": 100, "countryISO": "PE", "status": "rejected", "reason": "slot_taken", "occurredAt": INSTANT,
        "traceparent": TRACEPARENT,
    });
    check::<StatusChanged>(&[changed], &[]);
    let appointment = json!({
        "appointmentId": ID, "insuredId": "00123", "scheduleId": 100, "countryISO": "CL", "status": "pending",
        "createdAt": INSTANT, "updatedAt": INSTANT,
    });
    check::<Appointment>(std::slice::from_ref(&appointment), &spoilt(&appointment));
}

#[test]
fn an_outcome_is_believed_only_from_its_own_country_and_with_a_fitting_reason() {
    use InvalidOutcomeEvent::{ForeignSource, ReasonMismatch, UnknownDetailType};
    let read = |source: &str, kind: &str, detail: Value| {
        let envelope = json!({"id": "ignored", "source": source, "detail-type": kind, "detail": detail});
        OutcomeEvent::try_from(serde_json::from_value::<Envelope<OutcomeDetail>>(envelope).unwrap())
    };
    for (source, kind, country, reason, expected) in [
        ("appointments.worker.PE", "AppointmentCompleted", "PE", None, Ok(StatusEvent::Completed)),
        ("appointments.worker.CL", "AppointmentRejected", "CL", Some("slot_taken"), Ok(StatusEvent::Rejected)),
        ("appointments.worker.PE", "AppointmentCancelled", "PE", None, Ok(StatusEvent::Cancelled)),
        (
            "appointments.worker.PE",
            "AppointmentFailed",
            "PE",
            Some("processing_failed"),
            Ok(StatusEvent::RequestFailed),
        ),
        ("appointments.worker.PE", "AppointmentFailed", "PE", None, Ok(StatusEvent::RequestFailed)),
        ("appointments.worker.CL", "AppointmentCompleted", "PE", None, Err(ForeignSource)),
        ("appointments.confirmation", "AppointmentCompleted", "PE", None, Err(ForeignSource)),
        ("appointments.worker.PE", "AppointmentStatusChanged", "PE", None, Err(UnknownDetailType)),
        ("appointments.worker.PE", "AppointmentRejected", "PE", None, Err(ReasonMismatch)),
        ("appointments.worker.PE", "AppointmentCompleted", "PE", Some("slot_taken"), Err(ReasonMismatch)),
    ] {
        let found = read(source, kind, detail(country, reason)).map(|event| event.status_event());
        assert_eq!(found, expected, "{source} {kind} {reason:?}");
    }
    let mut cancellation = detail("PE", None);
    cancellation["command"] = "appointment.cancellation_requested".into();
    let event = read("appointments.worker.PE", "AppointmentFailed", cancellation).unwrap();
    assert_eq!(event.status_event(), StatusEvent::CancellationFailed);
    let mut decision = detail("PE", Some("not_processed"));
    decision["command"] = "appointment.decision_requested".into();
    let event = read("appointments.worker.PE", "AppointmentRejected", decision).unwrap();
    assert_eq!(event.status_event(), StatusEvent::Rejected);
}

#[test]
fn a_trace_keeps_its_id_from_hop_to_hop() {
    let started = TraceContext::start([0; 24]);
    assert!(started.to_string().parse::<TraceContext>().is_ok(), "never the invalid all-zero context: {started}");
    let context: TraceContext = TRACEPARENT.parse().unwrap();
    let child = context.child([7; 8]);
    assert_eq!(child.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(child.to_string(), "00-4bf92f3577b34da6a3ce929d0e0e4736-0707070707070707-01");
}

/// Every enumeration that is stored or sent, with what each reader does with a value that it does not know: here the state machine
/// and the messages to the edge; `truth` has the table's rows and the responses.
#[test]
fn a_value_of_a_later_version_moves_nowhere() {
    let later = Status::from_stored("no_show").unwrap();
    assert_eq!((later.as_str(), later.is_unknown(), later.awaits_country()), ("no_show", true, false));
    for event in StatusEvent::ALL.iter().copied() {
        let expected = match event {
            StatusEvent::CancellationRequested => Transition::Refused,
            _ => Transition::Stays,
        };
        assert_eq!(later.on(event), expected, "{event:?}");
        assert!(event.moves_from().all(|status| !status.is_unknown()), "{event:?}");
    }
    let envelope = |kind: &str, detail: Value| {
        let envelope = json!({"source": "appointments.worker.PE", "detail-type": kind, "detail": detail, "new": [1]});
        serde_json::from_value::<Envelope<OutcomeDetail>>(envelope).ok().map(OutcomeEvent::try_from)
    };
    let with = |field: &str, value: Value| {
        let mut detail = detail("PE", Some("slot_taken"));
        detail[field] = value;
        detail
    };
    // A reason is passed on, and an unknown field does no harm.
    let rejected = envelope("AppointmentRejected", with("reason", json!("clinic_closed"))).unwrap().unwrap();
    assert_eq!(rejected.status_event(), StatusEvent::Rejected);
    assert_eq!(rejected.detail.reason.unwrap().as_str(), "clinic_closed");
    assert!(envelope("AppointmentRejected", with("channel", json!("app"))).unwrap().is_ok());
    // What an event of another type, version, command or country means cannot be known: it is left to the queue.
    assert_eq!(envelope("AppointmentMoved", detail("PE", None)), Some(Err(InvalidOutcomeEvent::UnknownDetailType)));
    for (field, value) in [("version", json!(2)), ("command", json!("appointment.moved")), ("countryISO", json!("BR"))]
    {
        assert_eq!(envelope("AppointmentRejected", with(field, value)), None, "{field}");
    }
}
