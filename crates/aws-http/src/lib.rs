//! Signed calls to AWS, inside a WebAssembly component and natively, over one small transport trait.
//!
//! The crate knows the AWS wire protocols that the system needs and nothing of what the system does with them:
//!
//! | module | what it is |
//! | --- | --- |
//! | [`Client`] | one logical call: serialise, sign, send, retry if that is safe, within one deadline |
//! | [`dynamodb`], [`sns`], [`sqs`], [`eventbridge`], [`s3`] | typed requests and responses of the operations in use |
//! | [`CallLog`] | how long each call of a client took |
//! | [`Transport`] | how bytes travel; `wasi::WasiTransport` in a component, [`native::NativeTransport`] elsewhere |
//! | [`Signer`] | AWS Signature Version 4, by `aws-sigv4` |
//! | [`Error`] | what went wrong, whether a retry can help, and whether the call may have taken effect |
//!
//! ```no_run
//! # #[cfg(not(target_os = "wasi"))]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use aws_http::{Client, Credentials, Endpoint, dynamodb, native::NativeTransport};
//!
//! let endpoint: Endpoint = "https://dynamodb.us-east-1.amazonaws.com".parse()?;
//! let credentials = Credentials::from_keys("AKIDEXAMPLE", "secret", None);
//! let client = Client::new(NativeTransport::new(), "us-east-1", credentials);
//! let table = dynamodb::DynamoDb::new(&client, &endpoint);
//!
//! let response = table
//!     .get_item(&dynamodb::GetItem {
//!         table_name: "appointments",
//!         key: [("insuredId", "00123".into()), ("sk", "appointment#1".into())].into(),
//!         consistent_read: true,
//!         ..Default::default()
//!     })
//!     .await?;
//! println!("found: {}", response.item.is_some());
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here logs, and no `Debug` or error text of this crate shows a secret or an attribute's value.

mod call_log;
mod client;
pub mod dynamodb;
mod endpoint;
mod error;
pub mod eventbridge;
mod item;
#[cfg(not(target_os = "wasi"))]
pub mod native;
mod retry;
pub mod s3;
mod signer;
pub mod sns;
pub mod sqs;
mod transport;
#[cfg(target_os = "wasi")]
pub mod wasi;
mod xml;

pub use aws_credential_types::Credentials;
pub use call_log::{CallLog, LoggedCall};
pub use client::{Client, JsonVersion};
pub use endpoint::{Endpoint, EndpointError, Service};
pub use error::{CancellationReason, Error, ErrorKind};
pub use retry::{Retry, RetryPolicy};
pub use signer::{Signer, SigningError};
pub use transport::{ResponseBody, Terms, Transport, TransportError};
