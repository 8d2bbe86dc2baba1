//! The account and the databases that an operator's command works on.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use aws_http::{Credentials, Endpoint};
use local_stack::running::RunningStack;
use operator::account::Account;
use operator::backplane::Backplane;
use operator::database::given_urls;

/// The account of a topic, or the local stack whose application has this port, and the owner's URL of each country's
/// database there.
pub(crate) async fn and_databases(
    root: &Path,
    port: u16,
    topic_arn: Option<&str>,
    backplane: &Backplane,
) -> Result<(Account, BTreeMap<String, String>)> {
    Ok(match topic_arn {
        Some(topic_arn) => {
            let given = given_urls(backplane)?.into_iter().map(|(country, url)| (country, url.into()));
            (of_topic(topic_arn, backplane)?, given.collect())
        }
        None => {
            let running = RunningStack::on_port(root, port).await?;
            (running.account(backplane)?, running.database_urls(backplane)?)
        }
    })
}

/// The account of a topic, with the credentials of the environment.
pub(crate) fn of_topic(topic_arn: &str, backplane: &Backplane) -> Result<Account> {
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
