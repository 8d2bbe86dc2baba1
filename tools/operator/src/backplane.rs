//! The typed reading of `infra/backplane.json`, the one source of names, durations and policies.
//!
//! Terraform reads the same file with `jsondecode(file(…))`. Its shape:
//!
//! - `countries`: ISO 3166-1 alpha-2 codes, each with where its slots come from. A further country is one entry here and one
//!   worker crate.
//! - `durations_seconds`: every duration of the system, in seconds, once. `republish_delays[n]` is what passes between
//!   the write (n = 0) or the n-th republishing and the next; after the last one the system gives up.
//! - `local.durations_seconds`: what the local stack shortens, so that a retry can be watched. It can override
//!   durations and nothing else.
//! - `table`, `slots_table`, `topic`, `country_queue`, `worker`, `importer`, `slots_bucket`, `bus`, `confirmation_queue`,
//!   `slots_queue`, `function_alias`, `api`, `intake`, `booking_page`, `confirmation`: the resources.
//! - `principals`: who acts, and the IAM statements each one gets: its own `statements`, and those of the principal that
//!   `statements_of` names. A statement names resources by the logical names of [`Resource`], never by ARN or by physical
//!   name; Terraform and the local stack's `provision` resolve them.
//!
//! Two placeholders derive what exists once per country: `{COUNTRY}` is the code as it is (`PE`), `{country}` the code
//! in lower case (`pe`). Two more refer to a name elsewhere in the file: `{worker.event_source}` and
//! `{confirmation.event_source}`. In the list of an event pattern, which belongs to no country, an element with a
//! placeholder per country means one element for each country.
//!
//! The condition on `events:source` is `StringEqualsIfExists`: AWS always supplies the key for `PutEvents`, so there it
//! is as strict as `StringEquals`; the emulator does not supply it and would refuse every event.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The path of the file inside the repository.
pub const FILE: &str = "infra/backplane.json";

/// `infra/backplane.json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backplane {
    /// Each country's code and rules.
    #[serde(rename = "countries")]
    pub country_entries: Vec<CountryEntry>,
    /// As deployed on AWS; [`Backplane::shortened`] applies the local ones.
    #[serde(rename = "durations_seconds")]
    pub durations: Durations,
    local: Local,
    /// The DynamoDB table of appointments.
    pub table: Table,
    /// The DynamoDB table of slots, a projection of the countries' databases.
    pub slots_table: SlotsTable,
    /// The SNS topic of requests and cancellations.
    pub topic: Topic,
    country_queue: CountryQueue,
    worker: Worker,
    importer: Importer,
    slots_bucket: SlotsBucket,
    /// The EventBridge bus of outcomes.
    pub bus: Bus,
    /// The queue of outcomes, between the bus and the confirmation component.
    pub confirmation_queue: BusQueue,
    /// The queue of slots that changed without a command, beside it: an import never delays an outcome.
    pub slots_queue: BusQueue,
    /// The alias by which everything calls a function: it names the published version that serves.
    pub function_alias: String,
    /// The HTTP API in front of the component intake.
    pub api: Api,
    /// The function that runs the component intake.
    pub intake: Intake,
    /// The function that runs the component booking-page.
    pub booking_page: BookingPage,
    /// The function that runs the component confirmation, and what invokes it.
    pub confirmation: Confirmation,
    /// Who acts, by logical name: `edge`, `intake`, `booking_page`, `confirmation`, `worker`, `importer`, `migration`.
    pub principals: BTreeMap<String, Principal>,
}

/// A country, as far as its rules differ from another's.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountryEntry {
    /// ISO 3166-1 alpha-2 code, upper case.
    pub code: String,
    /// Where its slots come from.
    pub catalogue: CatalogueKind,
    /// How many bookings that have not ended a person may hold, with a catalogue of its own.
    pub max_open_bookings: u16,
}

