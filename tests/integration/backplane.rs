//! `infra/backplane.json`: what must hold for its numbers and names, and what the emulator makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::backplane::{CALLS_PER_CLAIM, CLAIM_DURATION, CLAIMS_AT_ONCE, GivenUpSchedule, PendingShards, RepublishSchedule};
use appointment::{Country, Timestamp};
use aws_http::Credentials;
use aws_http::sqs::ReceiveDelays;
use bytes::Bytes;
use local_stack::database::Database;
use local_stack::emulator;
use local_stack::ministack::{ACCOUNT, Ministack};
use local_stack::provision::{Provisioned, provision};
use local_stack::setup;
use messages::{
    CATALOGUE_CHANGED_DETAIL_TYPE, Outcome, SLOTS_CHANGED_DETAIL_TYPE, STATUS_CHANGED_SOURCE, worker_source,
};
use operator::aws::Aws;
use operator::backplane::{Backplane, CatalogueKind, Durations, FILE, PrincipalKind, Resource};
use serde_json::{Value, json};
use tests::{scratch_folder, workspace};

fn backplane() -> Backplane {
    Backplane::load(&workspace()).unwrap()
}

fn file() -> Value {
    serde_json::from_str(&std::fs::read_to_string(workspace().join(FILE)).unwrap()).unwrap()
}

/// The file with the value at a JSON pointer replaced, as text.
fn with(pointer: &str, value: Value) -> String {
    let mut file = file();
    *file.pointer_mut(pointer).unwrap() = value;
    file.to_string()
}

#[test]
fn an_outage_of_half_an_hour_fails_nobody() {
    let backplane = backplane();
    let durations = &backplane.durations;
    let countries = backplane.countries().map(|country| (country.queue, country.max_receive_count));
    let of_bus = [&backplane.confirmation_queue, &backplane.slots_queue];
    let of_bus = of_bus.map(|queue| (queue.name.clone(), queue.max_receive_count));
    for (queue, receives) in countries.chain(of_bus) {
        assert_eq!(
            durations.receive_delays.len() as u64,
            u64::from(receives - 1),
            "{queue}: a pause between two receives"
        );
        let by_functions = durations.receive_delays.iter().sum();
        // If a function crashes, or its call to set the visibility fails.
        let by_queue = u64::from(receives - 1) * durations.visibility_timeout;
        for outage in [by_functions, by_queue].map(Duration::from_secs) {
            assert!(outage > Duration::from_secs(30 * 60), "{queue} gives up after {outage:?}");
        }
    }
}

