//! Spin's SQS trigger: messages of a queue, each for a fresh instance.
//!
//! It does what the plugin `trigger-sqs` 0.12.1 does. A receive sends no wait time, so that the queue's own
//! `ReceiveMessageWaitTimeSeconds` decides how long it waits. While the handler runs the message's lease is renewed at half
//! of the queue's visibility timeout. The message is then deleted or left, as the handler says; after an error, a trap or a
//! timeout it is left, and comes again when its visibility timeout is over. Beyond the plugin, no more than
//! [`IN_FLIGHT`] messages are held at once, and a host that stops finishes those.

use std::sync::Arc;
use std::time::Duration;

use aws_http::native::NativeTransport;
use aws_http::{Client, Credentials, Endpoint, JsonVersion, Retry, Timeouts};
use http::Uri;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, interval_at, sleep, timeout};

use crate::error::Error;
use crate::guest::{LinkedComponent, Message, MessageAction, MessageError};
use crate::logs::{Level, host_message};
use crate::manifest::QueueTrigger;
use crate::server::{Worker, reason};

/// Messages of one queue that are held at once.
const IN_FLIGHT: usize = 10;

/// How long a call may take. A receive waits for as long as the queue says, which is 20 s at most.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// The visibility timeout of a queue that does not tell its own: SQS's default.
const DEFAULT_VISIBILITY: Duration = Duration::from_secs(30);

/// Who receives from the queues, and where they are: one identity for all, as for the plugin.
pub(crate) struct Identity {
    region: String,
    credentials: Credentials,
}

impl Identity {
    /// From the variables that AWS's tools read.
    pub(crate) fn of_environment() -> Result<Self, Error> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let required = |name| variable(name).ok_or(Error::QueueIdentity { variable: name });
        let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        Ok(Self {
            region: region.ok_or(Error::QueueIdentity { variable: "AWS_REGION" })?,
            credentials: Credentials::from_keys(
                required("AWS_ACCESS_KEY_ID")?,
                required("AWS_SECRET_ACCESS_KEY")?,
                variable("AWS_SESSION_TOKEN"),
            ),
        })
    }
}

/// A queue, and the component that handles its messages.
pub(crate) struct Queue {
    component: Arc<LinkedComponent>,
    client: Client<NativeTransport>,
    endpoint: Endpoint,
    url: String,
    max_messages: usize,
    idle_wait: Duration,
}

/// The answer to `ReceiveMessage`, which names no messages where there are none.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ReceivedMessages {
    messages: Vec<Received>,
}

/// A message as SQS gives it out.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Received {
    message_id: Option<String>,
    receipt_handle: String,
    body: Option<String>,
}

impl Queue {
    /// # Errors
    ///
    /// What is wrong with the queue's URL.
    pub(crate) fn new(
        trigger: &QueueTrigger,
        component: Arc<LinkedComponent>,
        identity: &Identity,
    ) -> Result<Self, String> {
        let url = &trigger.queue_url;
        let uri: Uri = url.parse().map_err(|_| format!("\"{url}\" is no URL"))?;
        let origin =
            format!("{}://{}", uri.scheme_str().unwrap_or(""), uri.authority().map_or("", |part| part.as_str()));
        let endpoint = origin.parse().map_err(|error| format!("\"{url}\": {error}"))?;
        let client = Client::new(NativeTransport::new(), identity.region.clone(), identity.credentials.clone())
            .with_deadline(CALL_LIMIT)
            .with_timeouts(Timeouts { first_byte: CALL_LIMIT, ..Timeouts::default() });
        Ok(Self {
            component,
            client,
            endpoint,
            url: url.clone(),
            max_messages: usize::from(trigger.max_messages),
            idle_wait: Duration::from_secs(trigger.idle_wait_seconds),
        })
    }

    async fn call<O: DeserializeOwned>(&self, operation: &str, input: &Value) -> Result<O, aws_http::Error> {
        let target = format!("AmazonSQS.{operation}");
        self.client.json(self.endpoint.service("sqs"), JsonVersion::V1_0, &target, input, Retry::Safe).await
    }

    async fn visibility_timeout(&self) -> Result<Duration, aws_http::Error> {
        let question = json!({"QueueUrl": self.url, "AttributeNames": ["VisibilityTimeout"]});
        let answer: Value = self.call("GetQueueAttributes", &question).await?;
        let seconds = answer.pointer("/Attributes/VisibilityTimeout").and_then(Value::as_str);
        Ok(seconds.and_then(|text| text.parse().ok()).map_or(DEFAULT_VISIBILITY, Duration::from_secs))
    }

