//! The table `appointments`, and what is read of it. `booking`, `cancellation`, `outcome`, `pending` and `erasure` write to it.

use appointment::{Appointment, AppointmentId, InsuredId, Status};
use aws_http::dynamodb::{DynamoDb, GetItem, Item, Query};
use aws_http::{Client, Endpoint, Transport};

use crate::attribute;
use crate::item::{APPOINTMENT_PREFIX, LIST_PROJECTION, StoredAppointment, appointment_id_of, appointment_key};
use crate::republish::PendingShards;
use crate::status_change::STATUS_NAME;
use crate::store::{MAX_READS_PER_PAGE, StoreError};

/// The DynamoDB table `appointments`: partition key `insuredId`, sort key `sk` (`appointment#<uuid>` or
/// `idempotency#<key>`), and the sparse index `pending`.
#[derive(Clone, Copy, Debug)]
pub struct AppointmentsTable<'a, T> {
    pub(crate) dynamodb: DynamoDb<'a, T>,
    pub(crate) name: &'a str,
    pub(crate) shards: PendingShards,
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

    /// Reads one appointment with its history, and sees every write that had its response before.
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

    /// Reads a page of a person's appointments, newest first, and sees every write that had its response before.
    ///
    /// Without a filter one page is one read that reads no more than it returns. With one, at most
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
}
