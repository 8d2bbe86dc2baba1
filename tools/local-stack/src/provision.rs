//! Creates the backplane in the emulator, exactly as `infra/backplane.json` describes it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_http::{Credentials, Endpoint};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures::future::{try_join, try_join_all, try_join3, try_join4};
use http::Method;
use operator::aws::Aws;
use operator::backplane::{Backplane, BusQueue, Country, Principal, PrincipalKind, Resource, Rule};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::database::Database;
use crate::emulator;
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

/// Registers each country's functions (`provided.al2023`), the migration, the worker and the importer from the same zip: first
/// the migration is invoked, then the worker consumes its queue, and the country's bucket calls the importer.
///
/// # Errors
/// When a zip cannot be read, a country has no entry in `code`, a migration fails, or the emulator refuses a call.
pub async fn register_workers(
    backplane: &Backplane,
    endpoint: &Endpoint,
    provisioned: &Provisioned,
    code: &BTreeMap<String, WorkerCode<'_>>,
    telemetry: &BTreeMap<String, String>,
) -> Result<()> {
    let registrar = Registrar { aws: emulator::root(endpoint.clone()), backplane, endpoint, telemetry };
    let countries: Vec<Country> = backplane.countries().collect();
    try_join_all(countries.iter().map(|country| async {
        let code = code.get(&country.code).with_context(|| format!("no worker for {}", country.code))?;
        let zip = read_zip(code.zip).await?;
        let secret = provisioned.master_secrets.get(&country.code).context("no master secret")?;
        registrar.migrate(country, &zip, code.database, secret).await?;
        let worker = registrar.register_worker(country, &zip, code.database);
        try_join(worker, registrar.register_importer(country, &zip, code.database)).await
    }))
    .await?;
    Ok(())
}

/// Registers the three functions that run the application's components, from one zip: intake and the booking page behind the API,
/// confirmation behind its queues. `environment` gives each one its own, by the component's name.
///
/// # Errors
/// When the zip cannot be read, or the emulator refuses a call.
pub async fn register_application(
    backplane: &Backplane,
    endpoint: &Endpoint,
    zip: &Path,
    environment: impl Fn(&str) -> Result<BTreeMap<String, String>>,
) -> Result<Api> {
    let telemetry = &BTreeMap::new();
    let registrar = Registrar { aws: emulator::root(endpoint.clone()), backplane, endpoint, telemetry };
    let zip = read_zip(zip).await?;
    let Backplane { durations, intake, booking_page, confirmation, .. } = backplane;
    let register = async |principal: &'static str, name: &str, timeout: u64| {
        let environment = environment(&principal.replace('_', "-"))?;
        registrar.register(NewFunction { principal, country: None, name, zip: &zip, timeout, environment }).await
    };
    let behind_api = async {
        let (function, page) = try_join(
            register("intake", &intake.function, durations.intake_timeout),
            register("booking_page", &booking_page.function, durations.booking_page_timeout),
        )
        .await?;
        registrar.create_api(&function, &page).await
    };
    let behind_queue = async {
        let function = register("confirmation", &confirmation.function, durations.confirmation_timeout).await?;
        let map = async |queue: &BusQueue, maximum_concurrency: u32| {
            let mapping = json!({
                "FunctionName": function.reference(),
                "EventSourceArn": arn("sqs", &queue.name),
                "BatchSize": confirmation.batch_size,
                "MaximumBatchingWindowInSeconds": durations.batching_window,
                "ScalingConfig": {"MaximumConcurrency": maximum_concurrency},
                "FunctionResponseTypes": confirmation.function_response_types,
            });
            registrar.aws.lambda("/2015-03-31/event-source-mappings/", &mapping).await
        };
        map(&backplane.confirmation_queue, confirmation.maximum_concurrency).await?;
        map(&backplane.slots_queue, confirmation.slots_maximum_concurrency).await
    };
    Ok(try_join(behind_api, behind_queue).await?.0)
}

