//! Tombstones of erased appointments: what is on its way about one of them is dropped, without an alarm.

use appointment::{AppointmentId, Timestamp};
use aws_http::dynamodb::{GetItem, Item, PutItem};
use aws_http::{Retry, Transport};

use crate::attribute;
use crate::store::StoreError;
use crate::table::AppointmentsTable;

/// A tombstone tells nothing about the person: five digits, even hashed, could be guessed.
const TOMBSTONE: &str = "erased";

impl<T: Transport> AppointmentsTable<'_, T> {
    /// Notes that an appointment was erased. DynamoDB deletes the note some days after `expires_at`, when no queue can hold
    /// a message about the appointment any more.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn note_erased(&self, appointment: AppointmentId, expires_at: Timestamp) -> Result<(), StoreError> {
        let put = PutItem {
            table_name: self.name,
            item: tombstone_key(appointment).with(attribute::EXPIRES_AT, expires_at.unix_seconds()),
            ..PutItem::default()
        };
        self.dynamodb.put_item(&put, Retry::Safe).await?;
        Ok(())
    }

    /// Whether an appointment was erased.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn is_erased(&self, appointment: AppointmentId) -> Result<bool, StoreError> {
        let get = GetItem {
            table_name: self.name,
            key: tombstone_key(appointment),
            consistent_read: true,
            ..GetItem::default()
        };
        Ok(self.dynamodb.get_item(&get).await?.item.is_some())
    }
}

/// In its own partition: no person has such a code.
fn tombstone_key(appointment: AppointmentId) -> Item<'static> {
    Item::new().with(attribute::INSURED_ID, format!("{TOMBSTONE}#{appointment}")).with(attribute::SORT_KEY, TOMBSTONE)
}
