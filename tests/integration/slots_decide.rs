//! `decide` with slots and moves, over a real PostgreSQL, against the model of `slots_model`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use appointment::Original;
use country_worker::{CatalogueKind, CountryRules};
use messages::{AppointmentMessage, Command, Outcome, OutcomeEvent};
use proptest::prelude::{Just, Strategy, any};
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use proptest::{collection, option};
use serde_json::Value;
use sqlx::{Executor as _, PgConnection, Row as _};

use crate::slots_model::{Model, Order, Place, Said, Standing};
use crate::worker_fixture::{
    Bus, appointment, batch, bodies, cancellation, command, database, failures, migrate_with, request, session, worker,
};

/// The numbers of the tests' appointments, by their ids.
static NAMES: LazyLock<HashMap<String, u64>> =
    LazyLock::new(|| (0..3000).map(|number| (appointment(number).to_string(), number)).collect());

/// The message that gives an order.
fn message(order: &Order) -> AppointmentMessage {
    let replaces = order.original.map(|(original, slot)| Original {
        appointment_id: appointment(original),
        schedule_id: slot.try_into().unwrap(),
    });
    AppointmentMessage { replaces, ..command(order.command, order.appointment, order.person, order.slot) }
}

fn moving(number: u64, person: u32, slot: u64, original: (u64, u64)) -> AppointmentMessage {
    message(&Order { command: Command::Move, appointment: number, person, slot, original: Some(original) })
}

/// An empty, migrated database with its own catalogue.
pub(crate) async fn own_catalogue(max_open: u16) -> String {
    let url = database().await;
    set_rules(&url, CatalogueKind::Own, max_open).await;
    url
}

async fn set_rules(url: &str, catalogue: CatalogueKind, max_open: u16) {
    let rules = CountryRules { catalogue: Some(catalogue), max_open_bookings: Some(max_open) };
    migrate_with(url, "worker", rules).await.unwrap();
}

/// Slots that begin in as many hours from now as is said, and take one; `withdrawn` are those of these numbers.
pub(crate) async fn slots(connection: &mut PgConnection, slots: &[(u64, i32)], withdrawn: &[u64]) {
    for (slot, hours) in slots {
        sqlx::query(
            "INSERT INTO slots VALUES ($1, 'Cardiología', 'Miraflores', 'Dra. Quispe', now() + make_interval(hours => $2),
                 now() + make_interval(hours => $2 + 1), 'America/Lima', -300, $3, 1)",
        )
        .bind(i64::try_from(*slot).unwrap())
        .bind(hours)
        .bind(if withdrawn.contains(slot) { "withdrawn" } else { "open" })
        .execute(&mut *connection)
        .await
        .unwrap();
    }
}

/// What `decide` returns, in the order of the commands and their appointments.
async fn decide(connection: &mut PgConnection, messages: &[AppointmentMessage]) -> Result<Vec<Said>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT command_id::text, appointment_id::text, outcome, reason, replaced_by::text, slot::text
         FROM decide($1::text::jsonb)",
    )
    .bind(serde_json::to_string(messages).unwrap())
    .fetch_all(connection)
    .await?;
    let said = rows.iter().map(|row| {
        let slot: Option<Value> = row.get::<Option<&str>, _>(5).map(|slot| serde_json::from_str(slot).unwrap());
        Said {
            command: NAMES[row.get::<&str, _>(0)],
            appointment: NAMES[row.get::<&str, _>(1)],
            outcome: row.get(2),
            reason: row.get(3),
            replaced_by: row.get::<Option<&str>, _>(4).map(|id| NAMES[id]),
            slot: slot.map(|slot| {
                let statuses = ["free", "busy", "busy-unavailable"];
                let status = statuses.into_iter().find(|status| slot["status"] == *status).unwrap();
                (status, slot["version"].as_u64().unwrap())
            }),
        }
    });
    let mut said: Vec<Said> = said.collect();
    said.sort();
    Ok(said)
}

