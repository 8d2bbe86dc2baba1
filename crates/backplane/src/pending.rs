//! The index `pending`: what a run of the republisher reads of it and writes to it.
//!
//! Every write here is conditional on the `pendingSince` that was read. The index lags behind the table, and a row whose
//! turn another run took, or whose state moved meanwhile, has another `pendingSince` or none: then nothing is written.

use appointment::{Appointment, AppointmentId, InsuredId, Reason, Status, StatusEvent, Timestamp, TraceContext};
use aws_http::Transport;
use aws_http::dynamodb::{Item, OnConditionFailure, Query, ReturnValues, UpdateItem};
use uuid::Uuid;

use crate::item::{InvalidItem, KeptAppointment, appointment_id_of, appointment_key, attribute, parsed, status_of};
use crate::republish::{given_up_shard, is_given_up};
use crate::table::{AppointmentsTable, STATUS_NAME, StatusChange, StoreError, condition_failed_item};

/// The sparse index of appointments that await their country, and of what was given up.
const INDEX: &str = "pending";

/// An appointment as the index `pending` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingAppointment {
    /// Whose it is.
    pub insured_id: InsuredId,
    /// Which one.
    pub appointment_id: AppointmentId,
    /// The shard in which it stands.
    pub shard: String,
    /// From when on its turn has come.
    pub since: Timestamp,
    /// How often its command was published again; what was given up is counted anew.
    pub attempt: u32,
    /// Where it stood when the index was written.
    pub status: Status,
}

/// A page of a shard.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    /// The one that has waited longest comes first.
    pub appointments: Vec<PendingAppointment>,
    /// What is wrong with rows that cannot be read. They are in nobody's way.
    pub unreadable: Vec<InvalidItem>,
    /// Where the next page starts, if there may be one.
    pub next: Option<Item<'static>>,
}