/// Where a country's slots come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CatalogueKind {
    /// Imported into the country's database, which knows each slot.
    Own,
    /// Kept by another system: the country books any number.
    External,
}

impl CatalogueKind {
    /// As the migration's setting `CATALOGUE` gives it.
    #[must_use]
    pub const fn setting(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::External => "external",
        }
    }
}

/// Every duration of the system, in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Durations {
    /// How long a received message stays hidden where the function that left it does not say: it crashed, or its call
    /// failed.
    pub visibility_timeout: u64,
    /// What passes between the deliveries of a message that a function leaves, one fewer than `max_receive_count`.
    pub receive_delays: Vec<u64>,
    /// The worker function's time limit. AWS advises a visibility timeout of at least six times this.
    pub worker_timeout: u64,
    /// The time limit of the function that applies a country's migrations.
    pub migration_timeout: u64,
    /// The time limit of the function that imports slots: the most that Lambda gives. What it did not get done, its
    /// repetition does.
    pub import_timeout: u64,
    /// The time limit of the function that answers the API: longer than intake's own limits, shorter than the 30 s after
    /// which API Gateway gives up.
    pub intake_timeout: u64,
    /// The time limit of the function that serves the page, which calls nobody.
    pub booking_page_timeout: u64,
    /// The time limit of the function that applies outcomes, and repeats republishing while there is more.
    pub confirmation_timeout: u64,
    /// How long an event source mapping waits to fill a batch: not at all.
    pub batching_window: u64,
    /// How long a message may wait in a queue.
    pub queue_retention: u64,
    /// How long a message may wait in a dead-letter queue; SQS keeps none longer than 14 days.
    pub dead_letter_retention: u64,
    /// `ReceiveMessageWaitTimeSeconds` of the confirmation queue, for consumers that send no wait time.
    pub confirmation_receive_wait: u64,
    /// How long the bus's archive keeps events.
    pub archive_retention: u64,
    /// How often the schedule has the importer put on the bus what waits in the country's outbox.
    pub drain_interval: u64,
    /// How long the bucket keeps files of slots, and their reports: they name practitioners.
    pub slots_file_retention: u64,
    /// How often the schedule invokes the republisher.
    pub republish_interval: u64,
    /// What passes before the first republishing, between the further ones, and after the last until giving up.
    pub republish_delays: Vec<u64>,
    /// How often a country is asked about what was given up, for as long as dead letters are kept.
    pub given_up_interval: u64,
    /// For how long EventBridge tries to deliver an event to a queue: its default, which nothing here changes.
    pub event_delivery: u64,
}

/// What the local stack overrides: durations, and nothing else (the type has no other field).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Local {
    durations_seconds: Map<String, Value>,
}

/// The DynamoDB table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Physical name.
    pub name: String,
    /// `PAY_PER_REQUEST`: bookings come in bursts.
    pub billing_mode: String,
    /// Partition key.
    pub partition_key: KeyAttribute,
    /// Sort key.
    pub sort_key: KeyAttribute,
    /// Attribute with the Unix time, in seconds, after which DynamoDB may delete an item.
    pub time_to_live_attribute: String,
    /// The sparse index of what waits for its country's answer.
    pub index: Index,
}

/// The DynamoDB table of slots: one item for each, without a sort key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotsTable {
    /// Physical name.
    pub name: String,
    /// `PAY_PER_REQUEST`: people look in bursts.
    pub billing_mode: String,
    /// Partition key.
    pub partition_key: KeyAttribute,
    /// Attribute with the Unix time, in seconds, after which DynamoDB may delete an item.
    pub time_to_live_attribute: String,
    /// The sparse indexes of what is free.
    pub indexes: SlotsIndexes,
}

/// The indexes of free slots: an item is in them while it has their key attributes. They hold whole items.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotsIndexes {
    /// The sort key of each.
    pub sort_key: KeyAttribute,
    /// The partition key of each, by the index's name.
    pub partition_keys: BTreeMap<String, KeyAttribute>,
}

