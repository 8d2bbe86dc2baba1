use std::collections::BTreeMap;

use aws_http::Credentials;

/// What the application and the tests need to know of a provisioned backplane.
pub struct Provisioned {
    /// The ARN of the topic.
    pub topic_arn: String,
    /// The URL of each queue and dead-letter queue, by its name.
    pub queue_urls: BTreeMap<String, String>,
    /// The access key of each principal that is not a role, by its logical name in `infra/backplane.json`.
    pub credentials: BTreeMap<String, Credentials>,
    /// The ARN of the secret with the owner of each country's database, by the country's code.
    pub master_secrets: BTreeMap<String, String>,
}
