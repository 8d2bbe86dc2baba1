use aws_http::sns::{Publish, Sns};
use aws_http::{Client, Endpoint, Error, Retry, Transport};
use messages::AppointmentMessage;

/// The SNS topic that fans commands out to the queue of each country.
#[derive(Clone, Copy, Debug)]
pub struct CommandTopic<'a, T> {
    sns: Sns<'a, T>,
    arn: &'a str,
}

impl<'a, T: Transport> CommandTopic<'a, T> {
    /// The topic with this ARN.
    pub fn new(client: &'a Client<T>, endpoint: &'a Endpoint, arn: &'a str) -> Self {
        Self { sns: Sns::new(client, endpoint), arn }
    }

    /// Publishes a command, with the attributes by which subscriptions filter.
    ///
    /// A call whose response was lost is tried again: workers recognise a command that they have decided.
    ///
    /// # Errors
    ///
    /// As [`Sns::publish`]; the appointment is found again through the index `pending`.
    pub async fn publish(&self, message: &AppointmentMessage) -> Result<(), Error> {
        let text = message.to_json();
        let attributes = message.attributes();
        let publish = Publish { topic_arn: self.arn, message: &text, message_attributes: &attributes };
        self.sns.publish(&publish, Retry::Safe).await.map(|_message_id| ())
    }
}