/// A global secondary index.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// Physical name.
    pub name: String,
    /// Partition key.
    pub partition_key: KeyAttribute,
    /// Sort key.
    pub sort_key: KeyAttribute,
    /// Attributes copied to the index besides the keys of index and table.
    pub projected_attributes: Vec<String>,
    /// How many values of the partition key each country has, and as many for what was given up.
    pub shards: u8,
}

/// A key attribute and its DynamoDB type.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyAttribute {
    /// Attribute name.
    pub name: String,
    /// `S` or `N`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// The SNS topic.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// Physical name.
    pub name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct CountryQueue {
    name: String,
    dead_letter_queue: String,
    delivery_dead_letter_queue: String,
    max_receive_count: u32,
    subscription: Subscription,
}

/// How a country's queue subscribes to the topic.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// The queue gets the message as published, not inside SNS's envelope.
    pub raw_message_delivery: bool,
    /// SNS filter policy on message attributes.
    pub filter_policy: Value,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Worker {
    function: String,
    migration_function: String,
    database: String,
    database_user: String,
    event_source: String,
    batch_size: u32,
    function_response_types: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Importer {
    function: String,
    database_user: String,
    drain_rule: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SlotsBucket {
    name: String,
    files: String,
    reports: String,
}

/// The EventBridge bus.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bus {
    /// Physical name.
    pub name: String,
    /// Name of the archive that keeps its events.
    pub archive: String,
    /// The rules that feed queues.
    pub rules: Rules,
}

/// The rules between the bus and the queues of the confirmation component.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// What countries decided, for the confirmation queue.
    pub outcomes: Rule,
    /// Slots that changed without a command, for the slots queue.
    pub slots: Rule,
}

/// An EventBridge rule.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Physical name.
    pub name: String,
    /// What it matches, each country's placeholders expanded.
    pub event_pattern: Value,
}

/// A queue between the bus and the confirmation component.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusQueue {
    /// Physical name.
    pub name: String,
    /// Where a message ends that was received too often.
    pub dead_letter_queue: String,
    /// Where an event ends that EventBridge could not deliver to the queue (AWS only).
    pub delivery_dead_letter_queue: String,
    /// How often a message is received before it goes to the dead-letter queue.
    pub max_receive_count: u32,
}

/// The API Gateway HTTP API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// Physical name.
    pub name: String,
}

/// The function behind the API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intake {
    /// Physical name.
    pub function: String,
}

/// The function that serves the page on which people book, behind the API's routes of its paths.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BookingPage {
    /// Physical name.
    pub function: String,
    /// The paths, with path variables in braces: none leads to the API.
    pub paths: Vec<String>,
}

/// The function behind the confirmation queue and the republish schedule.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// Physical name.
    pub function: String,
    /// `Source` of the events that the component publishes.
    pub event_source: String,
    /// Messages in a batch.
    pub batch_size: u32,
    /// How many batches of outcomes the event source mapping hands out at a time.
    pub maximum_concurrency: u32,
    /// The same of slots that changed: few, so that an import leaves the table and the function to outcomes.
    pub slots_maximum_concurrency: u32,
    /// `FunctionResponseTypes` of the event source mapping.
    pub function_response_types: Vec<String>,
    /// The republish schedule.
    pub republish: Republish,
}

/// The schedule that republishes what was left behind, in one country.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Republish {
    /// Name of the rule on the default bus, with a country's placeholder.
    pub rule: String,
    /// Path of the component's private route.
    pub path: String,
    /// The rule's constant input, with a country's placeholder: the body of the request to that path.
    pub input: Value,
}

/// What kind of identity a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// A user with an access key, for a Spin application elsewhere.
    User,
    /// The role of a function of the same name.
    Function,
    /// A role of a country's function (the worker, the migration); there is one for each country.
    CountryWorker,
}

