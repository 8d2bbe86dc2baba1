//! Who acts on the backplane, and what is allowed to them.

use serde::Deserialize;
use serde_json::Value;

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
    pub(super) statements: Vec<Statement>,
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
