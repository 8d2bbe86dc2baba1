//! Creates the backplane in the emulator, exactly as `infra/backplane.json` describes it.

mod arns;
mod functions;
mod principals;
mod provisioned;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use aws_http::Endpoint;
use bytes::Bytes;
use futures::future::{try_join, try_join_all, try_join3, try_join4};
use http::Method;
use operator::aws::Aws;
use operator::backplane::{Backplane, BusQueue, Rule};
use serde_json::{Value, json};

use crate::database::Database;
use crate::emulator;

pub use arns::log_group;
use arns::{Arns, arn, rule_arn};
pub(crate) use functions::Function;
pub use functions::{Api, WorkerCode, register_application, register_workers};
use principals::create_principals;
pub use principals::lambda_trust_policy;
pub use provisioned::Provisioned;

/// Creates everything that no function's code depends on; `databases` are the countries', by code.
///
/// Calls that do not depend on each other run at the same time.
///
/// # Errors
/// When the emulator refuses a call, or a country has no database.
pub async fn provision(
    backplane: &Backplane,
    endpoint: &Endpoint,
    databases: &BTreeMap<String, Database>,
) -> Result<Provisioned> {
    let aws = emulator::root(endpoint.clone());
    let master_secrets = keep_master_secrets(&aws, backplane, databases).await?;
    let arns = Arns { backplane, master_secrets: &master_secrets };
    let (topic_arn, queue_urls, credentials, ()) = try_join4(
        create_messaging(&aws, backplane),
        create_queues(&aws, backplane),
        create_principals(&aws, &arns),
        create_tables_and_buckets(&aws, backplane),
    )
    .await?;
    try_join(subscribe(&aws, backplane, &topic_arn), route_events(&aws, backplane)).await?;
    Ok(Provisioned { topic_arn, queue_urls, credentials, master_secrets })
}

/// Keeps each database's owner in Secrets Manager, as RDS does; the ARNs of the secrets by the country's code.
async fn keep_master_secrets(
    aws: &Aws,
    backplane: &Backplane,
    databases: &BTreeMap<String, Database>,
) -> Result<BTreeMap<String, String>> {
    let kept = try_join_all(backplane.countries().map(async |country| {
        let database = databases.get(&country.code).with_context(|| format!("no database of {}", country.code))?;
        let secret = json!({
            "Name": format!("rds!db-{}", country.database),
            "SecretString": database.master_secret().to_string(),
        });
        let response = aws.secrets("CreateSecret", &secret).await?;
        let arn = response.get("ARN").and_then(Value::as_str).context("the response to CreateSecret has no ARN")?;
        anyhow::Ok((country.code, arn.to_owned()))
    }))
    .await?;
    Ok(kept.into_iter().collect())
}

async fn create_tables_and_buckets(aws: &Aws, backplane: &Backplane) -> Result<()> {
    let Backplane { table, slots_table, .. } = backplane;
    let buckets = try_join_all(
        backplane
            .countries()
            .map(async |country| aws.s3(Method::PUT, &format!("/{}", country.slots_bucket), Bytes::new()).await),
    );
    try_join3(
        create_table(aws, &table.name, &table.definition(), &table.time_to_live_attribute),
        create_table(aws, &slots_table.name, &slots_table.definition(), &slots_table.time_to_live_attribute),
        buckets,
    )
    .await?;
    Ok(())
}

async fn create_table(aws: &Aws, name: &str, definition: &Value, expiry: &str) -> Result<()> {
    aws.dynamodb("CreateTable", definition).await?;
    let expiry = json!({"AttributeName": expiry, "Enabled": true});
    aws.dynamodb("UpdateTimeToLive", &json!({"TableName": name, "TimeToLiveSpecification": expiry})).await?;
    Ok(())
}

/// Creates the topic, whose ARN is returned, the bus and its rules.
async fn create_messaging(aws: &Aws, backplane: &Backplane) -> Result<String> {
    let topic = async {
        aws.sns("CreateTopic", &[("Name", &backplane.topic.name)]).await?;
        Ok(arn("sns", &backplane.topic.name))
    };
    let bus = async {
        let name = &backplane.bus.name;
        aws.events("CreateEventBus", &json!({"Name": name})).await?;
        let archive = json!({
            "ArchiveName": backplane.bus.archive,
            "EventSourceArn": arn("events", &format!("event-bus/{name}")),
            "RetentionDays": backplane.durations.archive_retention / (24 * 60 * 60),
        });
        aws.events("CreateArchive", &archive).await?;
        try_join_all(fed_queues(backplane).map(async |(rule, _)| {
            let rule = json!({
                "Name": rule.name,
                "EventBusName": name,
                "EventPattern": backplane.event_pattern(rule).to_string(),
            });
            aws.events("PutRule", &rule).await
        }))
        .await
    };
    let (topic, _) = try_join(topic, bus).await?;
    Ok(topic)
}

