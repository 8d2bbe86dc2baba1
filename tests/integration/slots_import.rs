//! Imports of slots over a real PostgreSQL: what a file says, what becomes of it when it comes twice or is torn, what it does to
//! bookings, and how all of that is told.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use appointment::{Country, SlotStatus, TraceContext};
use aws_http::native::NativeTransport;
use aws_http::s3::S3;
use aws_http::{Client, Credentials};
use bytes::Bytes;
use country_worker::{
    Announcement, AnnouncementBus, Drained, ImportError, NotAccepted, RefusalCode, Report, Source, check_zones, drain,
    import, rebuild,
};
use local_stack::emulator;
use local_stack::ministack::Ministack;
use local_stack::setup;
use messages::{Command, Outcome, OutcomeEvent};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::io::{AsyncBufRead, AsyncRead, BufReader, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::lambda_host::{Invocation, runtime_api};
use crate::slots_decide::own_catalogue;
use crate::worker_fixture::{Bus, appointment, as_user, batch, bodies, request, session, worker};

/// A bus that keeps the events that it accepts, and refuses a given number of calls.
#[derive(Clone, Default)]
struct Announcements {
    taken: Arc<Mutex<Vec<Announcement>>>,
    refuse_calls: Arc<Mutex<usize>>,
}

impl Announcements {
    fn taken(&self) -> Vec<Announcement> {
        std::mem::take(&mut *self.taken.lock().unwrap())
    }

    fn refuse(&self, calls: usize) {
        *self.refuse_calls.lock().unwrap() = calls;
    }

    /// The status and version of each slot that was told of, the last one told.
    fn slots(&self) -> BTreeMap<u64, (SlotStatus, u64)> {
        let slots = self.taken().into_iter().filter_map(|announcement| match announcement {
            Announcement::Slots(changed) => Some(changed.slots),
            _ => None,
        });
        slots.flatten().map(|state| (state.slot.schedule_id.get(), (state.status, state.version))).collect()
    }
}

impl AnnouncementBus for Announcements {
    async fn announce(&self, announcements: &[Announcement]) -> Vec<Result<(), NotAccepted>> {
        assert!(announcements.len() <= 10);
        let mut refuse = self.refuse_calls.lock().unwrap();
        if *refuse > 0 {
            *refuse -= 1;
            return announcements.iter().map(|_| Err(NotAccepted { code: "ThrottlingException".to_owned() })).collect();
        }
        self.taken.lock().unwrap().extend(announcements.iter().cloned());
        announcements.iter().map(|_| Ok(())).collect()
    }
}

fn trace() -> TraceContext {
    TraceContext::start([3; 24])
}

fn source(name: &str, content: &str) -> Source {
    Source {
        name: name.to_owned(),
        fingerprint: format!("{:x}", content.len()) + content.get(..20).unwrap_or(content),
        once: false,
    }
}

/// Imports as the user of imports, in its own session.
async fn imported(url: &str, bus: &Announcements, name: &str, content: &str) -> Result<Report, ImportError> {
    let mut connection = session(&as_user(url, "importer")).await;
    let reader = BufReader::new(content.as_bytes());
    let report = import(&mut connection, Country::Peru, bus, &source(name, content), reader, trace()).await;
    connection.close().await.unwrap();
    report.map(|(report, _)| report)
}

fn line(slot: u64, changes: &[(&str, Value)]) -> String {
    let mut line = json!({
        "scheduleId": slot, "specialty": "Cardiología", "center": "Miraflores", "practitioner": "Dra. Quispe",
        "start": "2030-12-02T09:00", "durationMinutes": 30, "timeZone": "America/Lima",
    });
    for (field, value) in changes {
        line[field] = value.clone();
    }
    line.to_string()
}

fn lines(slots: impl IntoIterator<Item = u64>) -> String {
    slots.into_iter().map(|slot| line(slot, &[]) + "\n").collect()
}

fn refusals(report: &Report) -> Vec<(u64, RefusalCode, Option<&str>)> {
    report.refusals.iter().map(|refused| (refused.line, refused.code, refused.field.as_deref())).collect()
}

async fn count(url: &str, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(&mut session(url).await).await.unwrap()
}

#[tokio::test]
async fn a_file_is_imported_and_the_same_file_again_changes_nothing() {
    let url = own_catalogue(20).await;
    let bus = Announcements::default();
    let csv = "\u{feff}scheduleId,center,specialty,practitioner,start,end,timeZone,state\r\n\
               1,Miraflores,Cardiología,\"Quispe, Rosa\",2030-12-02T09:00,2030-12-02T09:30,America/Lima,\r\n\
               \r\n\
               2,Providencia, Cardiologi\u{301}a ,\"Dr. \"\"Pepe\"\" Rojas\",2030-12-02T09:00-03:00,2030-12-02T09:30,america/santiago,open\r\n\
               3,Miraflores,Pediatría,Dr. Díaz,2030-12-02T10:00,2030-12-02T10:30,America/Lima,withdrawn\r\n";
    let report = imported(&url, &bus, "slots.csv", csv).await.unwrap();
    assert_eq!((report.lines, report.accepted, report.changed, report.refused), (3, 3, 3, 0), "{report:?}");
    assert!(report.finished_at.is_some());
    let told = bus.taken();
    let [Announcement::Slots(slots), Announcement::Catalogue(catalogue)] = told.as_slice() else { panic!("{told:?}") };
    let shown = serde_json::to_value(&slots.slots).unwrap();
    assert_eq!(
        shown[1],
        json!({
            "scheduleId": 2, "countryISO": "PE", "specialty": "Cardiología", "center": "Providencia",
            "practitioner": "Dr. \"Pepe\" Rojas", "start": "2030-12-02T09:00:00-03:00", "end": "2030-12-02T09:30:00-03:00",
            "startsAt": "2030-12-02T12:00:00.000Z", "endsAt": "2030-12-02T12:30:00.000Z", "timeZone": "America/Santiago",
            "utcOffset": "-03:00", "version": 1, "status": "free",
        })
    );
    assert_eq!((&shown[0]["practitioner"], &shown[0]["utcOffset"]), (&json!("Quispe, Rosa"), &json!("-05:00")));
    assert_eq!(shown[2]["status"], "busy-unavailable");
    assert_eq!(slots.traceparent, trace());
    assert_eq!(catalogue.catalogue.specialties, ["Cardiología"], "what is withdrawn is not in the catalogue");
    assert_eq!(catalogue.catalogue.centers, ["Miraflores", "Providencia"]);

    let before = count(&url, "SELECT sum(version)::bigint FROM slots").await;
    let report = imported(&url, &bus, "slots.csv", csv).await.unwrap();
    assert_eq!((report.lines, report.changed, report.unchanged, report.refused), (3, 0, 3, 0));
    assert_eq!(bus.taken(), [], "nothing changed, and nothing is told");
    assert_eq!(count(&url, "SELECT sum(version)::bigint FROM slots").await, before);
    assert_eq!(count(&url, "SELECT count(*) FROM staged_slots").await, 0);
}

/// macOS may write an accent as a separate character, other systems do not: it is the same specialty, center and practitioner.
#[tokio::test]
async fn names_that_look_the_same_are_the_same() {
    let url = own_catalogue(20).await;
    let bus = Announcements::default();
    let composed = [
        ("specialty", json!("Cardiología")),
        ("center", json!("Clínica Ñuñoa")),
        ("practitioner", json!("Dr. Chávez")),
    ];
    let decomposed = [
        ("specialty", json!("Cardiologi\u{301}a")),
        ("center", json!("Cli\u{301}nica N\u{303}un\u{303}oa")),
        ("practitioner", json!("Dr. Cha\u{301}vez")),
    ];
    let content = format!("{}\n{}\n", line(1, &composed), line(2, &decomposed));
    assert_eq!(imported(&url, &bus, "slots.ndjson", &content).await.unwrap().changed, 2);
    let told = bus.taken();
    let [Announcement::Slots(slots), Announcement::Catalogue(catalogue)] = told.as_slice() else { panic!("{told:?}") };
    let [first, second] = [0, 1].map(|number| &slots.slots[number].slot);
    assert_eq!((&first.specialty, &first.center), (&second.specialty, &second.center));
    let [only] = catalogue.catalogue.practitioners.as_slice() else { panic!("{catalogue:?}") };
    assert_eq!((only.name.as_str(), only.center.as_str()), ("Dr. Chávez", "Clínica Ñuñoa"));
    // The other way of writing them changes nothing either.
    let content = format!("{}\n{}\n", line(1, &decomposed), line(2, &composed));
    assert_eq!(imported(&url, &bus, "slots.ndjson", &content).await.unwrap().unchanged, 2);
}

#[tokio::test]
async fn a_source_that_tells_of_itself_twice_is_imported_once() {
    let url = own_catalogue(20).await;
    let bus = Announcements::default();
    let import_once = async |content: &str| {
        let mut connection = session(&as_user(&url, "importer")).await;
        let source = Source { name: "slots/a.ndjson".to_owned(), fingerprint: "0055AED6".to_owned(), once: true };
        import(&mut connection, Country::Peru, &bus, &source, content.as_bytes(), trace()).await.unwrap().0
    };
    let first = import_once(&lines(1..=3)).await;
    session(&url).await.execute("UPDATE slots SET practitioner = 'Dr. Otro', version = 2").await.unwrap();
    let second = import_once(&lines(1..=3)).await;
    assert_eq!(first, second, "the same report, and nothing was applied");
    assert_eq!(count(&url, "SELECT count(*) FROM slots WHERE practitioner = 'Dr. Otro'").await, 3);
}

#[tokio::test]
async fn each_wrong_line_is_refused_by_itself_and_the_report_says_why() {
    let url = own_catalogue(20).await;
    let bus = Announcements::default();
    let long = "x".repeat(17_000);
    let table = [
        (line(1, &[]), None),
        ("{\"scheduleId\":".to_owned(), Some((RefusalCode::NotJson, None))),
        ("[1]".to_owned(), Some((RefusalCode::NotJson, None))),
        (line(2, &[("room", json!(5))]), Some((RefusalCode::UnknownField, Some("room")))),
        (line(2, &[("ro\0om\n", Value::Null)]), Some((RefusalCode::UnknownField, Some("room")))),
        (line(2, &[(&long[..100], json!(5))]), Some((RefusalCode::UnknownField, Some(&long[..64])))),
        (line(2, &[("center", Value::Null)]), Some((RefusalCode::Required, Some("center")))),
        (line(0, &[]), Some((RefusalCode::InvalidScheduleId, Some("scheduleId")))),
        (line(2, &[("scheduleId", json!(1.5))]), Some((RefusalCode::InvalidScheduleId, Some("scheduleId")))),
        (line(2, &[("specialty", json!("a#b"))]), Some((RefusalCode::InvalidName, Some("specialty")))),
        (line(2, &[("specialty", json!(" "))]), Some((RefusalCode::InvalidName, Some("specialty")))),
        (line(2, &[("practitioner", json!("x".repeat(81)))]), Some((RefusalCode::InvalidName, Some("practitioner")))),
        (line(2, &[("center", json!("a\u{7}b"))]), Some((RefusalCode::InvalidName, Some("center")))),
        (line(2, &[("timeZone", json!("America/Cuzco"))]), Some((RefusalCode::UnknownTimeZone, Some("timeZone")))),
        (line(2, &[("start", json!("2030-02-30T09:00"))]), Some((RefusalCode::InvalidTime, Some("start")))),
        (line(2, &[("start", json!("2030-12-02 09:00"))]), Some((RefusalCode::InvalidTime, Some("start")))),
        (line(2, &[("start", json!("2030-12-02T09:00:30"))]), Some((RefusalCode::InvalidTime, Some("start")))),
        (line(2, &[("start", json!("2030-12-02T09:00Z"))]), Some((RefusalCode::InvalidTime, Some("start")))),
        (line(2, &[("start", json!("2030-12-02T09:00-03:00"))]), Some((RefusalCode::WrongOffset, Some("start")))),
        (line(2, &[("end", json!("2030-12-02T09:30"))]), Some((RefusalCode::InvalidDuration, None))),
        (line(2, &[("durationMinutes", Value::Null)]), Some((RefusalCode::InvalidDuration, None))),
        (line(2, &[("durationMinutes", json!(0))]), Some((RefusalCode::InvalidDuration, None))),
        (line(2, &[("durationMinutes", json!(1441))]), Some((RefusalCode::InvalidDuration, Some("durationMinutes")))),
        (
            line(2, &[("durationMinutes", Value::Null), ("end", json!("2030-12-02T08:59"))]),
            Some((RefusalCode::InvalidDuration, None)),
        ),
        (line(2, &[("state", json!("closed"))]), Some((RefusalCode::InvalidState, Some("state")))),
        (line(2, &[("center", json!(long))]), Some((RefusalCode::LineTooLong, None))),
        (line(1, &[("center", json!("Other"))]), Some((RefusalCode::Duplicate, Some("scheduleId")))),
        (line(2, &[("start", json!("2020-12-02T09:00"))]), Some((RefusalCode::SlotPast, None))),
        (line(3, &[]), None),
    ];
    let content: String = table.iter().map(|(line, _)| line.clone() + "\n").collect();
    let report = imported(&url, &bus, "wrong.ndjson", &content).await.unwrap();
    let expected = table.iter().enumerate();
    let expected: Vec<_> =
        expected.filter_map(|(at, (_, why))| why.map(|(code, field)| (at as u64 + 1, code, field))).collect();
    assert_eq!(refusals(&report), expected);
    assert_eq!((report.lines, report.changed, report.refused), (table.len() as u64, 2, expected.len() as u64));
    assert!(report.refusals.iter().all(|refused| !refused.message.is_empty()));
    assert_eq!(bus.slots().into_keys().collect::<Vec<_>>(), [1, 3]);

    let csv = "scheduleId,specialty,center,practitioner,start,durationMinutes,timeZone\n\
               10,A,B,C,2030-12-02T09:00,30,America/Lima\n\
               11,A,B,C,2030-12-02T09:00,30\n\
               12,A,B,\"C,2030-12-02T09:00,30,America/Lima\n\
               13,A,B,C,2030-12-02T09:00,half,America/Lima\n";
    let report = imported(&url, &bus, "wrong.csv", csv).await.unwrap();
    let expected = [
        (3, RefusalCode::NotCsv, None),
        (4, RefusalCode::NotCsv, None),
        (5, RefusalCode::InvalidDuration, Some("durationMinutes")),
    ];
    assert_eq!(refusals(&report), expected);

    for (header, what) in [
        ("scheduleId,room\n1,2\n", "\"room\" is no column"),
        ("scheduleId,center,center\n", "center is named twice"),
        (&*format!("{long}\n"), "longer than 16 KiB"),
    ] {
        let error = imported(&url, &bus, "header.csv", header).await.unwrap_err().to_string();
        assert!(error.contains(what) && error.contains("scheduleId,specialty"), "{error}");
    }
    // What could not be read at all is begun anew.
    let report = imported(&url, &bus, "header.csv", "").await.unwrap();
    assert_eq!((report.lines, report.changed), (0, 0));
}

/// More refused lines than a report names.
#[tokio::test]
async fn a_report_names_a_thousand_refused_lines_and_counts_all() {
    let url = own_catalogue(20).await;
    let content = format!("{}{}", "{}\n".repeat(1200), lines([1, 1, 2]));
    let report = imported(&url, &Announcements::default(), "many.ndjson", &content).await.unwrap();
    assert_eq!((report.lines, report.refused, report.changed, report.refusals.len()), (1203, 1201, 2, 1000));
}

#[tokio::test]
async fn a_booked_slot_is_not_changed_but_withdrawn_which_cancels_the_booking_and_is_told() {
    let url = own_catalogue(20).await;
    let (bus, outcomes) = (Announcements::default(), Bus::default());
    imported(&url, &bus, "a", &lines(1..=4)).await.unwrap();
    let worker = worker(&url, &outcomes);
    worker.process(batch(&bodies(&[request(1, 1, 1), request(2, 2, 2)]), 1)).await.unwrap();
    bus.taken();

    let changes = [
        line(1, &[("practitioner", json!("Dr. Otro"))]),
        line(2, &[("start", json!("2030-12-02T09:10"))]),
        line(3, &[("practitioner", json!("Dr. Otro"))]),
        line(4, &[("state", json!("withdrawn"))]),
    ];
    let report = imported(&url, &bus, "b", &changes.join("\n")).await.unwrap();
    assert_eq!(refusals(&report), [(1, RefusalCode::SlotBooked, None), (2, RefusalCode::SlotBooked, None)]);
    assert_eq!((report.changed, report.cancelled_appointments), (2, 0));
    assert_eq!(bus.slots(), BTreeMap::from([(3, (SlotStatus::Free, 2)), (4, (SlotStatus::BusyUnavailable, 2))]));

    // A withdrawal that would also change it keeps what the person was told.
    let withdrawal = line(1, &[("state", json!("withdrawn")), ("practitioner", json!("Dr. Otro"))]);
    let report = imported(&url, &bus, "c", &withdrawal).await.unwrap();
    assert_eq!((report.changed, report.cancelled_appointments, report.refused), (1, 1, 0));
    let told = bus.taken();
    let [Announcement::Cancelled(cancelled), Announcement::Slots(slots)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((cancelled.outcome, cancelled.detail.appointment_id), (Outcome::Cancelled, appointment(1)));
    assert_eq!(cancelled.detail.reason.map(|reason| reason.to_string()).as_deref(), Some("slot_withdrawn"));
    assert_eq!(cancelled.detail.insured_id.as_str(), "00001");
    assert_eq!((slots.slots[0].status, slots.slots[0].version), (SlotStatus::BusyUnavailable, 3));
    assert_eq!(slots.slots[0].slot.practitioner, "Dra. Quispe");

    // A repeated command about it causes the same event, and nobody can book a withdrawn slot.
    outcomes.taken.lock().unwrap().clear();
    worker.process(batch(&bodies(&[request(1, 1, 1), request(3, 3, 1)]), 2)).await.unwrap();
    let events = outcomes.taken();
    let id = OutcomeEvent::event_id(appointment(1), Outcome::Cancelled, Command::Cancellation);
    assert_eq!((events[0].detail.event_id, cancelled.detail.event_id), (id, id));
    assert_eq!(events[0].detail.occurred_at, cancelled.detail.occurred_at);
    let reason = events[1].detail.reason.map(|reason| reason.to_string());
    assert_eq!((events[1].outcome, reason.as_deref()), (Outcome::Rejected, Some("slot_withdrawn")));

    // Open again, it can be booked.
    imported(&url, &bus, "d", &line(1, &[])).await.unwrap();
    worker.process(batch(&bodies(&[request(4, 3, 1)]), 1)).await.unwrap();
    assert_eq!(outcomes.taken().last().unwrap().outcome, Outcome::Completed);
}

/// A reader that breaks after a part of its content.
struct Torn<'a>(&'a [u8]);

impl AsyncRead for Torn<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.0.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let (now, later) = self.0.split_at(self.0.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.0 = later;
        Poll::Ready(Ok(()))
    }
}

