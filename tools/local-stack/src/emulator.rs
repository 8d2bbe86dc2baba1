//! The emulator of AWS as others reach it: clients of its services, and an operator's account.

use std::time::Duration;

use anyhow::Result;
use aws_http::{Credentials, Endpoint};
use operator::account::Account;
use operator::aws::Aws;
use operator::backplane::Backplane;

use crate::ministack::{ACCOUNT, REGION};

/// The emulator's root, whose key is not checked.
fn root_credentials() -> Credentials {
    Credentials::from_keys("test", "test", None)
}

/// Calls as the emulator's root: to provision and to look at things.
#[must_use]
pub fn root(endpoint: Endpoint) -> Aws {
    with_rights_of(endpoint, root_credentials())
}

/// As [`root`], for calls that may take longer.
#[must_use]
pub fn root_with_limit(endpoint: Endpoint, limit: Duration) -> Aws {
    Aws::with_limit(endpoint, REGION, root_credentials(), limit)
}

/// Calls with the rights of an identity.
#[must_use]
pub fn with_rights_of(endpoint: Endpoint, credentials: Credentials) -> Aws {
    Aws::new(endpoint, REGION, credentials)
}

/// The emulator as an operator's account, with root's rights.
///
/// # Errors
/// Never for a backplane that was read.
pub fn account(endpoint: &Endpoint, backplane: &Backplane) -> Result<Account> {
    let topic_arn = format!("arn:aws:sns:{REGION}:{ACCOUNT}:{}", backplane.topic.name);
    Ok(Account::of_topic(&topic_arn, root_credentials(), Some(endpoint), backplane)?.without_move_tasks())
}
