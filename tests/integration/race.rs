//! Ten people want each slot of both countries, all at once; some send their request twice, some cancel, and some move to
//! another of the slots as soon as they have one.
//!
//! `cargo xtask test` lets 150 people run for 15 slots. `cargo xtask test race` is the long form: 500 for 50.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join;
use futures::stream::{self, StreamExt as _};
use http::{HeaderMap, Method, StatusCode};
use local_stack::http::Http;
use local_stack::{LocalStack, Services, sample};
use operator::database::connect;
use serde_json::{Value, json};
use tests::{SAMPLE_DAYS, own_stack_with_slots};

const COMPETITORS: u32 = 10;

/// How many slots they want.
fn slots() -> u32 {
    let people = std::env::var("RACE_PEOPLE").map_or(150, |people| people.parse::<u32>().unwrap());
    people / COMPETITORS
}

/// How long everything may take on a machine that is busy with other tests.
const SETTLE_LIMIT: Duration = Duration::from_secs(600);

/// How many people act at once: about as many as the emulator can serve in time on a busy machine.
const IN_FLIGHT: usize = 100;

/// The longest pause of a person whose request was put off. The first burst is too much for the emulator, and
/// people who came again at once would keep it from ever recovering.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What a person does, and what came of it.
struct Person {
    insured: String,
    country: &'static str,
    slot: u64,
    /// Sends the request twice at once, as a client does whose connection is bad.
    repeats: bool,
    /// Cancels as soon as the request is accepted.
    cancels: bool,
    /// The slot to which the person moves, if the first one is won.
    moves_to: Option<u64>,
}

/// A person's appointment, and what it replaces.
struct Asked {
    id: String,
    slot: u64,
    replaces: Option<String>,
}

impl Person {
    fn new(number: u32, slots: u32) -> Self {
        // Those who want the same slot ask for it at the same time.
        let (slot, competitor) = (number / COMPETITORS, number % COMPETITORS);
        Self {
            insured: format!("{number:05}"),
            country: if slot.is_multiple_of(2) { "PE" } else { "CL" },
            slot: sample::FIRST + u64::from(slot),
            repeats: competitor.is_multiple_of(3),
            cancels: competitor % 4 == 1,
            // Another of the slots that people want, in the same country.
            moves_to: (competitor % 4 > 1).then(|| sample::FIRST + u64::from((slot + 2 * competitor) % slots)),
        }
    }