/// How long it takes until a message is delivered again after an outage of 10 s. Each delivery during the outage takes two calls of the
/// database, which wait for a connection and for a response.
#[test]
fn a_blip_of_ten_seconds_costs_less_than_a_minute() {
    let delays: ReceiveDelays = backplane().durations.receive_delays_setting().parse().unwrap();
    let (outage, delivery) = (Duration::from_secs(10), Duration::from_secs(16));
    let mut waited = Duration::ZERO;
    for receive in 1.. {
        // It fails at once, which leaves the most of the outage to the next one, or after all of its time.
        if waited >= outage {
            break;
        }
        waited += delays.after(receive);
    }
    assert!(waited + delivery < Duration::from_secs(60), "{waited:?}");
    let pauses: Vec<_> = (1..=delays.max_receive_count()).map(|receive| delays.after(receive)).collect();
    assert!(pauses[..pauses.len() - 1].is_sorted(), "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(600)), "{pauses:?}");
    let poison: Duration = (1..=delays.max_receive_count()).map(|receive| delays.after_poison(receive)).sum();
    assert!(poison <= Duration::from_secs(60), "poison is in the dead-letter queue after {poison:?}");
}

/// How long a message can be under way in a queue whose consumer runs, failures included.
fn longest_in_a_queue(durations: &Durations, receives: u32) -> u64 {
    let by_functions: u64 = durations.receive_delays.iter().sum();
    let by_queue = u64::from(receives) * durations.visibility_timeout;
    by_functions.max(by_queue) + u64::from(receives) * durations.worker_timeout.max(durations.confirmation_timeout)
}

/// Nobody is told `failed` as long as a decision can be under way: through the country's queue, EventBridge and
/// SQS_CONFIRMATION. Only the last publication may have caused it, so the last delay alone is longer than that. After that the
/// country is asked for as long as a dead letter can still cause a decision.
#[test]
fn nothing_is_given_up_that_is_under_way() {
    let backplane = backplane();
    let durations = &backplane.durations;
    let confirmation = longest_in_a_queue(durations, backplane.confirmation_queue.max_receive_count);
    for country in backplane.countries() {
        let under_way =
            longest_in_a_queue(durations, country.max_receive_count) + durations.event_delivery + confirmation;
        let given_up = *durations.republish_delays.last().unwrap();
        assert!(
            given_up > under_way,
            "given up {given_up} s after its last publication, whose outcome may take {under_way} s"
        );
        let schedule: RepublishSchedule = durations.republish_delays_setting().parse().unwrap();
        let (asked, mut now) = (Timestamp::from_unix_milliseconds(0), Timestamp::from_unix_milliseconds(0));
        while schedule.last_attempt(asked, now).is_none() {
            now = now + Duration::from_secs(60);
        }
        let (attempts, due) = schedule.last_attempt(asked, now).unwrap();
        assert!(schedule.after(attempts, now).is_some() && schedule.after(attempts + 1, now).is_none());
        assert_eq!(due, now + Duration::from_secs(given_up), "what could not be published may have been");
    }
    assert_eq!(durations.given_up_interval, 3600);
    let schedule: GivenUpSchedule = durations.given_up_schedule_setting().parse().unwrap();
    let now = Timestamp::from_unix_milliseconds(0);
    let publications = (1..).take_while(|attempt| schedule.after(*attempt, now).is_some()).count() as u64;
    assert_eq!(publications * durations.given_up_interval, durations.dead_letter_retention);
    let rules = std::fs::read_to_string(workspace().join("infra/modules/appointments/main.tf")).unwrap();
    let delivery = format!("maximum_event_age_in_seconds = {}", durations.event_delivery);
    assert!(rules.contains(&delivery), "main.tf lets EventBridge deliver for another time than {FILE}");
}

/// What was published is left to its queue: it comes again only when the queue would long have delivered it. A command that
/// nobody published, since intake died after its write, waits no longer than that.
#[test]
fn republishing_feeds_no_overload_and_repairs_a_crash_within_45_minutes() {
    let durations = backplane().durations;
    let first = durations.republish_delays[0];
    let backlog = 10 * 60;
    assert!(first >= 3 * backlog, "a backlog of ten minutes is published twice");
    let outage: u64 = durations.receive_delays.iter().sum();
    assert!(first >= outage, "what fails for {outage} s is published twice");
    let claim = CLAIM_DURATION.as_secs();
    assert!(first + durations.republish_interval + claim <= 45 * 60, "a crash is repaired after more than 45 minutes");
    assert!(durations.republish_interval <= 60, "a publication that failed comes again within a minute");
    assert!(durations.republish_delays.is_sorted());
}

/// From the settings: how long a call to AWS may take.
#[test]
fn sixty_thousand_due_rows_are_published_within_ten_minutes() {
    const ROWS: u64 = 60_000;
    let backplane = backplane();
    let durations = &backplane.durations;
    let invocations = 10 * 60 / durations.republish_interval;
    // An invocation repeats the call while it has time for another one; the next comes when its minute is over.
    let working = durations.confirmation_timeout.min(durations.republish_interval) - CLAIM_DURATION.as_secs() / 2;
    let at_once = CLAIMS_AT_ONCE as u64 * u64::from(backplane.table.index.shards);
    let row = Duration::from_secs(invocations * working * at_once) / u32::try_from(ROWS).unwrap();
    let call = row / CALLS_PER_CLAIM;
    assert!(call >= Duration::from_millis(100), "a call to DynamoDB or SNS would have to be done in {call:?}");
}

#[test]
fn durations_fit_each_other_and_the_limits_of_aws() {
    let deployed = backplane().durations;
    // https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    assert!(deployed.visibility_timeout >= 6 * deployed.worker_timeout);
    assert!(deployed.visibility_timeout >= 6 * deployed.confirmation_timeout);
    // The longest that API Gateway waits for an integration of an HTTP API.
    assert!(deployed.intake_timeout < 30);
    assert!(deployed.import_timeout <= 900, "the longest that Lambda lets a function run");
    assert!(deployed.drain_interval <= 60, "a slot that an operator withdrew leaves the list within a minute");
    assert_eq!(deployed.dead_letter_retention, 14 * 24 * 3600, "the longest that SQS keeps a message");
    assert!(deployed.queue_retention < deployed.dead_letter_retention, "a message keeps its age when it is moved");
    assert_eq!(deployed.batching_window, 0);
    assert_eq!(deployed.confirmation_receive_wait, 20, "the longest that SQS waits");
    let local = backplane().shortened().unwrap().durations;
    for durations in [&deployed, &local] {
        // Lambda refuses an event source mapping whose queue shows messages again before the function's time is over.
        assert!(durations.visibility_timeout >= durations.worker_timeout);
        assert!(durations.visibility_timeout >= durations.confirmation_timeout);
        assert!(durations.republish_interval <= *durations.republish_delays.first().unwrap());
        // The host reserves 2 s to set a message's visibility, and 300 ms for its response to Lambda; the component has 4 s.
        assert!(durations.confirmation_timeout as f64 >= 4.0 + 2.0 + 0.3, "the component is cut off");
    }
    assert_eq!(local.republish_delays.len(), deployed.republish_delays.len(), "the number of attempts is no duration");
    assert_eq!(local.receive_delays.len(), deployed.receive_delays.len(), "the number of receives is no duration");
}

#[test]
fn the_local_block_overrides_durations_and_nothing_else() {
    let block = "/local";
    let refused = [
        (block, json!({"durations_seconds": {}, "table": {"name": "other"}}), "unknown field `table`"),
        (block, json!({"durations_seconds": {"batch_size": 1}}), "batch_size"),
        (block, json!({"durations_seconds": {"visibility_timeout": "6"}}), "only a duration"),
        ("/durations_seconds", json!({"visibility_timeout": 300}), "missing field"),
        ("/topic", json!({"name": "topic", "fifo": true}), "unknown field `fifo`"),
        ("/principals/intake/statements_of", json!("nobody"), "principals.intake.statements_of"),
        (
            "/principals/edge",
            json!({"kind": "user", "name": "e", "statements_of": "intake", "statements": []}),
            "statements_of",
        ),
    ];
    for (pointer, value, expected) in refused {
        let error = Backplane::parse(&with(pointer, value.clone())).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(FILE), "{value} at {pointer}: {error}");
    }
    let mut shortened = backplane().shortened().unwrap();
    assert_ne!(shortened.durations, backplane().durations);
    shortened.durations = backplane().durations;
    assert_eq!(format!("{shortened:?}"), format!("{:?}", backplane()));
}

