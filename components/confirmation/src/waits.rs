//! How long a message was on its way, as far as its host says.

use std::time::SystemTime;

use appointment::Timestamp;
use aws_http::sqs::{DeliveryTimes, Wait};
use edge_component::Hop;

use crate::queue::fermyon::spin_sqs::sqs_types::{MessageAttribute, MessageAttributeValue};

/// A delivery of a message.
pub(crate) struct Delivery {
    /// When the component got it.
    pub(crate) arrived: SystemTime,
    times: DeliveryTimes,
}

impl Delivery {
    /// From the attributes that the Lambda host adds: they are SQS's own, and have its names. Another host may have none.
    pub(crate) fn read(arrived: SystemTime, attributes: &[MessageAttribute]) -> Self {
        let text = |name: &str| match &attributes.iter().find(|attribute| attribute.name == name)?.value {
            MessageAttributeValue::Str(text) => Some(text.as_str()),
            MessageAttributeValue::Binary(_) => None,
        };
        Self { arrived, times: DeliveryTimes::read(text) }
    }

    /// What the message waited for: the event bus, its queue, and its function, or an earlier delivery that failed. `on_bus` is
    /// when it was put on the bus.
    pub(crate) fn waits(&self, on_bus: Option<SystemTime>) -> Vec<Hop> {
        let on_bus = on_bus.zip(self.times.sent);
        let on_bus = on_bus.map(|(started, ended)| Wait { name: "eventbridge.wait", started, ended });
        let waits = on_bus.into_iter().chain(self.times.waits(self.arrived));
        waits.map(|Wait { name, started, ended }| Hop { name: name.to_owned(), started, ended }).collect()
    }
}

/// When an event was put on the bus, at the earliest: the bus tells whole seconds, and what it tells happened before, to the
/// millisecond.
pub(crate) fn on_bus(time: Option<&str>, happened: Timestamp) -> SystemTime {
    let time = time.and_then(|time| time.parse::<Timestamp>().ok());
    time.unwrap_or(happened).max(happened).into()
}
