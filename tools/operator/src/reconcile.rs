//! After a country's database was restored to an earlier time: re-enters the decisions that it has forgotten and that the
//! table of appointments still shows. No slot is given twice.
//!
//! 1. The event source mapping of the country's queue stops: nothing is decided meanwhile.
//! 2. What is in flight arrives: dead letters of the confirmation queue are put back, the bus's archive is replayed from the
//!    restored time on (to the rule that feeds the queue, and to no other), and the queue is waited for to be empty. A
//!    repeated outcome changes nothing, and has the id that it had.
//! 3. The country's appointments are read from the table. In one transaction, cancellations are re-entered first, for they
//!    free slots, then everything else that has no row, and erasures are made again.
//! 4. What contradicts is reported, and the database's row stays as it is.
//! 5. The epoch of the slots' versions is raised above every one that the table of slots shows, and every slot that has not
//!    ended is put into the outbox, with the catalogue: what is told from now on is later than all that was told before the loss.
//! 6. The mapping starts.
//!
//! No appointment is announced. It may be done again: then it finds nothing to re-enter.

use std::time::{Duration, Instant, SystemTime};

use ::backplane::StoredAppointment;
use anyhow::{Context, Result, bail, ensure};
use appointment::{AppointmentId, InsuredId, Reason, ScheduleId, Status, Timestamp, TraceContext};
use aws_http::dynamodb::Item;
use futures::future::try_join_all;
use http::Method;
use messages::{AppointmentMessage, Command};
use serde::{Deserialize as _, Serialize};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection as _, FromRow, Row as _};

use crate::account::Account;
use crate::aws::Aws;
use crate::backplane::{Backplane, Country};
use crate::database::connect;
use crate::redrive::Moved;

/// The longest wait for the queue to be empty, or for a replay.
const DRAIN_LIMIT: Duration = Duration::from_secs(30 * 60);

/// The lengths of queues are approximate: this many looks in a row have to find nothing.
const EMPTY_LOOKS: u32 = 5;

/// What was done, or, by a dry run, would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Appointments of the country in the table.
    pub appointments: u64,
    /// Decisions that the database did not have: cancellations of rows that it had otherwise.
    pub cancelled: u64,
    /// Decisions that the database did not have: rows.
    pub re_entered: u64,
    /// Erasures that were made again.
    pub erased: u64,
    /// What somebody has to look at.
    pub contradictions: Vec<Contradiction>,
    /// Appointments in a status that this version does not know; nothing was done about them.
    pub unknown: u64,
}

/// The table and the database say different things. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The appointment.
    pub appointment_id: String,
    /// Its slot, as the table has it.
    pub schedule_id: i64,
    /// The decision that the table shows.
    pub shown: String,
    /// The decision in the database; nothing where it has no row.
    pub kept: Option<String>,
    /// The appointment that holds the slot in the database.
    pub holder: Option<String>,
}

impl FromRow<'_, PgRow> for Contradiction {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            appointment_id: row.try_get("appointment_id")?,
            schedule_id: row.try_get("schedule_id")?,
            shown: row.try_get("shown")?,
            kept: row.try_get("kept")?,
            holder: row.try_get("holder")?,
        })
    }
}

/// The decision that an item of the table shows.
#[derive(Serialize)]
struct Shown {
    id: AppointmentId,
    person: InsuredId,
    slot: ScheduleId,
    status: &'static str,
    /// Of what was rejected; of what was cancelled where not the person asked for it.
    reason: Option<Reason>,
    replaces: Option<AppointmentId>,
    replaced_by: Option<AppointmentId>,
    requested: Timestamp,
    decided: Timestamp,
    /// A cancellation is under way, so the database may be ahead.
    cancelling: bool,
    /// The request, for what the country keeps of it beyond its own columns.
    command: AppointmentMessage,
}

/// Re-enters what `country`'s database has forgotten since `restored_to`.
///
/// # Errors
/// When a part fails; then the mapping stays stopped, the database is as it was, and it has to be done again.
pub async fn reconcile(
    account: &Account,
    backplane: &Backplane,
    country: &Country,
    database_url: &str,
    restored_to: Timestamp,
    dry_run: bool,
) -> Result<Reconciled> {
    if dry_run {
        return re_enter(account, backplane, country, database_url, true).await;
    }
    let mapping = Mapping::of(account, country).await?;
    mapping.switch(false).await?;
    // A batch that had begun ends within the function's time.
    tokio::time::sleep(Duration::from_secs(backplane.durations.worker_timeout)).await;
    let reconciled = async {
        drain(account, backplane, restored_to).await?;
        re_enter(account, backplane, country, database_url, false).await
    };
    let reconciled = reconciled.await.with_context(|| {
        format!("{} is not reconciled: the mapping of {} stays stopped, try again", country.code, country.queue)
    })?;
    mapping.switch(true).await?;
    Ok(reconciled)
}

