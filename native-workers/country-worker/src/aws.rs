//! What calls to AWS have in common.

use aws_http::native::NativeTransport;
use aws_http::{Client, Credentials, Endpoint, Error, ErrorKind};

use crate::setting::{InvalidSetting, required};

/// What the environment of a Lambda function says: credentials from `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and
/// `AWS_SESSION_TOKEN`, the region from `AWS_REGION`, and another endpoint than the region's from `AWS_ENDPOINT_URL`.
pub(crate) struct Environment {
    region: String,
    credentials: Credentials,
    endpoint: Option<Endpoint>,
}

impl Environment {
    /// Reads it through `variable`, which gives the value of an environment variable.
    ///
    /// # Errors
    ///
    /// Names the first variable that is missing or malformed.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidSetting> {
        let region = required(&variable, "AWS_REGION", REGION)?;
        let key = required(&variable, "AWS_ACCESS_KEY_ID", "the access key of the function's role, as Lambda sets it")?;
        let secret =
            required(&variable, "AWS_SECRET_ACCESS_KEY", "the secret key of the function's role, as Lambda sets it")?;
        let token = variable("AWS_SESSION_TOKEN").filter(|token| !token.is_empty());
        let expected = "an endpoint such as http://127.0.0.1:4566, or nothing";
        let endpoint = variable("AWS_ENDPOINT_URL").filter(|url| !url.is_empty());
        let endpoint = endpoint
            .map(|url| Endpoint::parse(&url))
            .transpose()
            .map_err(|_| InvalidSetting::Malformed { variable: "AWS_ENDPOINT_URL", expected })?;
        Ok(Self { region, credentials: Credentials::from_keys(key, secret, token), endpoint })
    }

    /// Where a service is, by the first part of its host's name, for example `events`.
    pub(crate) fn endpoint(&self, service: &str) -> Result<Endpoint, InvalidSetting> {
        if let Some(endpoint) = &self.endpoint {
            return Ok(endpoint.clone());
        }
        let region = &self.region;
        let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        Endpoint::parse(&format!("https://{service}.{region}.{suffix}"))
            .map_err(|_| InvalidSetting::Malformed { variable: "AWS_REGION", expected: REGION })
    }

    /// A client with the limits of [`Client::new`].
    pub(crate) fn client(&self) -> Client<NativeTransport> {
        Client::new(NativeTransport::new(), &*self.region, self.credentials.clone())
    }
}

const REGION: &str = "a region, for example us-east-1";

/// The error's code as AWS gives it, for example `ThrottlingException`, or why there was no response.
pub(crate) fn code(error: &Error) -> String {
    match error.kind() {
        ErrorKind::Conflict { code }
        | ErrorKind::Throttled { code }
        | ErrorKind::ServiceFault { code, .. }
        | ErrorKind::Rejected { code, .. }
            if !code.is_empty() =>
        {
            return code.clone();
        }
        ErrorKind::InvalidRequest { .. } => "RequestNotBuilt",
        ErrorKind::Timeout | ErrorKind::DeadlineExceeded => "TimedOut",
        ErrorKind::Unreachable { .. } | ErrorKind::Denied { .. } | ErrorKind::ResponseLost { .. } => "Unreachable",
        _ => "InvalidResponse",
    }
    .to_owned()
}