/// Imports until the database says no: after `chunks` chunks the next one meets a slot that somebody holds locked.
async fn imported_by(
    connection: &mut PgConnection,
    bus: &Announcements,
    content: &str,
    reader: impl AsyncBufRead + Unpin,
) -> Result<(Report, Drained), ImportError> {
    import(connection, Country::Peru, bus, &source("big", content), reader, trace()).await
}

#[tokio::test]
async fn a_torn_import_leaves_nothing_and_an_interrupted_one_goes_on_where_it_was() {
    let url = own_catalogue(20).await;
    let bus = Announcements::default();
    let content = lines(1..=1300);
    // The file breaks off while it is read: nothing is applied.
    let mut connection = session(&as_user(&url, "importer")).await;
    let torn = BufReader::new(Torn(&content.as_bytes()[..content.len() / 2]));
    let error = imported_by(&mut connection, &bus, &content, torn).await.unwrap_err();
    assert!(matches!(error, ImportError::Unreadable(_)), "{error}");
    connection.close().await.unwrap();
    assert_eq!(count(&url, "SELECT count(*) FROM slots").await, 0);

    // A decision holds a slot of the third chunk; the import waits for it, and dies while it does.
    let mut holder = session(&url).await;
    holder.execute("BEGIN; SELECT pg_advisory_xact_lock(1200)").await.unwrap();
    let mut connection = session(&as_user(&url, "importer")).await;
    connection.execute("SET statement_timeout = '2s'").await.unwrap();
    let error = imported_by(&mut connection, &bus, &content, content.as_bytes()).await.unwrap_err();
    assert!(matches!(error, ImportError::Database(_)), "{error}");
    connection.close().await.unwrap();
    holder.execute("ROLLBACK").await.unwrap();
    assert_eq!(count(&url, "SELECT count(*) FROM slots").await, 1000);
    assert_eq!(bus.slots().len(), 1000, "what was applied is told");

    // The same content again: its lines are staged already, so the source is not read any more.
    let mut connection = session(&as_user(&url, "importer")).await;
    let (report, _) = imported_by(&mut connection, &bus, &content, Torn(b"").buffered()).await.unwrap();
    assert_eq!((report.lines, report.changed, report.unchanged), (1300, 1300, 0), "one report of the whole import");
    connection.close().await.unwrap();
    assert_eq!(bus.slots().len(), 300);
    assert_eq!(count(&url, "SELECT count(*) FROM slots").await, 1300);
}

