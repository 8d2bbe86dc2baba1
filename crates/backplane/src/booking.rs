//! A new appointment, in the table.

use std::time::Duration;

use appointment::{Appointment, InsuredId, TraceContext};
use aws_http::dynamodb::{GetItem, Item, OnConditionFailure, PutItem, TransactWriteItem, TransactWriteItems};
use aws_http::{ErrorKind, Retry, Transport};

use crate::attribute::{self, InvalidItem, parsed};
use crate::item::{IDEMPOTENCY_PREFIX, pending_item, requested_of, with_request};
use crate::republish::RepublishSchedule;
use crate::store::{StoreError, is_condition_failed};
use crate::table::AppointmentsTable;

/// How long an `Idempotency-Key` is kept.
pub const IDEMPOTENCY_PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

/// What an `Idempotency-Key` was used for, where that was a booking.
const BOOKING: &str = "POST /appointments";

/// What became of a booking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Booked {
    /// It is new.
    New,
    /// The same key came with the same request before; this is the appointment as it was accepted then.
    Replayed(Box<Appointment>),
    /// The same key came with another request before.
    KeyReused,
}

impl<T: Transport> AppointmentsTable<'_, T> {
    /// Stores a new appointment in `pending`: one write. Its publication follows, during which the write's response arrives.
    ///
    /// # Errors
    ///
    /// [`StoreError::Call`]. The appointment may have been stored all the same ([`aws_http::Error::took_effect_unknown`]).
    pub async fn book(
        &self,
        appointment: &Appointment,
        trace: TraceContext,
        schedule: &RepublishSchedule,
    ) -> Result<(), StoreError> {
        let put = self.new_appointment(appointment, trace, schedule);
        match self.dynamodb.put_item_unread(&put, Retry::Safe).await {
            Ok(()) => Ok(()),
            // The id is fresh, so only our own first try, whose response was lost, can have written it.
            Err(error) if error.took_effect_unknown() && is_condition_failed(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Stores a new appointment in `pending` under an `Idempotency-Key`: one transaction, and none that is read.
    ///
    /// # Errors
    ///
    /// As [`Self::book`].
    pub async fn book_once(
        &self,
        appointment: &Appointment,
        idempotency_key: &str,
        trace: TraceContext,
        schedule: &RepublishSchedule,
    ) -> Result<Booked, StoreError> {
        let id = appointment.appointment_id.to_string();
        let now = appointment.created_at;
        let key_item = with_request(key_of(&appointment.insured_id, idempotency_key), appointment)
            .with(attribute::OPERATION, operation(appointment))
            .with(attribute::APPOINTMENT_ID, &id)
            .with(attribute::EXPIRES_AT, (now + IDEMPOTENCY_PERIOD).unix_seconds());
        let transaction = TransactWriteItems {
            transact_items: vec![
                TransactWriteItem::Put(PutItem {
                    table_name: self.name,
                    item: key_item,
                    // DynamoDB deletes what expired within days only, so the time is checked too.
                    condition_expression: Some("attribute_not_exists(sk) OR expiresAt <= :now"),
                    expression_attribute_values: Item::new().with(":now", now.unix_seconds()),
                    on_condition_failure: OnConditionFailure::AllOld,
                    ..PutItem::default()
                }),
                TransactWriteItem::Put(self.new_appointment(appointment, trace, schedule)),
            ],
            client_request_token: Some(&id),
        };
        let error = match self.dynamodb.transact_write_items(&transaction).await {
            Ok(()) => return Ok(Booked::New),
            Err(error) => error,
        };
        let ErrorKind::TransactionCanceled { reasons } = error.kind() else { return Err(error.into()) };
        let Some(stored) = reasons.first().filter(|reason| reason.is_condition_failed()).and_then(|r| r.item.as_ref())
        else {
            return Err(error.into());
        };
        Ok(Self::booked_under_key(stored, appointment)?)
    }

    /// What [`Self::book_once`] would return for this appointment because its key came before, `None` if it did not: for a
    /// request that is only possible once.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn booked_before(
        &self,
        appointment: &Appointment,
        idempotency_key: &str,
    ) -> Result<Option<Booked>, StoreError> {
        let get = GetItem {
            table_name: self.name,
            key: key_of(&appointment.insured_id, idempotency_key),
            consistent_read: true,
            ..GetItem::default()
        };
        let Some(stored) = self.dynamodb.get_item(&get).await?.item else { return Ok(None) };
        let now = appointment.created_at.unix_seconds();
        if stored.n::<i64>(attribute::EXPIRES_AT).is_none_or(|expires_at| expires_at <= now) {
            return Ok(None);
        }
        Ok(Some(Self::booked_under_key(&stored, appointment)?))
    }

    /// What the item of an idempotency key says to an appointment that comes with the key.
    fn booked_under_key(item: &Item<'_>, appointment: &Appointment) -> Result<Booked, InvalidItem> {
        // A key from before this attribute was used for a booking.
        if item.s(attribute::OPERATION).unwrap_or(BOOKING) != operation(appointment) {
            return Ok(Booked::KeyReused);
        }
        let first = requested_of(item, parsed(item, attribute::APPOINTMENT_ID)?, appointment.insured_id)?;
        Ok(if first.appointment_id == appointment.appointment_id {
            Booked::New
        } else if first.asks_the_same(appointment) {
            Booked::Replayed(Box::new(first))
        } else {
            Booked::KeyReused
        })
    }

    fn new_appointment<'b>(
        &'b self,
        appointment: &'b Appointment,
        trace: TraceContext,
        schedule: &RepublishSchedule,
    ) -> PutItem<'b> {
        let shard = self.shards.of(appointment.country, appointment.appointment_id);
        PutItem {
            table_name: self.name,
            item: pending_item(appointment, trace, shard, schedule.first(appointment.created_at)),
            condition_expression: Some("attribute_not_exists(sk)"),
            ..PutItem::default()
        }
    }
}

/// The primary key of an idempotency key.
fn key_of<'a>(insured_id: &'a InsuredId, idempotency_key: &str) -> Item<'a> {
    Item::new()
        .with(attribute::INSURED_ID, insured_id.as_str())
        .with(attribute::SORT_KEY, format!("{IDEMPOTENCY_PREFIX}{idempotency_key}"))
}

/// What an `Idempotency-Key` is used for, beside the fields of the request: another operation or target is another request.
fn operation(appointment: &Appointment) -> String {
    match appointment.replaces {
        None => BOOKING.to_owned(),
        Some(original) => {
            format!("{BOOKING}/{}/{}/move", appointment.insured_id.as_str(), original.appointment_id)
        }
    }
}
