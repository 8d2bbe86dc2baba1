//! `cargo xtask redrive`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use aws_http::{Credentials, Endpoint};
use local_stack::backplane::Backplane;
use local_stack::redrive::Account;
use local_stack::running::RunningStack;

pub(crate) async fn run(root: &Path, port: u16, topic_arn: Option<&str>) -> Result<ExitCode> {
    let backplane = Backplane::load(root)?;
    let account = match topic_arn {
        Some(topic_arn) => {
            let endpoint = std::env::var("AWS_ENDPOINT_URL").ok().map(|url| Endpoint::parse(&url)).transpose();
            Account::of_topic(topic_arn, credentials()?, endpoint.context("AWS_ENDPOINT_URL")?.as_ref())?
        }
        None => Account::emulator(&RunningStack::on_port(root, port).await?.endpoint()?, &backplane),
    };
    let redriven = account.redrive(&backplane).await?;
    for (queue, messages) in &redriven.messages {
        match messages {
            Some(count) => println!("{queue}: {count} messages put back"),
            None => println!("{queue}: SQS is moving its messages back"),
        }
    }
    println!("given up: {} commands published again", redriven.published);
    Ok(ExitCode::SUCCESS)
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
