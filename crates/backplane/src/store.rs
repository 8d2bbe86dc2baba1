//! What both tables have in common: why one could not be read or written, and how much is read of one.

use aws_http::dynamodb::Item;
use aws_http::{Error, ErrorKind};

use crate::attribute::InvalidItem;

/// How many pages of the table one page of a filtered list may read, because DynamoDB applies its limit before a filter.
pub const MAX_READS_PER_PAGE: u32 = 4;

/// Why the table could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The call failed.
    #[error(transparent)]
    Call(#[from] Error),
    /// What the table holds is not what this version writes.
    #[error(transparent)]
    InvalidItem(#[from] InvalidItem),
}

pub(crate) fn is_condition_failed(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ConditionFailed { .. })
}

/// The item because of which a condition failed; `None` if no item was there. Any other error is returned.
pub(crate) fn condition_failed_item(error: Error) -> Result<Option<Item<'static>>, StoreError> {
    if !is_condition_failed(&error) {
        return Err(error.into());
    }
    match error.into_kind() {
        ErrorKind::ConditionFailed { item } => Ok(item),
        _ => Ok(None),
    }
}
