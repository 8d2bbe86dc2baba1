//! What a country decides, by what its database holds, also when many ask at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use appointment::AppointmentId;
use messages::{AppointmentMessage, Command};
use sqlx::{Executor as _, Row as _};

use crate::worker_fixture::{
    Bus, MAX_RECEIVE_COUNT, appointment, batch, bodies, cancellation, command, database, failures, insert, request,
    rows, session, worker,
};

/// One run of the table below.
struct Case {
    name: &'static str,
    before: &'static [&'static str],
    /// `request a1 p1 s1`, `decision a1 p1 s1` or `cancel a1 p1 s1`.
    batch: &'static [&'static str],
    after: &'static [&'static str],
    /// The events, in the order of their appointments: `a1 AppointmentCompleted`.
    events: &'static [&'static str],
    /// The messages that come again.
    failures: &'static [&'static str],
}

const DECISIONS: &[Case] = &[
    Case {
        name: "a free slot is booked",
        before: &[],
        batch: &["request a1 p1 s1"],
        after: &["a1 p1 s1 booked"],
        events: &["a1 AppointmentCompleted"],
        failures: &[],
    },
    Case {
        name: "a redelivered request gets what its row says",
        before: &["a1 p1 s1 booked"],
        batch: &["request a1 p1 s1"],
        after: &["a1 p1 s1 booked"],
        events: &["a1 AppointmentCompleted"],
        failures: &[],
    },
    Case {
        name: "another person's slot is taken",
        before: &["a1 p1 s1 booked"],
        batch: &["request a2 p2 s1"],
        after: &["a1 p1 s1 booked", "a2 p2 s1 rejected slot_taken"],
        events: &["a2 AppointmentRejected slot_taken"],
        failures: &[],
    },
    Case {
        name: "the same person's slot is booked already",
        before: &["a1 p1 s1 booked"],
        batch: &["request a2 p1 s1"],
        after: &["a1 p1 s1 booked", "a2 p1 s1 rejected already_booked"],
        events: &["a2 AppointmentRejected already_booked"],
        failures: &[],
    },
    Case {
        name: "within a batch the earlier request wins, whatever the order of delivery",
        before: &[],
        batch: &["request a3 p3 s1", "request a2 p2 s1", "request a1 p1 s2"],
        after: &["a1 p1 s2 booked", "a2 p2 s1 booked", "a3 p3 s1 rejected slot_taken"],
        events: &["a1 AppointmentCompleted", "a2 AppointmentCompleted", "a3 AppointmentRejected slot_taken"],
        failures: &[],
    },
    Case {
        name: "a rejected request never competes again, also when the slot is free",
        before: &["a1 p1 s1 cancelled", "a2 p2 s1 rejected slot_taken"],
        batch: &["request a2 p2 s1"],
        after: &["a1 p1 s1 cancelled", "a2 p2 s1 rejected slot_taken"],
        events: &["a2 AppointmentRejected slot_taken"],
        failures: &[],
    },
    Case {
        name: "a cancellation frees the slot, and a later request books it",
        before: &["a1 p1 s1 booked"],
        batch: &["request a2 p2 s1", "cancel a1 p1 s1"],
        after: &["a1 p1 s1 cancelled", "a2 p2 s1 booked"],
        events: &["a1 AppointmentCancelled", "a2 AppointmentCompleted"],
        failures: &[],
    },
    Case {
        name: "a cancelled person may book the slot again",
        before: &["a1 p1 s1 cancelled"],
        batch: &["request a2 p1 s1"],
        after: &["a1 p1 s1 cancelled", "a2 p1 s1 booked"],
        events: &["a2 AppointmentCompleted"],
        failures: &[],
    },
    Case {
        name: "a cancellation that overtakes its request leaves a tombstone, and holds no slot",
        before: &["a2 p2 s1 booked"],
        batch: &["cancel a1 p1 s1"],
        after: &["a1 p1 s1 cancelled", "a2 p2 s1 booked"],
        events: &["a1 AppointmentCancelled"],
        failures: &[],
    },
    Case {
        name: "a request finds its tombstone",
        before: &["a1 p1 s1 cancelled"],
        batch: &["request a1 p1 s1"],
        after: &["a1 p1 s1 cancelled"],
        events: &["a1 AppointmentCancelled"],
        failures: &[],
    },
    Case {
        name: "a rejected appointment can be cancelled",
        before: &["a1 p1 s1 rejected slot_taken"],
        batch: &["cancel a1 p1 s1"],
        after: &["a1 p1 s1 cancelled"],
        events: &["a1 AppointmentCancelled"],
        failures: &[],
    },
    Case {
        name: "in one batch the cancellation wins over its request, and one event is the outcome of both",
        before: &[],
        batch: &["request a1 p1 s1", "cancel a1 p1 s1", "request a1 p1 s1"],
        after: &["a1 p1 s1 cancelled"],
        events: &["a1 AppointmentCancelled"],
        failures: &[],
    },
    Case {
        name: "the first decision is said again",
        before: &["a1 p1 s1 booked", "a2 p2 s1 rejected slot_taken", "a3 p3 s3 cancelled"],
        batch: &["decision a1 p1 s1", "decision a2 p2 s1", "decision a3 p3 s3"],
        after: &["a1 p1 s1 booked", "a2 p2 s1 rejected slot_taken", "a3 p3 s3 cancelled"],
        events: &["a1 AppointmentCompleted", "a2 AppointmentRejected slot_taken", "a3 AppointmentCancelled"],
        failures: &[],
    },
    Case {
        name: "who asks for a decision that was never made gets a refusal, and no slot, also where it is free",
        before: &["a2 p2 s2 booked"],
        batch: &["decision a1 p1 s1", "decision a3 p3 s2"],
        after: &["a1 p1 s1 rejected not_processed", "a2 p2 s2 booked", "a3 p3 s2 rejected not_processed"],
        events: &["a1 AppointmentRejected not_processed", "a3 AppointmentRejected not_processed"],
        failures: &[],
    },
    Case {
        name: "a request that comes after the refusal is not booked any more",
        before: &["a1 p1 s1 rejected not_processed"],
        batch: &["request a1 p1 s1"],
        after: &["a1 p1 s1 rejected not_processed"],
        events: &["a1 AppointmentRejected not_processed"],
        failures: &[],
    },
    Case {
        name: "in one batch the question for the decision wins over the request, whatever the order",
        before: &[],
        batch: &["request a1 p1 s1", "decision a1 p1 s1", "decision a2 p2 s2", "request a2 p2 s2"],
        after: &["a1 p1 s1 rejected not_processed", "a2 p2 s2 rejected not_processed"],
        events: &["a1 AppointmentRejected not_processed", "a2 AppointmentRejected not_processed"],
        failures: &[],
    },
    Case {
        name: "in one batch the cancellation wins over the question for the decision too",
        before: &["a2 p2 s2 booked"],
        batch: &["decision a1 p1 s1", "cancel a1 p1 s1", "request a1 p1 s1", "cancel a2 p2 s2", "decision a2 p2 s2"],
        after: &["a1 p1 s1 cancelled", "a2 p2 s2 cancelled"],
        events: &["a1 AppointmentCancelled", "a2 AppointmentCancelled"],
        failures: &[],
    },
    Case {
        name: "a row of another person or slot is no outcome: both commands come again",
        before: &["a1 p1 s1 booked", "a2 p2 s2 booked"],
        batch: &["request a1 p9 s1", "cancel a2 p2 s9", "request a3 p3 s3"],
        after: &["a1 p1 s1 booked", "a2 p2 s2 booked", "a3 p3 s3 booked"],
        events: &["a3 AppointmentCompleted"],
        failures: &["m0", "m1"],
    },
    Case {
        name: "of two messages that contradict each other the second comes again",
        before: &[],
        batch: &["request a1 p1 s1", "request a1 p2 s1"],
        after: &["a1 p1 s1 booked"],
        events: &["a1 AppointmentCompleted"],
        failures: &["m1"],
    },
];

