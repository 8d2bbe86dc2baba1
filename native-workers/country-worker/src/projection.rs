//! What people read of the slots, made anew; and what a change of time zones' rules would do to them.

use appointment::{Country, ScheduleId, Timestamp, TraceContext, UtcOffset};
use serde::Serialize;
use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use time::OffsetDateTime;

use crate::event_bus::AnnouncementBus;
use crate::local_time::Zone;
use crate::outbox::{self, Drained};

/// How many slots are put into the outbox, or compared, at once.
const CHUNK: i32 = 2500;

/// Tells of every slot that has not ended, and of the catalogue, while bookings go on: what was told before is known by its
/// version. What the bus does not take stays in the outbox.
///
/// # Errors
/// The database fails. It may be done again.
pub async fn rebuild(
    connection: &mut PgConnection,
    country: Country,
    bus: &impl AnnouncementBus,
    traceparent: TraceContext,
) -> Result<Drained, sqlx::Error> {
    let mut drained = Drained::default();
    let mut after = 0_i64;
    loop {
        let last: Option<i64> = sqlx::query_scalar("SELECT public.tell_future_slots($1, $2, $3)")
            .bind(after)
            .bind(CHUNK)
            .bind(traceparent.to_string())
            .fetch_one(&mut *connection)
            .await?;
        let Some(last) = last else { break };
        after = last;
        drained.sent += outbox::drain(connection, country, bus).await?.sent;
    }
    sqlx::query("SELECT public.tell_catalogue($1, true)")
        .bind(traceparent.to_string())
        .execute(&mut *connection)
        .await?;
    let end = outbox::drain(connection, country, bus).await?;
    Ok(Drained { sent: drained.sent + end.sent, left: end.left })
}

/// A slot whose offset would be another by the rules that are compiled in now than it was at its import. Its instant stays the same
/// until it is imported again, while the clock on the wall shows another time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MovedByRules {
    /// The slot.
    pub schedule_id: ScheduleId,
    /// Its zone.
    pub time_zone: String,
    /// When it begins.
    pub starts_at: Timestamp,
    /// The offset that it was imported with.
    pub utc_offset: UtcOffset,
    /// The offset by the present rules; nothing where they do not know the zone.
    pub utc_offset_now: Option<UtcOffset>,
}

/// Compares the slots that have not begun with the rules of their zones, and hands each that differs to `found`; how many were
/// compared.
///
/// # Errors
/// The database fails.
pub async fn check_zones(
    connection: &mut PgConnection,
    mut found: impl FnMut(MovedByRules),
) -> Result<u64, sqlx::Error> {
    let (mut after, mut compared) = (0_i64, 0);
    loop {
        let rows = sqlx::query(
            "SELECT schedule_id, starts_at, time_zone, utc_offset_minutes FROM public.future_slots($1, $2)",
        )
        .bind(after)
        .bind(CHUNK)
        .fetch_all(&mut *connection)
        .await?;
        if rows.is_empty() {
            return Ok(compared);
        }
        for row in &rows {
            compared += 1;
            after = row.try_get("schedule_id")?;
            let time_zone: String = row.try_get("time_zone")?;
            let starts_at = std::time::SystemTime::from(row.try_get::<OffsetDateTime, _>("starts_at")?).into();
            let utc_offset = UtcOffset::from_minutes(row.try_get("utc_offset_minutes")?);
            let schedule_id = u64::try_from(after).ok().and_then(|number| ScheduleId::try_from(number).ok());
            // The table's constraints hold for both.
            let (Ok(utc_offset), Some(schedule_id)) = (utc_offset, schedule_id) else { continue };
            let utc_offset_now = Zone::named(&time_zone).and_then(|zone| zone.offset_at(starts_at));
            if utc_offset_now != Some(utc_offset) {
                found(MovedByRules { schedule_id, time_zone, starts_at, utc_offset, utc_offset_now });
            }
        }
    }
}
