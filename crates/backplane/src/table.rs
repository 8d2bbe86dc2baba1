use std::fmt::Write as _;
use std::time::Duration;

use appointment::{
    Appointment, AppointmentId, Country, HistoryEntry, InsuredId, Reason, Status, StatusEvent, Timestamp, TraceContext,
    Transition,
};
use aws_http::dynamodb::{
    DynamoDb, GetItem, Item, OnConditionFailure, PutItem, Query, ReturnValues, TransactWriteItem, TransactWriteItems,
    UpdateItem,
};
use aws_http::{Client, Endpoint, Error, ErrorKind, Retry, Transport};
use messages::{OutcomeEvent, StatusChanged};
use uuid::Uuid;

use crate::item::{
    APPOINTMENT_PREFIX, IDEMPOTENCY_PREFIX, InvalidItem, LIST_PROJECTION, StoredAppointment, appointment_id_of,
    appointment_key, attribute, history_value, parsed, pending_item, requested_of, with_request,
};
use crate::republish::{PendingShards, RepublishSchedule};
use crate::slots::slot_map;

/// How long an `Idempotency-Key` is kept.
pub const IDEMPOTENCY_PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

/// What an `Idempotency-Key` was used for, where that was a booking.
const BOOKING: &str = "POST /appointments";

/// How many pages of the table one page of a filtered list may read, because DynamoDB applies its limit before a filter.
pub const MAX_READS_PER_PAGE: u32 = 4;

pub(crate) const STATUS_NAME: &[(&str, &str)] = &[("#status", attribute::STATUS)];

/// `shard` is a reserved word too.
const STATUS_AND_SHARD_NAMES: &[(&str, &str)] = &[("#status", attribute::STATUS), ("#shard", attribute::SHARD)];

/// The DynamoDB table `appointments`: partition key `insuredId`, sort key `sk` (`appointment#<uuid>` or
/// `idempotency#<key>`), and the sparse index `pending`.
#[derive(Clone, Copy, Debug)]
pub struct AppointmentsTable<'a, T> {
    pub(crate) dynamodb: DynamoDb<'a, T>,
    pub(crate) name: &'a str,
    shards: PendingShards,
}

/// Why the table could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The call failed.
    #[error(transparent)]
    Call(#[from] Error),
    /// What the table holds is not what this version writes.
    #[error(transparent)]
    InvalidItem(#[from] InvalidItem),
}

/// How a booking was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Booked {
    /// It is new.
    New,
    /// The same key came with the same request before; this is the appointment as it was accepted then.
    Replayed(Box<Appointment>),
    /// The same key came with another request before.
    KeyReused,
}

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

/// Which page of a person's list to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// At most this many appointments, from 1 to 100.
    pub limit: u32,
    /// Only those in this status.
    pub status: Option<Status>,
    /// Only those older than this one.
    pub after: Option<AppointmentId>,
}

/// A page of a person's list, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The appointments.
    pub appointments: Vec<Appointment>,
    /// What this version does not know of them, or cannot read at all and leaves out: for the log.
    pub faults: Vec<String>,
    /// Where the next page starts, if there may be one.
    pub next: Option<AppointmentId>,
}

impl<'a, T: Transport> AppointmentsTable<'a, T> {
    /// The table of this name.
    pub fn new(client: &'a Client<T>, endpoint: &'a Endpoint, name: &'a str) -> Self {
        Self { dynamodb: DynamoDb::new(client, endpoint), name, shards: PendingShards::default() }
    }

    /// The same table, whose new appointments are spread over so many shards.
    #[must_use]
    pub fn with_shards(self, shards: PendingShards) -> Self {
        Self { shards, ..self }
    }

    /// Keeps a new appointment in `pending`: one write. Its publication follows, in whose time the write's answer comes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Call`]. The appointment may have been kept all the same ([`Error::took_effect_unknown`]).
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

    /// Keeps a new appointment in `pending` under an `Idempotency-Key`: one transaction, and none that is read.
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

    /// What [`Self::book_once`] would answer to this appointment because its key came before, `None` where it did not: for a
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

