//! Many people book, move and cancel in both countries while programs are killed, the host at the edge among them, PostgreSQL
//! crashes and calls to AWS fail, by a schedule that a seed decides. At the end a checker that knows nothing of the code
//! ([`crate::chaos_checker`]) compares what the tables, the countries' databases, the events and the dead letters say.
//!
//! `cargo xtask test` runs a short form. `cargo xtask test chaos` runs the long one: 2,000 bookings by 500 people over 300
//! slots of each country. `CHAOS_SEED=7` repeats a schedule; what the operating system makes of it differs all the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use aws_http::Endpoint;
use bytes::Bytes;
use fastrand::Rng;
use futures::future::join;
use futures::stream::{self, StreamExt};
use http::{Method, StatusCode};
use local_stack::LocalStack;
use local_stack::application::{Application, ApplicationSettings, Host};
use local_stack::artifacts::Artifacts;
use local_stack::http::Http;
use operator::backplane::CatalogueKind;
use operator::database::connect;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tests::{processes_with, workspace};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::chaos_checker::{Accepted, Evidence, text};
use crate::fault_proxy::{Action, Fault};
use crate::faulty::Faulty;
use crate::race::rows;

/// How long the system may take to come to rest after the last fault.
const SETTLE_LIMIT: Duration = Duration::from_secs(300);

/// Requests of people that are under way at once.
const IN_FLIGHT: usize = 24;

/// The most faults per booking. If only time counted, a busy machine would meet more faults than a queue repeats messages.
const FAULTS_PER_BOOKING: usize = 2;

/// What is done, and how much of it.
struct Plan {
    seed: u64,
    bookings: u64,
    people: u64,
    slots: u64,
}

impl Plan {
    fn of_environment() -> Self {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let seed = number("CHAOS_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
        match number("CHAOS_BOOKINGS") {
            Some(bookings) => Self { seed, bookings, people: bookings / 4, slots: bookings * 3 / 20 },
            None => Self { seed, bookings: 120, people: 30, slots: 18 },
        }
    }
}

/// The host of intake at the edge, which is killed and comes back on its port.
struct Edge<'a> {
    faulty: &'a Faulty,
    intake_endpoint: Endpoint,
    url: String,
    host: Mutex<Application>,
}

impl<'a> Edge<'a> {
    async fn start(faulty: &'a Faulty) -> Self {
        let intake_endpoint = faulty.proxy.serve(faulty.stack.services().endpoint().clone(), "intake").await;
        let host = Self::host(faulty, &intake_endpoint, None).await;
        Self { faulty, intake_endpoint, url: host.url(), host: Mutex::new(host) }
    }

    async fn host(faulty: &Faulty, intake_endpoint: &Endpoint, port: Option<u16>) -> Application {
        let services = faulty.stack.services();
        let settings = ApplicationSettings {
            host: Host::Embedded,
            root: &workspace(),
            edge_host: &Artifacts::at(&workspace()).edge_host(),
            port,
            variables: services.variables_by_way_of(intake_endpoint).unwrap(),
            telemetry: BTreeMap::new(),
            log: services.logs().join("killed-application.log"),
        };
        Application::start(settings).await.unwrap()
    }

    /// Kills it, whatever it is doing, and starts it again.
    async fn restart(&self) {
        let mut host = self.host.lock().await;
        let process = i32::try_from(host.process_id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(process, Signal::KILL).unwrap();
        let port = self.url.rsplit(':').next().unwrap().parse().unwrap();
        // The port is free once the process is gone.
        while std::net::TcpListener::bind(("127.0.0.1", port)).is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        *host = Self::host(self.faulty, &self.intake_endpoint, Some(port)).await;
    }

    /// Repeats the request until the response is not 503, with the same key, as the problem says. A request that was cut off may have
    /// taken effect.
    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> (StatusCode, Value) {
        let started = Instant::now();
        let mut ceiling = Duration::from_secs(1);
        loop {
            let mut request = http::Request::builder().method(method.clone()).uri(format!("{}{path}", self.url));
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(Bytes::from(body.to_owned())).unwrap();
            if let Ok(response) = Http::default().send_within(request, SETTLE_LIMIT).await
                && response.status() != StatusCode::SERVICE_UNAVAILABLE
            {
                return (response.status(), serde_json::from_slice(response.body()).unwrap_or_default());
            }
            assert!(started.elapsed() < SETTLE_LIMIT, "{method} {path} got no response");
            tokio::time::sleep(ceiling.mul_f64(fastrand::f64())).await;
            ceiling = (ceiling * 2).min(Duration::from_secs(10));
        }
    }
}

/// A person who books once, and what they do then.
struct Person<'a> {
    edge: &'a Edge<'a>,
    slots: u64,
    number: u64,
    insured: String,
    country: &'static str,
}