/// Somebody who acts on the backplane, and what is allowed to them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// What kind of identity it is.
    pub kind: PrincipalKind,
    /// Name of its IAM role or user, with placeholders where there is one for each country.
    pub name: String,
    /// Another principal, by its logical name, whose statements it has besides its own.
    #[serde(default)]
    statements_of: Option<String>,
    statements: Vec<Statement>,
}

/// An IAM statement with the effect `Allow`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// IAM `Sid`.
    pub sid: String,
    /// IAM actions, none with a wildcard.
    pub actions: Vec<String>,
    /// What they are allowed on.
    pub resources: Vec<Resource>,
    /// IAM condition, with placeholders.
    #[serde(default)]
    pub condition: Option<Value>,
}

/// A resource by its logical name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// The DynamoDB table.
    Table,
    /// Its index of pending appointments.
    TableIndex,
    /// The DynamoDB table of slots.
    SlotsTable,
    /// Each of its indexes.
    SlotsTableIndexes,
    /// The SNS topic.
    Topic,
    /// The EventBridge bus.
    Bus,
    /// The country's own queue.
    CountryQueue,
    /// The log streams of the country's own function.
    WorkerLogGroup,
    /// The log streams of the function that applies the country's migrations.
    MigrationLogGroup,
    /// The log streams of the function that imports the country's slots.
    ImporterLogGroup,
    /// The worker's user of the country's database (RDS IAM authentication; AWS only).
    WorkerDatabaseUser,
    /// The importer's user of the country's database (RDS IAM authentication; AWS only).
    ImporterDatabaseUser,
    /// The files of slots in the country's bucket.
    SlotsFiles,
    /// What the importer says of each file.
    SlotsReports,
    /// The secret with the user that owns the country's database, kept by RDS in Secrets Manager.
    DatabaseMasterSecret,
    /// The network interfaces through which Lambda puts a function into a VPC (AWS only).
    NetworkAttachment,
    /// What describes a VPC, for which IAM knows no narrower resource than `*` (AWS only).
    NetworkDescription,
    /// The confirmation queue.
    ConfirmationQueue,
    /// The queue of slots that changed.
    SlotsQueue,
    /// The log streams of the function that answers the API.
    IntakeLogGroup,
    /// The log streams of the function that serves the page.
    BookingPageLogGroup,
    /// The log streams of the function that applies outcomes.
    ConfirmationLogGroup,
}

/// The names of one country, placeholders expanded.
#[derive(Debug, Clone)]
pub struct Country {
    /// `PE`.
    pub code: String,
    /// The queue of its requests.
    pub queue: String,
    /// Where a message ends that was received too often.
    pub dead_letter_queue: String,
    /// Where a message ends that SNS could not deliver (AWS only).
    pub delivery_dead_letter_queue: String,
    /// How often a message is received before it goes to the dead-letter queue.
    pub max_receive_count: u32,
    /// How the queue subscribes to the topic.
    pub subscription: Subscription,
    /// The worker function, which is also the name of its crate and binary.
    pub function: String,
    /// The function that applies the migrations, from the same zip.
    pub migration_function: String,
    /// The database.
    pub database: String,
    /// The worker's database user on RDS.
    pub database_user: String,
    /// Where its slots come from.
    pub catalogue: CatalogueKind,
    /// How many bookings that have not ended a person may hold, with a catalogue of its own.
    pub max_open_bookings: u16,
    /// The function that imports slots, from the same zip as the worker.
    pub importer: String,
    /// The importer's database user on RDS.
    pub importer_user: String,
    /// The rule on the default bus that calls the importer to drain the outbox.
    pub drain_rule: String,
    /// The bucket of files of slots; on AWS, where names of buckets are everybody's, the account's number follows.
    pub slots_bucket: String,
    /// What the keys of files begin with.
    pub slots_files: String,
    /// What the keys of reports begin with.
    pub slots_reports: String,
    /// `Source` of the worker's events.
    pub event_source: String,
    /// Messages in a batch.
    pub batch_size: u32,
    /// `FunctionResponseTypes` of the event source mapping.
    pub function_response_types: Vec<String>,
}

