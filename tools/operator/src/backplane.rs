//! The typed reading of `infra/backplane.json`, the one source of names, durations and policies.
//!
//! Terraform reads the same file with `jsondecode(file(…))`. Its shape:
//!
//! - `countries`: ISO 3166-1 alpha-2 codes, each with where its slots come from. A further country is one entry here and one
//!   worker crate.
//! - `durations_seconds`: every duration of the system, in seconds, once. `republish_delays[n]` is what passes between
//!   the write (n = 0) or the n-th republishing and the next; after the last one the system gives up.
//! - `local.durations_seconds`: what the local stack shortens, to let people watch a retry. It can override
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

mod durations;
mod error;
mod policy;
mod principal;
mod table;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

pub use durations::Durations;
pub use error::{BackplaneError, FILE};
pub use principal::{Principal, PrincipalKind, Resource, Statement};
pub use table::{Index, KeyAttribute, SlotsIndexes, SlotsTable, Table};

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
    /// How many bookings that have not ended a person may hold, if the country has its own catalogue.
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

/// What the local stack overrides: durations, and nothing else (the type has no other field).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Local {
    durations_seconds: Map<String, Value>,
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
    /// The same of slots that changed: few, because an import has to leave the table and the function to outcomes.
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
    /// How many bookings that have not ended a person may hold, if the country has its own catalogue.
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

    /// The republish schedule of a country: the name of its rule, and the rule's constant input.
    #[must_use]
    pub fn republish_rule(&self, country: &Country) -> (String, Value) {
        let Republish { rule, input, .. } = &self.confirmation.republish;
        let fill = |template: &str| self.fill(template, &country.code);
        (fill(rule), map_strings(input, &|text| vec![fill(text)]))
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
        Value::Object(fields) => {
            fields.iter().map(|(name, field)| (name.clone(), map_strings(field, expand))).collect()
        }
        other => other.clone(),
    }
}