/// An appointment that people may ask for: whose, which slot, and which other one it is to take the place of, if any.
#[derive(Debug, Clone)]
struct Wish {
    person: u32,
    slot: u64,
    /// Another appointment; whether its slot is named as another than it is.
    original: Option<(Index, bool)>,
    /// Whether a move is said to be another person's than the original's.
    foreign: bool,
}

const SLOTS: u64 = 9;
const WISHES: usize = 24;

/// The slots of the property test: 1 to 5 can be booked, 6 has begun, 7 has ended, 8 is withdrawn, 9 is unknown.
const HOURS: &[(u64, i32)] = &[(1, 24), (2, 24), (3, 48), (4, 48), (5, 72), (8, 24)];

fn wishes() -> impl Strategy<Value = Vec<Wish>> {
    let slot = proptest::prop_oneof![8 => 1..=5_u64, 2 => 6..=SLOTS];
    let original = option::weighted(0.6, (any::<Index>(), proptest::bool::weighted(0.1)));
    let wish = (1..=4_u32, slot, original, proptest::bool::weighted(0.1))
        .prop_map(|(person, slot, original, foreign)| Wish { person, slot, original, foreign });
    collection::vec(wish, WISHES)
}

/// Which wishes a batch asks for, by which command; or an earlier batch that comes again.
#[derive(Debug, Clone)]
enum Delivery {
    Fresh(Vec<(Index, Command)>),
    Again(Index),
}

fn deliveries() -> impl Strategy<Value = Vec<Delivery>> {
    let command = proptest::prop_oneof![
        6 => Just(Command::Request), 1 => Just(Command::Decision), 2 => Just(Command::Cancellation)
    ];
    let delivery = proptest::prop_oneof![
        4 => collection::vec((any::<Index>(), command), 1..=8).prop_map(Delivery::Fresh),
        1 => any::<Index>().prop_map(Delivery::Again),
    ];
    collection::vec(delivery, 1..=14)
}

/// The orders of the wishes: each names the person, slot and original that it always names.
fn orders(wishes: &[Wish]) -> Vec<Order> {
    let mut orders: Vec<Order> = Vec::new();
    for (number, wish) in wishes.iter().enumerate() {
        // What is moved was asked for before.
        let moved =
            wish.original.as_ref().filter(|_| number > 0).map(|(index, wrong)| (&orders[index.index(number)], *wrong));
        let (person, original) = match moved {
            Some((moved, wrong)) => {
                let slot = if wrong { moved.slot % SLOTS + 1 } else { moved.slot };
                let person = if wish.foreign { moved.person % 4 + 1 } else { moved.person };
                (person, Some((moved.appointment, slot)))
            }
            None => (wish.person, None),
        };
        let command = if original.is_some() { Command::Move } else { Command::Request };
        orders.push(Order { command, appointment: number as u64 + 1, person, slot: wish.slot, original });
    }
    orders
}

fn batches(orders: &[Order], deliveries: &[Delivery]) -> Vec<Vec<Order>> {
    let mut batches: Vec<Vec<Order>> = Vec::new();
    for delivery in deliveries {
        let batch = match delivery {
            Delivery::Again(index) if !batches.is_empty() => batches[index.index(batches.len())].clone(),
            Delivery::Again(_) => continue,
            Delivery::Fresh(picks) => {
                let mut batch = BTreeMap::new();
                for (index, command) in picks {
                    let order = &orders[index.index(orders.len())];
                    let command = if *command == Command::Request { order.command } else { *command };
                    batch.insert(order.appointment, Order { command, ..*order });
                }
                batch.into_values().collect()
            }
        };
        batches.push(batch);
    }
    batches
}

fn places() -> BTreeMap<u64, Place> {
    let place = |withdrawn, begun, ended| Place { withdrawn, begun, ended };
    (1..=5)
        .map(|slot| (slot, place(false, false, false)))
        .chain([(6, place(false, true, false)), (7, place(false, true, true)), (8, place(true, false, false))])
        .collect()
}

