//! Many people book and cancel in both countries while programs are killed, the host at the edge among them, PostgreSQL crashes
//! and calls to AWS fail, by a schedule that a seed decides. At the end a checker that knows nothing of the code compares what the table, the countries'
//! databases, the events and the dead letters say.
//!
//! `cargo xtask test` runs a short form. `cargo xtask test chaos` runs the long one: 2,000 bookings by 500 people over 300
//! slots. `CHAOS_SEED=7` repeats a schedule; what the operating system makes of it differs all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use aws_http::Endpoint;
use bytes::Bytes;
use fastrand::Rng;
use futures::stream::{self, StreamExt};
use http::{Method, StatusCode};
use local_stack::LocalStack;
use local_stack::application::{Application, ApplicationSettings, Host};
use local_stack::artifacts::Artifacts;
use local_stack::http::Http;
use local_stack::postgres::connect;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tests::workspace;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::fault_proxy::{Action, Fault};
use crate::faulty::Faulty;
use crate::race::rows;

/// How long the system may take to come to rest after the last fault.
const PATIENCE: Duration = Duration::from_secs(300);

/// Requests of people that are under way at once.
const IN_FLIGHT: usize = 24;

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
            None => Self { seed, bookings: 200, people: 50, slots: 30 },
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

    /// Asks until there is an answer that is not 503: with the same key, as the problem says. Of a request that was cut off
    /// nobody knows whether it took effect.
    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> (StatusCode, Value) {
        let started = Instant::now();
        let mut ceiling = Duration::from_secs(1);
        loop {
            let mut request = http::Request::builder().method(method.clone()).uri(format!("{}{path}", self.url));
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(Bytes::from(body.to_owned())).unwrap();
            if let Ok(response) = Http::default().send_within(request, PATIENCE).await
                && response.status() != StatusCode::SERVICE_UNAVAILABLE
            {
                return (response.status(), serde_json::from_slice(response.body()).unwrap_or_default());
            }
            assert!(started.elapsed() < PATIENCE, "{method} {path} is not answered");
            tokio::time::sleep(ceiling.mul_f64(fastrand::f64())).await;
            ceiling = (ceiling * 2).min(Duration::from_secs(10));
        }
    }
}

/// An appointment that was accepted.
struct Accepted {
    id: String,
    insured: String,
    country: &'static str,
    /// Whether the person's wish to cancel was accepted too.
    cancelled: bool,
}

/// A person's request and, for every third, a wish to cancel. `None` where no answer said that it was accepted.
async fn act(edge: &Edge<'_>, plan: &Plan, number: u64, mut rng: Rng) -> Option<Accepted> {
    let insured = format!("{:05}", 10_000 + rng.u64(..plan.people));
    let country = if rng.bool() { "PE" } else { "CL" };
    let slot = 1 + rng.u64(..plan.slots);
    let body = json!({"insuredId": insured, "scheduleId": slot, "countryISO": country}).to_string();
    let key = format!("chaos-{number}");
    let headers = [("content-type", "application/json"), ("idempotency-key", &key)];
    let (status, accepted) = edge.ask(Method::POST, "/appointments", &headers, &body).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
    let id = accepted["appointmentId"].as_str()?.to_owned();
    let cancelled = rng.u8(..3) == 0 && {
        tokio::time::sleep(Duration::from_millis(rng.u64(..500))).await;
        let path = format!("/appointments/{insured}/{id}");
        let (status, answer) = edge.ask(Method::DELETE, &path, &[], "").await;
        // 409: the country had already refused the request.
        let known = [StatusCode::ACCEPTED, StatusCode::OK, StatusCode::CONFLICT];
        assert!(known.contains(&status), "{status}: {answer}");
        status != StatusCode::CONFLICT
    };
    Some(Accepted { id, insured, country, cancelled })
}

