//! `infra/backplane.json`: what must hold for its numbers and names, and what the emulator makes of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use appointment::{Country, STATUS_CHANGED_SOURCE};
use aws_http::Credentials;
use local_stack::aws::Aws;
use local_stack::backplane::{Backplane, FILE, PrincipalKind};
use local_stack::ministack::Ministack;
use local_stack::provision::{Provisioned, provision};
use local_stack::setup;
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
    let confirmation = &backplane.confirmation_queue;
    for (queue, receives) in countries.chain([(confirmation.name.clone(), confirmation.max_receive_count)]) {
        let outage = Duration::from_secs(u64::from(receives - 1) * durations.visibility_timeout);
        assert!(outage > Duration::from_secs(30 * 60), "{queue} gives up after {outage:?}");
        let given_up = durations.republish_delays.iter().sum::<u64>();
        assert!(
            given_up > u64::from(receives) * durations.visibility_timeout,
            "the republisher gives up after {given_up} s, before {queue} does"
        );
    }
}

#[test]
fn durations_fit_each_other_and_the_limits_of_aws() {
    let deployed = backplane().durations;
    // https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    assert!(deployed.visibility_timeout >= 6 * deployed.worker_timeout);
    assert_eq!(deployed.dead_letter_retention, 14 * 24 * 3600, "the longest that SQS keeps a message");
    assert!(deployed.queue_retention < deployed.dead_letter_retention, "a message keeps its age when it is moved");
    assert_eq!(deployed.batching_window, 0);
    assert_eq!(deployed.confirmation_receive_wait, 20, "the longest that SQS waits");
    let local = backplane().shortened().unwrap().durations;
    for durations in [&deployed, &local] {
        // Lambda refuses an event source mapping whose queue shows messages again before the function's time is over.
        assert!(durations.visibility_timeout >= durations.worker_timeout);
        assert!(durations.visibility_timeout > durations.confirmation_answer);
        assert!(durations.republish_interval <= *durations.republish_delays.first().unwrap());
    }
    assert_eq!(local.republish_delays.len(), deployed.republish_delays.len(), "the number of attempts is no duration");
}

