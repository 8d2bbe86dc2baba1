use std::sync::LazyLock;
use std::time::Duration;

use aws_http::{JsonVersion, Retry};
use serde::Deserialize;
use serde_json::json;
use sqlx::migrate::{Migrate as _, Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, SqlStr};
use tokio::time::timeout;

use crate::aws::{self, Environment};
use crate::setting::InvalidSetting;
use crate::{CatalogueKind, CountryRules, DatabaseUser, MigrationSettings};

/// The longest wait for a new connection, TLS and authentication included: right after its creation an instance is slow.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// The longest wait for one try of `GetSecretValue`, and for all of its tries.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest wait of a migration for a lock, such as that of a table: what waits behind a waiting `ALTER TABLE` waits
/// too, and the worker decides nothing meanwhile. A migration that fails by it may be started again.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// The files of `migrations/`, by name: version, `_`, description. They are listed here because sqlx's macro for it compiles
/// a second PostgreSQL client for the compiler.
const FILES: &[(&str, &str)] = &[
    ("0001_appointments", include_str!("../migrations/0001_appointments.sql")),
    ("0002_decide", include_str!("../migrations/0002_decide.sql")),
    ("0003_decide_json", include_str!("../migrations/0003_decide_json.sql")),
    ("0004_slots", include_str!("../migrations/0004_slots.sql")),
    ("0005_appointments_of_person", include_str!("../migrations/0005_appointments_of_person.sql")),
    ("0006_slot_import", include_str!("../migrations/0006_slot_import.sql")),
    ("0007_fewer_statements", include_str!("../migrations/0007_fewer_statements.sql")),
    ("0008_plans_by_index", include_str!("../migrations/0008_plans_by_index.sql")),
    ("0009_one_command", include_str!("../migrations/0009_one_command.sql")),
];

/// An older binary works on a newer schema: what a later version applied is no error, and a rollback needs no older schema.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let migrations = FILES.iter().filter_map(|(name, sql)| {
        let (version, description) = name.split_once('_')?;
        let version = version.parse().ok()?;
        let description = description.replace('_', " ").into();
        Some(Migration::new(version, description, MigrationType::Simple, SqlStr::from_static(sql), false))
    });
    let mut migrations = Migrator::with_migrations(migrations.collect());
    migrations.set_ignore_missing(true);
    migrations
});

/// Create the users of the worker and of the import; see there.
const WORKER_USER: &str = include_str!("worker_user.sql");
const IMPORT_USER: &str = include_str!("import_user.sql");

