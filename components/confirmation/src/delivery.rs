//! A delivery of a message: how long the message was on its way, as far as its host says, and what its queue is told.

use std::time::SystemTime;

use appointment::Timestamp;
use aws_http::sqs::{DeliveryTimes, Wait};
use edge_component::Hop;

use crate::internal::HandlingError;

/// How log lines name this way in, where those of HTTP name their route.
pub(crate) const ROUTE: &str = "handle-queue-message";

/// A delivery of a message.
pub(crate) struct Delivery {
    /// When the component got it.
    pub(crate) arrived: SystemTime,
    times: DeliveryTimes,
}

impl Delivery {
    /// From the texts of the message's attributes, by their names. The Lambda host adds SQS's own. Another host may have none.
    pub(crate) fn read<'a>(arrived: SystemTime, attribute: impl Fn(&str) -> Option<&'a str>) -> Self {
        Self { arrived, times: DeliveryTimes::read(attribute) }
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

/// What the queue is told about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// It is done with.
    Done,
    /// A later delivery may do what this one could not.
    Left,
    /// No later delivery can mend it, and why.
    Poison(String),
}

impl Delivered {
    /// What a failure means for the queue.
    pub(crate) fn failed(failure: &HandlingError) -> Self {
        match failure {
            HandlingError::Retry(_) | HandlingError::Setting(_) => Self::Left,
            HandlingError::Poison(reason) => Self::Poison(reason.clone()),
        }
    }

    /// How the log names it.
    pub(crate) const fn action(&self) -> &'static str {
        match self {
            Self::Done => "delete",
            Self::Left => "leave",
            Self::Poison(_) => "error",
        }
    }
}