/// A zip as Lambda takes it: in base64.
async fn read_zip(zip: &Path) -> Result<String> {
    let content = tokio::fs::read(zip).await.with_context(|| format!("cannot read {}", zip.display()))?;
    Ok(BASE64.encode(content))
}

/// An HTTP API of the emulator's API Gateway.
#[derive(Debug, Clone)]
pub struct Api {
    /// Where the emulator answers for it.
    pub url: String,
    /// What the `Host` header has to say, by which the emulator knows the API.
    pub host: String,
}

impl Api {
    /// The beginning of a request to the API.
    #[must_use]
    pub fn request(&self, path: &str) -> http::request::Builder {
        http::Request::builder().uri(format!("{}{path}", self.url)).header(http::header::HOST, &self.host)
    }
}

/// A function by the alias that serves.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    name: String,
    alias: String,
}

impl Function {
    pub(crate) fn new(backplane: &Backplane, name: &str) -> Self {
        Self { name: name.to_owned(), alias: backplane.function_alias.clone() }
    }

    fn reference(&self) -> String {
        format!("{}:{}", self.name, self.alias)
    }

    /// Invokes it, and waits for what it returns.
    ///
    /// A function that fails answers too, with the error in the place of what it returns.
    pub(crate) async fn invoke(&self, aws: &Aws, event: &Value) -> Result<Value> {
        let path = format!("/2015-03-31/functions/{}/invocations?Qualifier={}", self.name, self.alias);
        let answer = aws.lambda(&path, event).await?;
        if let Some(message) = answer.get("errorMessage").and_then(Value::as_str) {
            bail!("{} failed: {message}", self.name);
        }
        Ok(answer)
    }
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

async fn route_events(aws: &Aws, backplane: &Backplane) -> Result<()> {
    try_join_all(fed_queues(backplane).map(async |(rule, queue)| {
        let target = json!({"Id": "queue", "Arn": arn("sqs", &queue.name)});
        let targets = json!({"Rule": rule.name, "EventBusName": backplane.bus.name, "Targets": [target]});
        let answer = aws.events("PutTargets", &targets).await?;
        match answer.get("FailedEntryCount").and_then(Value::as_u64) {
            None | Some(0) => Ok(()),
            Some(_) => bail!("EventBridge refused {} as a target: {answer}", queue.name),
        }
    }))
    .await?;
    Ok(())
}

/// Creates a role for each function, and for everybody else a user with an access key; the keys by logical name.
async fn create_principals(aws: &Aws, arns: &Arns<'_>) -> Result<BTreeMap<String, Credentials>> {
    let credentials = try_join_all(arns.backplane.principals.iter().map(async |(logical_name, principal)| {
        match principal.kind {
            PrincipalKind::CountryWorker => {
                let countries = arns.backplane.countries();
                try_join_all(countries.map(async |country| create_role(aws, arns, principal, Some(&country)).await))
                    .await?;
            }
            PrincipalKind::Function => create_role(aws, arns, principal, None).await?,
            PrincipalKind::User => {
                return anyhow::Ok(Some((logical_name.clone(), create_user(aws, arns, principal).await?)));
            }
        }
        Ok(None)
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

async fn create_role(aws: &Aws, arns: &Arns<'_>, principal: &Principal, country: Option<&Country>) -> Result<()> {
    let backplane = arns.backplane;
    let code = country.map(|country| country.code.as_str());
    let name = backplane.principal_name(principal, code);
    let trust = lambda_trust_policy().to_string();
    aws.iam("CreateRole", &[("RoleName", &name), ("AssumeRolePolicyDocument", &trust)]).await?;
    let policy = backplane.policy(principal, code, |resource| arns.of(resource, country))?.to_string();
    aws.iam("PutRolePolicy", &[("RoleName", &name), ("PolicyName", &name), ("PolicyDocument", &policy)]).await?;
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
    /// What the workers get beside their settings.
    telemetry: &'a BTreeMap<String, String>,
}

impl Registrar<'_> {
    /// Registers the function that migrates a country's database, and invokes it, as Terraform does.
    async fn migrate(&self, country: &Country, zip: &str, database: &Database, secret: &str) -> Result<()> {
        let timeout = self.backplane.durations.migration_timeout;
        let function = self
            .register(NewFunction {
                principal: "migration",
                country: Some(country),
                name: &country.migration_function,
                zip,
                timeout,
                environment: self.environment([
                    ("WORKER_MODE", "migrate".to_owned()),
                    ("DATABASE_URL", database.address()?),
                    ("DATABASE_USER", country.database_user.clone()),
                    ("DATABASE_MASTER_SECRET_ARN", secret.to_owned()),
                    ("IMPORT_DATABASE_USER", country.importer_user.clone()),
                    ("CATALOGUE", country.catalogue.setting().to_owned()),
                    ("MAX_OPEN_BOOKINGS", country.max_open_bookings.to_string()),
                ]),
            })
            .await?;
        let patient = emulator::root_with_limit(self.endpoint.clone(), Duration::from_secs(timeout));
        let answer = function.invoke(&patient, &json!({})).await?;
        ensure!(answer.get("schemaVersion").is_some(), "{} answered no schema version", country.migration_function);
        Ok(())
    }

    async fn register_worker(&self, country: &Country, zip: &str, database: &Database) -> Result<()> {
        let backplane = self.backplane;
        let function = self
            .register(NewFunction {
                principal: "worker",
                country: Some(country),
                name: &country.function,
                zip,
                timeout: backplane.durations.worker_timeout,
                environment: self.environment([
                    ("DATABASE_URL", database.user_url(&country.database_user)?),
                    ("EVENT_BUS_NAME", backplane.bus.name.clone()),
                    ("RECEIVE_DELAYS_SECONDS", backplane.durations.receive_delays_setting()),
                ]),
            })
            .await?;
        let mapping = json!({
            "FunctionName": function.reference(),
            "EventSourceArn": arn("sqs", &country.queue),
            "BatchSize": country.batch_size,
            "MaximumBatchingWindowInSeconds": backplane.durations.batching_window,
            "FunctionResponseTypes": country.function_response_types,
        });
        self.aws.lambda("/2015-03-31/event-source-mappings/", &mapping).await?;
        Ok(())
    }

    /// Registers the function that imports slots, and has the country's bucket call it for each file.
    async fn register_importer(&self, country: &Country, zip: &str, database: &Database) -> Result<()> {
        let backplane = self.backplane;
        let function = self
            .register(NewFunction {
                principal: "importer",
                country: Some(country),
                name: &country.importer,
                zip,
                timeout: backplane.durations.import_timeout,
                environment: self.environment([
                    ("WORKER_MODE", "import".to_owned()),
                    ("DATABASE_URL", database.user_url(&country.importer_user)?),
                    ("EVENT_BUS_NAME", backplane.bus.name.clone()),
                ]),
            })
            .await?;
        let notification = format!(
            "<NotificationConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><CloudFunctionConfiguration>\
             <CloudFunction>{}</CloudFunction><Event>s3:ObjectCreated:*</Event>\
             <Filter><S3Key><FilterRule><Name>prefix</Name><Value>{}</Value></FilterRule></S3Key></Filter>\
             </CloudFunctionConfiguration></NotificationConfiguration>",
            arn("lambda", &format!("function:{}", function.reference())),
            country.slots_files,
        );
        let path = format!("/{}?notification", country.slots_bucket);
        self.aws.s3(Method::PUT, &path, notification.into()).await?;
        Ok(())
    }

    /// The environment of a function that finds AWS at the emulator.
    fn environment<const N: usize>(&self, variables: [(&str, String); N]) -> BTreeMap<String, String> {
        let endpoint = ("AWS_ENDPOINT_URL", self.endpoint.to_string());
        let variables = variables.into_iter().chain([endpoint]).map(|(name, value)| (name.to_owned(), value));
        variables.chain(self.telemetry.clone()).collect()
    }

    /// Creates a function with the role of its principal, its log group, its first version, and the alias of that.
    async fn register(&self, new: NewFunction<'_>) -> Result<Function> {
        let NewFunction { principal, country, name, zip, timeout, environment } = new;
        let role = self.backplane.principals.get(principal);
        let role = role.with_context(|| format!("infra/backplane.json names no principal `{principal}`"))?;
        let role = self.backplane.principal_name(role, country.map(|country| country.code.as_str()));
        let log_group = json!({"logGroupName": log_group(name)});
        let definition = json!({
            "FunctionName": name,
            "Runtime": "provided.al2023",
            "Handler": "bootstrap",
            "Role": format!("arn:aws:iam::{ACCOUNT}:role/{role}"),
            "Timeout": timeout,
            "Code": {"ZipFile": zip},
            "Environment": {"Variables": environment},
            "Publish": true,
        });
        let create = self.aws.lambda("/2015-03-31/functions", &definition);
        let (_, created) = try_join(self.aws.logs("CreateLogGroup", &log_group), create).await?;
        let version = created.get("Version").and_then(Value::as_str);
        let version = version.with_context(|| format!("no version of {name} was published"))?;
        let function = Function::new(self.backplane, name);
        let alias = json!({"Name": function.alias, "FunctionVersion": version});
        self.aws.lambda(&format!("/2015-03-31/functions/{name}/aliases"), &alias).await?;
        Ok(function)
    }

    /// Creates the HTTP API: the function answers every request but those of the page's paths.
    async fn create_api(&self, function: &Function, page: &Function) -> Result<Api> {
        let id_of = |answer: Value, name: &str| {
            let id = answer.get(name).and_then(Value::as_str).map(str::to_owned);
            id.with_context(|| format!("API Gateway answered no {name}"))
        };
        let api = json!({"name": self.backplane.api.name, "protocolType": "HTTP"});
        let api = id_of(self.aws.api_gateway("/v2/apis", &api).await?, "apiId")?;
        let paths = self.backplane.booking_page.paths.iter().map(|path| format!("ANY {path}")).collect();
        for (function, routes) in [(function, vec!["$default".to_owned()]), (page, paths)] {
            let integration = json!({
                "integrationType": "AWS_PROXY",
                "integrationUri": arn("lambda", &format!("function:{}", function.reference())),
                "payloadFormatVersion": "2.0",
            });
            let integration = self.aws.api_gateway(&format!("/v2/apis/{api}/integrations"), &integration).await?;
            let target = format!("integrations/{}", id_of(integration, "integrationId")?);
            for route in routes {
                let route = json!({"routeKey": route, "target": target});
                self.aws.api_gateway(&format!("/v2/apis/{api}/routes"), &route).await?;
            }
        }
        let stage = json!({"stageName": "$default", "autoDeploy": true});
        self.aws.api_gateway(&format!("/v2/apis/{api}/stages"), &stage).await?;
        let url = self.endpoint.to_string();
        let port = url.rsplit(':').next().unwrap_or_default();
        Ok(Api { host: format!("{api}.execute-api.localhost:{port}"), url })
    }
}

/// A function to register.
struct NewFunction<'a> {
    /// Whose role it has, by the name in `infra/backplane.json`.
    principal: &'a str,
    /// Whose it is, where there is one for each country.
    country: Option<&'a Country>,
    name: &'a str,
    /// The zip in base64.
    zip: &'a str,
    /// In seconds.
    timeout: u64,
    environment: BTreeMap<String, String>,
}

/// The CloudWatch log group of a function.
#[must_use]
pub fn log_group(function: &str) -> String {
    format!("/aws/lambda/{function}")
}

fn arn(service: &str, name: &str) -> String {
    format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{name}")
}

fn rule_arn(backplane: &Backplane, rule: &Rule) -> String {
    arn("events", &format!("rule/{}/{}", backplane.bus.name, rule.name))
}

/// The ARNs behind logical names.
struct Arns<'a> {
    backplane: &'a Backplane,
    master_secrets: &'a BTreeMap<String, String>,
}

impl Arns<'_> {
    /// The ARNs of a resource; of a country's where there is one for each.
    fn of(&self, resource: Resource, country: Option<&Country>) -> Result<Vec<String>> {
        if resource == Resource::SlotsTableIndexes {
            let slots_table = &self.backplane.slots_table;
            let index = |name| arn("dynamodb", &format!("table/{}/index/{name}", slots_table.name));
            return Ok(slots_table.indexes.partition_keys.keys().map(index).collect());
        }
        self.one(resource, country).map(|arn| vec![arn])
    }

    fn one(&self, resource: Resource, country: Option<&Country>) -> Result<String> {
        let backplane = self.backplane;
        let table = |name: &str| arn("dynamodb", &format!("table/{name}"));
        Ok(match (resource, country) {
            (Resource::Table, _) => table(&backplane.table.name),
            (Resource::TableIndex, _) => {
                format!("{}/index/{}", table(&backplane.table.name), backplane.table.index.name)
            }
            (Resource::SlotsTable | Resource::SlotsTableIndexes, _) => table(&backplane.slots_table.name),
            (Resource::Topic, _) => arn("sns", &backplane.topic.name),
            (Resource::Bus, _) => arn("events", &format!("event-bus/{}", backplane.bus.name)),
            (Resource::ConfirmationQueue, _) => arn("sqs", &backplane.confirmation_queue.name),
            (Resource::SlotsQueue, _) => arn("sqs", &backplane.slots_queue.name),
            (Resource::IntakeLogGroup, _) => log_streams(&backplane.intake.function),
            (Resource::BookingPageLogGroup, _) => log_streams(&backplane.booking_page.function),
            (Resource::ConfirmationLogGroup, _) => log_streams(&backplane.confirmation.function),
            (Resource::NetworkAttachment, _) => arn("ec2", "*/*"),
            (Resource::NetworkDescription, _) => "*".to_owned(),
            (Resource::CountryQueue, Some(country)) => arn("sqs", &country.queue),
            (Resource::WorkerLogGroup, Some(country)) => log_streams(&country.function),
            (Resource::MigrationLogGroup, Some(country)) => log_streams(&country.migration_function),
            (Resource::ImporterLogGroup, Some(country)) => log_streams(&country.importer),
            (Resource::WorkerDatabaseUser, Some(country)) => {
                arn("rds-db", &format!("dbuser:{}/{}", country.database, country.database_user))
            }
            (Resource::ImporterDatabaseUser, Some(country)) => {
                arn("rds-db", &format!("dbuser:{}/{}", country.database, country.importer_user))
            }
            (Resource::SlotsFiles, Some(country)) => objects(country, &country.slots_files),
            (Resource::SlotsReports, Some(country)) => objects(country, &country.slots_reports),
            (Resource::DatabaseMasterSecret, Some(country)) => {
                self.master_secrets.get(&country.code).context("no master secret")?.clone()
            }
            (
                Resource::CountryQueue
                | Resource::WorkerLogGroup
                | Resource::MigrationLogGroup
                | Resource::ImporterLogGroup
                | Resource::WorkerDatabaseUser
                | Resource::ImporterDatabaseUser
                | Resource::SlotsFiles
                | Resource::SlotsReports
                | Resource::DatabaseMasterSecret,
                None,
            ) => bail!("only a principal of the kind country_worker can be allowed something on {resource:?}"),
        })
    }
}

/// The ARN of every log stream of a function.
fn log_streams(function: &str) -> String {
    arn("logs", &format!("log-group:{}:*", log_group(function)))
}

/// The ARN of every object in a country's bucket whose key begins with `prefix`.
fn objects(country: &Country, prefix: &str) -> String {
    format!("arn:aws:s3:::{}/{prefix}*", country.slots_bucket)
}