/// Why the database could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Secrets Manager did not give the master secret; its code, why there was no response, or the setting that is wrong.
    #[error("the secret of DATABASE_MASTER_SECRET_ARN cannot be read: {0}")]
    SecretUnreadable(String),
    /// The secret is not one that RDS keeps. Its content is not shown.
    #[error("the secret of DATABASE_MASTER_SECRET_ARN is malformed: expected {{\"username\": …, \"password\": …}}")]
    SecretMalformed,
    /// No connection to the database.
    #[error("the database cannot be reached: {0}")]
    Unreachable(#[source] sqlx::Error),
    /// A migration failed, waited too long for a lock, or is another than the one that was applied under its number.
    #[error("the migrations cannot be applied: {0}")]
    Failed(#[from] sqlx::migrate::MigrateError),
    /// The rules that the country decides by were not set.
    #[error("the country's rules cannot be set: {0}")]
    NoRules(#[source] sqlx::Error),
    /// The user of the worker or of the import was not created or did not get its rights.
    #[error("a user cannot be created: {0}")]
    NoUser(#[source] sqlx::Error),
}

/// Applies the migrations that are embedded in this crate and missing in the database, sets the rules that the country decides
/// by, creates the users of the worker and of the import with the rights to connect and to execute their functions, and returns the
/// version that the schema then has. Runs at the same time wait for each other; a run that has nothing to do changes nothing.
///
/// # Errors
///
/// The master secret cannot be read, the database cannot be reached, or a statement fails; the migrations before it stay
/// applied.
pub async fn migrate(settings: &MigrationSettings) -> Result<i64, MigrateError> {
    let mut options = settings.place.options();
    if let Some(arn) = &settings.master_secret {
        // Read each time: RDS rotates it.
        let master = Master::of_secret(arn).await?;
        options = options.username(&master.username).password(&master.password);
    }
    let mut connection = match timeout(CONNECT_TIMEOUT, options.connect()).await {
        Ok(connected) => connected.map_err(MigrateError::Unreachable)?,
        Err(_elapsed) => {
            return Err(MigrateError::Unreachable(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())));
        }
    };
    // Before there is a limit: another migration may take longer. The session's end unlocks it.
    connection.lock().await?;
    limit_lock_waits(&mut connection).await.map_err(|error| MigrateError::Failed(error.into()))?;
    MIGRATIONS.run(&mut connection).await?;
    let version = schema_version(&mut connection).await.map_err(|error| MigrateError::Failed(error.into()))?;
    set_rules(&mut connection, settings.rules).await.map_err(MigrateError::NoRules)?;
    create_user(&mut connection, WORKER_USER, &settings.worker).await.map_err(MigrateError::NoUser)?;
    create_user(&mut connection, IMPORT_USER, &settings.importer).await.map_err(MigrateError::NoUser)?;
    // Nothing is lost if the farewell fails: everything was committed.
    let _ = connection.close().await;
    Ok(version)
}

async fn limit_lock_waits(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let limit = LOCK_TIMEOUT.as_millis().to_string();
    sqlx::query("SELECT set_config('lock_timeout', $1, false)").bind(limit).execute(connection).await?;
    Ok(())
}

/// The schema's version, which may be a later one than this binary's.
async fn schema_version(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM public._sqlx_migrations").fetch_one(connection).await
}

/// After the migrations: the rules of a catalogue need its index.
async fn set_rules(connection: &mut PgConnection, rules: CountryRules) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE public.country_settings
         SET catalogue = coalesce($1, catalogue), max_open_bookings = coalesce($2, max_open_bookings)",
    )
    .bind(rules.catalogue.map(CatalogueKind::as_str))
    .bind(rules.max_open_bookings.map(i32::from))
    .execute(connection)
    .await?;
    Ok(())
}

async fn create_user(
    connection: &mut PgConnection,
    statement: &'static str,
    user: &DatabaseUser,
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let setting = "SELECT set_config('country_worker.user', $1, true)";
    sqlx::query(setting).bind(user.as_str()).execute(&mut *transaction).await?;
    transaction.execute(statement).await?;
    transaction.commit().await
}

/// The user that owns the database, as RDS keeps it in Secrets Manager
/// (<https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-secrets-manager.html>).
#[derive(Deserialize)]
struct Master {
    username: String,
    password: String,
}

impl Master {
    async fn of_secret(arn: &str) -> Result<Self, MigrateError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct SecretValue {
            secret_string: Option<String>,
        }
        let setting = |error: InvalidSetting| MigrateError::SecretUnreadable(error.to_string());
        let environment = Environment::read(|name| std::env::var(name).ok()).map_err(setting)?;
        let client = environment.client().with_attempt_limit(ATTEMPT_TIMEOUT).with_deadline(CALL_TIMEOUT);
        let endpoint = environment.endpoint("secretsmanager").map_err(setting)?;
        let (service, target) = (endpoint.service("secretsmanager"), "secretsmanager.GetSecretValue");
        let response: SecretValue = client
            .json(service, JsonVersion::V1_1, target, &json!({"SecretId": arn}), Retry::Safe)
            .await
            .map_err(|error| MigrateError::SecretUnreadable(aws::code(&error)))?;
        let text = response.secret_string.ok_or(MigrateError::SecretMalformed)?;
        // The parser's own error may quote the text, and with it the password.
        serde_json::from_str(&text).map_err(|_| MigrateError::SecretMalformed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_a_migration() {
        let mut names: Vec<_> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let listed: Vec<_> = FILES.iter().map(|(name, _)| format!("{name}.sql")).collect();
        assert_eq!(names, listed);
        assert_eq!(MIGRATIONS.iter().count(), FILES.len(), "each name begins with a version");
    }
}