trait Buffered: Sized {
    fn buffered(self) -> BufReader<Self>;
}

impl<R: AsyncRead> Buffered for R {
    fn buffered(self) -> BufReader<Self> {
        BufReader::new(self)
    }
}

#[tokio::test]
async fn what_the_bus_refuses_stays_in_the_outbox_and_goes_later_with_the_same_ids() {
    let url = own_catalogue(20).await;
    let bus = Announcements::default();
    bus.refuse(usize::MAX);
    let report = imported(&url, &bus, "a", &lines(1..=60)).await.unwrap();
    assert_eq!(report.changed, 60);
    assert_eq!(count(&url, "SELECT count(*) FROM outbox").await, 4, "25, 25 and 10 slots, and the catalogue");
    let ids = async || -> Vec<String> {
        let query = "SELECT detail ->> 'eventId' FROM outbox ORDER BY id";
        sqlx::query_scalar(query).fetch_all(&mut session(&url).await).await.unwrap()
    };
    let expected = ids().await;

    let mut importer = session(&as_user(&url, "importer")).await;
    let drained = drain(&mut importer, Country::Peru, &bus).await.unwrap();
    assert_eq!((drained.sent, drained.left), (0, 4));
    assert_eq!(ids().await, expected);
    bus.refuse(0);
    // Several at once send each event once, and in the order of the outbox.
    let at_once = (0..4).map(|_| {
        let (url, bus) = (as_user(&url, "importer"), bus.clone());
        tokio::spawn(async move { drain(&mut session(&url).await, Country::Peru, &bus).await.unwrap().sent })
    });
    let sent: Vec<u64> = futures::future::join_all(at_once).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(sent.iter().sum::<u64>(), 4, "{sent:?}");
    let told: Vec<String> = bus
        .taken()
        .iter()
        .map(|announcement| match announcement {
            Announcement::Slots(slots) => slots.event_id.to_string(),
            Announcement::Catalogue(catalogue) => catalogue.event_id.to_string(),
            Announcement::Cancelled(_) => panic!("nothing was cancelled"),
        })
        .collect();
    assert_eq!(told, expected);
    assert_eq!(count(&url, "SELECT count(*) FROM outbox").await, 0);

    // An event of a later version stays, and holds up no other.
    session(&url)
        .await
        .execute("INSERT INTO outbox (detail_type, detail) SELECT 'SlotHeld', '{}' FROM generate_series(1, 12)")
        .await
        .unwrap();
    imported(&url, &bus, "b", &line(61, &[])).await.unwrap();
    assert_eq!(bus.slots().into_keys().collect::<Vec<_>>(), [61]);
    assert_eq!(count(&url, "SELECT count(*) FROM outbox").await, 12);
}

