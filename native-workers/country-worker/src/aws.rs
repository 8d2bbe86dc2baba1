//! What calls to AWS have in common.

use aws_config::SdkConfig;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_eventbridge::error::SdkError;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// What the environment of a Lambda function says: credentials from `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and
/// `AWS_SESSION_TOKEN`, the region from `AWS_REGION`, and another endpoint than the region's from `AWS_ENDPOINT_URL`.
pub(crate) async fn from_environment(timeouts: TimeoutConfig) -> SdkConfig {
    let http_client =
        aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    aws_config::from_env()
        .credentials_provider(EnvironmentVariableCredentialsProvider::new())
        .http_client(http_client)
        .retry_config(RetryConfig::standard())
        .timeout_config(timeouts)
        .load()
        .await
}

/// The kind of a failure for which AWS gave no code.
pub(crate) fn kind<E, R>(error: &SdkError<E, R>) -> &'static str {
    match error {
        SdkError::ConstructionFailure(_) => "RequestNotBuilt",
        SdkError::TimeoutError(_) => "TimedOut",
        SdkError::DispatchFailure(_) => "Unreachable",
        _ => "InvalidResponse",
    }
}