#[tokio::test]
async fn a_batch_is_decided_by_what_the_database_holds() {
    let names: HashMap<AppointmentId, u64> = (0..10).map(|number| (appointment(number), number)).collect();
    for case in DECISIONS {
        let url = database().await;
        insert(&url, case.before).await;
        let messages: Vec<AppointmentMessage> = case
            .batch
            .iter()
            .map(|text| {
                let words: Vec<&str> = text.split(' ').collect();
                let number = |word: &str| word[1..].parse().unwrap();
                let name = match words[0] {
                    "cancel" => Command::Cancellation,
                    "decision" => Command::Decision,
                    _ => Command::Request,
                };
                command(name, number(words[1]), u32::try_from(number(words[2])).unwrap(), number(words[3]))
            })
            .collect();
        let bus = Bus::default();
        let worker = worker(&url, &bus);
        // A second delivery of the same batch changes nothing and says the same.
        for delivery in 1..=2 {
            let response = worker.process(batch(&bodies(&messages), delivery)).await.unwrap();
            let mut events = std::mem::take(&mut *bus.taken.lock().unwrap());
            events.sort_by_key(|event| event.detail.appointment_id);
            let events: Vec<String> = events
                .iter()
                .map(|event| {
                    let reason = event.detail.reason.map_or(String::new(), |reason| format!(" {reason}"));
                    format!("a{} {}{reason}", names[&event.detail.appointment_id], event.outcome.detail_type())
                })
                .collect();
            assert_eq!(events, case.events, "{}, delivery {delivery}: events", case.name);
            assert_eq!(failures(&response), case.failures, "{}, delivery {delivery}: failures", case.name);
            assert_eq!(rows(&url).await, case.after, "{}, delivery {delivery}: rows", case.name);
        }
    }
}

