//! A conditional update of an appointment's row, and what came of it.

use aws_http::dynamodb::{Item, UpdateItem};
use aws_http::{Retry, Transport};

use crate::item::StoredAppointment;
use crate::store::{StoreError, condition_failed_item};
use crate::table::AppointmentsTable;

/// The condition of an update failed.
pub(crate) struct RefusedUpdate {
    /// The row as it is, if there is one.
    pub(crate) item: Option<Item<'static>>,
    /// Whether a first try of our own, whose response was lost, may have written it.
    pub(crate) may_be_ours: bool,
}

impl<T: Transport> AppointmentsTable<'_, T> {
    /// Makes an update that returns the new row, or the old one where its condition fails.
    pub(crate) async fn update(
        &self,
        update: &UpdateItem<'_>,
    ) -> Result<Result<StoredAppointment, RefusedUpdate>, StoreError> {
        match self.dynamodb.update_item(update, Retry::Safe).await {
            Ok(output) => {
                let item = output.attributes.unwrap_or_default();
                Ok(Ok(StoredAppointment::from_item(&item)?))
            }
            Err(error) => {
                let may_be_ours = error.took_effect_unknown();
                Ok(Err(RefusedUpdate { item: condition_failed_item(error)?, may_be_ours }))
            }
        }
    }
}
