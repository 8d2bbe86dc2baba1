//! Who acts on the backplane, and what is allowed to them.

use serde::Deserialize;
use serde_json::Value;

use super::{Backplane, map_strings};

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
    pub(super) statements_of: Option<String>,
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
    /// The log streams of the function that serves the API.
    IntakeLogGroup,
    /// The log streams of the function that serves the page.
    BookingPageLogGroup,
    /// The log streams of the function that applies outcomes.
    ConfirmationLogGroup,
}

impl Backplane {
    /// The name of a principal, for a country where there is one for each.
    #[must_use]
    pub fn principal_name(&self, principal: &Principal, country: Option<&str>) -> String {
        country.map_or_else(|| principal.name.clone(), |code| self.fill(&principal.name, code))
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
}