#[test]
fn the_local_block_overrides_durations_and_nothing_else() {
    let block = "/local";
    let refused = [
        (block, json!({"durations_seconds": {}, "table": {"name": "other"}}), "unknown field `table`"),
        (block, json!({"durations_seconds": {"batch_size": 1}}), "batch_size"),
        (block, json!({"durations_seconds": {"visibility_timeout": "6"}}), "only a duration"),
        ("/durations_seconds", json!({"visibility_timeout": 480}), "missing field"),
        ("/topic", json!({"name": "topic", "fifo": true}), "unknown field `fifo`"),
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
    let delays: Vec<String> = backplane.durations.republish_delays.iter().map(u64::to_string).collect();
    assert_eq!(default("republish_delays_seconds"), delays.join(","));
    assert_eq!(default("appointments_table"), backplane.table.name);
    assert_eq!(default("appointments_event_bus"), backplane.bus.name);
}

#[test]
fn the_domain_and_the_backplane_agree() {
    let backplane = backplane();
    let codes: Vec<&str> = Country::ALL.iter().map(|country| country.code()).collect();
    assert_eq!(backplane.countries, codes);
    for (country, names) in Country::ALL.iter().zip(backplane.countries()) {
        assert_eq!(names.event_source, country.event_source());
        assert_eq!(names.subscription.filter_policy, json!({"countryISO": [country.code()]}));
        let manifest = workspace().join("native-workers").join(&names.function).join("Cargo.toml");
        assert!(manifest.is_file(), "{} has no worker crate named {}", country.code(), names.function);
    }
    assert_eq!(backplane.confirmation.event_source, STATUS_CHANGED_SOURCE);
    let sources: Vec<&str> = Country::ALL.iter().map(|country| country.event_source()).collect();
    // The rule must never match what the confirmation component publishes: that would be a loop.
    assert_eq!(backplane.event_pattern(), json!({"source": sources}));
}

#[test]
fn a_further_country_is_one_entry() {
    let backplane = Backplane::parse(&with("/countries", json!(["PE", "CL", "CO"]))).unwrap();
    let names = backplane.countries().last().unwrap();
    let derived = [names.queue, names.dead_letter_queue, names.function, names.database, names.event_source];
    assert_eq!(derived, ["SQS_CO", "SQS_CO_DLQ", "appointment-co", "appointments_co", "appointments.worker.CO"]);
    assert_eq!(backplane.event_pattern().pointer("/source/2"), Some(&json!("appointments.worker.CO")));
}

#[test]
fn policies_grant_single_actions_on_named_resources() {
    let backplane = backplane();
    for (name, principal) in &backplane.principals {
        let country = (principal.kind == PrincipalKind::CountryWorker).then_some("PE");
        let policy = backplane.policy(principal, country, |resource| Ok::<_, ()>(format!("arn:{resource:?}"))).unwrap();
        for statement in policy.get("Statement").and_then(Value::as_array).unwrap() {
            let text = statement.to_string();
            assert!(!text.contains('*'), "{name} has a wildcard: {text}");
            assert!(!text.contains('{') || !text.contains("{worker") && !text.contains("{COUNTRY"), "{name}: {text}");
        }
        assert_eq!(principal.service.is_some(), principal.kind == PrincipalKind::Service, "{name}");
    }
    let worker = backplane.principals.get("worker").unwrap();
    let policy = backplane.policy(worker, Some("CL"), |_| Ok::<_, ()>(String::new())).unwrap();
    let condition = json!({"StringEqualsIfExists": {"events:source": ["appointments.worker.CL"]}});
    assert_eq!(policy.pointer("/Statement/1/Condition"), Some(&condition));
}

/// Names that stand in `infra/backplane.json` stand nowhere else as a literal: not in code, not in Terraform.
#[test]
fn no_name_stands_twice() {
    let backplane = backplane();
    let confirmation = backplane.confirmation_queue.clone();
    let mut names: Vec<String> = backplane
        .countries()
        .flat_map(|country| [country.queue, country.dead_letter_queue, country.delivery_dead_letter_queue])
        .chain([confirmation.name, confirmation.dead_letter_queue, confirmation.delivery_dead_letter_queue])
        .chain([
            backplane.topic.name.clone(),
            backplane.bus.rule.name.clone(),
            backplane.confirmation.connection.clone(),
        ])
        .collect();
    names.extend(backplane.principals.values().map(|principal| backplane.principal_name(principal, None)));
    let unique: BTreeSet<&String> = names.iter().collect();
    assert_eq!(unique.len(), names.len(), "a name stands twice in {FILE}: {names:?}");

    let mut sources = Vec::new();
    for folder in ["components", "crates", "native-workers", "xtask", "infra", "spin.toml"] {
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
    let provisioned = provision(&backplane, &ministack.endpoint().unwrap()).await.unwrap();
    (ministack, backplane, provisioned)
}

#[tokio::test]
async fn a_message_reaches_its_country_only_and_as_published() {
    let (ministack, backplane, provisioned) = provisioned("backplane-filter").await;
    let endpoint = ministack.endpoint().unwrap();
    let intake = Aws::new(endpoint.clone(), provisioned.credentials.get("intake").unwrap().clone());
    let root = Aws::root(endpoint);
    for country in backplane.countries() {
        let published = [
            ("TopicArn", provisioned.topic_arn.as_str()),
            ("Message", &country.code),
            ("MessageAttributes.entry.1.Name", "countryISO"),
            ("MessageAttributes.entry.1.Value.DataType", "String"),
            ("MessageAttributes.entry.1.Value.StringValue", &country.code),
        ];
        intake.sns("Publish", &published).await.unwrap();
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
async fn the_rule_takes_the_workers_events_only() {
    let (ministack, backplane, provisioned) = provisioned("backplane-rule").await;
    let root = Aws::root(ministack.endpoint().unwrap());
    let sources = backplane.countries().map(|country| country.event_source);
    for source in sources.chain([backplane.confirmation.event_source.clone(), "appointments".to_owned()]) {
        let entry = json!({"Source": source, "DetailType": "Test", "Detail": "{}", "EventBusName": backplane.bus.name});
        root.events("PutEvents", &json!({"Entries": [entry]})).await.unwrap();
    }
    let url = provisioned.queue_urls.get(&backplane.confirmation_queue.name).unwrap();
    let mut sources = BTreeSet::new();
    for wait in [5, 1] {
        let request = json!({"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": wait});
        let received = root.sqs("ReceiveMessage", &request).await.unwrap();
        for message in received.get("Messages").and_then(Value::as_array).unwrap_or(&Vec::new()) {
            let body = message.get("Body").and_then(Value::as_str).unwrap();
            let envelope: Value = serde_json::from_str(body).unwrap();
            sources.insert(envelope.get("source").and_then(Value::as_str).unwrap().to_owned());
        }
    }
    assert_eq!(sources, backplane.countries().map(|country| country.event_source).collect());
}

/// Who may do what: each principal its own work, and nothing of another's.
#[tokio::test]
async fn each_principal_may_do_its_work_and_nothing_else() {
    let (ministack, backplane, provisioned) = provisioned("backplane-rights").await;
    let endpoint = ministack.endpoint().unwrap();
    let table = backplane.table.name.as_str();
    let key = json!({"insuredId": {"S": "00123"}, "sk": {"S": "appointment#1"}});
    let event = |source: &str| json!({"Entries": [{"Source": source, "DetailType": "T", "Detail": "{}", "EventBusName": backplane.bus.name}]});
    let get = ("dynamodb", "GetItem", json!({"TableName": table, "Key": key}));
    let put = ("dynamodb", "PutItem", json!({"TableName": table, "Item": key}));
    let update = (
        "dynamodb",
        "UpdateItem",
        json!({
            "TableName": table, "Key": key, "UpdateExpression": "SET updatedAt = :now",
            "ExpressionAttributeValues": {":now": {"S": "now"}},
        }),
    );
    let delete = ("dynamodb", "DeleteItem", json!({"TableName": table, "Key": key}));
    let scan = ("dynamodb", "Scan", json!({"TableName": table}));
    let transaction = (
        "dynamodb",
        "TransactWriteItems",
        json!({
            "TransactItems": [{"Put": {"TableName": table, "Item": key}}],
        }),
    );
    let query = (
        "dynamodb",
        "Query",
        json!({
            "TableName": table, "KeyConditionExpression": "insuredId = :id",
            "ExpressionAttributeValues": {":id": {"S": "00123"}},
        }),
    );
    let query_index = (
        "dynamodb",
        "Query",
        json!({
            "TableName": table, "IndexName": backplane.table.index.name, "KeyConditionExpression": "pendingShard = :shard",
            "ExpressionAttributeValues": {":shard": {"S": "PE#0"}},
        }),
    );
    let publish = ("sns", "Publish", json!({"TopicArn": provisioned.topic_arn, "Message": "{}"}));
    let announce = ("events", "PutEvents", event(&backplane.confirmation.event_source));
    let delete_bus = ("events", "DeleteEventBus", json!({"Name": backplane.bus.name}));
    let queue = |name: &str| provisioned.queue_urls.get(name).unwrap().clone();
    let confirmations = queue(&backplane.confirmation_queue.name);
    let peru = queue(&backplane.countries().next().unwrap().queue);
    // Without a long poll of its own, which the confirmation queue has.
    let receive = |url: &str| ("sqs", "ReceiveMessage", json!({"QueueUrl": url, "WaitTimeSeconds": 0}));
    let send = |url: &str| ("sqs", "SendMessage", json!({"QueueUrl": url, "MessageBody": "{}"}));
    let purge = |url: &str| ("sqs", "PurgeQueue", json!({"QueueUrl": url}));

    let rights = [
        (
            "intake",
            vec![&get, &put, &update, &query, &transaction, &publish],
            vec![&delete, &scan, &query_index, &announce, &delete_bus],
        ),
        (
            "confirmation",
            vec![&get, &update, &query_index, &publish, &announce],
            vec![&put, &delete, &scan, &query, &transaction, &delete_bus],
        ),
        ("pipe", vec![], vec![&get, &put, &update, &query, &publish, &announce]),
        ("republisher", vec![], vec![&get, &put, &update, &query, &publish, &announce]),
    ];
    let of_queues = [
        ("intake", vec![], vec![receive(&peru), send(&peru), receive(&confirmations), send(&confirmations)]),
        ("confirmation", vec![], vec![receive(&peru), send(&peru), receive(&confirmations), send(&confirmations)]),
        ("pipe", vec![receive(&confirmations)], vec![send(&confirmations), purge(&confirmations), receive(&peru)]),
        ("republisher", vec![], vec![receive(&confirmations), send(&confirmations)]),
    ];
    let mut checked = 0;
    let calls = rights.iter().map(|(who, allowed, refused)| (*who, allowed.clone(), refused.clone())).chain(
        of_queues.iter().map(|(who, allowed, refused)| (*who, allowed.iter().collect(), refused.iter().collect())),
    );
    for (who, allowed, refused) in calls {
        let aws = Aws::new(endpoint.clone(), provisioned.credentials.get(who).unwrap().clone());
        for (call, may) in allowed.iter().map(|call| (*call, true)).chain(refused.iter().map(|call| (*call, false))) {
            let (service, operation, _) = call;
            match perform(&aws, call).await {
                Ok(()) => assert!(may, "{who} may {service}:{operation}"),
                Err(error) => assert!(
                    !may && (error.contains("AccessDenied") || error.contains("AuthorizationError")),
                    "{who}, {service}:{operation}: {error}"
                ),
            }
            checked += 1;
        }
    }
    println!("{checked} calls of {} principals were allowed or refused as they should", rights.len());
}

type Call = (&'static str, &'static str, Value);

async fn perform(aws: &Aws, (service, operation, input): &Call) -> Result<(), String> {
    let outcome = match *service {
        "dynamodb" => aws.dynamodb(operation, input).await.map(drop),
        "sqs" => aws.sqs(operation, input).await.map(drop),
        "events" => aws.events(operation, input).await.map(drop),
        _ => {
            let members = input.as_object().unwrap().iter();
            let params: Vec<(&str, &str)> =
                members.map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
            aws.sns(operation, &params).await.map(drop)
        }
    };
    outcome.map_err(|error| format!("{error:#}"))
}

#[tokio::test]
async fn a_wrong_secret_is_refused() {
    let (ministack, backplane, provisioned) = provisioned("backplane-secret").await;
    let right = provisioned.credentials.get("intake").unwrap();
    let call = (
        "dynamodb",
        "GetItem",
        json!({
            "TableName": backplane.table.name, "Key": {"insuredId": {"S": "00123"}, "sk": {"S": "appointment#1"}},
        }),
    );
    let endpoint = ministack.endpoint().unwrap();
    perform(&Aws::new(endpoint.clone(), right.clone()), &call).await.unwrap();
    for (key, secret) in [(right.access_key_id(), "wrong"), ("AKIAUNKNOWN000000000", right.secret_access_key())] {
        let wrong = Aws::new(endpoint.clone(), Credentials::from_keys(key, secret, None));
        let error = perform(&wrong, &call).await.unwrap_err();
        let expected = ["InvalidSignatureException", "UnrecognizedClientException", "SignatureDoesNotMatch"];
        assert!(expected.iter().any(|code| error.contains(code)), "{error}");
        assert!(!error.contains(right.secret_access_key()));
    }
}