/// Random batches of requests, moves, questions and cancellations, some of them delivered again: `decide` says what the model
/// says, and what the table holds at the end is what the model holds.
#[test]
fn decide_says_what_the_model_says() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = runtime.block_on(own_catalogue(2));
    let connection = RefCell::new(runtime.block_on(session(&url)));
    let seen: RefCell<BTreeSet<String>> = RefCell::default();
    let config = Config { cases: 150, failure_persistence: None, ..Config::default() };
    let given = (wishes(), deliveries(), any::<bool>(), select(vec![1_u16, 2, 3]));
    let outcome = TestRunner::new(config).run(&given, |(wishes, deliveries, own, max_open)| {
        let catalogue = if own { CatalogueKind::Own } else { CatalogueKind::External };
        let orders = orders(&wishes);
        let mut model = Model {
            catalogue: own.then(places),
            max_open: usize::from(max_open),
            versions: places().into_keys().map(|slot| (slot, 1)).collect(),
            ..Model::default()
        };
        let mut connection = connection.borrow_mut();
        runtime.block_on(async {
            connection.execute("TRUNCATE appointments, slots").await.unwrap();
            sqlx::query("UPDATE country_settings SET catalogue = $1, max_open_bookings = $2")
                .bind(catalogue.as_str())
                .bind(i32::from(max_open))
                .execute(&mut *connection)
                .await
                .unwrap();
            slots(&mut connection, HOURS, &[8]).await;
            slots(&mut connection, &[(6, 0), (7, -2)], &[]).await;
            connection.execute("UPDATE slots SET starts_at = now() - interval '1 minute' WHERE schedule_id = 6").await.unwrap();
            // Booked when these two had not begun.
            for slot in [6, 7] {
                let wanted = |order: &&Order| order.slot == slot && order.command == Command::Request;
                let Some(order) = orders.iter().find(wanted) else { continue };
                sqlx::query("INSERT INTO appointments VALUES ($1::text::uuid, $2, $3, 'booked', NULL, now(), now())")
                    .bind(appointment(order.appointment).to_string())
                    .bind(format!("{:05}", order.person))
                    .bind(i64::try_from(slot).unwrap())
                    .execute(&mut *connection)
                    .await
                    .unwrap();
                let (person, status, reason) = (order.person, "booked", None);
                let row = Standing { person, slot, status, reason, replaces: None, replaced_by: None };
                model.standing.insert(order.appointment, row);
            }
            for batch in batches(&orders, &deliveries) {
                let messages: Vec<AppointmentMessage> = batch.iter().map(message).collect();
                let mut expected = model.decide(&batch);
                expected.sort();
                let said = decide(&mut connection, &messages).await.unwrap();
                seen.borrow_mut().extend(said.iter().map(|said| format!("{} {:?}", said.outcome, said.reason)));
                assert_eq!(said, expected, "{batch:?}");
            }
            let rows = connection
                .fetch_all(
                    "SELECT appointment_id::text, insured_id::int, schedule_id, status, reason, replaces::text, replaced_by::text
                     FROM appointments ORDER BY 1",
                )
                .await
                .unwrap();
            let kept: Vec<String> = rows
                .iter()
                .map(|row| {
                    format!(
                        "{} {} {} {} {:?} {:?} {:?}",
                        row.get::<&str, _>(0),
                        row.get::<i32, _>(1),
                        row.get::<i64, _>(2),
                        row.get::<&str, _>(3),
                        row.get::<Option<&str>, _>(4),
                        row.get::<Option<String>, _>(5),
                        row.get::<Option<String>, _>(6),
                    )
                })
                .collect();
            let id = |number: u64| appointment(number).to_string();
            let expected: Vec<String> = model
                .standing
                .iter()
                .map(|(number, row)| {
                    format!(
                        "{} {} {} {} {:?} {:?} {:?}",
                        id(*number),
                        row.person,
                        row.slot,
                        row.status,
                        row.reason,
                        row.replaces.map(id),
                        row.replaced_by.map(id),
                    )
                })
                .collect();
            assert_eq!(kept, expected);
        });
        Ok(())
    });
    outcome.unwrap();
    let seen = seen.into_inner();
    // The cases were no idle ones.
    for reason in [
        "already_booked",
        "already_started",
        "not_processed",
        "original_not_booked",
        "slot_past",
        "slot_taken",
        "slot_unknown",
        "slot_withdrawn",
        "too_many_open",
    ] {
        assert!(seen.contains(&format!("rejected {:?}", Some(reason))), "{reason} never came: {seen:?}");
    }
    assert!(seen.contains(&format!("cancelled {:?}", Some("moved"))), "{seen:?}");
}

