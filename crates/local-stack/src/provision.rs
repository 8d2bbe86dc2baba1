//! Creates the backplane in the emulator, exactly as `infra/backplane.json` describes it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_http::{Credentials, Endpoint};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::future::{try_join, try_join_all, try_join4};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::aws::Aws;
use crate::backplane::{Backplane, Country, Principal, PrincipalKind, Resource, Table};
use crate::database::Database;
use crate::ministack::{ACCOUNT, REGION};

/// What the application and the tests need to know of a provisioned backplane.
pub struct Provisioned {
    /// The ARN of the topic.
    pub topic_arn: String,
    /// The URL of each queue and dead-letter queue, by its name.
    pub queue_urls: BTreeMap<String, String>,
    /// The access key of each principal that is not a role, by its logical name in `infra/backplane.json`.
    pub credentials: BTreeMap<String, Credentials>,
    /// The ARN of the secret with the owner of each country's database, by the country's code.
    pub master_secrets: BTreeMap<String, String>,
}

/// What a country's functions are registered with.
pub struct WorkerCode<'a> {
    /// The zip with the executable `bootstrap`.
    pub zip: &'a Path,
    /// The country's database.
    pub database: &'a Database,
}

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
    let aws = Aws::root(endpoint.clone());
    let master_secrets = keep_master_secrets(&aws, backplane, databases).await?;
    let arns = Arns { backplane, master_secrets: &master_secrets };
    let (topic_arn, queue_urls, credentials, ()) = try_join4(
        create_messaging(&aws, backplane),
        create_queues(&aws, backplane),
        create_principals(&aws, &arns),
        create_table(&aws, &backplane.table),
    )
    .await?;
    try_join(subscribe(&aws, backplane, &topic_arn), route_outcomes(&aws, backplane)).await?;
    Ok(Provisioned { topic_arn, queue_urls, credentials, master_secrets })
}

/// Registers each country's functions (`provided.al2023`), the migration and the worker from the same zip: first the
/// migration is invoked, then the worker consumes its queue.
///
/// # Errors
/// When a zip cannot be read, a country has no entry in `code`, a migration fails, or the emulator refuses a call.
pub async fn register_workers(
    backplane: &Backplane,
    endpoint: &Endpoint,
    provisioned: &Provisioned,
    code: &BTreeMap<String, WorkerCode<'_>>,
) -> Result<()> {
    let registrar = Registrar { aws: Aws::root(endpoint.clone()), backplane, endpoint, provisioned };
    let countries: Vec<Country> = backplane.countries().collect();
    try_join_all(countries.iter().map(|country| async {
        let code = code.get(&country.code).with_context(|| format!("no worker for {}", country.code))?;
        let zip = tokio::fs::read(code.zip).await.with_context(|| format!("cannot read {}", code.zip.display()))?;
        let zip = BASE64.encode(zip);
        registrar.migrate(country, &zip, code.database).await?;
        registrar.register_worker(country, &zip, code.database).await
    }))
    .await?;
    Ok(())
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
        let answer = aws.secrets("CreateSecret", &secret).await?;
        let arn = answer.get("ARN").and_then(Value::as_str).context("CreateSecret answered no ARN")?;
        anyhow::Ok((country.code, arn.to_owned()))
    }))
    .await?;
    Ok(kept.into_iter().collect())
}

async fn create_table(aws: &Aws, table: &Table) -> Result<()> {
    aws.dynamodb("CreateTable", &table.definition()).await?;
    let expiry = json!({"AttributeName": table.time_to_live_attribute, "Enabled": true});
    aws.dynamodb("UpdateTimeToLive", &json!({"TableName": table.name, "TimeToLiveSpecification": expiry})).await?;
    Ok(())
}