/// The most important promise of the system.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_people_ask_for_one_slot_at_once_and_one_gets_it() {
    let url = database().await;
    let bus = Bus::default();
    let messages: Vec<AppointmentMessage> = (1..=20).map(|person| request(u64::from(person), person, 100)).collect();

    let at_once = messages.iter().map(|message| {
        let (worker, event) = (worker(&url, &bus), batch(&bodies(std::slice::from_ref(message)), 1));
        tokio::spawn(async move { worker.process(event).await.unwrap() })
    });
    for response in futures::future::join_all(at_once).await {
        assert_eq!(failures(&response.unwrap()), [""; 0]);
    }
    let expected =
        BTreeMap::from([("AppointmentCompleted".to_owned(), 1), ("AppointmentRejected slot_taken".to_owned(), 19)]);
    assert_eq!(bus.tally(), expected);
    let first_rows = rows(&url).await;
    assert_eq!(first_rows.len(), 20);
    assert_eq!(first_rows.iter().filter(|row| row.ends_with("booked")).count(), 1);

    // The same batch in eight connections at once, with the messages in another order in each.
    let sort = |bus: &Bus| {
        let mut events = bus.taken();
        events.sort_by_key(|event| event.detail.appointment_id);
        events
    };
    let first_events = sort(&bus);
    let again = (0..8).map(|rotation| {
        let mut turned = messages.clone();
        turned.rotate_left(rotation * 2);
        let bus = Bus::default();
        let (worker, event) = (worker(&url, &bus), batch(&bodies(&turned), 2));
        tokio::spawn(async move {
            let response = worker.process(event).await.unwrap();
            assert_eq!(failures(&response), [""; 0]);
            bus
        })
    });
    for bus in futures::future::join_all(again).await {
        assert_eq!(sort(&bus.unwrap()), first_events, "every delivery says the same");
    }
    assert_eq!(rows(&url).await, first_rows);

    // The winner's row is cancelled by hand: its slot is free, and yet no loser's redelivery books it.
    session(&url).await.execute("UPDATE appointments SET status = 'cancelled' WHERE status = 'booked'").await.unwrap();
    let bus = Bus::default();
    worker(&url, &bus).process(batch(&bodies(&messages), 3)).await.unwrap();
    let expected =
        BTreeMap::from([("AppointmentCancelled".to_owned(), 1), ("AppointmentRejected slot_taken".to_owned(), 19)]);
    assert_eq!(bus.tally(), expected);
}

