//! What an operator's commands have in common.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use aws_http::{Credentials, Endpoint};
use local_stack::account::Account;
use local_stack::backplane::Backplane;
use local_stack::running::RunningStack;

/// The account of a topic, or the local stack whose application has this port, and the owner's URL of each country's
/// database there.
pub(crate) async fn account_and_databases(
    root: &Path,
    port: u16,
    topic_arn: Option<&str>,
    backplane: &Backplane,
) -> Result<(Account, BTreeMap<String, String>)> {
    Ok(match topic_arn {
        Some(topic_arn) => (account(topic_arn, backplane)?, local_stack::given_database_urls(backplane)?),
        None => {
            let running = RunningStack::on_port(root, port).await?;
            (Account::emulator(&running.endpoint()?, backplane), running.database_urls(backplane)?)
        }
    })
}

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