#[tokio::test]
async fn everything_is_told_anew_with_the_versions_that_it_has_and_after_a_restore_with_greater_ones() {
    let url = own_catalogue(20).await;
    let (bus, outcomes) = (Announcements::default(), Bus::default());
    imported(&url, &bus, "a", &lines(1..=60)).await.unwrap();
    worker(&url, &outcomes).process(batch(&bodies(&[request(1, 1, 7)]), 1)).await.unwrap();
    session(&url)
        .await
        .execute("UPDATE slots SET starts_at = now() - interval '2 hours', ends_at = now() - interval '1 hour' WHERE schedule_id = 8")
        .await
        .unwrap();
    let first = bus.taken();
    let catalogue_of = |told: &[Announcement]| {
        let version = |told: &Announcement| match told {
            Announcement::Catalogue(catalogue) => Some(catalogue.catalogue.catalogue_version),
            _ => None,
        };
        told.iter().find_map(version).unwrap()
    };
    let mut importer = session(&as_user(&url, "importer")).await;
    let drained = rebuild(&mut importer, Country::Peru, &bus, trace()).await.unwrap();
    assert_eq!(drained.left, 0);
    let told = bus.taken();
    assert!(catalogue_of(&told) > catalogue_of(&first));
    bus.taken.lock().unwrap().extend(told);
    let slots = bus.slots();
    assert_eq!(slots.len(), 59, "what has ended is not told");
    assert_eq!((slots[&7], slots[&9]), ((SlotStatus::Busy, 2), (SlotStatus::Free, 1)));

    // Raised after a restore: each change from then on is later than all that were told before.
    session(&url).await.execute("UPDATE country_settings SET epoch = 3").await.unwrap();
    worker(&url, &outcomes).process(batch(&bodies(&[request(2, 1, 9)]), 1)).await.unwrap();
    let state = outcomes.taken().last().unwrap().detail.slot.clone().unwrap();
    assert_eq!((state.version, state.status), ((3 << 40) + 1, SlotStatus::Busy));
    imported(&url, &bus, "b", &line(10, &[("practitioner", json!("Dr. Otro"))])).await.unwrap();
    assert_eq!(bus.slots()[&10].1, (3 << 40) + 1);
}