/// The event source mapping of a country's queue.
struct Mapping {
    lambda: Aws,
    path: String,
}

impl Mapping {
    async fn of(account: &Account, country: &Country) -> Result<Self> {
        let lambda = account.aws("lambda")?;
        let queue = account.arn("sqs", "", &country.queue);
        let encoded = percent_encoding::utf8_percent_encode(&queue, percent_encoding::NON_ALPHANUMERIC);
        let path = format!("/2015-03-31/event-source-mappings/?EventSourceArn={encoded}");
        let found = lambda.lambda_call(Method::GET, &path, None).await?;
        let found = found.get("EventSourceMappings").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let [mapping] = found else { bail!("{} has {} event source mappings, not one", country.queue, found.len()) };
        let id = mapping.get("UUID").and_then(Value::as_str).context("an event source mapping without UUID")?;
        Ok(Self { lambda, path: format!("/2015-03-31/event-source-mappings/{id}") })
    }

    /// Starts or stops it, and waits until it has.
    async fn switch(&self, enabled: bool) -> Result<()> {
        let wanted = if enabled { "Enabled" } else { "Disabled" };
        self.lambda.lambda_call(Method::PUT, &self.path, Some(&json!({"Enabled": enabled}))).await?;
        let started = Instant::now();
        loop {
            let mapping = self.lambda.lambda_call(Method::GET, &self.path, None).await?;
            let state = mapping.get("State").and_then(Value::as_str).unwrap_or_default();
            if state == wanted {
                return Ok(());
            }
            ensure!(started.elapsed() < DRAIN_LIMIT, "the event source mapping is {state}, not {wanted}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Lets every outcome that was reported since `restored_to` arrive in the table.
async fn drain(account: &Account, backplane: &Backplane, restored_to: Timestamp) -> Result<()> {
    let queue = &backplane.confirmation_queue;
    if let Moved::Refused(why) = account.put_back(&queue.dead_letter_queue, &queue.name, backplane).await? {
        bail!("the dead letters of {} are not put back: {why}", queue.name);
    }
    replay(account, backplane, restored_to).await?;
    // That of slots too: the epoch is read from what it feeds.
    try_join_all([&queue.name, &backplane.slots_queue.name].map(async |queue| {
        let started = Instant::now();
        let mut empty = 0;
        while empty < EMPTY_LOOKS {
            ensure!(started.elapsed() < DRAIN_LIMIT, "{queue} does not become empty: is its consumer running?");
            empty = if account.all_messages_in(queue).await? == 0 { empty + 1 } else { 0 };
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }))
    .await
    .map(drop)
}

/// Replays the archive, to the rule that feeds the confirmation queue and to no other.
async fn replay(account: &Account, backplane: &Backplane, restored_to: Timestamp) -> Result<()> {
    let events = account.aws("events")?;
    let bus = &backplane.bus;
    let now = Timestamp::from(SystemTime::now());
    let name = format!("reconcile-{}", now.unix_milliseconds());
    let rule = account.arn("events", "rule/", &format!("{}/{}", bus.name, account.name(&bus.rules.outcomes.name)));
    let replay = json!({
        "ReplayName": name,
        "EventSourceArn": account.arn("events", "archive/", &bus.archive),
        "EventStartTime": restored_to.unix_seconds(),
        "EventEndTime": now.unix_seconds() + 1,
        "Destination": {"Arn": account.arn("events", "event-bus/", &bus.name), "FilterArns": [rule]},
    });
    events.events("StartReplay", &replay).await?;
    let started = Instant::now();
    loop {
        let replay = events.events("DescribeReplay", &json!({"ReplayName": name})).await?;
        let state = replay.get("State").and_then(Value::as_str).unwrap_or_default();
        match state {
            "COMPLETED" => return Ok(()),
            "FAILED" | "CANCELLED" => bail!("the replay {name} has {state}"),
            _ => ensure!(started.elapsed() < DRAIN_LIMIT, "the replay {name} is still {state}"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn re_enter(
    account: &Account,
    backplane: &Backplane,
    country: &Country,
    database_url: &str,
    dry_run: bool,
) -> Result<Reconciled> {
    let (shown, erased, mut reconciled) = read_table(account, backplane, country).await?;
    let shown = serde_json::to_string(&shown)?;
    let erased = serde_json::to_string(&erased)?;
    let next_epoch = shown_epoch(account, backplane, country).await?.map_or(0, |epoch| epoch + 1);
    let mut connection = connect(database_url).await?;
    let mut transaction = connection.begin().await?;
    // Whoever else decides waits, should the mapping not be the only way to the worker.
    sqlx::query("LOCK TABLE public.appointments IN SHARE ROW EXCLUSIVE MODE").execute(&mut *transaction).await?;
    reconciled.erased = execute(&mut transaction, ERASE, &erased).await?;
    reconciled.cancelled = execute(&mut transaction, CANCEL, &shown).await?;
    reconciled.re_entered = execute(&mut transaction, RE_ENTER, &shown).await?;
    reconciled.contradictions =
        sqlx::query_as(CONTRADICTIONS).bind(&shown).fetch_all(&mut *transaction).await.context("contradictions")?;
    let trace = TraceContext::start(std::array::from_fn(|_| fastrand::u8(..))).to_string();
    sqlx::query(RAISE_EPOCH)
        .bind(next_epoch)
        .execute(&mut *transaction)
        .await
        .context("the epoch of the slots' versions")?;
    sqlx::query(TELL_SLOTS).bind(trace).execute(&mut *transaction).await.context("the slots")?;
    match dry_run {
        true => transaction.rollback().await?,
        false => transaction.commit().await?,
    }
    Ok(reconciled)
}

async fn execute(connection: &mut PgConnection, statement: &'static str, input: &str) -> Result<u64> {
    Ok(sqlx::query(statement).bind(input).execute(connection).await?.rows_affected())
}

/// Appointments that were erased since, by the table's tombstones. Their rows go, as they went before.
const ERASE: &str = "
    WITH erased AS (
        SELECT * FROM jsonb_to_recordset($1::text::jsonb) AS r (id uuid, expires_at bigint)
    ), noted AS (
        INSERT INTO public.erased_appointments (appointment_id, expires_at)
        SELECT id, to_timestamp(expires_at) FROM erased ON CONFLICT DO NOTHING
    )
    DELETE FROM public.appointments AS a USING erased WHERE a.appointment_id = erased.id";

const CANCEL: &str = "
    UPDATE public.appointments AS a
    SET status = 'cancelled', reason = shown.reason, replaced_by = shown.replaced_by, decided_at = shown.decided
    FROM jsonb_to_recordset($1::text::jsonb) AS shown
        (id uuid, person text, slot bigint, status text, reason text, replaced_by uuid, decided timestamptz)
    WHERE a.appointment_id = shown.id AND a.insured_id = shown.person AND a.schedule_id = shown.slot
      AND shown.status = 'cancelled' AND a.status <> 'cancelled'";

/// Of two that hold one slot the first that was decided is re-entered, and the other is told as a contradiction.
const RE_ENTER: &str = "
    INSERT INTO public.appointments
        (appointment_id, insured_id, schedule_id, status, reason, requested_at, decided_at, replaces, replaced_by, details)
    SELECT id, person, slot, status, reason, requested, decided, replaces, replaced_by, public.details_of(command)
    FROM jsonb_to_recordset($1::text::jsonb) AS shown
        (id uuid, person text, slot bigint, status text, reason text, requested timestamptz, decided timestamptz,
         replaces uuid, replaced_by uuid, command jsonb)
    ORDER BY decided, id
    ON CONFLICT DO NOTHING";

/// The restored database does not know the epochs that it had before the loss. The table of slots does; by the day, where that
/// was lost too.
const RAISE_EPOCH: &str = "
    UPDATE public.country_settings SET epoch = greatest(epoch + 1, $1, current_date - date '2026-01-01')";

const TELL_SLOTS: &str = "
    SELECT public.slots_changed(ARRAY(SELECT s.schedule_id FROM public.slots AS s WHERE s.ends_at > now()), $1),
           public.tell_catalogue($1, true)";

const CONTRADICTIONS: &str = "
    SELECT shown.id::text AS appointment_id, shown.slot AS schedule_id, shown.status AS shown, a.status AS kept,
           holder.appointment_id::text AS holder
    FROM jsonb_to_recordset($1::text::jsonb)
        AS shown (id uuid, person text, slot bigint, status text, cancelling boolean)
    LEFT JOIN public.appointments AS a ON a.appointment_id = shown.id
    LEFT JOIN public.appointments AS holder ON holder.schedule_id = shown.slot AND holder.status = 'booked'
    WHERE a.appointment_id IS NULL
       OR (a.insured_id, a.schedule_id) <> (shown.person, shown.slot)
       OR (a.status <> shown.status AND NOT (shown.cancelling AND a.status = 'cancelled'))
    ORDER BY shown.slot, shown.id";

/// A tombstone of the table.
#[derive(Serialize)]
struct Erased {
    id: String,
    expires_at: i64,
}

/// The greatest epoch among the versions of a country's slots and of its catalogue, as people read them.
async fn shown_epoch(account: &Account, backplane: &Backplane, country: &Country) -> Result<Option<i32>> {
    let mut latest = None;
    let scan = json!({
        "TableName": account.name(&backplane.slots_table.name),
        "ProjectionExpression": "version",
        "FilterExpression": "begins_with(slotKey, :country)",
        "ExpressionAttributeValues": {":country": {"S": format!("{}#", country.code)}},
        "ConsistentRead": true,
    });
    each_item(account, scan, |item| {
        let version = item.pointer("/version/N").and_then(Value::as_str).and_then(|text| text.parse::<u64>().ok());
        let version = version.context("an item of the table of slots without a version")?;
        latest = latest.max(Some(i32::try_from(version >> 40)?));
        Ok(())
    })
    .await?;
    Ok(latest)
}

/// Hands each item that a `Scan` finds to `take`.
async fn each_item(account: &Account, mut scan: Value, mut take: impl FnMut(&Value) -> Result<()>) -> Result<()> {
    let aws = account.aws("dynamodb")?;
    loop {
        let mut page = aws.dynamodb("Scan", &scan).await?;
        for item in page.get("Items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default() {
            take(item)?;
        }
        let (Some(next), Some(scan)) = (page.get_mut("LastEvaluatedKey").map(Value::take), scan.as_object_mut()) else {
            return Ok(());
        };
        scan.insert("ExclusiveStartKey".to_owned(), next);
    }
}

/// What the table shows of a country's decisions, and what was erased, of whichever country.
async fn read_table(
    account: &Account,
    backplane: &Backplane,
    country: &Country,
) -> Result<(Vec<Shown>, Vec<Erased>, Reconciled)> {
    let (mut shown, mut erased, mut reconciled) = (Vec::new(), Vec::new(), Reconciled::default());
    let scan = json!({
        "TableName": account.table(backplane),
        "FilterExpression": "countryISO = :country AND begins_with(sk, :appointment) OR sk = :erased",
        "ExpressionAttributeValues": {
            ":country": {"S": country.code}, ":appointment": {"S": "appointment#"}, ":erased": {"S": "erased"},
        },
        "ConsistentRead": true,
    });
    each_item(account, scan, |item| {
        let text = |name: &str, kind: &str| item.get(name)?.get(kind)?.as_str();
        if text("sk", "S") == Some("erased") {
            let id = text("insuredId", "S").and_then(|key| key.strip_prefix("erased#"));
            let expires_at = text("expiresAt", "N").and_then(|seconds| seconds.parse().ok());
            let (id, expires_at) = id.zip(expires_at).context("a tombstone without an id or an expiry")?;
            erased.push(Erased { id: id.to_owned(), expires_at });
            return Ok(());
        }
        reconciled.appointments += 1;
        let stored = StoredAppointment::from_item(&Item::deserialize(item)?)?;
        match stored.appointment.status {
            Status::Unknown(_) => reconciled.unknown += 1,
            _ => shown.extend(decision(&stored)?),
        }
        Ok(())
    })
    .await?;
    Ok((shown, erased, reconciled))
}

/// The decision that an appointment shows; `None` if its country has not decided.
fn decision(stored: &StoredAppointment) -> Result<Option<Shown>> {
    let appointment = &stored.appointment;
    let reached =
        |status: Status| stored.history.iter().rev().find(|entry| entry.status == status).map(|entry| entry.at);
    let (status, decided) = match appointment.status {
        Status::Completed => ("booked", reached(Status::Completed)),
        Status::Rejected => ("rejected", reached(Status::Rejected)),
        Status::Cancelled => ("cancelled", reached(Status::Cancelled)),
        // The country has not decided about the cancellation yet; what it decided before is valid.
        Status::Cancelling if reached(Status::Completed).is_some() => ("booked", reached(Status::Completed)),
        _ => return Ok(None),
    };
    // A cancellation that the person asked for has none, but the row may hold that of an earlier rejection.
    let (reason, replaced_by) = match (status, appointment.reason, appointment.replaced_by) {
        ("rejected", reason, _) => (reason, None),
        ("cancelled", Some(Reason::Moved), Some(by)) => (Some(Reason::Moved), Some(by)),
        ("cancelled", Some(Reason::SlotWithdrawn), _) => (Some(Reason::SlotWithdrawn), None),
        _ => (None, None),
    };
    ensure!(status != "rejected" || reason.is_some(), "an appointment of the table was rejected without a reason");
    let command = AppointmentMessage::new(Command::Request, appointment, stored.trace);
    Ok(Some(Shown {
        id: appointment.appointment_id,
        person: appointment.insured_id,
        slot: appointment.schedule_id,
        status,
        reason,
        replaces: appointment.replaces.map(|original| original.appointment_id),
        replaced_by,
        requested: appointment.created_at,
        decided: decided.unwrap_or(appointment.updated_at),
        cancelling: appointment.status == Status::Cancelling,
        command: command.context("an appointment of the table is of a country of a later version")?,
    }))
}
