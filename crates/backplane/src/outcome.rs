//! A country's outcome, in the table.

use appointment::{Status, StatusEvent, Timestamp, Transition};
use aws_http::Transport;
use aws_http::dynamodb::{OnConditionFailure, ReturnValues, UpdateItem};
use messages::{OutcomeEvent, StatusChanged};

use crate::attribute::{self, InvalidItem};
use crate::item::{StoredAppointment, appointment_key};
use crate::slot_item::slot_map;
use crate::status_change::{STATUS_NAME, StatusChange};
use crate::store::StoreError;
use crate::table::AppointmentsTable;

/// What a country's outcome did to the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// The status moved.
    Moved(StatusChanged),
    /// The same event moved it before, which is announced again as it was: nothing changed now.
    Repeated(StatusChanged),
    /// Something else has brought it at least as far: nothing changed.
    Overtaken(Status),
    /// Nothing changed, and a country decided twice: the status that it keeps.
    Contradicted(Status),
    /// Nothing changed, and a person has to look: the cancellation could not be processed.
    NeedsOperator,
    /// There is no such appointment, or it is another country's or another slot's.
    Unknown,
}

impl<T: Transport> AppointmentsTable<'_, T> {
    /// Applies a country's outcome: one conditional write, whose condition is derived from the state machine.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn apply(&self, event: &OutcomeEvent, now: Timestamp) -> Result<Applied, StoreError> {
        let detail = &event.detail;
        let status_event = event.status_event();
        let key = appointment_key(&detail.insured_id, detail.appointment_id);
        let Some(target) = target_of(status_event) else {
            // No state moves by this event, so there is nothing to write: the row decides who has to know.
            return Ok(match self.get(&detail.insured_id, detail.appointment_id).await? {
                None => Applied::Unknown,
                Some(stored) => outcome_without_move(&stored, status_event),
            });
        };
        let applied = Some((detail.event_id, detail.traceparent));
        let mut change = StatusChange::new(status_event, target, detail.reason, applied, now);
        change.values.insert(":event", detail.event_id.to_string());
        change.values.insert(":country", detail.country.code());
        change.values.insert(":schedule", detail.schedule_id.get());
        change.condition.push_str(" AND countryISO = :country AND scheduleId = :schedule");
        let mut update_expression = String::from(
            "SET #status = :status, updatedAt = :now, history = list_append(history, :entry), lastEventId = :event",
        );
        if let Some(state) = &detail.slot {
            update_expression.push_str(", slot = :slot");
            change.values.insert(":slot", slot_map(&state.slot));
        }
        if let Some(successor) = detail.replaced_by {
            update_expression.push_str(", replacedBy = :replaced_by");
            change.values.insert(":replaced_by", successor.to_string());
        }
        update_expression.push_str(match detail.reason {
            Some(_) => ", reason = :reason REMOVE pendingShard, pendingSince, pendingAttempt",
            None => " REMOVE reason, pendingShard, pendingSince, pendingAttempt",
        });
        let update = UpdateItem {
            table_name: self.name,
            key,
            update_expression: &update_expression,
            condition_expression: Some(&change.condition),
            expression_attribute_names: STATUS_NAME,
            expression_attribute_values: change.values,
            return_values: ReturnValues::AllNew,
            on_condition_failure: OnConditionFailure::AllOld,
        };
        let refused = match self.update(&update).await? {
            Ok(stored) => {
                let change = stored.change_by(detail.event_id, target, detail.traceparent);
                return Ok(Applied::Moved(change.ok_or(InvalidItem { attribute: attribute::HISTORY })?));
            }
            Err(refused) => refused,
        };
        let Some(item) = refused.item else { return Ok(Applied::Unknown) };
        let stored = StoredAppointment::from_item(&item)?;
        if stored.appointment.country != detail.country.into() || stored.appointment.schedule_id != detail.schedule_id {
            return Ok(Applied::Unknown);
        }
        Ok(match stored.change_by(detail.event_id, target, detail.traceparent) {
            Some(change) => Applied::Repeated(change),
            None => outcome_without_move(&stored, status_event),
        })
    }
}

/// What an event means for a row that it did not move.
fn outcome_without_move(stored: &StoredAppointment, event: StatusEvent) -> Applied {
    match stored.appointment.status.on(event) {
        Transition::NeedsOperator => Applied::NeedsOperator,
        Transition::Contradicts => Applied::Contradicted(stored.appointment.status),
        _ => Applied::Overtaken(stored.appointment.status),
    }
}

/// The status that an event leads to, from wherever it moves.
fn target_of(event: StatusEvent) -> Option<Status> {
    Status::known().find_map(|status| match status.on(event) {
        Transition::Moves(target) => Some(target),
        _ => None,
    })
}