/// Eight connections deliver random overlapping batches of requests and cancellations, straight to `decide`: no
/// retry can hide a deadlock.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_batches_never_deadlock_and_always_agree() {
    const APPOINTMENTS: u64 = 60;
    const SLOTS: u64 = 4;
    const ROUNDS: usize = 150;
    // Half of the connections are workers of the version before.
    const AS_BEFORE: &str = "SELECT appointment_id::text, outcome, reason
        FROM decide($1::text[]::uuid[], $2, $3, $4, array_fill(now(), ARRAY[cardinality($2)]))";
    const BY_JSON: &str = "SELECT appointment_id::text, outcome, reason FROM decide($1::text::jsonb)";
    let url = database().await;
    let deliver = |seed: u64| {
        let url = url.clone();
        async move {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut connection = session(&url).await;
            let mut outcomes = Vec::new();
            for _ in 0..ROUNDS {
                let numbers = random.choose_multiple(1..=APPOINTMENTS, 8);
                // A third of the appointments is cancelled now and then.
                let cancels = |number: u64, random: &mut fastrand::Rng| number.is_multiple_of(3) && random.u8(..8) == 0;
                let commands: Vec<&str> =
                    numbers.iter().map(|n| if cancels(*n, &mut random) { "cancel" } else { "request" }).collect();
                let decided = match seed % 2 {
                    0 => sqlx::query(AS_BEFORE)
                        .bind(numbers.iter().map(|n| appointment(*n).to_string()).collect::<Vec<_>>())
                        .bind(numbers.iter().map(|n| format!("{n:05}")).collect::<Vec<_>>())
                        .bind(numbers.iter().map(|n| i64::try_from(n % SLOTS + 1).unwrap()).collect::<Vec<_>>())
                        .bind(&commands),
                    _ => {
                        let messages = numbers.iter().zip(&commands).map(|(number, name)| {
                            let kind = match *name {
                                "cancel" => Command::Cancellation,
                                // Now and then somebody asks for the decision before, or while, it is made.
                                _ if random.u8(..8) == 0 => Command::Decision,
                                _ => Command::Request,
                            };
                            command(kind, *number, u32::try_from(*number).unwrap(), number % SLOTS + 1)
                        });
                        let messages: Vec<AppointmentMessage> = messages.collect();
                        sqlx::query(BY_JSON).bind(serde_json::to_string(&messages).unwrap())
                    }
                }
                .fetch_all(&mut connection)
                .await
                .expect("no deadlock, no conflict");
                for row in decided {
                    let (appointment, outcome): (String, String) = (row.get(0), row.get(1));
                    outcomes.push((appointment, outcome, row.get::<Option<String>, _>(2)));
                }
            }
            outcomes
        }
    };
    let deliveries: Vec<_> = (0..8).map(|seed| tokio::spawn(deliver(seed))).collect();
    let mut decisions: HashMap<String, HashSet<(String, Option<String>)>> = HashMap::new();
    for decided in futures::future::join_all(deliveries).await {
        for (appointment, outcome, reason) in decided.unwrap() {
            assert_ne!(outcome, "unclassified");
            if outcome != "cancelled" {
                decisions.entry(appointment).or_default().insert((outcome, reason));
            }
        }
    }
    for (appointment, decided) in &decisions {
        assert_eq!(decided.len(), 1, "the first decision for {appointment} is kept, not {decided:?}");
    }
    let rows = rows(&url).await;
    assert_eq!(rows.len(), usize::try_from(APPOINTMENTS).unwrap());
    for slot in 1..=SLOTS {
        let booked = rows.iter().filter(|row| row.ends_with(&format!("s{slot} booked"))).count();
        assert!(booked <= 1, "slot {slot} is booked {booked} times");
    }
    assert!(rows.iter().any(|row| row.ends_with("cancelled")), "the mix held cancellations");
    assert!(decisions.values().flatten().any(|(_, reason)| reason.as_deref() == Some("slot_taken")));
}

