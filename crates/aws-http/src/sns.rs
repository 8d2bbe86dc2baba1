//! Amazon SNS, Query protocol (API version 2010-03-31).

use crate::client::Client;
use crate::endpoint::{Endpoint, Service};
use crate::error::{Error, ErrorKind};
use crate::retry::Retry;
use crate::transport::Transport;
use crate::xml;

const API_VERSION: &str = "2010-03-31";

/// SNS at one endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Sns<'a, T> {
    client: &'a Client<T>,
    service: Service<'a>,
}

/// A message for a topic. It has no `Debug`: its text may hold personal data.
#[derive(Clone, Copy)]
pub struct Publish<'a> {
    /// The topic's ARN.
    pub topic_arn: &'a str,
    /// The message, at most 256 KiB of UTF-8.
    pub message: &'a str,
    /// Names and string values of the message's attributes, by which subscriptions filter. A value is not empty.
    pub message_attributes: &'a [(&'a str, &'a str)],
}

impl<'a, T: Transport> Sns<'a, T> {
    /// SNS through this client.
    pub fn new(client: &'a Client<T>, endpoint: &'a Endpoint) -> Self {
        Self { client, service: endpoint.service("sns") }
    }

    /// `Publish`: publishes the message, and returns its message id.
    ///
    /// SNS delivers at least once in any case, so callers whose receivers deduplicate pass [`Retry::Safe`].
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn publish(&self, input: &Publish<'_>, retry: Retry) -> Result<String, Error> {
        let names: Vec<[String; 3]> = (1..=input.message_attributes.len())
            .map(|n| {
                ["Name", "Value.DataType", "Value.StringValue"]
                    .map(|field| format!("MessageAttributes.entry.{n}.{field}"))
            })
            .collect();
        let mut params = Vec::with_capacity(2 + 3 * names.len());
        params.push(("TopicArn", input.topic_arn));
        params.push(("Message", input.message));
        for ([name_key, type_key, value_key], (name, value)) in names.iter().zip(input.message_attributes) {
            params.extend([(name_key.as_str(), *name), (type_key.as_str(), "String"), (value_key.as_str(), *value)]);
        }
        let response = self.client.query(self.service, "Publish", API_VERSION, &params, retry).await?;
        xml::first_text(&response, "MessageId").ok_or_else(|| {
            let reason = "it has no MessageId".to_owned();
            Error::new(ErrorKind::InvalidResponse { reason }, self.service.signing_name, "Publish", 1, false)
        })
    }
}