/// The standing of every appointment: `a1 booked`, `a2 cancelled moved a3`.
async fn standing(connection: &mut PgConnection) -> Vec<String> {
    let rows = connection
        .fetch_all(
            "SELECT appointment_id::text, concat_ws(' ', status, reason), replaced_by::text FROM appointments ORDER BY 1",
        )
        .await
        .unwrap();
    let text = |row: &sqlx::postgres::PgRow| {
        let by = row.get::<Option<&str>, _>(2).map_or(String::new(), |by| format!(" a{}", NAMES[by]));
        format!("a{} {}{by}", NAMES[row.get::<&str, _>(0)], row.get::<&str, _>(1))
    };
    rows.iter().map(text).collect()
}

#[tokio::test]
async fn a_move_takes_the_new_slot_and_frees_the_old_one_or_does_neither() {
    let url = own_catalogue(20).await;
    let mut owner = session(&url).await;
    slots(&mut owner, &[(1, 24), (2, 24), (3, 24), (4, 24)], &[]).await;
    let bus = Bus::default();
    let worker = worker(&url, &bus);
    let deliver = async |messages: &[AppointmentMessage]| {
        let response = worker.process(batch(&bodies(messages), 1)).await.unwrap();
        assert_eq!(failures(&response), [""; 0]);
        let mut events = std::mem::take(&mut *bus.taken.lock().unwrap());
        events.sort_by_key(|event| (event.detail.appointment_id, event.outcome.detail_type()));
        events
    };
    deliver(&[request(1, 1, 1), request(2, 2, 2), request(3, 3, 3)]).await;

    // A chain, a swap of two people, and a cancellation that comes first, in one batch.
    let messages = [
        moving(11, 1, 4, (1, 1)),
        moving(12, 1, 1, (11, 4)),
        moving(13, 2, 3, (2, 2)),
        moving(14, 3, 2, (3, 3)),
        cancellation(3, 3, 3),
    ];
    let expected = [
        "a1 cancelled moved a11",
        "a2 cancelled moved a13",
        "a3 cancelled",
        "a11 cancelled moved a12",
        "a12 booked",
        "a13 booked",
        "a14 rejected original_not_booked",
    ];
    let mut said = Vec::new();
    for delivery in 1..=2 {
        let events = deliver(&messages).await;
        assert_eq!(standing(&mut owner).await, expected, "delivery {delivery}");
        let told = events.iter().filter(|event| event.outcome == Outcome::Cancelled).map(|event| {
            let detail = &event.detail;
            let id = OutcomeEvent::event_id(detail.appointment_id, Outcome::Cancelled, Command::Cancellation);
            assert_eq!((detail.event_id, detail.command), (id, Command::Cancellation), "one event of one cancellation");
            let slot = detail.slot.as_ref().unwrap();
            assert_eq!(slot.slot.schedule_id, detail.schedule_id);
            (detail.appointment_id, detail.reason.map(|reason| reason.to_string()), detail.replaced_by)
        });
        let mut told: Vec<_> = told.collect();
        told.dedup();
        let moved = |by: u64| (Some("moved".to_owned()), Some(appointment(by)));
        let expected = [(1, moved(11)), (2, moved(13)), (3, (None, None)), (11, moved(12))];
        let expected = expected.map(|(number, (reason, by))| (appointment(number), reason, by));
        assert_eq!(told, expected, "delivery {delivery}");
        said.push(events.iter().map(|event| event.detail.event_id).collect::<BTreeSet<_>>());
    }
    // The first delivery of a11 was told its booking too, before a12 took its place.
    assert!(said[0].is_superset(&said[1]) && said[0].len() == said[1].len() + 1, "{said:?}");

    // A cancellation of a moved appointment changes nothing for its successor. Its outcome comes from the row.
    let events = deliver(&[cancellation(2, 2, 2)]).await;
    assert_eq!(events[0].detail.replaced_by, Some(appointment(13)));
    assert_eq!(standing(&mut owner).await, expected);
    // Two who want each other's slot keep their own.
    deliver(&[moving(21, 1, 3, (12, 1)), moving(22, 2, 1, (13, 3))]).await;
    let after = standing(&mut owner).await;
    assert_eq!(after[7..], ["a21 rejected slot_taken", "a22 rejected slot_taken"]);
    assert_eq!(after[4..6], ["a12 booked", "a13 booked"]);
}