#[tokio::test]
async fn slots_whose_zone_has_other_rules_by_now_are_told() {
    let url = own_catalogue(20).await;
    imported(&url, &Announcements::default(), "a", &lines(1..=3)).await.unwrap();
    let mut importer = session(&as_user(&url, "importer")).await;
    let mut moved = Vec::new();
    assert_eq!(check_zones(&mut importer, |slot| moved.push(slot)).await.unwrap(), 3);
    assert_eq!(moved, []);
    // As if they had been imported when the zones had other rules, or one that is gone.
    let mut owner = session(&url).await;
    owner.execute("UPDATE slots SET utc_offset_minutes = -240 WHERE schedule_id = 2").await.unwrap();
    owner.execute("UPDATE slots SET time_zone = 'America/Cuzco' WHERE schedule_id = 3").await.unwrap();
    assert_eq!(check_zones(&mut importer, |slot| moved.push(slot)).await.unwrap(), 3);
    let shown: Vec<Value> = moved.iter().map(|slot| serde_json::to_value(slot).unwrap()).collect();
    assert_eq!(
        shown,
        [
            json!({
                "scheduleId": 2, "timeZone": "America/Lima", "startsAt": "2030-12-02T14:00:00.000Z", "utcOffset": "-04:00",
                "utcOffsetNow": "-05:00",
            }),
            json!({
                "scheduleId": 3, "timeZone": "America/Cuzco", "startsAt": "2030-12-02T14:00:00.000Z", "utcOffset": "-05:00",
                "utcOffsetNow": null,
            }),
        ]
    );
}