/// Creates the topic, whose ARN is returned, the bus and its rule.
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
        let rule = json!({
            "Name": backplane.bus.rule.name,
            "EventBusName": name,
            "EventPattern": backplane.event_pattern().to_string(),
        });
        aws.events("PutRule", &rule).await
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
    let confirmation = &backplane.confirmation_queue;
    let confirmation_queue = Queue {
        policy: delivery_policy("events.amazonaws.com", &rule_arn(backplane), &confirmation.name),
        max_receive_count: confirmation.max_receive_count,
        receive_wait: durations.confirmation_receive_wait,
        name: confirmation.name.clone(),
        dead_letter_queue: confirmation.dead_letter_queue.clone(),
    };
    let created = country_queues.chain([confirmation_queue]).map(async |queue| {
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
    Ok(url.with_context(|| format!("CreateQueue {name} answered no QueueUrl"))?.to_owned())
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

async fn route_outcomes(aws: &Aws, backplane: &Backplane) -> Result<()> {
    let target = json!({"Id": "confirmation-queue", "Arn": arn("sqs", &backplane.confirmation_queue.name)});
    let rule = json!({"Rule": backplane.bus.rule.name, "EventBusName": backplane.bus.name, "Targets": [target]});
    let answer = aws.events("PutTargets", &rule).await?;
    match answer.get("FailedEntryCount").and_then(Value::as_u64) {
        None | Some(0) => Ok(()),
        Some(_) => bail!("EventBridge refused the confirmation queue as a target: {answer}"),
    }
}

/// Creates a role for each country's worker, and for everybody else a user with an access key. A component has a role
/// beside it, which the host assumes where it is not started with the user's key.
async fn create_principals(aws: &Aws, arns: &Arns<'_>) -> Result<BTreeMap<String, Credentials>> {
    let credentials = try_join_all(arns.backplane.principals.iter().map(async |(logical_name, principal)| {
        if principal.kind == PrincipalKind::CountryWorker {
            create_worker_roles(aws, arns, principal).await?;
            return anyhow::Ok(None);
        }
        // On AWS a service assumes a role; here this program plays the service, with the rights of that role.
        let credentials = create_user(aws, arns, principal).await?;
        if principal.kind == PrincipalKind::Component {
            create_component_role(aws, arns, principal).await?;
        }
        Ok(Some((logical_name.clone(), credentials)))
    }))
    .await?;
    Ok(credentials.into_iter().flatten().collect())
}

/// The trust policy of a role that Lambda's functions take on.
#[must_use]
pub fn lambda_trust_policy() -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    })
}

async fn create_worker_roles(aws: &Aws, arns: &Arns<'_>, principal: &Principal) -> Result<()> {
    let backplane = arns.backplane;
    let trust = lambda_trust_policy().to_string();
    try_join_all(backplane.countries().map(async |country| {
        let name = backplane.principal_name(principal, Some(&country.code));
        aws.iam("CreateRole", &[("RoleName", &name), ("AssumeRolePolicyDocument", &trust)]).await?;
        let arn = |resource| arns.of(resource, Some(&country));
        let policy = backplane.policy(principal, Some(&country.code), arn)?.to_string();
        aws.iam("PutRolePolicy", &[("RoleName", &name), ("PolicyName", &name), ("PolicyDocument", &policy)]).await
    }))
    .await?;
    Ok(())
}

async fn create_component_role(aws: &Aws, arns: &Arns<'_>, principal: &Principal) -> Result<()> {
    let backplane = arns.backplane;
    let host = arn_of("user", backplane, "host")?;
    let trust = json!({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": host}, "Action": "sts:AssumeRole"}],
    })
    .to_string();
    let name = &principal.name;
    aws.iam("CreateRole", &[("RoleName", name), ("AssumeRolePolicyDocument", &trust)]).await?;
    let policy = backplane.policy(principal, None, |resource| arns.of(resource, None))?.to_string();
    aws.iam("PutRolePolicy", &[("RoleName", name), ("PolicyName", name), ("PolicyDocument", &policy)]).await?;
    Ok(())
}

