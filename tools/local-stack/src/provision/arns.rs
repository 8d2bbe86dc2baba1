//! What things are called in the emulator's account.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use operator::backplane::{Backplane, Country, Resource, Rule};

use crate::ministack::{ACCOUNT, REGION};

/// The CloudWatch log group of a function.
#[must_use]
pub fn log_group(function: &str) -> String {
    format!("/aws/lambda/{function}")
}

pub(super) fn arn(service: &str, name: &str) -> String {
    format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{name}")
}

pub(super) fn rule_arn(backplane: &Backplane, rule: &Rule) -> String {
    arn("events", &format!("rule/{}/{}", backplane.bus.name, rule.name))
}

/// The ARNs behind logical names.
pub(super) struct Arns<'a> {
    pub(super) backplane: &'a Backplane,
    pub(super) master_secrets: &'a BTreeMap<String, String>,
}

impl Arns<'_> {
    /// The ARNs of a resource; of a country's where there is one for each.
    pub(super) fn of(&self, resource: Resource, country: Option<&Country>) -> Result<Vec<String>> {
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
