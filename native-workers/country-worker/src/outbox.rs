//! What the country tells without a command: from the outbox, in the transaction that changed something, to the event bus.

use appointment::{
    AppointmentId, Catalogue, Country, InsuredId, Practitioner, Reason, ScheduleId, Timestamp, TraceContext,
};
use icu_normalizer::DecomposingNormalizerBorrowed;
use icu_normalizer::properties::CanonicalCombiningClassMapBorrowed;
use messages::{CatalogueChanged, Command, Outcome, OutcomeDetail, OutcomeEvent, SlotsChanged, Version1};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection as _, FromRow, Row as _};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::event_bus::{Announcement, AnnouncementBus};
use crate::slot::StoredSlot;

/// `PutEvents` takes this many.
const BATCH: i32 = 10;

/// What became of the outbox's events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Drained {
    /// Taken by the bus, and deleted.
    pub sent: u64,
    /// Not taken, or not readable: they stay.
    pub left: u64,
}

/// Sends the outbox's events in their order, ten at a time, and deletes those that the bus took. Runs at the same time wait for
/// each other.
///
/// # Errors
/// The database fails. What was sent and not deleted is sent again, with the same event ids.
pub async fn drain(
    connection: &mut PgConnection,
    country: Country,
    bus: &impl AnnouncementBus,
) -> Result<Drained, sqlx::Error> {
    let mut drained = Drained::default();
    let mut after = 0_i64;
    loop {
        let mut transaction = connection.begin().await?;
        let rows: Vec<Row> =
            sqlx::query_as("SELECT id, detail_type, detail::text, created_at FROM public.outbox_next($1, $2)")
                .bind(after)
                .bind(BATCH)
                .fetch_all(&mut *transaction)
                .await?;
        // Ended here, and not when it is dropped: that would be with the connection's next statement, and others wait.
        let Some(last) = rows.last() else {
            transaction.rollback().await?;
            return Ok(drained);
        };
        after = last.id;
        let (mut ids, mut announcements) = (Vec::new(), Vec::new());
        for row in rows {
            match row.announcement(country) {
                Some(announcement) => {
                    ids.push(row.id);
                    announcements.push(announcement);
                }
                None => {
                    drained.left += 1;
                    tracing::error!(
                        country = country.code(),
                        outbox_id = row.id,
                        detail_type = row.detail_type,
                        "the outbox holds an event of a later version"
                    );
                }
            }
        }
        if announcements.is_empty() {
            transaction.rollback().await?;
            continue;
        }
        let results = bus.announce(&announcements).await;
        let taken: Vec<i64> =
            ids.iter().zip(&results).filter(|(_, result)| result.is_ok()).map(|(id, _)| *id).collect();
        let refused = ids.len() - taken.len();
        drained.sent += taken.len() as u64;
        drained.left += refused as u64;
        if !taken.is_empty() {
            sqlx::query("SELECT public.outbox_taken($1)").bind(&taken).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        if let Some(error) = results.iter().find_map(|result| result.as_ref().err()) {
            tracing::warn!(country = country.code(), refused, error = %error, "events stay in the outbox");
            // A bus that takes nothing is not asked for the rest.
            if taken.is_empty() {
                return Ok(drained);
            }
        }
    }
}

struct Row {
    id: i64,
    detail_type: String,
    detail: String,
    created_at: OffsetDateTime,
}

impl FromRow<'_, PgRow> for Row {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            detail_type: row.try_get("detail_type")?,
            detail: row.try_get("detail")?,
            created_at: row.try_get("created_at")?,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredSlots {
    event_id: Uuid,
    traceparent: TraceContext,
    slots: Vec<StoredSlot>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredCatalogue {
    event_id: Uuid,
    traceparent: TraceContext,
    catalogue_version: u64,
    practitioners: Vec<Practitioner>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredCancellation {
    appointment_id: AppointmentId,
    insured_id: InsuredId,
    schedule_id: ScheduleId,
    reason: Reason,
    occurred_at: Timestamp,
    traceparent: TraceContext,
}

impl Row {
    /// The event, as every resend has it; nothing where a later version wrote it.
    fn announcement(&self, country: Country) -> Option<Announcement> {
        let occurred_at = Timestamp::from(std::time::SystemTime::from(self.created_at));
        match self.detail_type.as_str() {
            messages::SLOTS_CHANGED_DETAIL_TYPE => {
                let StoredSlots { event_id, traceparent, slots } = serde_json::from_str(&self.detail).ok()?;
                let slots = slots.into_iter().map(|slot| slot.of(country)).collect();
                Some(Announcement::Slots(SlotsChanged {
                    version: Version1,
                    event_id,
                    country,
                    slots,
                    occurred_at,
                    traceparent,
                }))
            }
            messages::CATALOGUE_CHANGED_DETAIL_TYPE => {
                let stored: StoredCatalogue = serde_json::from_str(&self.detail).ok()?;
                Some(Announcement::Catalogue(CatalogueChanged {
                    version: Version1,
                    event_id: stored.event_id,
                    catalogue: catalogue(country, stored.catalogue_version, stored.practitioners),
                    occurred_at,
                    traceparent: stored.traceparent,
                }))
            }
            "AppointmentCancelled" => {
                let stored: StoredCancellation = serde_json::from_str(&self.detail).ok()?;
                let (outcome, command) = (Outcome::Cancelled, Command::Cancellation);
                Some(Announcement::Cancelled(OutcomeEvent {
                    outcome,
                    detail: OutcomeDetail {
                        version: Version1,
                        event_id: OutcomeEvent::event_id(stored.appointment_id, outcome, command),
                        appointment_id: stored.appointment_id,
                        insured_id: stored.insured_id,
                        schedule_id: stored.schedule_id,
                        country,
                        command,
                        reason: Some(stored.reason),
                        replaced_by: None,
                        // The slot has a separate event.
                        slot: None,
                        occurred_at: stored.occurred_at,
                        traceparent: stored.traceparent,
                    },
                }))
            }
            _ => None,
        }
    }
}

fn catalogue(country: Country, catalogue_version: u64, mut practitioners: Vec<Practitioner>) -> Catalogue {
    practitioners.sort_by_cached_key(|p| (alphabetical(&p.name), alphabetical(&p.specialty), alphabetical(&p.center)));
    let names = |name: fn(&Practitioner) -> &String| {
        let mut names: Vec<String> = practitioners.iter().map(|practitioner| name(practitioner).clone()).collect();
        names.sort_by_cached_key(|name| alphabetical(name));
        names.dedup();
        names
    };
    let (specialties, centers) =
        (names(|practitioner| &practitioner.specialty), names(|practitioner| &practitioner.center));
    Catalogue { country, catalogue_version, specialties, centers, practitioners }
}

/// Sorts as people look for it: without accents and case, and only then by them.
fn alphabetical(text: &str) -> (String, String) {
    let classes = CanonicalCombiningClassMapBorrowed::new();
    let decomposed = DecomposingNormalizerBorrowed::new_nfd().normalize(text);
    // What combines with a letter has another class than 0.
    let letters = decomposed.chars().filter(|character| classes.get_u8(*character) == 0);
    let plain = letters.flat_map(char::to_lowercase).collect();
    (plain, text.to_owned())
}