async fn create_user(aws: &Aws, arns: &Arns<'_>, principal: &Principal) -> Result<Credentials> {
    /// The part of the answer to `CreateAccessKey` that is read.
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        create_access_key_result: Created,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Created {
        access_key: AccessKey,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct AccessKey {
        access_key_id: String,
        secret_access_key: String,
    }

    let backplane = arns.backplane;
    let name = backplane.principal_name(principal, None);
    aws.iam("CreateUser", &[("UserName", &name)]).await?;
    let policy = backplane.policy(principal, None, |resource| arns.of(resource, None))?.to_string();
    let put_policy = [("UserName", name.as_str()), ("PolicyName", &name), ("PolicyDocument", &policy)];
    let create_key = [("UserName", name.as_str())];
    let (_, created) = try_join(aws.iam("PutUserPolicy", &put_policy), aws.iam("CreateAccessKey", &create_key)).await?;
    // Without the answer in the error: it holds the secret.
    let answer: Answer = quick_xml::de::from_str(&created)
        .map_err(|_| anyhow::anyhow!("the answer to CreateAccessKey is unreadable"))?;
    let key = answer.create_access_key_result.access_key;
    Ok(Credentials::from_keys(key.access_key_id, key.secret_access_key, None))
}

/// What every function is registered with.
struct Registrar<'a> {
    aws: Aws,
    backplane: &'a Backplane,
    endpoint: &'a Endpoint,
    provisioned: &'a Provisioned,
}

impl Registrar<'_> {
    /// Registers the function that migrates a country's database, and invokes it, as Terraform does.
    async fn migrate(&self, country: &Country, zip: &str, database: &Database) -> Result<()> {
        let timeout = self.backplane.durations.migration_timeout;
        let secret = self.provisioned.master_secrets.get(&country.code).context("no master secret")?;
        let function = &country.migration_function;
        self.register(Function {
            principal: "migration",
            country,
            name: function,
            log_group: migration_log_group(country),
            zip,
            timeout,
            environment: BTreeMap::from([
                ("WORKER_MODE", "migrate".to_owned()),
                ("DATABASE_URL", database.address()?),
                ("DATABASE_USER", country.database_user.clone()),
                ("DATABASE_MASTER_SECRET_ARN", secret.clone()),
            ]),
        })
        .await?;
        let patient = Aws::root_with_limit(self.endpoint.clone(), Duration::from_secs(timeout));
        let answer = patient.lambda(&format!("/2015-03-31/functions/{function}/invocations"), &json!({})).await?;
        // A function that fails answers too, with the error in the place of what it returns.
        ensure!(
            answer.get("schemaVersion").is_some(),
            "{function} failed: {}",
            answer.get("errorMessage").and_then(Value::as_str).unwrap_or("it answered no schema version")
        );
        Ok(())
    }

    async fn register_worker(&self, country: &Country, zip: &str, database: &Database) -> Result<()> {
        let backplane = self.backplane;
        self.register(Function {
            principal: "worker",
            country,
            name: &country.function,
            log_group: log_group(country),
            zip,
            timeout: backplane.durations.worker_timeout,
            environment: BTreeMap::from([
                ("DATABASE_URL", database.worker_url(&country.database_user)?),
                ("EVENT_BUS_NAME", backplane.bus.name.clone()),
                ("RECEIVE_DELAYS_SECONDS", backplane.durations.receive_delays_setting()),
            ]),
        })
        .await?;
        self.aws
            .lambda(
                "/2015-03-31/event-source-mappings/",
                &json!({
                    "FunctionName": country.function,
                    "EventSourceArn": arn("sqs", &country.queue),
                    "BatchSize": country.batch_size,
                    "MaximumBatchingWindowInSeconds": backplane.durations.batching_window,
                    "FunctionResponseTypes": country.function_response_types,
                }),
            )
            .await?;
        Ok(())
    }

    /// Creates a function with the role of `principal`, and its log group.
    async fn register(&self, function: Function<'_>) -> Result<()> {
        let Function { principal, country, name, log_group, zip, timeout, mut environment } = function;
        let role = self.backplane.principals.get(principal);
        let role = role.with_context(|| format!("infra/backplane.json names no principal `{principal}`"))?;
        let role = self.backplane.principal_name(role, Some(&country.code));
        environment.insert("AWS_ENDPOINT_URL", self.endpoint.to_string());
        let log_group = json!({"logGroupName": log_group});
        let function = json!({
            "FunctionName": name,
            "Runtime": "provided.al2023",
            "Handler": "bootstrap",
            "Role": format!("arn:aws:iam::{ACCOUNT}:role/{role}"),
            "Timeout": timeout,
            "Code": {"ZipFile": zip},
            "Environment": {"Variables": environment},
        });
        try_join(self.aws.logs("CreateLogGroup", &log_group), self.aws.lambda("/2015-03-31/functions", &function))
            .await?;
        Ok(())
    }
}