impl<T: Transport> AppointmentsTable<'_, T> {
    /// Reads a page of at most `limit` appointments of a shard of the index whose turn has come by `now`; the first, or the
    /// one that starts at the `next` of another.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn due(
        &self,
        shard: &str,
        now: Timestamp,
        limit: u32,
        start: Option<Item<'static>>,
    ) -> Result<Due, StoreError> {
        let query = Query {
            table_name: self.name,
            index_name: Some(INDEX),
            key_condition_expression: "pendingShard = :shard AND pendingSince <= :now",
            expression_attribute_values: Item::new().with(":shard", shard).with(":now", now.to_string()),
            limit: Some(limit),
            exclusive_start_key: start,
            ..Query::default()
        };
        let output = self.dynamodb.query(&query).await?;
        let mut due = Due { appointments: Vec::new(), unreadable: Vec::new(), next: output.last_evaluated_key };
        for item in &output.items {
            match PendingAppointment::from_item(item) {
                Ok(appointment) => due.appointments.push(appointment),
                Err(invalid) => due.unreadable.push(invalid),
            }
        }
        Ok(due)
    }

    /// Takes an appointment's turn: nobody else takes it before `until`, when it comes again unless [`Self::set_turn`] says
    /// what became of it. `None` where the turn is gone.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn take_turn(
        &self,
        turn: &PendingAppointment,
        until: Timestamp,
    ) -> Result<Option<KeptAppointment>, StoreError> {
        let values = Item::new().with(":next", until.to_string());
        let ours = |kept: &Item<'_>| kept.s(attribute::PENDING_SINCE) == Some(&until.to_string());
        self.update_turn(turn, "SET pendingSince = :next", None, values, ours).await
    }

    /// Makes the number of an appointment's publications `attempt`, and its next turn `next`. Says whether its turn was
    /// still there.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn set_turn(&self, turn: &PendingAppointment, attempt: u32, next: Timestamp) -> Result<bool, StoreError> {
        let values = Item::new().with(":attempt", attempt).with(":next", next.to_string());
        let change = "SET pendingSince = :next, pendingAttempt = :attempt";
        let ours = |kept: &Item<'_>| kept.s(attribute::PENDING_SINCE) == Some(&next.to_string());
        Ok(self.update_turn(turn, change, None, values, ours).await?.is_some())
    }

    /// Fails a request that no country has answered, with the reason `not_processed`, in place of its last turn. `None`
    /// where the turn is gone.
    ///
    /// The row stays in its shard until [`Self::give_up`]: who announces the failure comes in between, and a run that dies
    /// there is finished by the one that finds a `failed` row in a country's shard.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn fail_unanswered(
        &self,
        turn: &PendingAppointment,
        trace: TraceContext,
        now: Timestamp,
    ) -> Result<Option<KeptAppointment>, StoreError> {
        let event_id = not_processed_event_id(turn.appointment_id);
        let reason = Some(Reason::NotProcessed);
        let event = Some((event_id, trace));
        let mut change = StatusChange::new(StatusEvent::RequestFailed, Status::Failed, reason, event, now);
        let event_id = event_id.to_string();
        change.values.insert(":event", event_id.clone());
        let update = "SET #status = :status, updatedAt = :now, history = list_append(history, :entry), \
                      lastEventId = :event, reason = :reason";
        self.update_turn(turn, update, Some(&change.condition), change.values, |kept| {
            kept.s(attribute::LAST_EVENT_ID) == Some(&event_id)
        })
        .await
    }

    /// Moves an appointment to the shard for what was given up in its own, whatever its status, with `next` as its first
    /// turn there. Says whether its turn was still there.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn give_up(&self, turn: &PendingAppointment, next: Timestamp) -> Result<bool, StoreError> {
        let shard = given_up_shard(&turn.shard);
        let values =
            Item::new().with(":given_up", shard.clone()).with(":attempt", 0_u32).with(":next", next.to_string());
        let change = "SET pendingShard = :given_up, pendingSince = :next, pendingAttempt = :attempt";
        let given_up = |kept: &Item<'_>| kept.s(attribute::PENDING_SHARD) == Some(&shard);
        Ok(self.update_turn(turn, change, None, values, given_up).await?.is_some())
    }

    /// Takes an appointment out of the index: nobody asks for its answer any more. Says whether its turn was still there.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn leave_index(&self, turn: &PendingAppointment) -> Result<bool, StoreError> {
        let change = "REMOVE pendingShard, pendingSince, pendingAttempt";
        let left = |kept: &Item<'_>| kept.s(attribute::PENDING_SHARD).is_none();
        Ok(self.update_turn(turn, change, None, Item::new(), left).await?.is_some())
    }

    /// Makes a command due at once whose publication failed: an appointment in the status, and with the first turn `since`,
    /// that were written just now. Says whether it still was: the publication may have been taken after all.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn due_at_once(
        &self,
        appointment: &Appointment,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let update = UpdateItem {
            table_name: self.name,
            key: appointment_key(&appointment.insured_id, appointment.appointment_id),
            update_expression: "SET pendingSince = :now",
            condition_expression: Some("#status = :status AND pendingSince = :since"),
            expression_attribute_names: STATUS_NAME,
            expression_attribute_values: Item::new()
                .with(":status", appointment.status.as_str())
                .with(":since", since.to_string())
                .with(":now", now.to_string()),
            ..UpdateItem::default()
        };
        match self.dynamodb.update_item(&update, aws_http::Retry::Safe).await {
            Ok(_) => Ok(true),
            Err(error) => condition_failed_item(error).map(|_| false),
        }
    }

    /// Writes to a row whose turn is still what was read. `ours` recognises what a first try wrote whose answer was lost.
    async fn update_turn(
        &self,
        turn: &PendingAppointment,
        change: &str,
        condition: Option<&str>,
        values: Item<'_>,
        ours: impl Fn(&Item<'_>) -> bool,
    ) -> Result<Option<KeptAppointment>, StoreError> {
        let mut whole_condition = String::from("pendingShard = :shard AND pendingSince = :since");
        let mut names: &[(&str, &str)] = &[];
        if let Some(condition) = condition {
            whole_condition.push_str(" AND ");
            whole_condition.push_str(condition);
            names = STATUS_NAME;
        }
        let update = UpdateItem {
            table_name: self.name,
            key: appointment_key(&turn.insured_id, turn.appointment_id),
            update_expression: change,
            condition_expression: Some(&whole_condition),
            expression_attribute_names: names,
            expression_attribute_values: values
                .with(":shard", turn.shard.as_str())
                .with(":since", turn.since.to_string()),
            return_values: ReturnValues::AllNew,
            on_condition_failure: OnConditionFailure::AllOld,
        };
        let error = match self.dynamodb.update_item(&update, aws_http::Retry::Safe).await {
            Ok(output) => return Ok(Some(KeptAppointment::from_item(&output.attributes.unwrap_or_default())?)),
            Err(error) => error,
        };
        let unknown = error.took_effect_unknown();
        match condition_failed_item(error)? {
            Some(item) if unknown && ours(&item) => Ok(Some(KeptAppointment::from_item(&item)?)),
            _ => Ok(None),
        }
    }
}

impl PendingAppointment {
    fn from_item(item: &Item<'_>) -> Result<Self, InvalidItem> {
        let shard = item.s(attribute::PENDING_SHARD);
        Ok(Self {
            insured_id: parsed(item, attribute::INSURED_ID)?,
            appointment_id: appointment_id_of(item)?,
            shard: shard.ok_or(InvalidItem { attribute: attribute::PENDING_SHARD })?.to_owned(),
            since: parsed(item, attribute::PENDING_SINCE)?,
            attempt: item.n(attribute::PENDING_ATTEMPT).unwrap_or_default(),
            status: status_of(item)?,
        })
    }

    /// Whether it was given up.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        is_given_up(&self.shard)
    }

    /// The same appointment as it stands after its turn was taken, with `next` as its next one.
    #[must_use]
    pub fn after_turn(self, next: Timestamp) -> Self {
        Self { since: next, ..self }
    }
}

/// The id of the event that a request was not processed: a UUID version 5, the same for every resend.
#[must_use]
pub fn not_processed_event_id(appointment: AppointmentId) -> Uuid {
    appointment.derive(Reason::NotProcessed.as_str())
}
