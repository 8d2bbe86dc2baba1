//! Lambda functions: their registration, what calls them, and the API before two of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_http::Endpoint;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::future::{try_join, try_join_all};
use http::Method;
use operator::aws::Aws;
use operator::backplane::{Backplane, BusQueue, Country};
use serde_json::{Value, json};

use super::arns::{arn, log_group};
use super::provisioned::Provisioned;
use crate::database::Database;
use crate::emulator;
use crate::ministack::ACCOUNT;

/// What a country's functions are registered with.
pub struct WorkerCode<'a> {
    /// The zip with the executable `bootstrap`.
    pub zip: &'a Path,
    /// The country's database.
    pub database: &'a Database,
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
    /// Its address at the emulator.
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
    /// A function that fails also gives a response, with the error instead of its result.
    pub(crate) async fn invoke(&self, aws: &Aws, event: &Value) -> Result<Value> {
        let path = format!("/2015-03-31/functions/{}/invocations?Qualifier={}", self.name, self.alias);
        let response = aws.lambda(&path, event).await?;
        if let Some(message) = response.get("errorMessage").and_then(Value::as_str) {
            bail!("{} failed: {message}", self.name);
        }
        Ok(response)
    }
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
        let response = function.invoke(&patient, &json!({})).await?;
        ensure!(
            response.get("schemaVersion").is_some(),
            "the response of {} has no schema version",
            country.migration_function
        );
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

    /// Creates the HTTP API: the function serves every request except those of the page's paths.
    async fn create_api(&self, function: &Function, page: &Function) -> Result<Api> {
        let id_of = |response: Value, name: &str| {
            let id = response.get(name).and_then(Value::as_str).map(str::to_owned);
            id.with_context(|| format!("the response of API Gateway has no {name}"))
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
