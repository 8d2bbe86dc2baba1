//! Calls to AWS, or to an emulator of it, over `aws-http`.

use std::time::Duration;

use anyhow::{Context, Result};
use aws_http::native::NativeTransport;
use aws_http::{Client, Credentials, Endpoint, JsonVersion, Retry};
use bytes::Bytes;
use http::Method;
use serde_json::Value;

/// The time limit of a call, a long poll excluded. An emulator on a machine that compiles responds late, and is still sound.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(60);

/// One identity's calls to one service of AWS, or to every service of an emulator.
#[derive(Clone)]
pub struct Aws {
    client: Client<NativeTransport>,
    endpoint: Endpoint,
}

/// A client whose calls may take so long, each attempt and its connection included.
pub(crate) fn client(region: &str, credentials: Credentials, limit: Duration) -> Client<NativeTransport> {
    Client::new(NativeTransport::connecting_within(limit), region, credentials)
        .with_deadline(limit)
        .with_attempt_limit(limit)
}

impl Aws {
    /// Calls with the rights of an identity; every service is at `endpoint`.
    #[must_use]
    pub fn new(endpoint: Endpoint, region: &str, credentials: Credentials) -> Self {
        Self::with_limit(endpoint, region, credentials, CALL_LIMIT)
    }

    /// As [`Aws::new`], for calls that may take longer.
    #[must_use]
    pub fn with_limit(endpoint: Endpoint, region: &str, credentials: Credentials, limit: Duration) -> Self {
        Self { client: client(region, credentials, limit).with_verbatim_rejections(), endpoint }
    }

    /// A DynamoDB operation.
    ///
    /// # Errors
    /// When the call fails, by whatever cause; so for the other services.
    pub async fn dynamodb(&self, operation: &str, input: &Value) -> Result<Value> {
        self.json("dynamodb", JsonVersion::V1_0, "DynamoDB_20120810", operation, input).await
    }

    /// An SQS operation.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn sqs(&self, operation: &str, input: &Value) -> Result<Value> {
        self.json("sqs", JsonVersion::V1_0, "AmazonSQS", operation, input).await
    }

    /// An EventBridge operation.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn events(&self, operation: &str, input: &Value) -> Result<Value> {
        self.json("events", JsonVersion::V1_1, "AWSEvents", operation, input).await
    }

    /// A CloudWatch Logs operation.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn logs(&self, operation: &str, input: &Value) -> Result<Value> {
        self.json("logs", JsonVersion::V1_1, "Logs_20140328", operation, input).await
    }

    /// A Secrets Manager operation.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn secrets(&self, operation: &str, input: &Value) -> Result<Value> {
        self.json("secretsmanager", JsonVersion::V1_1, "secretsmanager", operation, input).await
    }

    /// An operation of Cognito's user pools.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn cognito(&self, operation: &str, input: &Value) -> Result<Value> {
        self.json("cognito-idp", JsonVersion::V1_1, "AWSCognitoIdentityProviderService", operation, input).await
    }

    /// An SNS operation; the response is XML.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn sns(&self, action: &str, params: &[(&str, &str)]) -> Result<String> {
        self.query("sns", "2010-03-31", action, params).await
    }

    /// An IAM operation; the response is XML.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn iam(&self, action: &str, params: &[(&str, &str)]) -> Result<String> {
        self.query("iam", "2010-05-08", action, params).await
    }

    /// An STS operation; the response is XML.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn sts(&self, action: &str, params: &[(&str, &str)]) -> Result<String> {
        self.query("sts", "2011-06-15", action, params).await
    }

    /// A call of S3's REST interface; the path is `/<bucket>/<key>`, with what it holds percent-encoded, and its query.
    /// What comes back is returned as it is.
    ///
    /// # Errors
    /// When the call fails, or the response has another status than 2xx.
    pub async fn s3(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
        let service = self.endpoint.service("s3");
        let response = self.client.object(service, method.clone(), path, "application/octet-stream", &[], body).await;
        response.map(|(_, body)| body).with_context(|| format!("s3: {method} {path}"))
    }

    /// A `POST` to Lambda's REST interface.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn lambda(&self, path: &str, body: &Value) -> Result<Value> {
        self.rest("lambda", path, body).await
    }

    /// A `POST` to API Gateway's REST interface.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn api_gateway(&self, path: &str, body: &Value) -> Result<Value> {
        self.rest("apigateway", path, body).await
    }

    async fn rest(&self, service: &'static str, path: &str, body: &Value) -> Result<Value> {
        let endpoint = self.endpoint.service(service);
        let response = self.client.rest_json(endpoint, Method::POST, path, Some(body), Retry::Safe).await;
        response.with_context(|| format!("{service}: POST {path}"))
    }

    /// Another call of Lambda's REST interface.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn lambda_call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let service = self.endpoint.service("lambda");
        let response = self.client.rest_json(service, method.clone(), path, body, Retry::Safe).await;
        response.with_context(|| format!("Lambda: {method} {path}"))
    }

    async fn json(
        &self,
        service: &'static str,
        version: JsonVersion,
        prefix: &str,
        operation: &str,
        input: &Value,
    ) -> Result<Value> {
        let target = format!("{prefix}.{operation}");
        let service = self.endpoint.service(service);
        let response = self.client.json(service, version, &target, input, Retry::Safe).await;
        response.with_context(|| target)
    }

    async fn query(
        &self,
        service: &'static str,
        version: &str,
        action: &str,
        params: &[(&str, &str)],
    ) -> Result<String> {
        let response = self.client.query(self.endpoint.service(service), action, version, params, Retry::Safe).await;
        response.with_context(|| format!("{service}: {action}"))
    }
}
