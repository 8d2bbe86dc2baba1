//! Plays the EventBridge pipe from the confirmation queue to the confirmation component.
//!
//! The emulator accepts a pipe with an SQS source and does nothing with it, so this module does what AWS documents
//! (<https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-sqs.html>): one message a request, the body
//! unchanged (`<$.body>`), the API key in the connection's header, several requests at a time. A message whose request is
//! answered with 2xx is deleted; any other is left to the visibility timeout and the dead-letter queue.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::aws::Aws;
use crate::http::Http;
use crate::journal::Journal;

/// Requests in flight. AWS starts with five and adds more as the queue grows.
const CONCURRENCY: usize = 16;

/// SQS gives no more in one receive.
const RECEIVE_LIMIT: usize = 10;

/// The longest that SQS lets a receive wait.
const LONG_POLL: Duration = Duration::from_secs(20);

/// The pause after a receive that failed.
const PAUSE: Duration = Duration::from_millis(200);

/// Where a pipe takes messages from and where it brings them.
pub struct PipeSettings {
    /// With the rights of the principal `pipe`.
    pub aws: Aws,
    /// The confirmation queue.
    pub queue_url: String,
    /// The confirmation component's URL, path included.
    pub destination: String,
    /// The header that carries the API key.
    pub api_key_header: String,
    /// The API key.
    pub api_key: HeaderValue,
    /// How long to wait for an answer.
    pub answer_limit: Duration,
}

/// A running pipe; it stops at once when it is dropped.
pub struct Pipe {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Pipe {
    /// Starts the pipe; what it could not deliver is noted in `log`, one JSON object a line.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn start(mut settings: PipeSettings, log: &Path) -> Result<Self> {
        settings.api_key.set_sensitive(true);
        let runner = Runner { settings, http: Http::default(), journal: Journal::open("pipe", log)? };
        let (stop, stopped) = watch::channel(false);
        Ok(Self { task: tokio::spawn(Arc::new(runner).run(stopped)), stop })
    }

    /// Receives nothing more, and waits for the requests in flight.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        // It ends by a panic or not at all; there is nothing to do about a panic here.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Runner {
    settings: PipeSettings,
    http: Http,
    journal: Journal,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Received {
    #[serde(default)]
    messages: Vec<Message>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Message {
    message_id: String,
    receipt_handle: String,
    body: String,
}

impl Runner {
    async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let slots = Arc::new(Semaphore::new(CONCURRENCY));
        let in_flight = TaskTracker::new();
        loop {
            let free = async { slots.clone().acquire_owned().await.ok() };
            let received = async {
                let first = free.await?;
                let wanted = RECEIVE_LIMIT.min(1 + slots.available_permits());
                Some((first, self.receive(wanted).await))
            };
            let (first, messages) = tokio::select! {
                received = received => match received {
                    Some(received) => received,
                    None => break,
                },
                _ = stopped.wait_for(|stopped| *stopped) => break,
            };
            let mut first = Some(first);
            for message in messages {
                let permit: Option<OwnedSemaphorePermit> = match first.take() {
                    Some(permit) => Some(permit),
                    None => slots.clone().acquire_owned().await.ok(),
                };
                let runner = self.clone();
                in_flight.spawn(async move {
                    runner.deliver(message).await;
                    drop(permit);
                });
            }
        }
        in_flight.close();
        in_flight.wait().await;
    }

    async fn receive(&self, wanted: usize) -> Vec<Message> {
        let request = json!({
            "QueueUrl": self.settings.queue_url,
            "MaxNumberOfMessages": wanted,
            "WaitTimeSeconds": LONG_POLL.as_secs(),
        });
        let answer = self.settings.aws.sqs("ReceiveMessage", &request).await;
        match answer.and_then(|answer| Ok(serde_json::from_value::<Received>(answer)?)) {
            Ok(received) => received.messages,
            Err(error) => {
                self.note("error", &format!("cannot receive: {error:#}"), None);
                tokio::time::sleep(PAUSE).await;
                Vec::new()
            }
        }
    }

    async fn deliver(&self, message: Message) {
        let Message { message_id, receipt_handle, body } = message;
        let request = http::Request::post(&self.settings.destination)
            .header(CONTENT_TYPE, "application/json")
            .header(&self.settings.api_key_header, &self.settings.api_key)
            .body(Bytes::from(body));
        let request = match request {
            Ok(request) => request,
            Err(error) => return self.note("error", &format!("cannot build a request: {error}"), Some(&message_id)),
        };
        match self.http.send_within(request, self.settings.answer_limit).await {
            Ok(answer) if answer.status().is_success() => {
                let handle = json!({"QueueUrl": self.settings.queue_url, "ReceiptHandle": receipt_handle});
                if let Err(error) = self.settings.aws.sqs("DeleteMessage", &handle).await {
                    self.note("error", &format!("cannot delete: {error:#}"), Some(&message_id));
                }
            }
            Ok(answer) => self.note("warn", &format!("answered with {}", answer.status()), Some(&message_id)),
            Err(error) => self.note("warn", &format!("no answer: {error}"), Some(&message_id)),
        }
    }

    fn note(&self, level: &str, message: &str, message_id: Option<&str>) {
        self.journal.note(level, message, message_id.map(|id| ("sqs_message_id", id)));
    }
}
