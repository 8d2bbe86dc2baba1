//! How long a message was on its way, as far as its host says.

use std::time::{Duration, SystemTime};

use appointment::Timestamp;
use edge_component::Hop;

use crate::queue::fermyon::spin_sqs::sqs_types::{MessageAttribute, MessageAttributeValue};

/// A delivery of a message.
pub(crate) struct Delivery {
    /// When the component got it.
    pub(crate) arrived: SystemTime,
    /// When the queue got it.
    sent: Option<SystemTime>,
    /// When the queue first delivered it.
    first_received: Option<SystemTime>,
    /// How often the queue has delivered it, this delivery included.
    receive_count: u32,
}

impl Delivery {
    /// From the attributes that the Lambda host adds: they are SQS's own, and have its names. Another host may have none.
    pub(crate) fn read(arrived: SystemTime, attributes: &[MessageAttribute]) -> Self {
        let number = |name: &str| -> Option<u64> {
            attributes.iter().find(|attribute| attribute.name == name).and_then(|attribute| match &attribute.value {
                MessageAttributeValue::Str(text) => text.parse().ok(),
                MessageAttributeValue::Binary(_) => None,
            })
        };
        let instant = |name| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(number(name)?));
        Self {
            arrived,
            sent: instant("SentTimestamp"),
            first_received: instant("ApproximateFirstReceiveTimestamp"),
            receive_count: number("ApproximateReceiveCount").and_then(|count| count.try_into().ok()).unwrap_or(1),
        }
    }

    /// What the message waited for: the event bus, its queue, and its function, or an earlier delivery that failed. `on_bus` is
    /// when it was put on the bus.
    pub(crate) fn waits(&self, on_bus: Option<SystemTime>) -> Vec<Hop> {
        let again = if self.receive_count > 1 { "sqs.redelivery" } else { "lambda.invoke" };
        let hops = [
            ("eventbridge.wait", on_bus, self.sent),
            ("sqs.wait", self.sent, self.first_received),
            (again, self.first_received, Some(self.arrived)),
        ];
        let hop = |(name, started, ended): (&str, Option<SystemTime>, Option<SystemTime>)| {
            Some(Hop { name: name.to_owned(), started: started?, ended: ended? })
        };
        hops.into_iter().filter_map(hop).collect()
    }
}

/// When an event was put on the bus, at the earliest: the bus tells whole seconds, and what it tells happened before, to the
/// millisecond.
pub(crate) fn on_bus(time: Option<&str>, happened: Timestamp) -> SystemTime {
    let time = time.and_then(|time| time.parse::<Timestamp>().ok());
    time.unwrap_or(happened).max(happened).into()
}