#[test]
fn the_applications_defaults_are_the_backplanes() {
    let manifest = std::fs::read_to_string(workspace().join("spin.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let default = |variable: &str| manifest["variables"][variable]["default"].as_str().unwrap().to_owned();
    let backplane = backplane();
    let durations = &backplane.durations;
    assert_eq!(default("republish_delays_seconds"), durations.republish_delays_setting());
    assert_eq!(default("given_up_schedule_seconds"), durations.given_up_schedule_setting());
    for variable in ["pending_shards_written", "pending_shards_read"] {
        let shards: PendingShards = default(variable).parse().unwrap();
        assert_eq!(default(variable), backplane.table.index.shards.to_string());
        assert_eq!(shards, PendingShards::default());
    }
    assert_eq!(default("appointments_table"), backplane.table.name);
    assert_eq!(default("slots_table"), backplane.slots_table.name);
    assert_eq!(default("appointments_event_bus"), backplane.bus.name);
}

#[test]
fn the_domain_and_the_backplane_agree() {
    let backplane = backplane();
    let codes: Vec<&str> = Country::ALL.iter().map(|country| country.code()).collect();
    assert_eq!(backplane.codes().collect::<Vec<_>>(), codes);
    for (country, names) in Country::ALL.iter().zip(backplane.countries()) {
        assert_eq!(names.event_source, worker_source(*country));
        assert_eq!(names.subscription.filter_policy, json!({"countryISO": [country.code()]}));
        let manifest = workspace().join("native-workers").join(&names.function).join("Cargo.toml");
        assert!(manifest.is_file(), "{} has no worker crate named {}", country.code(), names.function);
    }
    assert_eq!(backplane.confirmation.event_source, STATUS_CHANGED_SOURCE);
    let sources: Vec<String> = Country::ALL.map(worker_source).into();
    // A rule must never match what the confirmation component publishes: that would be a loop. Nor both the same event.
    let outcomes: Vec<_> = Outcome::ALL.iter().map(|outcome| outcome.detail_type()).collect();
    let slots = [SLOTS_CHANGED_DETAIL_TYPE, CATALOGUE_CHANGED_DETAIL_TYPE];
    let rules = &backplane.bus.rules;
    assert_eq!(backplane.event_pattern(&rules.outcomes), json!({"source": sources, "detail-type": outcomes}));
    assert_eq!(backplane.event_pattern(&rules.slots), json!({"source": sources, "detail-type": slots}));
}

#[test]
fn a_further_country_is_one_entry() {
    let mut countries = file()["countries"].as_array().unwrap().clone();
    countries.push(json!({"code": "CO", "catalogue": "external", "max_open_bookings": 5}));
    let backplane = Backplane::parse(&with("/countries", json!(countries))).unwrap();
    let names = backplane.countries().last().unwrap();
    assert_eq!((names.catalogue, names.max_open_bookings), (CatalogueKind::External, 5));
    let derived = [names.queue, names.dead_letter_queue, names.function, names.database, names.event_source];
    assert_eq!(derived, ["SQS_CO", "SQS_CO_DLQ", "appointment-co", "appointments_co", "appointments.worker.CO"]);
    let derived = [names.importer, names.drain_rule, names.slots_bucket];
    assert_eq!(derived, ["appointment-co-import", "drain-slots-co", "appointments-slots-co"]);
    let pattern = backplane.event_pattern(&backplane.bus.rules.outcomes);
    assert_eq!(pattern.pointer("/source/2"), Some(&json!("appointments.worker.CO")));
}

#[test]
fn policies_grant_single_actions_on_named_resources() {
    let backplane = backplane();
    for (name, principal) in &backplane.principals {
        let country = (principal.kind == PrincipalKind::CountryWorker).then_some("PE");
        let arns = |resource: Resource| Ok::<_, ()>(vec![format!("arn:{resource:?}")]);
        let policy = backplane.policy(principal, country, arns).unwrap();
        for statement in policy.get("Statement").and_then(Value::as_array).unwrap() {
            let text = statement.to_string();
            assert!(!text.contains('*'), "{name} has a wildcard: {text}");
            assert!(!text.contains('{') || !text.contains("{worker") && !text.contains("{COUNTRY"), "{name}: {text}");
        }
    }
    // A function's role has its name.
    for (name, function) in [
        ("intake", &backplane.intake.function),
        ("booking_page", &backplane.booking_page.function),
        ("confirmation", &backplane.confirmation.function),
    ] {
        let principal = backplane.principals.get(name).unwrap();
        assert_eq!((principal.kind, &principal.name), (PrincipalKind::Function, function));
    }
    let worker = backplane.principals.get("worker").unwrap();
    let policy = backplane.policy(worker, Some("CL"), |_| Ok::<_, ()>(Vec::new())).unwrap();
    let condition = json!({"StringEqualsIfExists": {"events:source": ["appointments.worker.CL"]}});
    assert_eq!(policy.pointer("/Statement/1/Condition"), Some(&condition));
}

/// Names in `infra/backplane.json` are nowhere else as a literal: not in code, not in Terraform.
#[test]
fn no_name_stands_twice() {
    let backplane = backplane();
    let of_bus = [&backplane.confirmation_queue, &backplane.slots_queue];
    let rules = &backplane.bus.rules;
    let mut names: Vec<String> = backplane
        .countries()
        .flat_map(|country| {
            let queues = [country.queue, country.dead_letter_queue, country.delivery_dead_letter_queue];
            queues.into_iter().chain([country.slots_bucket, country.drain_rule])
        })
        .chain(of_bus.into_iter().flat_map(|queue| {
            [&queue.name, &queue.dead_letter_queue, &queue.delivery_dead_letter_queue].map(Clone::clone)
        }))
        .chain([backplane.topic.name.clone(), rules.outcomes.name.clone(), rules.slots.name.clone()])
        .collect();
    // A function's role is named as the function; `appointment` is the domain's crate as well.
    let roles = backplane.principals.values().filter(|principal| principal.kind != PrincipalKind::Function);
    names.extend(roles.map(|principal| backplane.principal_name(principal, None)));
    names.extend([&backplane.booking_page.function, &backplane.confirmation.function].map(Clone::clone));
    let unique: BTreeSet<&String> = names.iter().collect();
    assert_eq!(unique.len(), names.len(), "a name is twice in {FILE}: {names:?}");

    let mut sources = Vec::new();
    for folder in
        ["components", "crates", "native-workers", "tools/local-stack", "tools/operator", "xtask", "infra", "spin.toml"]
    {
        collect(&workspace().join(folder), &["rs", "tf", "toml", "hcl"], &mut sources);
    }
    for source in sources {
        let text = std::fs::read_to_string(&source).unwrap();
        for name in &names {
            let literal = format!("\"{name}\"");
            // Terraform's tests state what they expect, as these do.
            let states_expectation = source.to_string_lossy().ends_with(".tftest.hcl");
            assert!(states_expectation || !text.contains(&literal), "{} repeats {literal}", source.display());
        }
    }
}

fn collect(path: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            collect(&entry.unwrap().path(), endings, found);
        }
    } else if path.extension().is_some_and(|ending| endings.iter().any(|wanted| ending == *wanted)) {
        found.push(path.to_owned());
    }
}