/// Breaks something every fifth of a second until it is told to stop, and says what it broke.
async fn break_things(edge: &Edge<'_>, mut rng: Rng, stop: CancellationToken) -> BTreeMap<&'static str, u32> {
    const CALLS: [(&str, &[&str]); 2] = [
        ("intake", &["PutItem", "TransactWriteItems", "UpdateItem", "GetItem", "Query", "Publish"]),
        ("confirmation", &["UpdateItem", "Query", "Publish", "PutEvents"]),
    ];
    let faulty = edge.faulty;
    let mut broken: BTreeMap<&'static str, u32> = BTreeMap::new();
    let mut armed = Vec::new();
    while tokio::time::timeout(Duration::from_millis(rng.u64(100..300)), stop.cancelled()).await.is_err() {
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
                    0 => ("call refused", Action::Answer(500, r#"{"__type":"InternalServerError"}"#)),
                    1 => ("call throttled", Action::Answer(400, throttling)),
                    2 => ("call cut", Action::Cut),
                    3 => ("answer lost", Action::LoseAnswer),
                    4 => ("call unanswered", Action::Silence),
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
    let processes = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let id: i32 = entry.file_name().to_str()?.parse().ok()?;
        let environment = std::fs::read(entry.path().join("environ")).ok()?;
        let mut variables = environment.split(|byte| *byte == 0).filter_map(|variable| str::from_utf8(variable).ok());
        let package = variables.find_map(|variable| variable.strip_prefix("LAMBDA_TASK_ROOT="))?;
        Path::new(package).starts_with(folder).then_some(id)
    });
    let processes: Vec<i32> = processes.collect();
    if let Some(process) = rng.choice(processes).and_then(Pid::from_raw) {
        // It may have ended by itself meanwhile.
        let _ = kill_process(process, Signal::KILL);
    }
}

/// What the system says at its end, from outside: nothing of this is read by the product's own code.
struct Evidence {
    /// The table's rows by appointment.
    rows: BTreeMap<String, Value>,
    /// Each country's decisions: appointment, slot, status.
    decisions: BTreeMap<&'static str, Vec<(String, i64, String)>>,
    /// The details of every `AppointmentStatusChanged`, by appointment.
    announced: BTreeMap<String, Vec<Value>>,
    /// The bodies in dead-letter queues, by queue.
    dead: BTreeMap<String, Vec<String>>,
}

impl Evidence {
    async fn of(stack: &LocalStack, events: &str) -> Self {
        let mut decisions = BTreeMap::new();
        for country in ["PE", "CL"] {
            let mut connection = connect(stack.services().database_url(country).unwrap()).await.unwrap();
            let query = "SELECT appointment_id::text, schedule_id, status FROM appointments";
            decisions.insert(country, sqlx::query_as(query).fetch_all(&mut connection).await.unwrap());
        }
        let mut announced: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for body in drain(stack, events).await {
            let envelope: Value = serde_json::from_str(&body).unwrap();
            if envelope["detail-type"] == "AppointmentStatusChanged" {
                let id = envelope["detail"]["appointmentId"].as_str().unwrap().to_owned();
                announced.entry(id).or_default().push(envelope["detail"].clone());
            }
        }
        let mut dead = BTreeMap::new();
        for (name, url) in stack.services().queue_urls().iter().filter(|(name, _)| name.ends_with("_DLQ")) {
            dead.insert(name.clone(), drain(stack, url).await);
        }
        Self { rows: rows(stack).await, decisions, announced, dead }
    }

    /// Every contradiction, in words.
    fn contradictions(&self, accepted: &[Accepted]) -> Vec<String> {
        let mut found = Vec::new();
        for (queue, messages) in &self.dead {
            found.extend(messages.iter().map(|message| format!("{queue} holds {message}")));
        }
        for (country, decisions) in &self.decisions {
            let mut holders: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
            for (id, slot, status) in decisions {
                if status == "booked" {
                    holders.entry(*slot).or_default().push(id);
                }
                let expected = if status == "booked" { "completed" } else { status };
                match self.rows.get(id) {
                    Some(row) if text(&row["status"]) == expected => {}
                    row => found.push(format!("{country} says {status} of {id}, the table {row:?}")),
                }
            }
            let twice = holders.into_iter().filter(|(_, holders)| holders.len() > 1);
            found.extend(twice.map(|(slot, holders)| format!("slot {slot} of {country} is held by {holders:?}")));
        }
        for Accepted { id, insured, country, cancelled } in accepted {
            let Some(row) = self.rows.get(id) else {
                found.push(format!("the accepted {id} is not in the table"));
                continue;
            };
            if text(&row["insuredId"]) != insured || text(&row["countryISO"]) != *country {
                found.push(format!("{id} is somebody else's: {row}"));
            }
            if !self.decisions[country].iter().any(|(decided, _, _)| decided == id) {
                found.push(format!("{country} never decided {id}: {row}"));
            }
            if *cancelled && text(&row["status"]) != "cancelled" {
                found.push(format!("the cancellation of {id} was accepted and is lost: {row}"));
            }
        }
        for (id, row) in &self.rows {
            if row.get("pendingShard").is_some() {
                found.push(format!("{id} still waits: {row}"));
            }
            let none = Vec::new();
            found.extend(announcements(id, row, self.announced.get(id).unwrap_or(&none)));
        }
        for id in self.announced.keys().filter(|id| !self.rows.contains_key(*id)) {
            found.push(format!("an announcement is about {id}, which does not exist"));
        }
        found
    }
}

/// Holds what was announced of an appointment against its history: every change that a country or the republisher made is
/// announced, nothing else is, and a repeated announcement says the same.
fn announcements(id: &str, row: &Value, announced: &[Value]) -> Vec<String> {
    let mut found = Vec::new();
    let mut by_event: BTreeMap<&str, &Value> = BTreeMap::new();
    for detail in announced {
        let event = detail["eventId"].as_str().unwrap();
        if by_event.insert(event, detail).is_some_and(|before| before != detail) {
            found.push(format!("event {event} of {id} was announced in two ways"));
        }
    }
    let history = row["history"]["L"].as_array().unwrap();
    let mut changes = BTreeSet::new();
    for (position, entry) in (1..).zip(history) {
        let status = text(&entry["M"]["status"]);
        // Intake's own changes are answered to the person, and not announced.
        if !["pending", "cancelling"].contains(&status) {
            changes.insert((position, status.to_owned()));
        }
    }
    let mut told = BTreeSet::new();
    for detail in by_event.values() {
        let position =
            detail["sequence"].as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or(usize::MAX);
        told.insert((position, detail["status"].as_str().unwrap_or_default().to_owned()));
    }
    if changes != told {
        found.push(format!("{id} changed as {changes:?} and was announced as {told:?}"));
    }
    found
}

/// A text attribute of an item in DynamoDB's JSON.
fn text(attribute: &Value) -> &str {
    attribute["S"].as_str().unwrap_or_default()
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

/// Takes everything out of a queue.
async fn drain(stack: &LocalStack, url: &str) -> Vec<String> {
    let aws = stack.services().aws();
    let mut bodies = Vec::new();
    loop {
        let receive = json!({"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0});
        let received = aws.sqs("ReceiveMessage", &receive).await.unwrap();
        let Some(messages) = received["Messages"].as_array().filter(|messages| !messages.is_empty()) else {
            return bodies;
        };
        for message in messages {
            bodies.push(message["Body"].as_str().unwrap().to_owned());
            let delete = json!({"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]});
            aws.sqs("DeleteMessage", &delete).await.unwrap();
        }
    }
}

/// Waits until nothing is under way: every row is final and no queue that leads to a function holds a message. Whether that
/// comes about.
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
        if open.is_empty() && waiting == 0 {
            return true;
        }
        if started.elapsed() > PATIENCE {
            println!("chaos: {} rows open, {waiting} messages waiting", open.len());
            return false;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos_leaves_nothing_lost_doubled_or_untrue() {
    let plan = Plan::of_environment();
    println!("chaos: CHAOS_SEED={} bookings={} people={} slots={}", plan.seed, plan.bookings, plan.people, plan.slots);
    let faulty = Faulty::start("chaos", |_| {}).await;
    let events = queue_of_events(&faulty.stack).await;
    let mut rng = Rng::with_seed(plan.seed);
    let stop = CancellationToken::new();
    let started = Instant::now();

    let edge = Edge::start(&faulty).await;
    let breaking = break_things(&edge, rng.fork(), stop.clone());
    let acting = async {
        let people: Vec<(u64, Rng)> = (0..plan.bookings).map(|number| (number, rng.fork())).collect();
        let acted = stream::iter(people).map(|(number, rng)| act(&edge, &plan, number, rng));
        let accepted: Vec<Option<Accepted>> = acted.buffer_unordered(IN_FLIGHT).collect().await;
        stop.cancel();
        accepted.into_iter().flatten().collect::<Vec<_>>()
    };
    let (broken, accepted) = tokio::join!(breaking, acting);
    println!("chaos: {} accepted after {} s, broken: {broken:?}", accepted.len(), started.elapsed().as_secs());
    let rests = at_rest(&faulty.stack).await;
    println!("chaos: at rest after {} s: {rests}", started.elapsed().as_secs());

    let evidence = Evidence::of(&faulty.stack, &events).await;
    let announced: usize = evidence.announced.values().map(Vec::len).sum();
    println!("chaos: {} rows, {announced} announcements", evidence.rows.len());
    let contradictions = evidence.contradictions(&accepted);
    let first = &contradictions[..contradictions.len().min(20)];
    assert!(first.is_empty(), "CHAOS_SEED={}: {} contradictions: {first:#?}", plan.seed, contradictions.len());
    assert!(rests, "CHAOS_SEED={}: a queue does not become empty", plan.seed);
}
