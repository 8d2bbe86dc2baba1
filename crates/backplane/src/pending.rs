//! The index `pending`: what a run of the republisher reads of it and writes to it.
//!
//! Every write here is conditional on the `pendingSince` that was read. The index lags behind the table: a row that another
//! run has claimed, or whose status has changed, has another `pendingSince` or none. Then nothing is written.

use appointment::{Appointment, AppointmentId, InsuredId, Reason, Status, StatusEvent, Timestamp, TraceContext};
use aws_http::Transport;
use aws_http::dynamodb::{Item, OnConditionFailure, Query, ReturnValues, UpdateItem};
use uuid::Uuid;

use crate::attribute::{self, InvalidItem, parsed};
use crate::item::{StoredAppointment, appointment_id_of, appointment_key, status_of};
use crate::republish::{given_up_shard, is_given_up};
use crate::row_update::RefusedUpdate;
use crate::status_change::{STATUS_NAME, StatusChange};
use crate::store::{StoreError, condition_failed_item};
use crate::table::AppointmentsTable;

/// The sparse index of appointments that await their country, and of what was given up.
const INDEX: &str = "pending";

/// An appointment as the index `pending` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingAppointment {
    /// Whose it is.
    pub insured_id: InsuredId,
    /// Which one.
    pub appointment_id: AppointmentId,
    /// The shard that holds it.
    pub shard: String,
    /// The time from which it is due.
    pub since: Timestamp,
    /// How often its command was published again; what was given up is counted anew.
    pub attempt: u32,
    /// Its status when the index was written.
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
    /// Reads a page of at most `limit` appointments of a shard of the index that are due by `now`; the first page, or the
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

    /// Claims an appointment that is due: no other run claims it before `until`. It is due again then, unless
    /// [`Self::reschedule`] says otherwise. `None` if another run has claimed it, or its status has changed.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn claim(
        &self,
        pending: &PendingAppointment,
        until: Timestamp,
    ) -> Result<Option<StoredAppointment>, StoreError> {
        let values = Item::new().with(":next", until.to_string());
        let ours = |stored: &Item<'_>| stored.s(attribute::PENDING_SINCE) == Some(&until.to_string());
        self.update_row(pending, "SET pendingSince = :next", None, values, ours).await
    }

    /// Sets the number of an appointment's publications to `attempt`, and the time from which it is due again to `next`.
    /// Returns whether the claim still held.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn reschedule(
        &self,
        pending: &PendingAppointment,
        attempt: u32,
        next: Timestamp,
    ) -> Result<bool, StoreError> {
        let values = Item::new().with(":attempt", attempt).with(":next", next.to_string());
        let change = "SET pendingSince = :next, pendingAttempt = :attempt";
        let ours = |stored: &Item<'_>| stored.s(attribute::PENDING_SINCE) == Some(&next.to_string());
        Ok(self.update_row(pending, change, None, values, ours).await?.is_some())
    }

    /// Fails a request that no country has decided, with the reason `not_processed`, in place of its last
    /// publication. `None` if the claim no longer holds.
    ///
    /// The row stays in its shard until [`Self::give_up`]: who announces the failure comes in between, and a run that dies
    /// there is finished by the one that finds a `failed` row in a country's shard.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn fail_undecided(
        &self,
        pending: &PendingAppointment,
        trace: TraceContext,
        now: Timestamp,
    ) -> Result<Option<StoredAppointment>, StoreError> {
        let event_id = not_processed_event_id(pending.appointment_id);
        let reason = Some(Reason::NotProcessed);
        let event = Some((event_id, trace));
        let mut change = StatusChange::new(StatusEvent::RequestFailed, Status::Failed, reason, event, now);
        let event_id = event_id.to_string();
        change.values.insert(":event", event_id.clone());
        let update = "SET #status = :status, updatedAt = :now, history = list_append(history, :entry), \
                      lastEventId = :event, reason = :reason";
        self.update_row(pending, update, Some(&change.condition), change.values, |stored| {
            stored.s(attribute::LAST_EVENT_ID) == Some(&event_id)
        })
        .await
    }

    /// Moves an appointment to the shard for what was given up in its own, whatever its status, where it is due
    /// from `next`. Returns whether the claim still held.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn give_up(&self, pending: &PendingAppointment, next: Timestamp) -> Result<bool, StoreError> {
        let shard = given_up_shard(&pending.shard);
        let values =
            Item::new().with(":given_up", shard.clone()).with(":attempt", 0_u32).with(":next", next.to_string());
        let change = "SET pendingShard = :given_up, pendingSince = :next, pendingAttempt = :attempt";
        let given_up = |stored: &Item<'_>| stored.s(attribute::PENDING_SHARD) == Some(&shard);
        Ok(self.update_row(pending, change, None, values, given_up).await?.is_some())
    }

    /// Takes an appointment out of the index: nobody asks for its outcome any more. Returns whether the claim still held.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn leave_index(&self, pending: &PendingAppointment) -> Result<bool, StoreError> {
        let change = "REMOVE pendingShard, pendingSince, pendingAttempt";
        let left = |stored: &Item<'_>| stored.s(attribute::PENDING_SHARD).is_none();
        Ok(self.update_row(pending, change, None, Item::new(), left).await?.is_some())
    }

    /// Makes a command due at once whose publication failed. The row must still have the status of `appointment`, and be due
    /// from `since`, as it was written just now. Returns whether it was so: the publication may have succeeded after all.
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

    /// Writes to a row if it is still due as `pending` says. `ours` recognises what a first try wrote whose response was lost.
    async fn update_row(
        &self,
        pending: &PendingAppointment,
        change: &str,
        condition: Option<&str>,
        values: Item<'_>,
        ours: impl Fn(&Item<'_>) -> bool,
    ) -> Result<Option<StoredAppointment>, StoreError> {
        let mut whole_condition = String::from("pendingShard = :shard AND pendingSince = :since");
        let mut names: &[(&str, &str)] = &[];
        if let Some(condition) = condition {
            whole_condition.push_str(" AND ");
            whole_condition.push_str(condition);
            names = STATUS_NAME;
        }
        let update = UpdateItem {
            table_name: self.name,
            key: appointment_key(&pending.insured_id, pending.appointment_id),
            update_expression: change,
            condition_expression: Some(&whole_condition),
            expression_attribute_names: names,
            expression_attribute_values: values
                .with(":shard", pending.shard.as_str())
                .with(":since", pending.since.to_string()),
            return_values: ReturnValues::AllNew,
            on_condition_failure: OnConditionFailure::AllOld,
        };
        match self.update(&update).await? {
            Ok(stored) => Ok(Some(stored)),
            Err(RefusedUpdate { item: Some(item), may_be_ours: true }) if ours(&item) => {
                Ok(Some(StoredAppointment::from_item(&item)?))
            }
            Err(_) => Ok(None),
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

    /// The same appointment after [`AppointmentsTable::claim`] until `next`.
    #[must_use]
    pub fn claimed_until(self, next: Timestamp) -> Self {
        Self { since: next, ..self }
    }
}

/// The id of the event that a request was not processed: a UUID version 5, the same for every resend.
#[must_use]
pub fn not_processed_event_id(appointment: AppointmentId) -> Uuid {
    appointment.derive(Reason::NotProcessed.as_str())
}