/// Why `infra/backplane.json` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackplaneError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// Where it was expected.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not what this type describes.
    #[error("{FILE}: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The `local` block names something that is no duration.
    #[error("{FILE}: local.durations_seconds: {0}; only a duration of `durations_seconds` can be overridden")]
    NoDuration(serde_json::Error),
    /// A principal has the statements of one that does not exist, or that has another's itself.
    #[error("{FILE}: principals.{0}.statements_of names no principal with statements of its own alone")]
    NoStatements(String),
}

impl Table {
    /// The input of DynamoDB's `CreateTable`.
    #[must_use]
    pub fn definition(&self) -> Value {
        let index = &self.index;
        let keys = [&self.partition_key, &self.sort_key, &index.partition_key, &index.sort_key];
        let schema = |partition: &str, sort: &str| json!([{"AttributeName": partition, "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}]);
        json!({
            "TableName": self.name,
            "BillingMode": self.billing_mode,
            "AttributeDefinitions": keys.map(|key| json!({"AttributeName": key.name, "AttributeType": key.kind})),
            "KeySchema": schema(&self.partition_key.name, &self.sort_key.name),
            "GlobalSecondaryIndexes": [{
                "IndexName": index.name,
                "KeySchema": schema(&index.partition_key.name, &index.sort_key.name),
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": index.projected_attributes},
            }],
        })
    }
}

impl SlotsTable {
    /// The input of DynamoDB's `CreateTable`.
    #[must_use]
    pub fn definition(&self) -> Value {
        let SlotsIndexes { sort_key, partition_keys } = &self.indexes;
        let attributes = [&self.partition_key, sort_key].into_iter().chain(partition_keys.values());
        let attributes = attributes.map(|key| json!({"AttributeName": key.name, "AttributeType": key.kind}));
        let key = |attribute: &KeyAttribute, kind: &str| json!({"AttributeName": attribute.name, "KeyType": kind});
        let indexes = partition_keys.iter().map(|(name, partition_key)| {
            json!({
                "IndexName": name,
                "KeySchema": [key(partition_key, "HASH"), key(sort_key, "RANGE")],
                "Projection": {"ProjectionType": "ALL"},
            })
        });
        json!({
            "TableName": self.name,
            "BillingMode": self.billing_mode,
            "AttributeDefinitions": attributes.collect::<Vec<_>>(),
            "KeySchema": [key(&self.partition_key, "HASH")],
            "GlobalSecondaryIndexes": indexes.collect::<Vec<_>>(),
        })
    }
}

impl Backplane {
    /// Reads `infra/backplane.json` under the repository's root.
    ///
    /// # Errors
    /// When the file is missing, has an unknown or missing field, or overrides something that is no duration.
    pub fn load(root: &Path) -> Result<Self, BackplaneError> {
        let path = root.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text),
            Err(source) => Err(BackplaneError::Unreadable { path, source }),
        }
    }

    /// Reads the text of `infra/backplane.json`.
    ///
    /// # Errors
    /// As [`Backplane::load`], save a missing file.
    pub fn parse(text: &str) -> Result<Self, BackplaneError> {
        let backplane: Self = serde_json::from_str(text)?;
        backplane.durations.overridden(&backplane.local.durations_seconds)?;
        for (name, principal) in &backplane.principals {
            let Some(other) = &principal.statements_of else { continue };
            if backplane.principals.get(other).is_none_or(|other| other.statements_of.is_some()) {
                return Err(BackplaneError::NoStatements(name.clone()));
            }
        }
        Ok(backplane)
    }

    /// The same backplane with the durations of the `local` block.
    ///
    /// # Errors
    /// Never for a value that [`Backplane::parse`] returned.
    pub fn shortened(mut self) -> Result<Self, BackplaneError> {
        self.durations = self.durations.overridden(&self.local.durations_seconds)?;
        Ok(self)
    }

    /// The same backplane with the slots of every country from there.
    #[must_use]
    pub fn with_catalogue(mut self, catalogue: CatalogueKind) -> Self {
        for entry in &mut self.country_entries {
            entry.catalogue = catalogue;
        }
        self
    }

    /// Each country with its names.
    pub fn countries(&self) -> impl Iterator<Item = Country> {
        self.country_entries.iter().map(|entry| self.country(entry))
    }

    /// Each queue that a function consumes, with its dead-letter queue.
    #[must_use]
    pub fn queues(&self) -> Vec<(String, String)> {
        let countries = self.countries().map(|country| (country.queue, country.dead_letter_queue));
        let of_bus = [&self.confirmation_queue, &self.slots_queue];
        countries.chain(of_bus.map(|queue| (queue.name.clone(), queue.dead_letter_queue.clone()))).collect()
    }

    /// The code of each country.
    pub fn codes(&self) -> impl Iterator<Item = &str> {
        self.country_entries.iter().map(|entry| entry.code.as_str())
    }

    fn country(&self, entry: &CountryEntry) -> Country {
        let code = entry.code.as_str();
        let fill = |template: &str| self.fill(template, code);
        Country {
            code: code.to_owned(),
            queue: fill(&self.country_queue.name),
            dead_letter_queue: fill(&self.country_queue.dead_letter_queue),
            delivery_dead_letter_queue: fill(&self.country_queue.delivery_dead_letter_queue),
            max_receive_count: self.country_queue.max_receive_count,
            subscription: Subscription {
                raw_message_delivery: self.country_queue.subscription.raw_message_delivery,
                filter_policy: map_strings(&self.country_queue.subscription.filter_policy, &|text| vec![fill(text)]),
            },
            function: fill(&self.worker.function),
            migration_function: fill(&self.worker.migration_function),
            database: fill(&self.worker.database),
            database_user: fill(&self.worker.database_user),
            catalogue: entry.catalogue,
            max_open_bookings: entry.max_open_bookings,
            importer: fill(&self.importer.function),
            importer_user: fill(&self.importer.database_user),
            drain_rule: fill(&self.importer.drain_rule),
            slots_bucket: fill(&self.slots_bucket.name),
            slots_files: self.slots_bucket.files.clone(),
            slots_reports: self.slots_bucket.reports.clone(),
            event_source: fill(&self.worker.event_source),
            batch_size: self.worker.batch_size,
            function_response_types: self.worker.function_response_types.clone(),
        }
    }

    /// A rule's event pattern: an element with a country's placeholder becomes one element for each country.
    #[must_use]
    pub fn event_pattern(&self, rule: &Rule) -> Value {
        map_strings(&rule.event_pattern, &|text| {
            let mut each: Vec<String> = self.codes().map(|code| self.fill(text, code)).collect();
            each.dedup();
            each
        })
    }

    /// The name of a principal, for a country where there is one for each.
    #[must_use]
    pub fn principal_name(&self, principal: &Principal, country: Option<&str>) -> String {
        country.map_or_else(|| principal.name.clone(), |code| self.fill(&principal.name, code))
    }

    /// The republish schedule of a country: the name of its rule, and the rule's constant input.
    #[must_use]
    pub fn republish_rule(&self, country: &Country) -> (String, Value) {
        let Republish { rule, input, .. } = &self.confirmation.republish;
        let fill = |template: &str| self.fill(template, &country.code);
        (fill(rule), map_strings(input, &|text| vec![fill(text)]))
    }

    /// All that a principal may do: the statements of another that it names, and its own.
    pub fn statements<'a>(&'a self, principal: &'a Principal) -> impl Iterator<Item = &'a Statement> {
        let other = principal.statements_of.as_ref().and_then(|other| self.principals.get(other));
        other.into_iter().chain([principal]).flat_map(|principal| &principal.statements)
    }

    /// The IAM policy document of a principal, its resources resolved to ARNs by `arns`.
    ///
    /// # Errors
    /// When `arns` fails.
    pub fn policy<E>(
        &self,
        principal: &Principal,
        country: Option<&str>,
        arns: impl Fn(Resource) -> Result<Vec<String>, E>,
    ) -> Result<Value, E> {
        let statements = self
            .statements(principal)
            .map(|statement| {
                let resources =
                    statement.resources.iter().map(|resource| arns(*resource)).collect::<Result<Vec<_>, E>>()?.concat();
                let mut document = serde_json::json!({
                    "Sid": statement.sid,
                    "Effect": "Allow",
                    "Action": statement.actions,
                    "Resource": resources,
                });
                if let (Some(condition), Some(document)) = (&statement.condition, document.as_object_mut()) {
                    let condition = map_strings(condition, &|text| vec![self.fill(text, country.unwrap_or_default())]);
                    document.insert("Condition".to_owned(), condition);
                }
                Ok(document)
            })
            .collect::<Result<Vec<_>, E>>()?;
        Ok(serde_json::json!({ "Version": "2012-10-17", "Statement": statements }))
    }

    /// Expands the placeholders of a template. References come first, since what they name may hold a country's.
    fn fill(&self, template: &str, code: &str) -> String {
        template
            .replace("{worker.event_source}", &self.worker.event_source)
            .replace("{confirmation.event_source}", &self.confirmation.event_source)
            .replace("{COUNTRY}", code)
            .replace("{country}", &code.to_ascii_lowercase())
    }
}

impl Durations {
    fn overridden(&self, overrides: &Map<String, Value>) -> Result<Self, BackplaneError> {
        let mut merged = match serde_json::to_value(self)? {
            Value::Object(merged) => merged,
            _ => Map::new(),
        };
        merged.extend(overrides.iter().map(|(name, value)| (name.clone(), value.clone())));
        serde_json::from_value(Value::Object(merged)).map_err(BackplaneError::NoDuration)
    }

