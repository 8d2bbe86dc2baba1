//! What an operator does to the system, on AWS as on the local stack.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`backplane`] | the typed `infra/backplane.json` |
//! | [`account`], [`aws`] | an AWS account with an operator's rights, and calls to any of its services |
//! | [`database`] | connections to the countries' databases |
//! | [`redrive`] | puts back dead letters, and publishes again what was given up |
//! | [`forget`] | erases a person's data |
//! | [`reconcile`] | re-enters what a restored database has forgotten |
//!
//! Nothing here starts a program or knows of the emulator: `local-stack` makes an [`account::Account`] of the emulator's endpoint
//! and credentials, and `cargo xtask` one of a topic's ARN and the credentials of the environment.

pub mod account;
pub mod aws;
pub mod backplane;
pub mod database;
pub mod forget;
pub mod reconcile;
pub mod redrive;