#[tokio::test]
async fn a_move_whose_original_is_not_told_comes_again() {
    let url = own_catalogue(20).await;
    slots(&mut session(&url).await, &[(1, 24), (2, 24)], &[]).await;
    let bus = Bus::refusing(&[appointment(1)]);
    let worker = worker(&url, &bus);
    let message = moving(2, 1, 2, (1, 1));
    for (messages, expected) in [(vec![request(1, 1, 1)], vec!["m0"]), (vec![message.clone()], vec!["m0"])] {
        let response = worker.process(batch(&bodies(&messages), 1)).await.unwrap();
        assert_eq!(failures(&response), expected);
    }
    bus.recover();
    let response = worker.process(batch(&bodies(&[message]), 2)).await.unwrap();
    assert_eq!(failures(&response), [""; 0]);
    let expected = [("AppointmentCancelled moved", 1), ("AppointmentCompleted", 2)];
    assert_eq!(bus.tally(), expected.map(|(event, count)| (event.to_owned(), count)).into());
}

#[tokio::test]
async fn with_an_external_catalogue_any_number_is_a_slot_and_can_be_moved_to() {
    let url = database().await;
    let bus = Bus::default();
    let worker = worker(&url, &bus);
    let messages = [request(1, 1, 1), moving(2, 1, 9_007_199_254_740_991, (1, 1)), request(3, 2, 1)];
    worker.process(batch(&bodies(&messages), 1)).await.unwrap();
    assert_eq!(standing(&mut session(&url).await).await, ["a1 cancelled moved a2", "a2 booked", "a3 booked"]);
    assert!(bus.taken().iter().all(|event| event.detail.slot.is_none()));
}