/// Creates each queue and its dead-letter queue; their URLs by name.
async fn create_queues(aws: &Aws, backplane: &Backplane) -> Result<BTreeMap<String, String>> {
    let durations = &backplane.durations;
    let country_queues = backplane.countries().map(|country| Queue {
        policy: delivery_policy("sns.amazonaws.com", &arn("sns", &backplane.topic.name), &country.queue),
        max_receive_count: country.max_receive_count,
        receive_wait: 0,
        name: country.queue,
        dead_letter_queue: country.dead_letter_queue,
    });
    let bus_queues = fed_queues(backplane).map(|(rule, queue)| Queue {
        policy: delivery_policy("events.amazonaws.com", &rule_arn(backplane, rule), &queue.name),
        max_receive_count: queue.max_receive_count,
        receive_wait: durations.confirmation_receive_wait,
        name: queue.name.clone(),
        dead_letter_queue: queue.dead_letter_queue.clone(),
    });
    let created = country_queues.chain(bus_queues).map(async |queue| {
        let dead_letters = json!({"MessageRetentionPeriod": durations.dead_letter_retention.to_string()});
        let dead_letter_url = create_queue(aws, &queue.dead_letter_queue, dead_letters).await?;
        let redrive = json!({
            "deadLetterTargetArn": arn("sqs", &queue.dead_letter_queue),
            "maxReceiveCount": queue.max_receive_count,
        });
        let attributes = json!({
            "VisibilityTimeout": durations.visibility_timeout.to_string(),
            "MessageRetentionPeriod": durations.queue_retention.to_string(),
            "ReceiveMessageWaitTimeSeconds": queue.receive_wait.to_string(),
            "RedrivePolicy": redrive.to_string(),
            "Policy": queue.policy.to_string(),
        });
        let url = create_queue(aws, &queue.name, attributes).await?;
        anyhow::Ok([(queue.dead_letter_queue, dead_letter_url), (queue.name, url)])
    });
    Ok(try_join_all(created).await?.into_iter().flatten().collect())
}

/// The rules of the bus, each with the queue that it feeds.
fn fed_queues(backplane: &Backplane) -> impl Iterator<Item = (&Rule, &BusQueue)> {
    let rules = &backplane.bus.rules;
    [(&rules.outcomes, &backplane.confirmation_queue), (&rules.slots, &backplane.slots_queue)].into_iter()
}

struct Queue {
    name: String,
    dead_letter_queue: String,
    max_receive_count: u32,
    receive_wait: u64,
    policy: Value,
}

/// The queue policy that lets one source deliver through a service, and nobody else.
fn delivery_policy(service: &str, source_arn: &str, queue: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "DeliverFromSource",
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "sqs:SendMessage",
            "Resource": arn("sqs", queue),
            "Condition": {"ArnEquals": {"aws:SourceArn": source_arn}},
        }],
    })
}

async fn create_queue(aws: &Aws, name: &str, attributes: Value) -> Result<String> {
    let created = aws.sqs("CreateQueue", &json!({"QueueName": name, "Attributes": attributes})).await?;
    let url = created.get("QueueUrl").and_then(Value::as_str);
    Ok(url.with_context(|| format!("the response to CreateQueue {name} has no QueueUrl"))?.to_owned())
}

async fn subscribe(aws: &Aws, backplane: &Backplane, topic_arn: &str) -> Result<()> {
    try_join_all(backplane.countries().map(async |country| {
        let raw = country.subscription.raw_message_delivery.to_string();
        let filter = country.subscription.filter_policy.to_string();
        aws.sns(
            "Subscribe",
            &[
                ("TopicArn", topic_arn),
                ("Protocol", "sqs"),
                ("Endpoint", &arn("sqs", &country.queue)),
                ("Attributes.entry.1.key", "RawMessageDelivery"),
                ("Attributes.entry.1.value", &raw),
                ("Attributes.entry.2.key", "FilterPolicy"),
                ("Attributes.entry.2.value", &filter),
            ],
        )
        .await
    }))
    .await?;
    Ok(())
}

async fn route_events(aws: &Aws, backplane: &Backplane) -> Result<()> {
    try_join_all(fed_queues(backplane).map(async |(rule, queue)| {
        let target = json!({"Id": "queue", "Arn": arn("sqs", &queue.name)});
        let targets = json!({"Rule": rule.name, "EventBusName": backplane.bus.name, "Targets": [target]});
        let response = aws.events("PutTargets", &targets).await?;
        match response.get("FailedEntryCount").and_then(Value::as_u64) {
            None | Some(0) => Ok(()),
            Some(_) => bail!("EventBridge refused {} as a target: {response}", queue.name),
        }
    }))
    .await?;
    Ok(())
}
