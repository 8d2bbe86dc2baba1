//! A person's wish to cancel, in the table.

use appointment::{AppointmentId, InsuredId, Status, StatusEvent, Timestamp, TraceContext, Transition};
use aws_http::Transport;
use aws_http::dynamodb::{Item, OnConditionFailure, ReturnValues, UpdateItem};

use crate::attribute;
use crate::item::{StoredAppointment, appointment_key};
use crate::republish::RepublishSchedule;
use crate::row_update::RefusedUpdate;
use crate::status_change::{STATUS_NAME, StatusChange};
use crate::store::StoreError;
use crate::table::AppointmentsTable;

/// `shard` is a reserved word too.
const STATUS_AND_SHARD_NAMES: &[(&str, &str)] = &[("#status", attribute::STATUS), ("#shard", attribute::SHARD)];

/// What became of a person's wish to cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancelled {
    /// The appointment is now `cancelling`, or its cancellation was given up and starts again: its country has to be told.
    Requested(StoredAppointment),
    /// The appointment was `cancelling` before.
    AlreadyRequested(StoredAppointment),
    /// The appointment is `cancelled`.
    Done(StoredAppointment),
    /// The appointment was rejected, so there is nothing to cancel.
    Refused,
    /// The appointment has begun.
    AlreadyStarted,
    /// The appointment has a status or a country of a later version, so this one does not know how to cancel it.
    NotUnderstood(StoredAppointment),
    /// There is no such appointment.
    NotFound,
}

impl<T: Transport> AppointmentsTable<'_, T> {
    /// Moves an appointment to `cancelling` where its state allows it and its slot has not begun. One whose cancellation was
    /// given up waits for its country again.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn request_cancellation(
        &self,
        insured_id: &InsuredId,
        appointment_id: AppointmentId,
        trace: TraceContext,
        now: Timestamp,
        schedule: &RepublishSchedule,
    ) -> Result<Cancelled, StoreError> {
        let mut change = StatusChange::new(StatusEvent::CancellationRequested, Status::Cancelling, None, None, now);
        change.values.insert(":trace", trace.to_string());
        change.values.insert(":since", schedule.first(now).to_string());
        change.values.insert(":attempt", 0_u32);
        change.only_in_known_countries();
        change.condition.push_str(" AND (attribute_not_exists(slot) OR slot.startsAt > :now)");
        let update = UpdateItem {
            table_name: self.name,
            key: appointment_key(insured_id, appointment_id),
            update_expression: "SET #status = :status, updatedAt = :now, history = list_append(history, :entry), \
                                traceparent = :trace, pendingShard = #shard, pendingSince = :since, \
                                pendingAttempt = :attempt REMOVE reason",
            condition_expression: Some(&change.condition),
            expression_attribute_names: STATUS_AND_SHARD_NAMES,
            expression_attribute_values: change.values,
            return_values: ReturnValues::AllNew,
            on_condition_failure: OnConditionFailure::AllOld,
        };
        let RefusedUpdate { item, may_be_ours } = match self.update(&update).await? {
            Ok(stored) => return Ok(Cancelled::Requested(stored)),
            Err(refused) => refused,
        };
        let Some(item) = item else { return Ok(Cancelled::NotFound) };
        let stored = StoredAppointment::from_item(&item)?;
        if stored.appointment.country.known().is_none() {
            return Ok(Cancelled::NotUnderstood(stored));
        }
        // Our own first try, whose response was lost, may have written this: then the country has not been told.
        if stored.appointment.status == Status::Cancelling && may_be_ours {
            return Ok(Cancelled::Requested(stored));
        }
        match item.s(attribute::SHARD) {
            Some(own)
                if stored.appointment.status == Status::Cancelling && item.s(attribute::PENDING_SHARD) != Some(own) =>
            {
                self.restart_cancellation(stored, own, schedule.first(now)).await
            }
            _ => Ok(cancelled_before(stored)),
        }
    }

    /// Brings a cancellation that was given up back to the shard in which its country's outcome is awaited.
    async fn restart_cancellation(
        &self,
        stored: StoredAppointment,
        own_shard: &str,
        since: Timestamp,
    ) -> Result<Cancelled, StoreError> {
        let since = since.to_string();
        let update = UpdateItem {
            table_name: self.name,
            key: appointment_key(&stored.appointment.insured_id, stored.appointment.appointment_id),
            update_expression: "SET pendingShard = :own, pendingSince = :since, pendingAttempt = :attempt",
            condition_expression: Some(
                "#status = :cancelling AND (attribute_not_exists(pendingShard) OR pendingShard <> :own)",
            ),
            expression_attribute_names: STATUS_NAME,
            expression_attribute_values: Item::new()
                .with(":cancelling", Status::Cancelling.as_str().to_owned())
                .with(":own", own_shard)
                .with(":since", since.as_str())
                .with(":attempt", 0_u32),
            return_values: ReturnValues::AllNew,
            on_condition_failure: OnConditionFailure::AllOld,
        };
        let RefusedUpdate { item, may_be_ours } = match self.update(&update).await? {
            Ok(stored) => return Ok(Cancelled::Requested(stored)),
            Err(refused) => refused,
        };
        let Some(item) = item else { return Ok(Cancelled::NotFound) };
        let ours = may_be_ours && item.s(attribute::PENDING_SINCE) == Some(&since);
        let stored = StoredAppointment::from_item(&item)?;
        Ok(if ours { Cancelled::Requested(stored) } else { cancelled_before(stored) })
    }
}

/// What a person's wish to cancel meets that did not change the row.
fn cancelled_before(stored: StoredAppointment) -> Cancelled {
    match stored.appointment.status.on(StatusEvent::CancellationRequested) {
        Transition::Refused if stored.appointment.status.is_unknown() => Cancelled::NotUnderstood(stored),
        Transition::Refused => Cancelled::Refused,
        // Its state would have allowed it.
        Transition::Moves(_) => Cancelled::AlreadyStarted,
        _ if stored.appointment.status == Status::Cancelled => Cancelled::Done(stored),
        _ => Cancelled::AlreadyRequested(stored),
    }
}