/// Whatever a later version puts into a command needs no migration: it is kept beside the decision, however that is made.
#[tokio::test]
async fn what_decide_does_not_know_of_a_command_is_stored_with_its_appointment() {
    let url = own_catalogue(20).await;
    let mut owner = session(&url).await;
    slots(&mut owner, &[(1, 24), (2, 24), (3, 24)], &[]).await;
    // Booked with others, booked alone, rejected, moved, and cancelled before its request.
    let messages =
        [request(1, 1, 1), request(2, 2, 2), request(3, 3, 2), moving(4, 1, 3, (1, 1)), cancellation(5, 5, 1)];
    let with_note = |message: &AppointmentMessage| {
        let mut message = serde_json::to_value(message).unwrap();
        message["note"] = format!("of {}", message["insuredId"].as_str().unwrap()).into();
        message
    };
    let plain = request(6, 6, 1);
    for batch in [
        vec![with_note(&messages[0])],
        messages[1..].iter().map(with_note).collect(),
        vec![serde_json::to_value(&plain).unwrap()],
    ] {
        let decide = sqlx::query("SELECT FROM decide($1::text::jsonb)").bind(Value::from(batch).to_string());
        decide.execute(&mut owner).await.unwrap();
    }
    let rows =
        sqlx::query("SELECT appointment_id::text, status, details::text FROM appointments ORDER BY appointment_id");
    let stored: Vec<String> = rows
        .fetch_all(&mut owner)
        .await
        .unwrap()
        .iter()
        .map(|row| {
            format!("a{} {} {:?}", NAMES[row.get::<&str, _>(0)], row.get::<&str, _>(1), row.get::<Option<&str>, _>(2))
        })
        .collect();
    let expected = [
        r#"a1 cancelled Some("{\"note\": \"of 00001\"}")"#,
        r#"a2 booked Some("{\"note\": \"of 00002\"}")"#,
        r#"a3 rejected Some("{\"note\": \"of 00003\"}")"#,
        r#"a4 booked Some("{\"note\": \"of 00001\"}")"#,
        r#"a5 cancelled Some("{\"note\": \"of 00005\"}")"#,
        "a6 booked None",
    ];
    assert_eq!(stored, expected);
}