/// A function to register.
struct Function<'a> {
    /// Whose role it has, by the name in `infra/backplane.json`.
    principal: &'a str,
    country: &'a Country,
    name: &'a str,
    log_group: String,
    /// The zip in base64.
    zip: &'a str,
    /// In seconds.
    timeout: u64,
    environment: BTreeMap<&'static str, String>,
}

/// The CloudWatch log group of a country's worker.
#[must_use]
pub fn log_group(country: &Country) -> String {
    format!("/aws/lambda/{}", country.function)
}

/// The CloudWatch log group of the function that migrates a country's database.
#[must_use]
pub fn migration_log_group(country: &Country) -> String {
    format!("/aws/lambda/{}", country.migration_function)
}

fn arn(service: &str, name: &str) -> String {
    format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{name}")
}

fn rule_arn(backplane: &Backplane) -> String {
    arn("events", &format!("rule/{}/{}", backplane.bus.name, backplane.bus.rule.name))
}

/// The ARNs behind logical names.
struct Arns<'a> {
    backplane: &'a Backplane,
    master_secrets: &'a BTreeMap<String, String>,
}

impl Arns<'_> {
    /// The ARN of a resource; of a country's where there is one for each.
    fn of(&self, resource: Resource, country: Option<&Country>) -> Result<String> {
        let backplane = self.backplane;
        let table = || arn("dynamodb", &format!("table/{}", backplane.table.name));
        Ok(match (resource, country) {
            (Resource::Table, _) => table(),
            (Resource::TableIndex, _) => format!("{}/index/{}", table(), backplane.table.index.name),
            (Resource::Topic, _) => arn("sns", &backplane.topic.name),
            (Resource::Bus, _) => arn("events", &format!("event-bus/{}", backplane.bus.name)),
            (Resource::IntakeRole, _) => arn_of("role", backplane, "intake")?,
            (Resource::ConfirmationRole, _) => arn_of("role", backplane, "confirmation")?,
            (Resource::ConfirmationQueue, _) => arn("sqs", &backplane.confirmation_queue.name),
            (Resource::ConfirmationsDestination, _) => destination_arn(&backplane.confirmation.pipe.destination),
            (Resource::RepublishDestination, _) => destination_arn(&backplane.confirmation.republish.destination),
            (Resource::NetworkAttachment, _) => arn("ec2", "*/*"),
            (Resource::NetworkDescription, _) => "*".to_owned(),
            (Resource::CountryQueue, Some(country)) => arn("sqs", &country.queue),
            (Resource::WorkerLogGroup, Some(country)) => arn("logs", &format!("log-group:{}:*", log_group(country))),
            (Resource::MigrationLogGroup, Some(country)) => {
                arn("logs", &format!("log-group:{}:*", migration_log_group(country)))
            }
            (Resource::WorkerDatabaseUser, Some(country)) => {
                arn("rds-db", &format!("dbuser:{}/{}", country.database, country.database_user))
            }
            (Resource::DatabaseMasterSecret, Some(country)) => {
                self.master_secrets.get(&country.code).context("no master secret")?.clone()
            }
            (
                Resource::CountryQueue
                | Resource::WorkerLogGroup
                | Resource::MigrationLogGroup
                | Resource::WorkerDatabaseUser
                | Resource::DatabaseMasterSecret,
                None,
            ) => bail!("only a principal of the kind country_worker can be allowed something on {resource:?}"),
        })
    }
}

/// The ARN of a principal's `role` or `user`, by its logical name.
fn arn_of(identity: &str, backplane: &Backplane, principal: &str) -> Result<String> {
    let found = backplane.principals.get(principal).with_context(|| format!("no principal `{principal}`"))?;
    Ok(format!("arn:aws:iam::{ACCOUNT}:{identity}/{}", found.name))
}

/// AWS appends an id of its own to the name of an API destination.
fn destination_arn(name: &str) -> String {
    arn("events", &format!("api-destination/{name}/*"))
}