#[tokio::test]
async fn a_competitor_that_rolls_back_leaves_the_slot_to_the_one_who_waited() {
    let url = database().await;
    let mut competitor = session(&url).await;
    competitor.execute("BEGIN").await.unwrap();
    let decide = format!(
        "SELECT outcome FROM decide(ARRAY['{}']::uuid[], ARRAY['00001'], ARRAY[100], ARRAY['request'], ARRAY[now()])",
        appointment(1)
    );
    let outcome: String = sqlx::query_scalar(sqlx::AssertSqlSafe(decide)).fetch_one(&mut competitor).await.unwrap();
    assert_eq!(outcome, "booked");

    let bus = Bus::default();
    let (worker, event) = (worker(&url, &bus), batch(&bodies(&[request(2, 2, 100)]), 1));
    let waiting = tokio::spawn(async move { worker.process(event).await.unwrap() });
    let mut watch = session(&url).await;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'country-worker'
                 AND datname = current_database() AND wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut watch).await.unwrap() == 0 {
        assert!(!waiting.is_finished(), "it decides while the slot is somebody's who has not committed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    competitor.execute("ROLLBACK").await.unwrap();
    assert_eq!(failures(&waiting.await.unwrap()), [""; 0]);
    assert_eq!(rows(&url).await, ["a2 p2 s100 booked"]);
}

/// Erased data does not come back, whatever command arrives, and no event is sent about it. The person's new bookings are like
/// anybody's.
#[tokio::test]
async fn an_erased_appointment_is_never_booked_again() {
    let url = database().await;
    let erase = "INSERT INTO erased_appointments VALUES ($1::text::uuid, now() + interval '18 days')";
    for number in 1..=3 {
        let mut owner = session(&url).await;
        sqlx::query(erase).bind(appointment(number).to_string()).execute(&mut owner).await.unwrap();
    }
    let bus = Bus::default();
    let messages = [
        request(1, 1, 1),
        cancellation(2, 1, 2),
        command(Command::Decision, 3, 1, 3),
        request(4, 1, 1),
        request(5, 2, 2),
    ];
    for delivery in [1, MAX_RECEIVE_COUNT] {
        let response = worker(&url, &bus).process(batch(&bodies(&messages), delivery)).await.unwrap();
        assert_eq!(failures(&response), [""; 0], "delivery {delivery}");
        assert_eq!(rows(&url).await, ["a4 p1 s1 booked", "a5 p2 s2 booked"], "delivery {delivery}");
    }
    assert_eq!(bus.tally(), BTreeMap::from([("AppointmentCompleted".to_owned(), 4)]));

    // A worker of the version before cancels what is not there, and books nothing either.
    let before = format!(
        "SELECT outcome, decided_at IS NOT NULL FROM decide(ARRAY['{}']::uuid[], ARRAY['00001'], ARRAY[9], ARRAY['request'], ARRAY[now()])",
        appointment(1)
    );
    let decided = session(&url).await.fetch_one(sqlx::AssertSqlSafe(before)).await.unwrap();
    assert_eq!((decided.get::<String, _>(0).as_str(), decided.get::<bool, _>(1)), ("cancelled", true));
    assert_eq!(rows(&url).await, ["a4 p1 s1 booked", "a5 p2 s2 booked"]);
}