/// Five hundred people want fifty slots, move between them, and cancel, over eight connections at once, straight to `decide`:
/// no retry can hide a deadlock.
#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_people_move_over_fifty_slots() {
    const PEOPLE: u64 = 500;
    const SLOTS: u64 = 50;
    const CONNECTIONS: u64 = 8;
    const ROUNDS: u64 = 5;
    let url = own_catalogue(2).await;
    let mut owner = session(&url).await;
    let all: Vec<(u64, i32)> = (1..=SLOTS).map(|slot| (slot, 24)).collect();
    slots(&mut owner, &all, &[]).await;
    // Each person asks for one of the first slots, tries three times to move that booking, and at last moves what came of it.
    let orders: Vec<Order> = (1..=ROUNDS * PEOPLE)
        .map(|number| {
            let (round, person) = ((number - 1) / PEOPLE, (number - 1) % PEOPLE + 1);
            let slot_of = |round: u64| match round {
                0 => person * 7 % 20 + 1,
                _ => (person * 11 + round * 13) % SLOTS + 1,
            };
            let from = match round {
                0 => None,
                1..4 => Some(0),
                _ => Some(round - 1),
            };
            let original = from.map(|from| (from * PEOPLE + person, slot_of(from)));
            let command = if round == 0 { Command::Request } else { Command::Move };
            Order {
                command,
                appointment: number,
                person: u32::try_from(person).unwrap(),
                slot: slot_of(round),
                original,
            }
        })
        .collect();
    let deliver = |seed: u64| {
        let (url, orders) = (url.clone(), orders.clone());
        async move {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut connection = session(&url).await;
            let mut decided = Vec::new();
            // In about the order in which people ask, each batch twice, and with a part of the others' in it.
            for round in 0..ROUNDS * PEOPLE / 10 {
                let range = (round * 10).saturating_sub(30)..(round * 10 + 40).min(ROUNDS * PEOPLE);
                let picks = random.choose_multiple(range, 10);
                let cancels = |number: u64, random: &mut fastrand::Rng| number.is_multiple_of(5) && random.u8(..6) == 0;
                let messages: Vec<AppointmentMessage> = picks
                    .iter()
                    .map(|pick| {
                        let order = &orders[usize::try_from(*pick).unwrap()];
                        let command = if cancels(*pick, &mut random) { Command::Cancellation } else { order.command };
                        message(&Order { command, ..*order })
                    })
                    .collect();
                for _ in 0..2 {
                    decided.extend(decide(&mut connection, &messages).await.expect("no deadlock, no conflict"));
                }
            }
            decided
        }
    };
    let began = std::time::Instant::now();
    let deliveries: Vec<_> = (0..CONNECTIONS).map(|seed| tokio::spawn(deliver(seed))).collect();
    let mut decisions: HashMap<u64, BTreeSet<String>> = HashMap::new();
    let mut states: HashMap<(u64, u64), BTreeSet<&str>> = HashMap::new();
    for decided in futures::future::join_all(deliveries).await {
        for said in decided.unwrap() {
            assert_ne!(said.outcome, "unclassified");
            if said.command == said.appointment && said.outcome != "cancelled" {
                decisions.entry(said.command).or_default().insert(format!("{} {:?}", said.outcome, said.reason));
            }
            let (status, version) = said.slot.unwrap();
            let slot = orders[usize::try_from(said.appointment - 1).unwrap()].slot;
            states.entry((slot, version)).or_default().insert(status);
        }
    }
    for (number, decided) in &decisions {
        assert_eq!(decided.len(), 1, "the first decision for a{number} is kept, not {decided:?}");
    }
    for (version, statuses) in &states {
        assert_eq!(statuses.len(), 1, "one version of a slot has one state: {version:?} {statuses:?}");
    }
    let count = async |connection: &mut PgConnection, query: &'static str| -> i64 {
        sqlx::query_scalar(query).fetch_one(connection).await.unwrap()
    };
    // Nobody lost a slot without having another for it.
    let lost = "SELECT count(*) FROM appointments AS o LEFT JOIN appointments AS n ON n.appointment_id = o.replaced_by
                WHERE o.reason = 'moved' AND (n.replaces IS DISTINCT FROM o.appointment_id OR n.status = 'rejected')";
    assert_eq!(count(&mut owner, lost).await, 0);
    // Who has the slot of a move no longer has the one before.
    let twice = "SELECT count(*) FROM appointments AS n JOIN appointments AS o ON o.appointment_id = n.replaces
                 WHERE n.status = 'booked' AND o.status = 'booked'";
    assert_eq!(count(&mut owner, twice).await, 0);
    let twice = "SELECT count(*) FROM (SELECT FROM appointments WHERE status = 'booked' GROUP BY schedule_id HAVING count(*) > 1) AS t";
    assert_eq!(count(&mut owner, twice).await, 0);
    let moved = count(&mut owner, "SELECT count(*) FROM appointments WHERE reason = 'moved'").await;
    let refused = count(&mut owner, "SELECT count(*) FROM appointments WHERE reason = 'original_not_booked'").await;
    println!(
        "{CONNECTIONS} connections, {} ms: {moved} moved, {refused} had nothing to move",
        began.elapsed().as_millis()
    );
    assert!(moved > 10 && refused > 20, "{moved} moved, {refused} had nothing to move");
    // The versions count the changes of holders: each booking is one, and each end of one, except within one batch.
    let ahead = "SELECT count(*) FROM slots AS s WHERE s.version - 1 > (
                     SELECT count(*) FILTER (WHERE a.status = 'booked') + 2 * count(*) FILTER (WHERE a.status = 'cancelled')
                     FROM appointments AS a WHERE a.schedule_id = s.schedule_id)";
    assert_eq!(count(&mut owner, ahead).await, 0);
}

/// The count of a person's open bookings is right also if two batches book at once.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_books_more_than_the_country_allows_however_many_ask_at_once() {
    let url = own_catalogue(3).await;
    let mut owner = session(&url).await;
    let all: Vec<(u64, i32)> = (1..=40).map(|slot| (slot, 24)).collect();
    slots(&mut owner, &all, &[]).await;
    let at_once = (1..=40).map(|number| {
        let url = url.clone();
        tokio::spawn(async move { decide(&mut session(&url).await, &[request(number, 1, number)]).await.unwrap() })
    });
    for said in futures::future::join_all(at_once).await {
        said.unwrap();
    }
    let statuses = standing(&mut owner).await;
    assert_eq!(statuses.iter().filter(|text| text.ends_with(" booked")).count(), 3, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|text| text.ends_with(" rejected too_many_open")).count(), 37);
}
