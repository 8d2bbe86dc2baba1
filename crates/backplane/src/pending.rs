//! The index `pending`: what a run of the republisher reads of it and writes to it.
//!
//! Every write here is conditional on the `pendingSince` that was read. The index lags behind the table, and a row whose
//! turn another run took, or whose state moved meanwhile, has another `pendingSince` or none: then nothing is written.

use appointment::{AppointmentId, InsuredId, Reason, Status, StatusEvent, Timestamp};
use aws_http::Transport;
use aws_http::dynamodb::{Item, OnConditionFailure, Query, ReturnValues, UpdateItem};
use uuid::Uuid;

use crate::item::{InvalidItem, KeptAppointment, appointment_id_of, appointment_key, attribute, parsed};
use crate::republish::GIVEN_UP_SHARD;
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
    /// How often its command was published again.
    pub attempt: u32,
    /// Where it stood when the index was written.
    pub status: Status,
}

/// Appointments of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The one that has waited longest comes first.
    pub appointments: Vec<PendingAppointment>,
    /// Whether there may be more than these.
    pub more: bool,
}

impl<T: Transport> AppointmentsTable<'_, T> {
    /// Reads at most `limit` appointments of a shard of the index whose turn has come by `now`.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn due(&self, shard: &str, now: Timestamp, limit: u32) -> Result<Due, StoreError> {
        let query = Query {
            key_condition_expression: "pendingShard = :shard AND pendingSince <= :now",
            expression_attribute_values: Item::new().with(":shard", shard).with(":now", now.to_string()),
            limit: Some(limit),
            ..Query::default()
        };
        self.query_index(query).await
    }

    /// Reads a page of what was given up, that after `after`.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn given_up(&self, after: Option<&PendingAppointment>) -> Result<Due, StoreError> {
        let query = Query {
            key_condition_expression: "pendingShard = :shard",
            expression_attribute_values: Item::new().with(":shard", GIVEN_UP_SHARD),
            exclusive_start_key: after.map(|last| {
                appointment_key(&last.insured_id, last.appointment_id)
                    .with(attribute::PENDING_SHARD, last.shard.as_str())
                    .with(attribute::PENDING_SINCE, last.since.to_string())
            }),
            ..Query::default()
        };
        self.query_index(query).await
    }

    async fn query_index(&self, query: Query<'_>) -> Result<Due, StoreError> {
        let query = Query { table_name: self.name, index_name: Some(INDEX), ..query };
        let output = self.dynamodb.query(&query).await?;
        let appointments = output.items.iter().map(PendingAppointment::from_item).collect::<Result<_, _>>()?;
        Ok(Due { appointments, more: output.last_evaluated_key.is_some() })
    }

    /// Takes an appointment's turn: makes this its `attempt`, and its next turn `next`. `None` where the turn is gone.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn take_turn(
        &self,
        turn: &PendingAppointment,
        attempt: u32,
        next: Timestamp,
    ) -> Result<Option<KeptAppointment>, StoreError> {
        let values = Item::new().with(":attempt", attempt).with(":next", next.to_string());
        let change = "SET pendingSince = :next, pendingAttempt = :attempt";
        self.update_turn(turn, change, None, values, |kept| kept.s(attribute::PENDING_SINCE) == Some(&next.to_string()))
            .await
    }

    /// Fails a request that no country has answered, with the reason `not_processed`, in place of its last turn. `None`
    /// where the turn is gone.
    ///
    /// The row stays in its shard, with `next` as its next turn, until [`Self::give_up`]: who announces the failure comes
    /// in between, and a run that dies there is finished by the one that finds a `failed` row in a country's shard.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn fail_unanswered(
        &self,
        turn: &PendingAppointment,
        attempt: u32,
        now: Timestamp,
        next: Timestamp,
    ) -> Result<Option<KeptAppointment>, StoreError> {
        let mut change = StatusChange::new(StatusEvent::RequestFailed, Status::Failed, Some(Reason::NotProcessed), now);
        let event_id = not_processed_event_id(turn.appointment_id).to_string();
        change.values.insert(":event", event_id.clone());
        change.values.insert(":attempt", attempt);
        change.values.insert(":next", next.to_string());
        let update = "SET #status = :status, updatedAt = :now, history = list_append(history, :entry), \
                      lastEventId = :event, reason = :reason, pendingSince = :next, pendingAttempt = :attempt";
        self.update_turn(turn, update, Some(&change.condition), change.values, |kept| {
            kept.s(attribute::LAST_EVENT_ID) == Some(&event_id)
        })
        .await
    }

    /// Moves an appointment to [`GIVEN_UP_SHARD`], whatever its status: from now on only an operator brings it back. Says
    /// whether its turn was still there.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn give_up(&self, turn: &PendingAppointment) -> Result<bool, StoreError> {
        let values = Item::new().with(":given_up", GIVEN_UP_SHARD);
        let given_up = |kept: &Item<'_>| kept.s(attribute::PENDING_SHARD) == Some(GIVEN_UP_SHARD);
        Ok(self.update_turn(turn, "SET pendingShard = :given_up", None, values, given_up).await?.is_some())
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
            status: parsed(item, attribute::STATUS)?,
        })
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
