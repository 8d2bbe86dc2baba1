//! The account and the databases that an operator's command works on.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use aws_http::{Credentials, Endpoint};
use clap::Args;
use local_stack::running::RunningStack;
use operator::account::Account;
use operator::backplane::Backplane;
use operator::database::given_urls;

/// What an operator's command works on.
#[derive(Args)]
pub(crate) struct Place {
    /// The port of the local stack's application.
    #[arg(long, default_value_t = 3000)]
    pub(crate) port: u16,
    /// Work on AWS: the ARN of the topic of commands, which has account, region and the prefix of names.
    ///
    /// Terraform's output `appointments_topic_arn`. Credentials come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
    /// AWS_SESSION_TOKEN.
    #[arg(long, value_name = "TOPIC_ARN", conflicts_with = "port")]
    aws: Option<String>,
    /// The table of appointments on AWS, if it was restored: Terraform's output `appointments_table`.
    #[arg(long, value_name = "NAME", requires = "aws")]
    table: Option<String>,
}

impl Place {
    /// Whether it is a local stack.
    pub(crate) const fn is_local(&self) -> bool {
        self.aws.is_none()
    }

    /// The account on AWS, or that of the local stack.
    pub(crate) async fn account(&self, root: &Path, backplane: &Backplane) -> Result<Account> {
        match &self.aws {
            Some(topic_arn) => self.on_aws(topic_arn, backplane),
            None => RunningStack::on_port(root, self.port).await?.account(backplane),
        }
    }

    /// The same, with the owner's URL of each country's database.
    pub(crate) async fn account_and_databases(
        &self,
        root: &Path,
        backplane: &Backplane,
    ) -> Result<(Account, BTreeMap<String, String>)> {
        Ok(match &self.aws {
            Some(topic_arn) => {
                let given = given_urls(backplane)?.into_iter().map(|(country, url)| (country, url.into()));
                (self.on_aws(topic_arn, backplane)?, given.collect())
            }
            None => {
                let running = RunningStack::on_port(root, self.port).await?;
                (running.account(backplane)?, running.database_urls(backplane)?)
            }
        })
    }

    fn on_aws(&self, topic_arn: &str, backplane: &Backplane) -> Result<Account> {
        let endpoint = std::env::var("AWS_ENDPOINT_URL").ok().map(|url| Endpoint::parse(&url)).transpose();
        let endpoint = endpoint.context("AWS_ENDPOINT_URL")?;
        let account = Account::of_topic(topic_arn, credentials()?, endpoint.as_ref(), backplane)?;
        Ok(match &self.table {
            Some(table) => account.with_table(table),
            None => account,
        })
    }
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
