use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};

use appointment::{AppointmentId, Reason, ScheduleId, Timestamp};
use messages::AppointmentMessage;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{FromRow, Row as _};
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tokio::time::timeout;
use uuid::Uuid;

use crate::login::{ConnectError, DatabaseLogin};
use crate::slot::StoredSlot;

/// The longest wait for a new connection, TLS and authentication included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// After this the server ends a call of `decide`, waiting for another batch's slots included.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);

/// The longest wait for the response to a batch: for a server that is gone without a word, whose own timeout
/// ends nothing. Two runs with a new connection each take 16 s at most, within the function's 30 s (`infra/backplane.json`).
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

const DECIDE: &str = "
    SELECT command_id, appointment_id, outcome, reason, decided_at, schedule_id, replaced_by, slot::text
    FROM public.decide($1::text::jsonb)";

/// The country's decisions: the port to its database.
pub trait Decisions: Send + Sync {
    /// Decides about `commands`, at most one per appointment, and returns the decisions by appointment. It may be called again with the
    /// same commands: the first decision counts.
    ///
    /// A command without a response may have been decided: the response may have been lost, now or at an earlier delivery.
    fn decide(
        &self,
        commands: &[&AppointmentMessage],
    ) -> impl Future<Output = Result<HashMap<AppointmentId, CommandOutcome>, DecideError>> + Send;
}

/// What became of one command in the country's database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandOutcome {
    /// It is decided.
    Decided(Box<Decision>),
    /// The appointment was erased, and the command is void.
    Erased,
    /// There is no decision, for certain: the command has to come again.
    Undecided,
    /// There is a decision of a later version, which this one does not know: the command has to come again.
    Unknown,
}

/// What the country decided about one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What was decided.
    pub verdict: Verdict,
    /// When; for a command that came again, when it was first decided.
    pub decided_at: Timestamp,
    /// The slot as it is now, where the country has its own catalogue.
    pub slot: Option<StoredSlot>,
    /// The appointment whose place this one took.
    pub replaced: Option<Box<Replaced>>,
}

/// An appointment whose place another one took. It is cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The appointment.
    pub appointment_id: AppointmentId,
    /// Its slot.
    pub schedule_id: ScheduleId,
    /// What was decided about it; it replaced no other that would have to be told of here.
    pub decision: Decision,
}

/// What was decided about one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The slot is booked.
    Booked,
    /// The request is refused.
    Rejected(Reason),
    /// The appointment is cancelled.
    Cancelled {
        /// Why, if not because the person asked for it.
        reason: Option<Reason>,
        /// The appointment that took its place, where the reason is `moved`.
        replaced_by: Option<AppointmentId>,
    },
}

/// Why a batch could not be decided. Perhaps only the response was lost.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// No connection to the database.
    #[error(transparent)]
    NotConnected(#[from] ConnectError),
    /// The commands cannot be written as JSON.
    #[error("the commands cannot be written: {0}")]
    Unwritable(#[from] serde_json::Error),
    /// The database did not respond in time.
    #[error("the database did not respond within {} s", RESPONSE_TIMEOUT.as_secs())]
    TimedOut,
    /// The database refuses what one of the commands would write, and has written nothing.
    #[error("the database refuses a command: {0}")]
    Refused(#[source] sqlx::Error),
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

    /// Connects now: the first batch need not wait.
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
        let statement_timeout = ("statement_timeout", STATEMENT_TIMEOUT.as_millis().to_string());
        Ok(self.login.connect(CONNECT_TIMEOUT, &[statement_timeout]).await?)
    }

    /// Runs `commands` on the kept connection, or on a new one. The connection is kept only if it responded: one whose
    /// response is still under way, or never comes, must not serve the next batch.
    async fn run(
        &self,
        kept: &mut Option<PgConnection>,
        commands: &[&AppointmentMessage],
    ) -> Result<Vec<Row>, DecideError> {
        let commands = serde_json::to_string(commands)?;
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => self.open().await?,
        };
        // One statement, prepared once per connection, is one round trip and one transaction.
        let query = sqlx::query_as(DECIDE);
        match timeout(RESPONSE_TIMEOUT, query.bind(commands).fetch_all(&mut connection)).await {
            Ok(Ok(rows)) => {
                *kept = Some(connection);
                Ok(rows)
            }
            Ok(Err(error)) if is_refusal(&error) => {
                *kept = Some(connection);
                Err(DecideError::Refused(error))
            }
            Ok(Err(error)) => Err(DecideError::Failed(error)),
            Err(_elapsed) => Err(DecideError::TimedOut),
        }
    }

    /// Runs each of `commands` by itself: the one that the database refuses does not hold up the others. Stops when the time
    /// for one response is over.
    async fn run_one_by_one(
        &self,
        kept: &mut Option<PgConnection>,
        commands: &[&AppointmentMessage],
    ) -> HashMap<AppointmentId, CommandOutcome> {
        let mut outcomes = HashMap::with_capacity(commands.len());
        let started = Instant::now();
        for command in commands {
            if started.elapsed() >= RESPONSE_TIMEOUT {
                break;
            }
            match self.run(kept, &[command]).await {
                Ok(rows) => outcomes.extend(by_command(rows)),
                Err(DecideError::Refused(error)) => {
                    tracing::error!(
                        trace_id = command.traceparent.trace_id(),
                        appointment_id = %command.appointment_id,
                        command = command.command.as_str(),
                        // Only its message: the detail would quote the row.
                        error = %error,
                        "the database refuses a command"
                    );
                    // `decide` reads the row before it writes: if it had been there, it would have been the decision.
                    outcomes.insert(command.appointment_id, CommandOutcome::Undecided);
                }
                Err(error) => {
                    tracing::warn!(error = %error, "the rest of the batch has to come again");
                    break;
                }
            }
        }
        outcomes
    }
}