/// While a file is imported again and again, in both directions, people book, move and cancel its slots.
#[tokio::test(flavor = "multi_thread")]
async fn imports_and_decisions_at_once_never_deadlock() {
    let url = own_catalogue(20).await;
    let bus = Announcements::default();
    imported(&url, &bus, "a", &lines(1..=600)).await.unwrap();
    let importing = (0..2).map(|number| {
        let (url, bus) = (url.clone(), bus.clone());
        tokio::spawn(async move {
            for round in 0..4 {
                let state = if (round + number) % 2 == 0 { "withdrawn" } else { "open" };
                let content: String =
                    (1..=600).rev().map(|slot| line(slot, &[("state", json!(state))]) + "\n").collect();
                let report = imported(&url, &bus, &format!("{number}"), &content).await.unwrap();
                assert_eq!(report.refused, 0, "{:?}", report.refusals.first());
            }
        })
    });
    let deciding = (0..4_u64).map(|number| {
        let url = url.clone();
        tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(number);
            let mut connection = session(&url).await;
            for round in 0..60 {
                let messages: Vec<_> = (0..10)
                    .map(|at| request(number * 600 + round * 10 + at + 1, random.u32(1..500), random.u64(1..=600)))
                    .collect();
                sqlx::query("SELECT count(*) FROM decide($1::text::jsonb)")
                    .bind(serde_json::to_string(&messages).unwrap())
                    .execute(&mut connection)
                    .await
                    .expect("no deadlock");
            }
        })
    });
    let all: Vec<_> = importing.chain(deciding).collect();
    for task in futures::future::join_all(all).await {
        task.unwrap();
    }
    let held = "SELECT count(*) FROM appointments AS a JOIN slots AS s USING (schedule_id)
                WHERE a.status = 'booked' AND s.state = 'withdrawn'";
    assert_eq!(count(&url, held).await, 0, "who holds a slot that was withdrawn was told");
    let cancelled =
        count(&url, "SELECT count(*) FROM appointments WHERE reason = 'slot_withdrawn' AND status = 'cancelled'").await;
    let told = bus.taken().iter().filter(|announcement| matches!(announcement, Announcement::Cancelled(_))).count();
    assert_eq!(i64::try_from(told).unwrap(), cancelled);
}