impl<'a> Person<'a> {
    /// Books, and does what the seed says with it: all that was accepted.
    async fn acts(edge: &'a Edge<'a>, plan: &Plan, number: u64, mut rng: Rng) -> Vec<Accepted> {
        let insured = format!("{:05}", 10_000 + rng.u64(..plan.people));
        let country = if rng.bool() { "PE" } else { "CL" };
        let person = Self { edge, slots: plan.slots, number, insured, country };
        let mut first = person.books(1 + rng.u64(..plan.slots)).await;
        let wish = rng.u8(..12);
        let step = 1 + rng.u64(..plan.slots - 1);
        let other_step = 1 + step % (plan.slots - 1);
        let pause = Duration::from_millis(rng.u64(..500));
        // Who wants to move waits for the slot first.
        let is_won = (3..9).contains(&wish) && person.has_won(&first).await;
        let mut further = Vec::new();
        match wish {
            0..3 => {
                tokio::time::sleep(pause).await;
                first.cancelled = person.cancels(&first).await;
            }
            3..5 if is_won => further.extend(person.moves(&first, step).await),
            // Twice, one after the other.
            5 if is_won => {
                if let Some(second) = person.moves(&first, step).await {
                    if person.has_won(&second).await {
                        further.extend(person.moves(&second, other_step).await);
                    }
                    further.push(second);
                }
            }
            // To two slots at once, of which one can be had.
            6 if is_won => {
                let (one, other) = join(person.moves(&first, step), person.moves(&first, other_step)).await;
                further.extend(one.into_iter().chain(other));
            }
            // While it is being cancelled.
            7 if is_won => {
                let (moved, cancelled) = join(person.moves(&first, step), person.cancels(&first)).await;
                further.extend(moved);
                first.cancelled = cancelled;
            }
            // And cancels the new one.
            8 if is_won => {
                if let Some(mut moved) = person.moves(&first, step).await {
                    tokio::time::sleep(pause).await;
                    moved.cancelled = person.cancels(&moved).await;
                    further.push(moved);
                }
            }
            _ => {}
        }
        further.push(first);
        further
    }