/// Whether the database refused what one of the commands would write: it will each time, and the connection is sound. By
/// the class of the SQLSTATE: data exception, integrity constraint violation, exception raised by a function
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
fn is_refusal(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| ["22", "23", "P0"].iter().any(|class| code.starts_with(class)))
}

impl Decisions for Database {
    async fn decide(
        &self,
        commands: &[&AppointmentMessage],
    ) -> Result<HashMap<AppointmentId, CommandOutcome>, DecideError> {
        if commands.is_empty() {
            return Ok(HashMap::new());
        }
        let mut kept = self.connection.lock().await;
        let rows = match self.run(&mut kept, commands).await {
            Ok(rows) => Ok(rows),
            Err(DecideError::Refused(error)) => Err(DecideError::Refused(error)),
            Err(error) => {
                tracing::warn!(error = %error, "running the batch once more, on a new connection");
                self.run(&mut kept, commands).await
            }
        };
        match rows {
            Ok(rows) => Ok(by_command(rows)),
            Err(DecideError::Refused(_)) => Ok(self.run_one_by_one(&mut kept, commands).await),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Database").field("login", &self.login).finish_non_exhaustive()
    }
}

/// A row that `decide` returns: what it says about one appointment, and to which command.
struct Row {
    command_id: Uuid,
    appointment_id: Uuid,
    outcome: String,
    reason: Option<String>,
    decided_at: Option<OffsetDateTime>,
    schedule_id: Option<i64>,
    replaced_by: Option<Uuid>,
    slot: Option<String>,
}

impl FromRow<'_, PgRow> for Row {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            command_id: row.try_get("command_id")?,
            appointment_id: row.try_get("appointment_id")?,
            outcome: row.try_get("outcome")?,
            reason: row.try_get("reason")?,
            decided_at: row.try_get("decided_at")?,
            schedule_id: row.try_get("schedule_id")?,
            replaced_by: row.try_get("replaced_by")?,
            slot: row.try_get("slot")?,
        })
    }
}

/// The decisions, by the appointments of their commands.
fn by_command(rows: Vec<Row>) -> HashMap<AppointmentId, CommandOutcome> {
    let mut outcomes = HashMap::with_capacity(rows.len());
    let (own, replaced): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| row.command_id == row.appointment_id);
    for row in own {
        if let Ok(command) = AppointmentId::try_from(row.command_id) {
            outcomes.insert(command, row.command_outcome());
        }
    }
    for row in replaced {
        let command = AppointmentId::try_from(row.command_id).ok();
        let Some(outcome) = command.and_then(|command| outcomes.get_mut(&command)) else { continue };
        match (row.replaced(), &mut *outcome) {
            (Some(replaced), CommandOutcome::Decided(decision)) => decision.replaced = Some(Box::new(replaced)),
            _ => *outcome = CommandOutcome::Unknown,
        }
    }
    outcomes
}

impl Row {
    fn command_outcome(self) -> CommandOutcome {
        match self.outcome.as_str() {
            "erased" => CommandOutcome::Erased,
            "unclassified" => CommandOutcome::Undecided,
            _ => {
                self.decision().map_or(CommandOutcome::Unknown, |decision| CommandOutcome::Decided(Box::new(decision)))
            }
        }
    }

    fn replaced(self) -> Option<Replaced> {
        let appointment_id = self.appointment_id.try_into().ok()?;
        let schedule_id = u64::try_from(self.schedule_id?).ok()?.try_into().ok()?;
        Some(Replaced { appointment_id, schedule_id, decision: self.decision()? })
    }

    /// Nothing where a later version decided, in a way that this one does not know.
    fn decision(self) -> Option<Decision> {
        let reason = match self.reason {
            Some(text) => Some(text.parse::<Reason>().ok()?),
            None => None,
        };
        let verdict = match (self.outcome.as_str(), reason) {
            ("booked", None) => Verdict::Booked,
            ("rejected", Some(reason)) => Verdict::Rejected(reason),
            ("cancelled", reason) => Verdict::Cancelled {
                reason,
                replaced_by: self.replaced_by.map(AppointmentId::try_from).transpose().ok()?,
            },
            _ => return None,
        };
        let slot = self.slot.map(|slot| serde_json::from_str(&slot)).transpose().ok()?;
        let decided_at = std::time::SystemTime::from(self.decided_at?).into();
        Some(Decision { verdict, decided_at, slot, replaced: None })
    }
}