    /// Reads one appointment with its history, and sees every write that was answered before.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn get(
        &self,
        insured_id: &InsuredId,
        appointment_id: AppointmentId,
    ) -> Result<Option<StoredAppointment>, StoreError> {
        let get = GetItem {
            table_name: self.name,
            key: appointment_key(insured_id, appointment_id),
            consistent_read: true,
            ..GetItem::default()
        };
        match self.dynamodb.get_item(&get).await?.item {
            Some(item) => Ok(Some(StoredAppointment::from_item(&item)?)),
            None => Ok(None),
        }
    }

    /// Reads a page of a person's appointments, newest first, and sees every write that was answered before.
    ///
    /// Without a filter one page is one read that reads no more than it answers. With one, at most
    /// [`MAX_READS_PER_PAGE`] reads are made, so a page may hold fewer than `limit`, even none, and yet have a next.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn list(&self, insured_id: &InsuredId, page: PageRequest) -> Result<Page, StoreError> {
        let (mut appointments, mut faults) = (Vec::new(), Vec::new());
        let mut after = page.after;
        for _ in 0..MAX_READS_PER_PAGE {
            let found = u32::try_from(appointments.len()).unwrap_or(page.limit);
            let mut values =
                Item::new().with(":insured", insured_id.as_str()).with(":appointments", APPOINTMENT_PREFIX);
            if let Some(status) = page.status {
                values.insert(":status", status.as_str().to_owned());
            }
            let query = Query {
                table_name: self.name,
                key_condition_expression: "insuredId = :insured AND begins_with(sk, :appointments)",
                filter_expression: page.status.map(|_| "#status = :status"),
                projection_expression: Some(LIST_PROJECTION),
                expression_attribute_names: STATUS_NAME,
                expression_attribute_values: values,
                consistent_read: true,
                scan_index_forward: Some(false),
                limit: Some(page.limit.saturating_sub(found)),
                exclusive_start_key: after.map(|id| appointment_key(insured_id, id)),
                ..Query::default()
            };
            let output = self.dynamodb.query(&query).await?;
            for item in &output.items {
                match StoredAppointment::from_item(item) {
                    Ok(stored) => {
                        let unknown = stored.unknown_value();
                        faults.extend(unknown.map(|field| format!("{}: {field}", stored.appointment.appointment_id)));
                        appointments.push(stored.appointment);
                    }
                    // One row that cannot be read hides no other.
                    Err(invalid) => {
                        faults.push(format!("{}: {invalid}", item.s(attribute::SORT_KEY).unwrap_or_default()));
                    }
                }
            }
            after = output.last_evaluated_key.as_ref().map(appointment_id_of).transpose()?;
            if after.is_none() || appointments.len() >= usize::try_from(page.limit).unwrap_or(usize::MAX) {
                break;
            }
        }
        Ok(Page { appointments, faults, next: after })
    }

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
        let error = match self.dynamodb.update_item(&update, Retry::Safe).await {
            Ok(output) => {
                let item = output.attributes.unwrap_or_default();
                return Ok(Cancelled::Requested(StoredAppointment::from_item(&item)?));
            }
            Err(error) => error,
        };
        let unknown = error.took_effect_unknown();
        let Some(item) = condition_failed_item(error)? else { return Ok(Cancelled::NotFound) };
        let stored = StoredAppointment::from_item(&item)?;
        if stored.appointment.country.known().is_none() {
            return Ok(Cancelled::NotUnderstood(stored));
        }
        // Our own first try, whose response was lost, may have written this: then the country has not been told.
        if stored.appointment.status == Status::Cancelling && unknown {
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

    /// Brings a cancellation that was given up back to the shard in which its country's answer is awaited.
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
        let error = match self.dynamodb.update_item(&update, Retry::Safe).await {
            Ok(output) => {
                let item = output.attributes.unwrap_or_default();
                return Ok(Cancelled::Requested(StoredAppointment::from_item(&item)?));
            }
            Err(error) => error,
        };
        let unknown = error.took_effect_unknown();
        let Some(item) = condition_failed_item(error)? else { return Ok(Cancelled::NotFound) };
        let ours = unknown && item.s(attribute::PENDING_SINCE) == Some(&since);
        let stored = StoredAppointment::from_item(&item)?;
        Ok(if ours { Cancelled::Requested(stored) } else { cancelled_before(stored) })
    }

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
        let error = match self.dynamodb.update_item(&update, Retry::Safe).await {
            Ok(output) => {
                let stored = StoredAppointment::from_item(&output.attributes.unwrap_or_default())?;
                let change = stored.change_by(detail.event_id, target, detail.traceparent);
                return Ok(Applied::Moved(change.ok_or(InvalidItem { attribute: attribute::HISTORY })?));
            }
            Err(error) => error,
        };
        let Some(item) = condition_failed_item(error)? else { return Ok(Applied::Unknown) };
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

/// The parts of an update that every change of status has, made from the state machine.
pub(crate) struct StatusChange {
    pub(crate) condition: String,
    pub(crate) values: Item<'static>,
}

impl StatusChange {
    /// `applied` is the event that makes the change, by its id and the trace of its delivery.
    pub(crate) fn new(
        event: StatusEvent,
        target: Status,
        reason: Option<Reason>,
        applied: Option<(Uuid, TraceContext)>,
        now: Timestamp,
    ) -> Self {
        let mut condition = String::from("#status IN (");
        let mut values = Item::new();
        for (number, status) in event.moves_from().enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(condition, "{separator}:from{number}");
            values.insert(format!(":from{number}"), status.as_str().to_owned());
        }
        condition.push(')');
        values.insert(":status", target.as_str().to_owned());
        values.insert(":now", now.to_string());
        values.insert(":entry", history_value(&HistoryEntry { status: target, at: now, reason }, applied));
        if let Some(reason) = reason {
            values.insert(":reason", reason.as_str().to_owned());
        }
        Self { condition, values }
    }

    /// What only a later version serves moves nowhere.
    fn only_in_known_countries(&mut self) {
        self.condition.push_str(" AND countryISO IN (");
        for (number, country) in Country::ALL.into_iter().enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(self.condition, "{separator}:country{number}");
            self.values.insert(format!(":country{number}"), country.code());
        }
        self.condition.push(')');
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

pub(crate) fn is_condition_failed(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ConditionFailed { .. })
}

/// The item because of which a condition failed, `None` where there is none; any other error stays one.
pub(crate) fn condition_failed_item(error: Error) -> Result<Option<Item<'static>>, StoreError> {
    if !is_condition_failed(&error) {
        return Err(error.into());
    }
    match error.into_kind() {
        ErrorKind::ConditionFailed { item } => Ok(item),
        _ => Ok(None),
    }
}
