//! Amazon SQS, JSON 1.0: when a message that a function leaves is delivered again.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::client::{Client, JsonVersion};
use crate::endpoint::{Endpoint, Service};
use crate::error::Error;
use crate::retry::Retry;
use crate::transport::Transport;

/// SQS at one endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Sqs<'a, T> {
    client: &'a Client<T>,
    endpoint: &'a Endpoint,
    service: Service<'a>,
}

impl<'a, T: Transport> Sqs<'a, T> {
    /// SQS through this client.
    pub fn new(client: &'a Client<T>, endpoint: &'a Endpoint) -> Self {
        Self { client, endpoint, service: endpoint.service("sqs") }
    }

    /// The URL of a queue, by its ARN. `None` if the text is not the ARN of a queue.
    #[must_use]
    pub fn queue_url(&self, queue_arn: &str) -> Option<String> {
        let parts: Vec<&str> = queue_arn.split(':').collect();
        let ["arn", _partition, "sqs", _region, account, queue] = parts.as_slice() else { return None };
        Some(format!("{}/{account}/{queue}", self.endpoint))
    }

    /// `ChangeMessageVisibility`: the message of this delivery stays hidden for `timeout` from now on, at most 12 hours;
    /// fractions of a second are cut off. After zero it is delivered again at once.
    ///
    /// One message per call: for a batch the emulator requires a permission that AWS does not have.
    ///
    /// # Errors
    /// See [`ErrorKind`](crate::ErrorKind). The delivery may also be too old, or the message gone.
    pub async fn change_message_visibility(
        &self,
        queue_url: &str,
        receipt_handle: &str,
        timeout: Duration,
    ) -> Result<(), Error> {
        let input = WireInput { queue_url, receipt_handle, visibility_timeout: timeout.as_secs() };
        let target = "AmazonSQS.ChangeMessageVisibility";
        let _: WireOutput = self.client.json(self.service, JsonVersion::V1_0, target, &input, Retry::Safe).await?;
        Ok(())
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WireInput<'a> {
    queue_url: &'a str,
    receipt_handle: &'a str,
    visibility_timeout: u64,
}

/// The response is empty.
#[derive(Deserialize)]
struct WireOutput {}

/// What SQS says about a delivery of a message, in the message's system attributes
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryTimes {
    /// How often the queue has delivered it, this delivery included: `ApproximateReceiveCount`; 1 if it is missing.
    pub receive_count: u32,
    /// When the queue got it: `SentTimestamp`.
    pub sent: Option<SystemTime>,
    /// When the queue first delivered it: `ApproximateFirstReceiveTimestamp`.
    pub first_received: Option<SystemTime>,
}

/// A time that a message waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// For what, such as `sqs.wait`.
    pub name: &'static str,
    /// When it began.
    pub started: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
}

impl DeliveryTimes {
    /// The attributes that it is read from.
    pub const ATTRIBUTES: [&str; 3] = [Self::SENT, Self::FIRST_RECEIVED, Self::RECEIVE_COUNT];

    const RECEIVE_COUNT: &str = "ApproximateReceiveCount";
    const SENT: &str = "SentTimestamp";
    const FIRST_RECEIVED: &str = "ApproximateFirstReceiveTimestamp";

    /// From the attributes, each by its name.
    #[must_use]
    pub fn read<'a>(attribute: impl Fn(&str) -> Option<&'a str>) -> Self {
        let instant = |name| {
            let milliseconds = attribute(name)?.parse().ok()?;
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds))
        };
        Self {
            receive_count: attribute(Self::RECEIVE_COUNT).and_then(|count| count.parse().ok()).unwrap_or(1),
            sent: instant(Self::SENT),
            first_received: instant(Self::FIRST_RECEIVED),
        }
    }

    /// What the message waited for before it `arrived` at its function: in its queue, and then for the function or, after a delivery
    /// that failed, for this delivery.
    pub fn waits(self, arrived: SystemTime) -> impl Iterator<Item = Wait> {
        let again = if self.receive_count > 1 { "sqs.redelivery" } else { "lambda.invoke" };
        let waits = [("sqs.wait", self.sent, self.first_received), (again, self.first_received, Some(arrived))];
        waits.into_iter().filter_map(|(name, started, ended)| Some(Wait { name, started: started?, ended: ended? }))
    }
}

/// The pauses between the deliveries of a message that a function leaves on its queue: seconds first, minutes later.
///
/// It is the setting `RECEIVE_DELAYS_SECONDS`, from `receive_delays` in `infra/backplane.json`: whole seconds, separated by
/// commas. The n-th is the pause after the n-th receive; a message is received once more than there are pauses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiveDelays(Vec<Duration>);

/// The text holds no pauses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("RECEIVE_DELAYS_SECONDS must be whole seconds from 1 to 43200, separated by commas, for example 5,30,120")]
pub struct InvalidReceiveDelays;

impl ReceiveDelays {
    /// How often a message is received before SQS moves it to the dead-letter queue: the queue's `maxReceiveCount`.
    #[must_use]
    pub fn max_receive_count(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// How long a message that was received `receive_count` times (`ApproximateReceiveCount`) and left stays hidden.
    /// After the last receive it does not: the next one would only move it to the dead-letter queue.
    #[must_use]
    pub fn after(&self, receive_count: u32) -> Duration {
        let position = usize::try_from(receive_count.saturating_sub(1)).unwrap_or(usize::MAX);
        self.0.get(position).copied().unwrap_or_default()
    }

    /// The same for a message that no later delivery can process: always the first pause. It is soon in the dead-letter queue,
    /// which has an alarm.
    #[must_use]
    pub fn after_poison(&self, receive_count: u32) -> Duration {
        self.after(receive_count).min(self.after(1))
    }
}

impl FromStr for ReceiveDelays {
    type Err = InvalidReceiveDelays;

    fn from_str(text: &str) -> Result<Self, InvalidReceiveDelays> {
        text.split(',')
            .map(|seconds| match seconds.trim().parse::<u64>() {
                Ok(seconds @ 1..=43_200) => Ok(Duration::from_secs(seconds)),
                _ => Err(InvalidReceiveDelays),
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}