    async fn books(&self, slot: u64) -> Accepted {
        let body = json!({"insuredId": self.insured, "scheduleId": slot, "countryISO": self.country});
        let (status, response) = self.posts("/appointments", "book", &body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{response}");
        self.accepted(&response, slot, None)
    }

    /// Moves an appointment to the slot that comes so many after its own; what was accepted. What is not booked any more
    /// cannot be moved.
    async fn moves(&self, original: &Accepted, step: u64) -> Option<Accepted> {
        let slot = 1 + (original.slot - 1 + step) % self.slots;
        let path = format!("{}/move", self.path(original));
        let what = format!("move-{}-to-{slot}", original.slot);
        let (status, response) = self.posts(&path, &what, &json!({"scheduleId": slot})).await;
        let known = [StatusCode::ACCEPTED, StatusCode::CONFLICT];
        assert!(known.contains(&status), "{status}: {response}");
        (status == StatusCode::ACCEPTED).then(|| self.accepted(&response, slot, Some(&original.id)))
    }

    /// Whether the cancellation was accepted. It is not if the country had already refused the request.
    async fn cancels(&self, appointment: &Accepted) -> bool {
        let (status, response) = self.edge.ask(Method::DELETE, &self.path(appointment), &[], "").await;
        let known = [StatusCode::ACCEPTED, StatusCode::OK, StatusCode::CONFLICT];
        assert!(known.contains(&status), "{status}: {response}");
        status != StatusCode::CONFLICT
    }

    /// Whether an appointment is completed before the person loses patience.
    async fn has_won(&self, appointment: &Accepted) -> bool {
        let path = self.path(appointment);
        for _ in 0..20 {
            let (_, shown) = self.edge.ask(Method::GET, &path, &[], "").await;
            if shown["status"] != "pending" {
                return shown["status"] == "completed";
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        false
    }

    /// Posts with a key of its own.
    async fn posts(&self, path: &str, what: &str, body: &Value) -> (StatusCode, Value) {
        let key = format!("chaos-{}-{what}", self.number);
        let headers = [("content-type", "application/json"), ("idempotency-key", &*key)];
        self.edge.ask(Method::POST, path, &headers, &body.to_string()).await
    }

    fn path(&self, appointment: &Accepted) -> String {
        format!("/appointments/{}/{}", self.insured, appointment.id)
    }

    fn accepted(&self, response: &Value, slot: u64, replaces: Option<&str>) -> Accepted {
        let id = response["appointmentId"].as_str().unwrap().to_owned();
        let replaces = replaces.map(str::to_owned);
        Accepted { id, insured: self.insured.clone(), country: self.country, slot, replaces, cancelled: false }
    }
}

/// Breaks something about every fifth of a second, as long as there are permits, until it is stopped; returns what it broke.
async fn break_things(
    edge: &Edge<'_>,
    mut rng: Rng,
    permits: &Semaphore,
    stop: CancellationToken,
) -> BTreeMap<&'static str, u32> {
    const CALLS: [(&str, &[&str]); 2] = [
        ("intake", &["PutItem", "TransactWriteItems", "UpdateItem", "GetItem", "Query", "Publish"]),
        ("confirmation", &["UpdateItem", "PutItem", "Query", "Publish", "PutEvents"]),
    ];
    let faulty = edge.faulty;
    let mut broken: BTreeMap<&'static str, u32> = BTreeMap::new();
    let mut armed = Vec::new();
    loop {
        let pause = Duration::from_millis(rng.u64(100..300));
        let next = async {
            permits.acquire().await.unwrap().forget();
            tokio::time::sleep(pause).await;
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = next => {}
        }
        let what = match rng.u8(..20) {
            0 => {
                crash_a_connection(&faulty.stack, if rng.bool() { "PE" } else { "CL" }).await;
                "PostgreSQL crashed"
            }
            1..=3 => {
                kill_a_function(&faulty.stack, &mut rng);
                "function killed"
            }
            4 => {
                edge.restart().await;
                "host killed"
            }
            _ => {
                let (caller, operations) = CALLS[rng.usize(..CALLS.len())];
                let operation = operations[rng.usize(..operations.len())];
                let throttling = match operation {
                    "Publish" => "<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>",
                    _ => r#"{"__type":"ThrottlingException"}"#,
                };
                let (name, action) = match rng.u8(..6) {
                    0 => ("call refused", Action::Respond(500, r#"{"__type":"InternalServerError"}"#)),
                    1 => ("call throttled", Action::Respond(400, throttling)),
                    2 => ("call cut", Action::Cut),
                    3 => ("response lost", Action::LoseResponse),
                    4 => ("no response", Action::Silence),
                    _ => ("call delayed", Action::Delay(Duration::from_millis(rng.u64(50..600)))),
                };
                let fault = Fault { caller, operation, about: String::new(), action, times: rng.usize(1..6) };
                armed.push(faulty.proxy.arm(fault));
                name
            }
        };
        *broken.entry(what).or_default() += 1;
    }
    armed.iter().for_each(|fault| fault.heal());
    broken
}

/// Kills one backend of a country's server, upon which PostgreSQL ends all its connections and recovers as after a crash.
async fn crash_a_connection(stack: &LocalStack, country: &str) {
    let Ok(mut connection) = connect(stack.services().database_url(country).unwrap()).await else { return };
    let backend: Result<i32, _> = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await;
    if let Some(backend) = backend.ok().and_then(Pid::from_raw) {
        kill_process(backend, Signal::KILL).unwrap();
    }
}

/// Kills the process of one of the functions: their packages lie in the folder of this stack.
fn kill_a_function(stack: &LocalStack, rng: &mut Rng) {
    let logs = stack.services().logs();
    let folder = logs.parent().unwrap();
    let processes = processes_with(|variables| {
        let package = variables.iter().find_map(|variable| variable.strip_prefix("LAMBDA_TASK_ROOT="));
        package.is_some_and(|package| Path::new(package).starts_with(folder))
    });
    if let Some(process) = rng.choice(processes).and_then(Pid::from_raw) {
        // It may have ended by itself meanwhile.
        let _ = kill_process(process, Signal::KILL);
    }
}

/// Opens slots 1 to `slots` in both countries. The import has its own tests.
async fn offer_slots(stack: &LocalStack, slots: u64) {
    for country in ["PE", "CL"] {
        let mut connection = connect(stack.services().database_url(country).unwrap()).await.unwrap();
        let insert = "INSERT INTO slots SELECT number, 'Cardiología', 'Clínica Central', 'Dra. Quispe', now() + interval '1 day',
                          now() + interval '25 hours', 'America/Lima', -300, 'open', 1 FROM generate_series(1, $1) AS number";
        sqlx::query(insert).bind(i64::try_from(slots).unwrap()).execute(&mut connection).await.unwrap();
    }
}

/// A queue that gets every event on the bus.
async fn queue_of_events(stack: &LocalStack) -> String {
    let (aws, backplane) = (stack.services().aws(), stack.services().backplane());
    let created = aws.sqs("CreateQueue", &json!({"QueueName": "CHAOS_EVENTS"})).await.unwrap();
    let url = created["QueueUrl"].as_str().unwrap().to_owned();
    let asked = json!({"QueueUrl": url, "AttributeNames": ["QueueArn"]});
    let attributes = aws.sqs("GetQueueAttributes", &asked).await.unwrap();
    let arn = attributes["Attributes"]["QueueArn"].as_str().unwrap();
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn,
    }]});
    let attributes = json!({"QueueUrl": url, "Attributes": {"Policy": policy.to_string()}});
    aws.sqs("SetQueueAttributes", &attributes).await.unwrap();
    let bus = &backplane.bus.name;
    let pattern = json!({"detail-type": ["AppointmentStatusChanged"]}).to_string();
    let rule = json!({"Name": "chaos", "EventBusName": bus, "EventPattern": pattern});
    aws.events("PutRule", &rule).await.unwrap();
    let targets = json!({"Rule": "chaos", "EventBusName": bus, "Targets": [{"Id": "queue", "Arn": arn}]});
    aws.events("PutTargets", &targets).await.unwrap();
    url
}

