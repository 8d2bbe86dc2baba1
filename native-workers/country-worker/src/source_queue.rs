use std::fmt;
use std::future::Future;
use std::time::Duration;

use aws_http::native::NativeTransport;
use aws_http::sqs::Sqs;
use aws_http::{Client, Credentials, Endpoint, RetryPolicy};
use futures::StreamExt as _;

use crate::aws::Environment;
use crate::setting::InvalidSetting;

/// The time that a message left may take: with the database's and the bus's within the function's 30 s
/// (`infra/backplane.json`).
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// How many messages are left at once: a whole batch of the queue.
const CALLS_IN_FLIGHT: usize = 10;

/// A message that has to come again, and after how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The ARN of the queue that it came from.
    pub queue_arn: String,
    /// The receipt handle of this delivery.
    pub receipt_handle: String,
    /// How long it stays hidden from now on.
    pub delay: Duration,
}

/// The port to the queue that the messages came from.
pub trait SourceQueue: Send + Sync {
    /// Sets when each message is delivered again. One for which that fails stays hidden for the queue's visibility timeout.
    fn leave(&self, messages: &[Left]) -> impl Future<Output = ()> + Send;
}

/// Amazon SQS.
#[derive(Clone)]
pub struct SqsQueue {
    client: Client<NativeTransport>,
    endpoint: Endpoint,
}

impl SqsQueue {
    /// SQS as the environment of a Lambda function describes it: credentials, `AWS_REGION`, and another endpoint than the
    /// region's from `AWS_ENDPOINT_URL`.
    ///
    /// # Errors
    ///
    /// Names the first variable that is missing or malformed.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidSetting> {
        let environment = Environment::read(variable)?;
        Ok(Self::over(environment.client(), environment.endpoint("sqs")?))
    }

    /// SQS at `endpoint`.
    #[must_use]
    pub fn new(region: &str, credentials: Credentials, endpoint: Endpoint) -> Self {
        Self::over(Client::new(NativeTransport::new(), region, credentials), endpoint)
    }

    fn over(client: Client<NativeTransport>, endpoint: Endpoint) -> Self {
        let retries = RetryPolicy { attempts: 2, ..RetryPolicy::default() };
        Self { client: client.with_deadline(CALL_TIMEOUT).with_retries(retries), endpoint }
    }

    async fn leave_one(&self, left: &Left) {
        let sqs = Sqs::new(&self.client, &self.endpoint);
        let Some(url) = sqs.queue_url(&left.queue_arn) else { return };
        if let Err(error) = sqs.change_message_visibility(&url, &left.receipt_handle, left.delay).await {
            tracing::warn!(error = %error, "a message waits for the queue's visibility timeout");
        }
    }
}

impl SourceQueue for SqsQueue {
    async fn leave(&self, messages: &[Left]) {
        let calls: Vec<_> = messages.iter().map(|left| self.leave_one(left)).collect();
        futures::stream::iter(calls).for_each_concurrent(CALLS_IN_FLIGHT, |call| call).await;
    }
}

impl fmt::Debug for SqsQueue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SqsQueue").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