    /// Asks for the slot until it is not told to come again, as the problem says: with the same key.
    async fn asks(&self, stack: &LocalStack) -> String {
        let body = json!({"insuredId": self.insured, "scheduleId": self.slot, "countryISO": self.country}).to_string();
        let key = format!("request-{}", self.insured);
        let headers = [("content-type", "application/json"), ("idempotency-key", &key)];
        let (status, _, accepted) = send(stack, Method::POST, "/appointments", &headers, &body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
        accepted["appointmentId"].as_str().unwrap().to_owned()
    }

    /// Moves an appointment once it is won; the new one.
    async fn moves(&self, stack: &LocalStack, original: &str, slot: u64) -> Option<Asked> {
        let path = format!("/appointments/{}/{original}", self.insured);
        let started = Instant::now();
        loop {
            let (_, _, shown) = send(stack, Method::GET, &path, &[], "").await;
            match shown["status"].as_str().unwrap_or_default() {
                "completed" => break,
                "rejected" => return None,
                status => assert!(started.elapsed() < SETTLE_LIMIT, "{original} is still {status}"),
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        let key = format!("move-{}", self.insured);
        let headers = [("content-type", "application/json"), ("idempotency-key", &key)];
        let body = json!({"scheduleId": slot}).to_string();
        let (status, _, accepted) = send(stack, Method::POST, &format!("{path}/move"), &headers, &body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
        let id = accepted["appointmentId"].as_str().unwrap().to_owned();
        Some(Asked { id, slot, replaces: Some(original.to_owned()) })
    }

    /// The person's appointments.
    async fn acts(&self, stack: &LocalStack) -> Vec<Asked> {
        let appointment = if self.repeats {
            let (one, other) = join(self.asks(stack), self.asks(stack)).await;
            assert_eq!(one, other, "one key is one appointment");
            one
        } else {
            self.asks(stack).await
        };
        if self.cancels {
            let path = format!("/appointments/{}/{appointment}", self.insured);
            let (status, _, response) = send(stack, Method::DELETE, &path, &[], "").await;
            // 409: the country had already refused the request.
            let fits = [StatusCode::ACCEPTED, StatusCode::OK, StatusCode::CONFLICT].contains(&status);
            assert!(fits, "{status}: {response}");
        }
        let moved = match self.moves_to {
            Some(slot) if slot != self.slot => self.moves(stack, &appointment, slot).await,
            _ => None,
        };
        [Some(Asked { id: appointment, slot: self.slot, replaces: None }), moved].into_iter().flatten().collect()
    }
}

/// Sends until the response is not 503, with pauses that double and vary, as a good client does.
pub(crate) async fn send(
    stack: &LocalStack,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (StatusCode, HeaderMap, Value) {
    let started = Instant::now();
    let mut ceiling = Duration::from_secs(2);
    loop {
        let mut request = http::Request::builder().method(method.clone()).uri(format!("{}{path}", stack.url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Bytes::from(body.to_owned())).unwrap();
        let (head, body) = Http::default().send_within(request, SETTLE_LIMIT).await.unwrap().into_parts();
        if head.status != StatusCode::SERVICE_UNAVAILABLE {
            return (head.status, head.headers, serde_json::from_slice(&body).unwrap_or_default());
        }
        assert!(started.elapsed() < SETTLE_LIMIT, "still 503");
        tokio::time::sleep(ceiling.mul_f64(fastrand::f64())).await;
        ceiling = (ceiling * 2).min(LONGEST_PAUSE);
    }
}

/// The table's row of each appointment, by its id.
pub(crate) async fn rows(stack: &LocalStack) -> BTreeMap<String, Value> {
    let services = stack.services();
    let input = json!({
        "TableName": services.backplane().table.name, "ConsistentRead": true,
        "FilterExpression": "begins_with(sk, :prefix)", "ExpressionAttributeValues": {":prefix": {"S": "appointment#"}},
    });
    let rows = scan(services, input).await.into_iter();
    rows.map(|row| (row["sk"]["S"].as_str().unwrap().strip_prefix("appointment#").unwrap().to_owned(), row)).collect()
}

/// Every item that a `Scan` finds, page by page.
pub(crate) async fn scan(services: &Services, mut input: Value) -> Vec<Value> {
    let mut items = Vec::new();
    loop {
        let mut page = services.aws().dynamodb("Scan", &input).await.unwrap();
        items.extend(page["Items"].as_array().unwrap().iter().cloned());
        let start = page["LastEvaluatedKey"].take();
        if start.is_null() {
            return items;
        }
        input["ExclusiveStartKey"] = start;
    }
}

/// The slots with these numbers whose shown state differs from the countries', in words. What is shown follows the decision, so it is
/// read again for a while.
pub(crate) async fn wrongly_shown(stack: &LocalStack, slots: Range<u64>) -> Vec<String> {
    let started = Instant::now();
    loop {
        let mut wrong = Vec::new();
        for country in ["PE", "CL"] {
            let mut connection = connect(stack.services().database_url(country).unwrap()).await.unwrap();
            let query = "SELECT schedule_id, EXISTS (SELECT FROM appointments AS a WHERE a.schedule_id = s.schedule_id AND a.status = 'booked')
                         FROM slots AS s WHERE s.state = 'open'";
            let held: Vec<(i64, bool)> = sqlx::query_as(query).fetch_all(&mut connection).await.unwrap();
            for (slot, held) in held.into_iter().filter(|(slot, _)| slots.contains(&slot.cast_unsigned())) {
                let (_, _, shown) = send(stack, Method::GET, &format!("/slots/{country}/{slot}"), &[], "").await;
                let expected = if held { "busy" } else { "free" };
                if shown["status"] != expected {
                    wrong.push(format!("slot {slot} of {country} is {expected}, and is shown as {shown}"));
                }
            }
        }
        if wrong.is_empty() || started.elapsed() > Duration::from_secs(30) {
            return wrong;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

fn status(row: &Value) -> &str {
    row["status"]["S"].as_str().unwrap()
}

/// From when to when a row said `completed`.
fn held(row: &Value) -> Option<(&str, &str)> {
    let history: Vec<(&str, &str)> = row["history"]["L"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["M"]["status"]["S"].as_str().unwrap(), entry["M"]["at"]["S"].as_str().unwrap()))
        .collect();
    let position = history.iter().position(|(status, _)| *status == "completed")?;
    // The texts of instants sort like the instants.
    let until = history.get(position + 1).map_or("9999", |(_, at)| *at);
    Some((history[position].1, until))
}

#[tokio::test]
async fn ten_people_want_each_slot() {
    let stack = own_stack_with_slots("race", SAMPLE_DAYS).await;
    let slots = slots();
    let people: Vec<Person> = (0..slots * COMPETITORS).map(|number| Person::new(number, slots)).collect();
    let started = Instant::now();
    let acts = people.iter().enumerate().map(async |(number, person)| (number, person.acts(&stack).await));
    let mut asked: Vec<(usize, Vec<Asked>)> = stream::iter(acts).buffer_unordered(IN_FLIGHT).collect().await;
    asked.sort_unstable_by_key(|(number, _)| *number);
    let asked: Vec<Vec<Asked>> = asked.into_iter().map(|(_, asked)| asked).collect();
    let accepted = started.elapsed();

    let rows = loop {
        let rows = rows(&stack).await;
        let open = rows.values().filter(|row| !["completed", "rejected", "cancelled"].contains(&status(row))).count();
        if open == 0 {
            break rows;
        }
        assert!(started.elapsed() < SETTLE_LIMIT, "{open} appointments are in no final state");
        tokio::time::sleep(Duration::from_millis(250)).await;
    };
    let distinct: BTreeSet<&String> = asked.iter().flatten().map(|asked| &asked.id).collect();
    assert_eq!(distinct, rows.keys().collect(), "as many appointments as distinct requests");

    let mut by_slot: HashMap<(&str, u64), Vec<&Value>> = HashMap::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut moves: BTreeMap<&str, usize> = BTreeMap::new();
    for (person, asked) in people.iter().zip(&asked) {
        for Asked { id, slot, replaces } in asked {
            let row = &rows[id];
            *counts.entry(status(row)).or_default() += 1;
            by_slot.entry((person.country, *slot)).or_default().push(row);
            assert!(row.get("pendingShard").is_none(), "it waits for nothing: {row}");
            let moved = row["reason"]["S"] == "moved";
            assert!(person.cancels || status(row) != "cancelled" || moved, "nobody cancelled it: {row}");
            assert!(!person.cancels || status(row) != "completed", "the wish to cancel was lost: {row}");
            let Some(original) = replaces else { continue };
            *moves.entry(status(row)).or_default() += 1;
            let original = &rows[original];
            // Whoever had a slot has one.
            match status(row) {
                "completed" => {
                    assert_eq!((status(original), original["replacedBy"]["S"].as_str()), ("cancelled", Some(&**id)))
                }
                "rejected" => {
                    assert_eq!((status(original), row["reason"]["S"].as_str()), ("completed", Some("slot_taken")))
                }
                other => panic!("{id} is {other}"),
            }
        }
    }
    for ((country, slot), rows) in &by_slot {
        let mut times: Vec<(&str, &str)> = rows.iter().filter_map(|row| held(row)).collect();
        times.sort_unstable();
        let apart = times.windows(2).all(|pair| pair[0].1 <= pair[1].0);
        assert!(apart, "two people held slot {slot} of {country} at once: {times:?}");
        let cancelled = rows.iter().filter(|row| status(row) == "cancelled").count();
        let completed = rows.iter().filter(|row| status(row) == "completed").count();
        assert!(completed == 1 || (completed == 0 && cancelled > 0), "slot {slot} of {country} went to nobody");
    }

    // What the people see is what each country decided.
    for country in ["PE", "CL"] {
        let mut connection = connect(stack.services().database_url(country).unwrap()).await.unwrap();
        let decisions: Vec<(String, String)> = sqlx::query_as("SELECT appointment_id::text, status FROM appointments")
            .fetch_all(&mut connection)
            .await
            .unwrap();
        let decided: BTreeMap<&str, &str> =
            decisions.iter().map(|(id, status)| (id.as_str(), status.as_str())).collect();
        let seen: BTreeMap<&str, &str> = people
            .iter()
            .zip(&asked)
            .filter(|(person, _)| person.country == country)
            .flat_map(|(_, asked)| asked)
            .map(|Asked { id, .. }| {
                (id.as_str(), if status(&rows[id]) == "completed" { "booked" } else { status(&rows[id]) })
            })
            .collect();
        assert_eq!(decided, seen, "{country}");
    }
    let wanted = sample::FIRST..sample::FIRST + u64::from(slots);
    let wrong = wrongly_shown(&stack, wanted).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    println!(
        "{} people, {slots} slots: all accepted after {} ms, all final after {} ms: {counts:?}, of which moves {moves:?}",
        slots * COMPETITORS,
        accepted.as_millis(),
        started.elapsed().as_millis()
    );
}