/// Waits until nothing is under way: every row is final, no queue that leads to a function holds a message, and the databases have
/// recovered from their last crash. Whether that comes about.
async fn at_rest(stack: &LocalStack) -> bool {
    let started = Instant::now();
    loop {
        let open = rows(stack).await.into_values().filter(|row| {
            !["completed", "rejected", "cancelled"].contains(&text(&row["status"])) || row.get("pendingShard").is_some()
        });
        let open: Vec<Value> = open.collect();
        let mut waiting = 0;
        for (_, url) in stack.services().queue_urls().iter().filter(|(name, _)| !name.ends_with("_DLQ")) {
            let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
            let asked = json!({"QueueUrl": url, "AttributeNames": names});
            let attributes = stack.services().aws().sqs("GetQueueAttributes", &asked).await.unwrap();
            let number = |name: &str| attributes["Attributes"][name].as_str().and_then(|text| text.parse::<u32>().ok());
            waiting += names.into_iter().filter_map(number).sum::<u32>();
        }
        let mut recovering = 0;
        for country in ["PE", "CL"] {
            recovering += u32::from(connect(stack.services().database_url(country).unwrap()).await.is_err());
        }
        if open.is_empty() && waiting == 0 && recovering == 0 {
            return true;
        }
        if started.elapsed() > SETTLE_LIMIT {
            println!("chaos: {} rows open, {waiting} messages waiting, {recovering} databases recovering", open.len());
            return false;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos_leaves_nothing_lost_doubled_or_untrue() {
    let plan = Plan::of_environment();
    println!("chaos: CHAOS_SEED={} bookings={} people={} slots={}", plan.seed, plan.bookings, plan.people, plan.slots);
    let faulty = Faulty::start_with("chaos", CatalogueKind::Own, |_| {}).await;
    offer_slots(&faulty.stack, plan.slots).await;
    let events = queue_of_events(&faulty.stack).await;
    let mut rng = Rng::with_seed(plan.seed);
    let stop = CancellationToken::new();
    let started = Instant::now();

    let edge = Edge::start(&faulty).await;
    let permits = Semaphore::new(0);
    let breaking = break_things(&edge, rng.fork(), &permits, stop.clone());
    let acting = async {
        let people: Vec<(u64, Rng)> = (0..plan.bookings).map(|number| (number, rng.fork())).collect();
        let acted = stream::iter(people).map(|(number, rng)| {
            permits.add_permits(FAULTS_PER_BOOKING);
            Person::acts(&edge, &plan, number, rng)
        });
        let accepted: Vec<Vec<Accepted>> = acted.buffer_unordered(IN_FLIGHT).collect().await;
        stop.cancel();
        accepted.into_iter().flatten().collect::<Vec<_>>()
    };
    let (broken, accepted) = tokio::join!(breaking, acting);
    println!("chaos: {} accepted after {} s, broken: {broken:?}", accepted.len(), started.elapsed().as_secs());
    let rests = at_rest(&faulty.stack).await;
    println!("chaos: at rest after {} s: {rests}", started.elapsed().as_secs());

    let evidence = Evidence::of(&faulty.stack, &events).await;
    let moves = evidence.moves(&accepted);
    println!("chaos: {}, moves {moves:?}", evidence.size());
    let contradictions = evidence.contradictions(&accepted);
    let first = &contradictions[..contradictions.len().min(20)];
    assert!(first.is_empty(), "CHAOS_SEED={}: {} contradictions: {first:#?}", plan.seed, contradictions.len());
    assert!(rests, "CHAOS_SEED={}: a queue does not become empty", plan.seed);
    assert!(moves.contains_key("completed"), "CHAOS_SEED={}: nobody moved", plan.seed);
}