/// The user of imports may stage lines and execute the import's functions, and nothing else.
#[tokio::test]
async fn the_import_s_database_user_may_import_and_nothing_else() {
    let url = own_catalogue(20).await;
    let mut importer = session(&as_user(&url, "importer")).await;
    for forbidden in [
        "SELECT * FROM public.slots",
        "SELECT * FROM public.slot_states",
        "UPDATE public.slots SET state = 'withdrawn'",
        "INSERT INTO public.slots SELECT * FROM public.slots",
        "SELECT * FROM public.appointments",
        "UPDATE public.appointments SET status = 'cancelled'",
        "SELECT * FROM public.staged_slots",
        "DELETE FROM public.staged_slots",
        "SELECT * FROM public.slot_imports",
        "SELECT * FROM public.refused_lines",
        "SELECT * FROM public.outbox",
        "INSERT INTO public.outbox (detail_type, detail) VALUES ('SlotsChanged', '{}')",
        "UPDATE public.country_settings SET catalogue = 'external'",
        "SELECT * FROM public.announced_catalogue",
        "SELECT public.slots_changed('{1}', '')",
        "SELECT public.tell_slots('{1}', '')",
        "SELECT * FROM public.decide('[]')",
        "CREATE TABLE public.own (column_1 integer)",
        "CREATE TEMPORARY TABLE own (column_1 integer)",
    ] {
        let refused = importer.execute(forbidden).await.expect_err(forbidden);
        let code = refused.as_database_error().unwrap().code();
        assert!(matches!(code.as_deref(), Some("42501")), "{forbidden}: {refused}");
    }
    let mut worker = session(&as_user(&url, "worker")).await;
    for forbidden in [
        "SELECT public.import_apply(1, 1)",
        "SELECT * FROM public.outbox_next(0, 1)",
        "SELECT public.outbox_taken('{1}')",
    ] {
        let refused = worker.execute(forbidden).await.expect_err(forbidden);
        assert!(
            matches!(refused.as_database_error().unwrap().code().as_deref(), Some("42501")),
            "{forbidden}: {refused}"
        );
    }
}

