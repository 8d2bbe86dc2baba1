use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use appointment::{AppointmentId, AppointmentMessage, Command, Reason, Timestamp};
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnection;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{DatabaseLogin, TokenError};

/// The longest wait for a new connection, TLS and authentication included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// After this the server ends a call of `decide`, waiting for another batch's slots included.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);

/// The longest wait for the answer to a batch: for a server that is gone without a word, which no timeout of its own
/// ends. Two runs with a new connection each take 16 s at most, within the function's 30 s (`infra/backplane.json`).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The country's decisions: the port to its database.
pub trait Decisions: Send + Sync {
    /// Decides about `commands`, at most one an appointment, all of them or none, and answers by appointment. A command
    /// without an answer counts as [`Verdict::Unclassified`]. It may be called again with the same commands: the first
    /// decision stands.
    fn decide(
        &self,
        commands: &[&AppointmentMessage],
    ) -> impl Future<Output = Result<HashMap<AppointmentId, Decision>, DecideError>> + Send;
}

/// What the country says to one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// What was decided.
    pub verdict: Verdict,
    /// When; for a command that came again, when it was first decided.
    pub decided_at: Timestamp,
}

/// What was decided about one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The slot is booked.
    Booked,
    /// The slot is somebody's already.
    Rejected(Reason),
    /// The appointment is cancelled.
    Cancelled,
    /// Nothing: the command has to come again.
    Unclassified,
}

impl Verdict {
    fn from_row(outcome: &str, reason: Option<&str>) -> Self {
        match (outcome, reason) {
            ("booked", None) => Self::Booked,
            ("cancelled", None) => Self::Cancelled,
            ("rejected", Some(text)) => Reason::ALL
                .into_iter()
                .find(|reason| reason.as_str() == text)
                .map_or(Self::Unclassified, Self::Rejected),
            _ => Self::Unclassified,
        }
    }
}

/// Why a batch could not be decided. Nothing of it counts as decided, though the answer alone may have been lost.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// No token for a new connection.
    #[error(transparent)]
    NoToken(#[from] TokenError),
    /// No connection to the database.
    #[error("the database cannot be reached: {0}")]
    Unreachable(#[source] sqlx::Error),
    /// The database did not answer in time.
    #[error("the database did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
    TimedOut,
    /// The statement failed, or the connection broke under it.
    #[error("the database did not decide: {0}")]
    Failed(#[source] sqlx::Error),
}

/// The country's PostgreSQL database, over one connection: an execution environment of Lambda processes one batch at a
/// time, so a pool would have nothing to share.
///
/// A call that finds the connection dead, or fails in another way, connects anew and runs once more, which `decide`
/// allows.
pub struct Database {
    login: DatabaseLogin,
    connection: Mutex<Option<PgConnection>>,
}

impl Database {
    /// A database that is connected to when it is first needed.
    #[must_use]
    pub fn new(login: DatabaseLogin) -> Self {
        Self { login, connection: Mutex::new(None) }
    }

    /// Connects now, so that the first batch need not wait.
    ///
    /// # Errors
    ///
    /// The database cannot be reached. The next batch tries again.
    pub async fn connect(&self) -> Result<(), DecideError> {
        let mut connection = self.connection.lock().await;
        if connection.is_none() {
            *connection = Some(self.open().await?);
        }
        Ok(())
    }

    async fn open(&self) -> Result<PgConnection, DecideError> {
        let options = self.login.options()?.options([("statement_timeout", STATEMENT_TIMEOUT.as_millis().to_string())]);
        match timeout(CONNECT_TIMEOUT, options.connect()).await {
            Ok(connected) => connected.map_err(DecideError::Unreachable),
            Err(_elapsed) => Err(DecideError::Unreachable(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))),
        }
    }

    /// Runs the batch on `connection`, or on a new one. The connection is kept only where it answered: one whose answer
    /// is still under way, or never comes, must not serve the next batch.
    async fn run(
        &self,
        connection: Option<PgConnection>,
        batch: &Batch,
    ) -> Result<(PgConnection, Vec<Row>), DecideError> {
        let mut connection = match connection {
            Some(connection) => connection,
            None => self.open().await?,
        };
        match timeout(ANSWER_TIMEOUT, batch.decide(&mut connection)).await {
            Ok(answered) => answered.map(|rows| (connection, rows)).map_err(DecideError::Failed),
            Err(_elapsed) => Err(DecideError::TimedOut),
        }
    }
}

impl Decisions for Database {
    async fn decide(&self, commands: &[&AppointmentMessage]) -> Result<HashMap<AppointmentId, Decision>, DecideError> {
        if commands.is_empty() {
            return Ok(HashMap::new());
        }
        let batch = Batch::new(commands);
        let mut kept = self.connection.lock().await;
        let (connection, rows) = match self.run(kept.take(), &batch).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(error = %error, "running the batch once more, on a new connection");
                self.run(None, &batch).await?
            }
        };
        *kept = Some(connection);
        Ok(rows.into_iter().filter_map(Row::decision).collect())
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Database").field("login", &self.login).finish_non_exhaustive()
    }
}

/// The arguments of `decide`: parallel arrays, one element a command.
struct Batch {
    appointment_ids: Vec<Uuid>,
    insured_ids: Vec<String>,
    schedule_ids: Vec<i64>,
    commands: Vec<&'static str>,
    requested_at: Vec<OffsetDateTime>,
}

/// An answer of `decide`: appointment, outcome, reason, instant of the decision.
#[derive(sqlx::FromRow)]
struct Row {
    appointment_id: Uuid,
    outcome: String,
    reason: Option<String>,
    decided_at: Option<OffsetDateTime>,
}

impl Batch {
    fn new(commands: &[&AppointmentMessage]) -> Self {
        Self {
            appointment_ids: commands.iter().map(|message| message.appointment_id.as_uuid()).collect(),
            insured_ids: commands.iter().map(|message| message.insured_id.as_str().to_owned()).collect(),
            schedule_ids: commands.iter().map(|message| message.schedule_id.as_i64()).collect(),
            commands: commands
                .iter()
                .map(|message| match message.command {
                    Command::Request => "request",
                    Command::Decision => "decision",
                    Command::Cancellation => "cancel",
                })
                .collect(),
            requested_at: commands
                .iter()
                .map(|message| std::time::SystemTime::from(message.occurred_at).into())
                .collect(),
        }
    }

    /// One statement, prepared once a connection, is one round trip and one transaction.
    async fn decide(&self, connection: &mut PgConnection) -> Result<Vec<Row>, sqlx::Error> {
        sqlx::query_as("SELECT appointment_id, outcome, reason, decided_at FROM public.decide($1, $2, $3, $4, $5)")
            .bind(&self.appointment_ids)
            .bind(&self.insured_ids)
            .bind(&self.schedule_ids)
            .bind(&self.commands)
            .bind(&self.requested_at)
            .fetch_all(connection)
            .await
    }
}

impl Row {
    /// The decision; nothing where the row holds none.
    fn decision(self) -> Option<(AppointmentId, Decision)> {
        let verdict = Verdict::from_row(&self.outcome, self.reason.as_deref());
        let decided_at = Timestamp::from(std::time::SystemTime::from(self.decided_at?));
        Some((self.appointment_id.try_into().ok()?, Decision { verdict, decided_at }))
    }
}
