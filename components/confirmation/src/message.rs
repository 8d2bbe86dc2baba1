//! What becomes of a message of SQS_CONFIRMATION, and of the queue of the catalogues.

use std::time::SystemTime;

use edge_component::Host;

use crate::delivery::{Delivered, Delivery};
use crate::projection::Subject;
use crate::{confirm, projection};

/// Applies a message that came at this instant, and writes one log line about it.
///
/// `attribute` gives the text of a message's attribute by its name: the host's own, or SQS's.
pub async fn deliver<'a>(
    host: impl Host,
    body: &[u8],
    arrived: SystemTime,
    attribute: impl Fn(&str) -> Option<&'a str>,
) -> Delivered {
    let delivery = Delivery::read(arrived, attribute);
    match Subject::of(body) {
        Some(subject) => projection::deliver(host, subject, body, &delivery).await,
        None => confirm::deliver(host, body, &delivery).await,
    }
}