/// The country's program as the function of imports, against the emulator's S3 and event bus.
#[tokio::test]
async fn the_function_imports_what_s3_tells_of_and_writes_a_report() {
    let url = own_catalogue(20).await;
    let folder = tests::scratch_folder("slots-import");
    let ministack = Ministack::start(&setup::ministack_program(&tests::workspace()), None, &folder).await.unwrap();
    let endpoint = ministack.endpoint().unwrap();
    let root = Credentials::from_keys("test", "test", None);
    let client = Client::new(NativeTransport::new(), "us-east-1", root).with_deadline(Duration::from_secs(30));
    let s3 = S3::new(&client, &endpoint);
    s3.put("slots-pe", "", "application/xml", Bytes::new()).await.expect("a bucket");
    emulator::root(endpoint.clone()).events("CreateEventBus", &json!({"Name": "appointments"})).await.unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (events, incoming) = mpsc::unbounded_channel::<Invocation>();
    let (outgoing, mut results) = mpsc::unbounded_channel();
    tokio::spawn(runtime_api(listener, Arc::new(tokio::sync::Mutex::new(incoming)), outgoing));
    let _function = tokio::process::Command::new(tests::program("appointment-pe"))
        .env_clear()
        .envs([
            ("AWS_LAMBDA_RUNTIME_API", address.to_string().as_str()),
            ("WORKER_MODE", "import"),
            ("DATABASE_URL", &as_user(&url, "importer")),
            ("EVENT_BUS_NAME", "appointments"),
            ("AWS_ENDPOINT_URL", &ministack.url()),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_LAMBDA_FUNCTION_NAME", "appointment-pe-import"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ])
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut call = async |event: Value| -> (String, Value) {
        events.send((event, Duration::from_secs(60))).unwrap();
        tokio::time::timeout(Duration::from_secs(120), results.recv()).await.expect("a result").unwrap()
    };
    // Several parts of a megabyte each, under a name that has to be encoded.
    let content = format!("{}{{}}\n", lines(1..=13_000));
    assert!(content.len() > 2 * 1024 * 1024);
    let key = "slots/María 1+2.ndjson";
    let etag = s3.put("slots-pe", key, "application/x-ndjson", content.clone().into()).await.unwrap();
    let event = |key: &str, etag: &str, size: usize| {
        json!({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {
            "bucket": {"name": "slots-pe"},
            "object": {"key": key, "size": size, "eTag": etag, "sequencer": "0055AED6DCD90281E5"},
        }}]})
    };
    let report = async |key: &str| -> Value {
        let part = s3.get("slots-pe", key, 0..100_000, None).await.unwrap();
        serde_json::from_slice(&part.bytes).unwrap()
    };
    for _ in 0..2 {
        let (kind, response) = call(event("slots/Mar%C3%ADa+1%2B2.ndjson", &etag, content.len())).await;
        assert_eq!(
            (kind.as_str(), &response["objects"], &response["drained"]["left"]),
            ("response", &json!(1), &json!(0)),
            "{response}"
        );
        let report = report("reports/María 1+2.ndjson.json").await;
        assert_eq!(
            (&report["lines"], &report["changed"], &report["refused"]),
            (&json!(13_001), &json!(13_000), &json!(1))
        );
        let refused =
            json!({"line": 13_001, "code": "required", "field": "scheduleId", "message": "The field is required."});
        assert_eq!(report["refusals"], json!([refused]));
    }
    assert_eq!(count(&url, "SELECT count(*) FROM slots").await, 13_000);

    // The object has been replaced since the event: the function fails, and is called again.
    let (kind, response) = call(event("slots/Mar%C3%ADa+1%2B2.ndjson", "0000", content.len())).await;
    assert_eq!(kind, "error", "{response}");
    // A file that is not an import gets a report that says so; an object outside of the prefix gets none; an empty file has no lines.
    let etag = s3.put("slots-pe", "slots/b.csv", "text/csv", "room\n1\n".into()).await.unwrap();
    assert_eq!(call(event("slots/b.csv", &etag, 7)).await.0, "response");
    let error = report("reports/b.csv.json").await["error"].as_str().unwrap().to_owned();
    assert!(error.contains("\"room\" is no column"), "{error}");
    let etag = s3.put("slots-pe", "slots/empty.csv", "text/csv", Bytes::new()).await.unwrap();
    assert_eq!(call(event("slots/empty.csv", &etag, 0)).await.0, "response");
    assert_eq!(report("reports/empty.csv.json").await["lines"], 0);
    assert_eq!(call(event("reports/b.csv.json", &etag, 7)).await.0, "response");

    // The schedule's event: what the bus has not taken is sent.
    session(&url)
        .await
        .execute("SELECT slots_changed('{1,2,3}', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01')")
        .await
        .unwrap();
    let (kind, response) = call(json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}})).await;
    assert_eq!((kind.as_str(), response), ("response", json!({"objects": 0, "drained": {"sent": 1, "left": 0}})));
    assert_eq!(count(&url, "SELECT count(*) FROM outbox").await, 0);
}
