//! What an operator's commands on AWS have in common.

use anyhow::{Context, Result};
use aws_http::{Credentials, Endpoint};
use local_stack::account::Account;
use local_stack::backplane::Backplane;

/// The account of a topic, with the credentials of the environment.
pub(crate) fn account(topic_arn: &str, backplane: &Backplane) -> Result<Account> {
    let endpoint = std::env::var("AWS_ENDPOINT_URL").ok().map(|url| Endpoint::parse(&url)).transpose();
    Account::of_topic(topic_arn, credentials()?, endpoint.context("AWS_ENDPOINT_URL")?.as_ref(), backplane)
}

/// The credentials of the environment, by the names that AWS's own tools use.
fn credentials() -> Result<Credentials> {
    let variable = |name: &str| {
        std::env::var(name).with_context(|| {
            format!("{name} is not set: `eval \"$(aws configure export-credentials --format env)\"` sets it")
        })
    };
    Ok(Credentials::from_keys(
        variable("AWS_ACCESS_KEY_ID")?,
        variable("AWS_SECRET_ACCESS_KEY")?,
        std::env::var("AWS_SESSION_TOKEN").ok(),
    ))
}