/// An emulator with the provisioned backplane.
async fn provisioned(name: &str) -> (Ministack, Backplane, Provisioned) {
    let backplane = backplane().shortened().unwrap();
    let ministack =
        Ministack::start(&setup::ministack_program(&workspace()), None, &scratch_folder(name)).await.unwrap();
    let database = Database::given("postgres://postgres:secret@127.0.0.1:5432/nowhere".parse().unwrap());
    let databases = backplane.codes().map(|code| (code.to_owned(), database.clone())).collect();
    let provisioned = provision(&backplane, &ministack.endpoint().unwrap(), &databases).await.unwrap();
    (ministack, backplane, provisioned)
}

#[tokio::test]
async fn a_message_reaches_its_country_only_and_as_published() {
    let (ministack, backplane, provisioned) = provisioned("backplane-filter").await;
    let endpoint = ministack.endpoint().unwrap();
    let edge = emulator::with_rights_of(endpoint.clone(), provisioned.credentials.get("edge").unwrap().clone());
    let root = emulator::root(endpoint);
    for country in backplane.countries() {
        let published = [
            ("TopicArn", provisioned.topic_arn.as_str()),
            ("Message", &country.code),
            ("MessageAttributes.entry.1.Name", "countryISO"),
            ("MessageAttributes.entry.1.Value.DataType", "String"),
            ("MessageAttributes.entry.1.Value.StringValue", &country.code),
        ];
        edge.sns("Publish", &published).await.unwrap();
    }
    for country in backplane.countries() {
        let url = provisioned.queue_urls.get(&country.queue).unwrap();
        let request = json!({"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 5});
        let received = root.sqs("ReceiveMessage", &request).await.unwrap();
        let bodies: Vec<&Value> =
            received.get("Messages").and_then(Value::as_array).unwrap().iter().filter_map(|m| m.get("Body")).collect();
        assert_eq!(bodies, [&json!(country.code)], "{}", country.queue);
    }
}

#[tokio::test]
async fn each_rule_takes_the_workers_events_of_its_kind_only() {
    let (ministack, backplane, provisioned) = provisioned("backplane-rule").await;
    let root = emulator::root(ministack.endpoint().unwrap());
    let workers: Vec<String> = backplane.countries().map(|country| country.event_source).collect();
    let others = [backplane.confirmation.event_source.clone(), "appointments".to_owned()];
    let outcomes: Vec<_> = Outcome::ALL.iter().map(|outcome| outcome.detail_type()).collect();
    let slots = [SLOTS_CHANGED_DETAIL_TYPE, CATALOGUE_CHANGED_DETAIL_TYPE];
    let kinds: Vec<&str> = outcomes.iter().copied().chain(slots).chain(["AppointmentStatusChanged"]).collect();
    for source in workers.iter().chain(&others) {
        let entry =
            |kind| json!({"Source": source, "DetailType": kind, "Detail": "{}", "EventBusName": backplane.bus.name});
        let entries: Vec<Value> = kinds.iter().map(entry).collect();
        root.events("PutEvents", &json!({"Entries": entries})).await.unwrap();
    }
    for (queue, kinds) in
        [(&backplane.confirmation_queue, outcomes.as_slice()), (&backplane.slots_queue, slots.as_slice())]
    {
        let url = provisioned.queue_urls.get(&queue.name).unwrap();
        let mut received = BTreeSet::new();
        for wait in [5, 1, 1] {
            let request = json!({"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": wait});
            let messages = root.sqs("ReceiveMessage", &request).await.unwrap();
            for message in messages.get("Messages").and_then(Value::as_array).unwrap_or(&Vec::new()) {
                let body = message.get("Body").and_then(Value::as_str).unwrap();
                let envelope: Value = serde_json::from_str(body).unwrap();
                let part = |name: &str| envelope.get(name).and_then(Value::as_str).unwrap().to_owned();
                received.insert((part("source"), part("detail-type")));
            }
        }
        let each = workers.iter().flat_map(|source| kinds.iter().map(|kind| (source.clone(), (*kind).to_owned())));
        assert_eq!(received, each.collect(), "{}", queue.name);
    }
}

/// What AWS allows these principals and the emulator cannot show: it has no databases, no networks, and its functions write
/// their logs with no right of their own.
const SHOWN_ON_AWS_ONLY: &[&str] = &["ec2:", "logs:", "rds-db:connect"];

/// What intake may do, in its function and at the edge.
const INTAKE: &[&str] = &[
    "get",
    "put",
    "update",
    "query",
    "put in a transaction",
    "publish",
    "get a slot",
    "query free-by-specialty",
    "query free-by-center",
    "query free-by-practitioner",
];

/// Who may do what, in full: each call by each principal, with the signature and the policy checked. A call that is not in a
/// principal's row is refused, and each action that a policy grants is needed by a call in the row. So the test finds a permission
/// too many and one too few.
#[tokio::test]
async fn each_principal_may_do_its_work_and_nothing_else() {
    let (ministack, backplane, provisioned) = provisioned("backplane-rights").await;
    let calls = calls(&backplane, &provisioned);
    let rows: &[(&str, &[&str])] = &[
        ("edge", INTAKE),
        ("intake", INTAKE),
        // It calls nobody.
        ("booking_page", &[]),
        (
            "confirmation",
            &[
                "get",
                "update",
                "query pending",
                "publish",
                "announce",
                "receive SQS_CONFIRMATION",
                "delete SQS_CONFIRMATION",
                "look at SQS_CONFIRMATION",
                "keep SQS_CONFIRMATION",
                "put a slot",
                "receive SQS_SLOTS",
                "delete SQS_SLOTS",
                "look at SQS_SLOTS",
                "keep SQS_SLOTS",
            ],
        ),
        (
            "worker {COUNTRY}",
            &[
                "receive SQS_{COUNTRY}",
                "delete SQS_{COUNTRY}",
                "look at SQS_{COUNTRY}",
                "keep SQS_{COUNTRY}",
                "announce",
            ],
        ),
        ("importer {COUNTRY}", &["read a file of {COUNTRY}", "write a report of {COUNTRY}", "announce"]),
        ("migration {COUNTRY}", &["read the owner of {COUNTRY}"]),
    ];
    // A country's row means one per country.
    let mut table: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for country in backplane.codes() {
        let of_country = |text: &&str| text.replace("{COUNTRY}", country);
        table.extend(rows.iter().map(|(who, allowed)| (of_country(who), allowed.iter().map(of_country).collect())));
    }
    let mut principals: BTreeSet<String> = BTreeSet::new();
    for (name, principal) in &backplane.principals {
        let per_country = principal.kind == PrincipalKind::CountryWorker;
        principals.extend(backplane.codes().filter(|_| per_country).map(|country| format!("{name} {country}")));
        principals.extend((!per_country).then(|| name.clone()));
    }
    assert_eq!(table.keys().cloned().collect::<BTreeSet<_>>(), principals);

    let endpoint = ministack.endpoint().unwrap();
    // S3 refuses a missing file to a principal that may not list the bucket.
    for (name, call) in &calls {
        if name.starts_with("write a ") {
            perform(&emulator::root(endpoint.clone()), call).await.unwrap();
        }
    }
    let (mut allowed_calls, mut refused_calls, mut wrong) = (0, 0, Vec::new());
    for (who, allowed) in &table {
        let (name, country) = who.split_once(' ').map_or((who.as_str(), None), |(name, country)| (name, Some(country)));
        let principal = backplane.principals.get(name).unwrap();
        let credentials = match principal.kind {
            PrincipalKind::User => provisioned.credentials.get(name).unwrap().clone(),
            PrincipalKind::Function | PrincipalKind::CountryWorker => {
                let role = backplane.principal_name(principal, country);
                assume(&emulator::root(endpoint.clone()), &role).await
            }
        };
        let aws = emulator::with_rights_of(endpoint.clone(), credentials);
        for (call, (service, operation, input)) in &calls {
            let outcome = perform(&aws, &(*service, *operation, input.clone())).await;
            let denied = outcome.as_ref().is_err_and(|error| {
                ["AccessDenied", "AuthorizationError", "not authorized"].iter().any(|code| error.contains(code))
            });
            // A receipt handle that nobody got: the call was let through, which is what matters here.
            let done = outcome.as_ref().map_or_else(|error| error.contains("ReceiptHandleIsInvalid"), |()| true);
            match (allowed.contains(call), denied, done) {
                (true, false, true) => allowed_calls += 1,
                (false, true, false) => refused_calls += 1,
                (may, ..) => wrong.push(format!("{who}: {call} (should be allowed: {may}): {outcome:?}")),
            }
        }
        let needed: BTreeSet<String> = allowed
            .iter()
            .map(|call| calls.get(call).unwrap_or_else(|| panic!("{who}: no call `{call}`")))
            .map(|(service, operation, _)| action(service, operation))
            .collect();
        let granted = backplane.statements(principal).flat_map(|statement| &statement.actions);
        for action in granted.filter(|action| !SHOWN_ON_AWS_ONLY.iter().any(|only| action.starts_with(only))) {
            if !needed.contains(action) {
                wrong.push(format!("{who}: no allowed call of this test needs {action}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{allowed_calls} calls of {} principals were allowed, {refused_calls} were refused", table.len());
}

/// The IAM action of a call.
fn action(service: &str, operation: &str) -> String {
    match (service, operation) {
        ("s3", "GET") => "s3:GetObject".to_owned(),
        ("s3", "PUT") => "s3:PutObject".to_owned(),
        ("secrets", operation) => format!("secretsmanager:{operation}"),
        (service, operation) => format!("{service}:{operation}"),
    }
}

/// Every call of the table by its name there. A name in it is that of `infra/backplane.json`.
fn calls(backplane: &Backplane, provisioned: &Provisioned) -> BTreeMap<String, Call> {
    let table = backplane.table.name.as_str();
    let key = json!({"insuredId": {"S": "00123"}, "sk": {"S": "appointment#1"}});
    let query = |index: Option<&str>, attribute: &str| {
        let mut input = json!({
            "TableName": table,
            "KeyConditionExpression": format!("{attribute} = :value"),
            "ExpressionAttributeValues": {":value": {"S": "PE#0"}},
        });
        if let Some(index) = index {
            input["IndexName"] = json!(index);
        }
        input
    };
    let event = json!({
        "Source": backplane.confirmation.event_source, "DetailType": "T", "Detail": "{}", "EventBusName": backplane.bus.name,
    });
    let update = json!({
        "TableName": table, "Key": key, "UpdateExpression": "SET updatedAt = :now",
        "ExpressionAttributeValues": {":now": {"S": "now"}},
    });
    let topic = &provisioned.topic_arn;
    let mut calls: BTreeMap<String, Call> = [
        ("get", "dynamodb", "GetItem", json!({"TableName": table, "Key": key})),
        ("put", "dynamodb", "PutItem", json!({"TableName": table, "Item": key})),
        ("update", "dynamodb", "UpdateItem", update),
        ("delete", "dynamodb", "DeleteItem", json!({"TableName": table, "Key": key})),
        ("query", "dynamodb", "Query", query(None, "insuredId")),
        ("query pending", "dynamodb", "Query", query(Some(&backplane.table.index.name), "pendingShard")),
        ("scan", "dynamodb", "Scan", json!({"TableName": table})),
        (
            "put in a transaction",
            "dynamodb",
            "TransactWriteItems",
            json!({"TransactItems": [{"Put": {"TableName": table, "Item": key}}]}),
        ),
        ("delete the table", "dynamodb", "DeleteTable", json!({"TableName": table})),
        ("publish", "sns", "Publish", json!({"TopicArn": topic, "Message": "{}"})),
        ("delete the topic", "sns", "DeleteTopic", json!({"TopicArn": topic})),
        ("announce", "events", "PutEvents", json!({"Entries": [event]})),
        ("delete the bus", "events", "DeleteEventBus", json!({"Name": backplane.bus.name})),
        ("make a key", "iam", "CreateAccessKey", json!({"UserName": "appointments-edge"})),
    ]
    .map(|(name, service, operation, input)| (name.to_owned(), (service, operation, input)))
    .into();
    let slots = &backplane.slots_table;
    let slot_key = json!({"slotKey": {"S": "PE#1"}});
    let on_slots = |mut input: Value| {
        input["TableName"] = json!(slots.name);
        input
    };
    for (name, operation, input) in [
        ("get a slot", "GetItem", json!({"Key": slot_key})),
        ("put a slot", "PutItem", json!({"Item": slot_key})),
        ("delete a slot", "DeleteItem", json!({"Key": slot_key})),
        ("scan the slots", "Scan", json!({})),
    ] {
        calls.insert(name.to_owned(), ("dynamodb", operation, on_slots(input)));
    }
    for (index, key) in &slots.indexes.partition_keys {
        let mut input = on_slots(query(Some(index), &key.name));
        input["ExpressionAttributeValues"] = json!({":value": {"S": "PE#Cardiología"}});
        calls.insert(format!("query {index}"), ("dynamodb", "Query", input));
    }
    for country in backplane.countries() {
        let path = |key: String| json!(format!("/{}/{key}", country.slots_bucket));
        let [file, report] = [&country.slots_files, &country.slots_reports].map(|folder| path(format!("{folder}a")));
        for (what, operation, path) in [
            ("read a file", "GET", &file),
            ("write a file", "PUT", &file),
            ("delete a file", "DELETE", &file),
            ("read a report", "GET", &report),
            ("write a report", "PUT", &report),
        ] {
            calls.insert(format!("{what} of {}", country.code), ("s3", operation, path.clone()));
        }
    }
    for (queue, url) in &provisioned.queue_urls {
        let handle = json!({"QueueUrl": url, "ReceiptHandle": "nobody's"});
        let visibility = json!({"QueueUrl": url, "ReceiptHandle": "nobody's", "VisibilityTimeout": 1});
        // Without waiting: only the confirmation queue is polled for long.
        let receive = json!({"QueueUrl": url, "WaitTimeSeconds": 0});
        let attributes = json!({"QueueUrl": url, "AttributeNames": ["All"]});
        for (name, operation, input) in [
            ("receive", "ReceiveMessage", receive),
            ("delete", "DeleteMessage", handle),
            ("look at", "GetQueueAttributes", attributes),
            ("keep", "ChangeMessageVisibility", visibility),
            ("send", "SendMessage", json!({"QueueUrl": url, "MessageBody": "{}"})),
            ("purge", "PurgeQueue", json!({"QueueUrl": url})),
        ] {
            calls.insert(format!("{name} {queue}"), ("sqs", operation, input));
        }
    }
    for (country, secret) in &provisioned.master_secrets {
        let change = json!({"SecretId": secret, "SecretString": "{}"});
        calls
            .insert(format!("read the owner of {country}"), ("secrets", "GetSecretValue", json!({"SecretId": secret})));
        calls.insert(format!("change the owner of {country}"), ("secrets", "PutSecretValue", change));
    }
    for (name, principal) in &backplane.principals {
        let Some(country) = backplane.codes().next() else { continue };
        let role = backplane.principal_name(principal, Some(country));
        let role = format!("arn:aws:iam::{ACCOUNT}:role/{role}");
        let assume = json!({"RoleArn": role, "RoleSessionName": "test"});
        calls.insert(format!("act as {name}"), ("sts", "AssumeRole", assume));
    }
    calls
}

/// The keys of a function's role, as Lambda gets them.
pub(crate) async fn assume(root: &Aws, role: &str) -> Credentials {
    let arn = format!("arn:aws:iam::{ACCOUNT}:role/{role}");
    let response = root.sts("AssumeRole", &[("RoleArn", &arn), ("RoleSessionName", "test")]).await.unwrap();
    let element = |name: &str| {
        let (_, rest) = response.split_once(&format!("<{name}>")).unwrap();
        rest.split_once('<').unwrap().0.to_owned()
    };
    Credentials::from_keys(element("AccessKeyId"), element("SecretAccessKey"), Some(element("SessionToken")))
}

type Call = (&'static str, &'static str, Value);

async fn perform(aws: &Aws, (service, operation, input): &Call) -> Result<(), String> {
    let params = || {
        let fields = input.as_object().unwrap().iter();
        fields.map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect::<Vec<_>>()
    };
    let outcome = match *service {
        "dynamodb" => aws.dynamodb(operation, input).await.map(drop),
        "sqs" => aws.sqs(operation, input).await.map(drop),
        "events" => aws.events(operation, input).await.map(drop),
        "s3" => {
            let method = operation.parse().unwrap();
            aws.s3(method, input.as_str().unwrap(), Bytes::new()).await.map(drop)
        }
        "secrets" => aws.secrets(operation, input).await.map(drop),
        "sns" => aws.sns(operation, &params()).await.map(drop),
        "sts" => aws.sts(operation, &params()).await.map(drop),
        "iam" => aws.iam(operation, &params()).await.map(drop),
        other => panic!("no service {other}"),
    };
    outcome.map_err(|error| format!("{error:#}"))
}

#[tokio::test]
async fn a_wrong_secret_is_refused() {
    let (ministack, backplane, provisioned) = provisioned("backplane-secret").await;
    let right = provisioned.credentials.get("edge").unwrap();
    let call = (
        "dynamodb",
        "GetItem",
        json!({
            "TableName": backplane.table.name, "Key": {"insuredId": {"S": "00123"}, "sk": {"S": "appointment#1"}},
        }),
    );
    let endpoint = ministack.endpoint().unwrap();
    perform(&emulator::with_rights_of(endpoint.clone(), right.clone()), &call).await.unwrap();
    for (key, secret) in [(right.access_key_id(), "wrong"), ("AKIAUNKNOWN000000000", right.secret_access_key())] {
        let wrong = emulator::with_rights_of(endpoint.clone(), Credentials::from_keys(key, secret, None));
        let error = perform(&wrong, &call).await.unwrap_err();
        let expected = ["InvalidSignatureException", "UnrecognizedClientException", "SignatureDoesNotMatch"];
        assert!(expected.iter().any(|code| error.contains(code)), "{error}");
        assert!(!error.contains(right.secret_access_key()));
    }
}