    /// [`Durations::receive_delays`], as the setting `RECEIVE_DELAYS_SECONDS` gives them.
    #[must_use]
    pub fn receive_delays_setting(&self) -> String {
        self.receive_delays.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
    }

    /// [`Durations::republish_delays`], as the variable `republish_delays_seconds` gives them.
    #[must_use]
    pub fn republish_delays_setting(&self) -> String {
        self.republish_delays.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
    }

    /// [`Durations::given_up_interval`] and [`Durations::dead_letter_retention`], as the variable
    /// `given_up_schedule_seconds` gives them.
    #[must_use]
    pub fn given_up_schedule_setting(&self) -> String {
        format!("{}/{}", self.given_up_interval, self.dead_letter_retention)
    }

    /// [`Durations::visibility_timeout`].
    #[must_use]
    pub fn visibility(&self) -> Duration {
        Duration::from_secs(self.visibility_timeout)
    }
}

/// Rebuilds a JSON value with each string replaced by what `expand` makes of it; inside an array it may become several.
fn map_strings(value: &Value, expand: &impl Fn(&str) -> Vec<String>) -> Value {
    match value {
        Value::String(text) => expand(text).into_iter().next().map_or(Value::Null, Value::String),
        Value::Array(items) => items
            .iter()
            .flat_map(|item| match item {
                Value::String(text) => expand(text).into_iter().map(Value::String).collect(),
                other => vec![map_strings(other, expand)],
            })
            .collect(),
        Value::Object(members) => {
            members.iter().map(|(name, member)| (name.clone(), map_strings(member, expand))).collect()
        }
        other => other.clone(),
    }
}