    async fn receive(&self, wanted: usize) -> Result<Vec<Received>, aws_http::Error> {
        let input = json!({"QueueUrl": self.url, "MaxNumberOfMessages": wanted});
        let ReceivedMessages { messages } = self.call("ReceiveMessage", &input).await?;
        Ok(messages)
    }

    /// Renews a message's lease for as long as it is polled.
    async fn keep(&self, receipt_handle: &str, visibility: Duration) -> std::convert::Infallible {
        let period = (visibility / 2).max(Duration::from_millis(500));
        let mut ticks = interval_at(Instant::now() + period, period);
        let input = json!({
            "QueueUrl": self.url, "ReceiptHandle": receipt_handle, "VisibilityTimeout": visibility.as_secs(),
        });
        loop {
            ticks.tick().await;
            // A lease that cannot be renewed runs out: the message may then be handled twice, which its handler allows.
            let _ = self.call::<IgnoredAny>("ChangeMessageVisibility", &input).await;
        }
    }
}

impl Worker {
    /// Receives from a queue until the host is told to stop, and finishes what it holds.
    pub(crate) async fn consume(self: Arc<Self>, queue: Queue) {
        let queue = Arc::new(queue);
        let Some(visibility) = self.unless_stopped(queue.visibility_timeout()).await else { return };
        let visibility = visibility.unwrap_or_else(|error| {
            self.note(&queue, Level::Warn, "cannot read a queue's visibility timeout", &error.to_string(), None);
            DEFAULT_VISIBILITY
        });
        let slots = Arc::new(Semaphore::new(IN_FLIGHT));
        while let Some(Ok(first)) = self.unless_stopped(slots.clone().acquire_owned()).await {
            let wanted = queue.max_messages.min(1 + slots.available_permits());
            let Some(received) = self.unless_stopped(queue.receive(wanted)).await else { return };
            let messages = received.unwrap_or_else(|error| {
                self.note(&queue, Level::Error, "cannot receive from a queue", &error.to_string(), None);
                Vec::new()
            });
            if messages.is_empty() && self.unless_stopped(sleep(queue.idle_wait)).await.is_none() {
                return;
            }
            let free = std::iter::once(first).chain(std::iter::from_fn(|| slots.clone().try_acquire_owned().ok()));
            for (message, slot) in messages.into_iter().zip(free) {
                self.tasks.spawn(self.clone().handle_message(queue.clone(), message, visibility, slot));
            }
        }
    }

    async fn unless_stopped<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            () = self.shutdown.cancelled() => None,
            output = future => Some(output),
        }
    }

    async fn handle_message(
        self: Arc<Self>,
        queue: Arc<Queue>,
        received: Received,
        visibility: Duration,
        _slot: OwnedSemaphorePermit,
    ) {
        let Received { message_id, receipt_handle, body } = received;
        let message = Message { id: message_id, message_attributes: Vec::new(), body };
        let outcome = tokio::select! {
            outcome = self.run_handler(&queue.component, &message) => outcome,
            never = queue.keep(&receipt_handle, visibility) => match never {},
        };
        let id = message.id.as_deref();
        match outcome {
            Ok(MessageAction::Leave) => {}
            Ok(MessageAction::Delete) => {
                let input = json!({"QueueUrl": queue.url, "ReceiptHandle": receipt_handle});
                if let Err(error) = queue.call::<IgnoredAny>("DeleteMessage", &input).await {
                    self.note(&queue, Level::Error, "cannot delete a message", &error.to_string(), id);
                }
            }
            Err(reason) => self.note(&queue, Level::Error, "a component failed to handle a message", &reason, id),
        }
    }

    /// What the component says is to be done with a message, or why it says nothing.
    async fn run_handler(&self, component: &LinkedComponent, message: &Message) -> Result<MessageAction, String> {
        let Some(_permit) = self.instance_permit().await else { return Err("all instances are in use".to_owned()) };
        let limit = self.application.request_timeout;
        let handled = async {
            let mut store = component.store(self.connections.clone(), None);
            component.handle_message(&mut store, message).await
        };
        match timeout(limit, handled).await {
            Ok(Ok(Ok(action))) => Ok(action),
            Ok(Ok(Err(MessageError::Other(error)))) => Err(error),
            Ok(Err(error)) => Err(reason(&error)),
            Err(_) => Err(format!("it took longer than {}", humantime::format_duration(limit))),
        }
    }

    fn note(&self, queue: &Queue, level: Level, message: &str, reason: &str, message_id: Option<&str>) {
        let component = &*queue.component.permissions.name;
        let fields = json!({ "component": component, "reason": reason, "sqs_message_id": message_id });
        host_message(&self.application.log, level, message, fields);
    }
}
