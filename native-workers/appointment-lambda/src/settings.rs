//! What the environment of the function tells: the component, and variables that nobody has to set on Lambda.

use std::fmt::Display;

use aws_http::sqs::ReceiveDelays;
use aws_http::{Credentials, Endpoint};
use edge_host::Manifest;

/// The environment variable with the name of the function's component.
const COMPONENT: &str = "SPIN_COMPONENT";

/// The parts of a role's credentials as the manifest's variables name them, after the component's name, and as Lambda does.
const CREDENTIALS: [(&str, &str); 3] = [
    ("access_key_id", "AWS_ACCESS_KEY_ID"),
    ("secret_access_key", "AWS_SECRET_ACCESS_KEY"),
    ("session_token", "AWS_SESSION_TOKEN"),
];

/// The manifest's variables for endpoints, and the host's first part on AWS.
const ENDPOINTS: [(&str, &str); 3] =
    [("dynamodb_endpoint", "dynamodb"), ("sns_endpoint", "sns"), ("eventbridge_endpoint", "events")];

/// The environment variable with the pauses between the deliveries of a message that the function leaves.
const RECEIVE_DELAYS: &str = "RECEIVE_DELAYS_SECONDS";

#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingError {
    #[error("{COMPONENT} is not set: give it the name of the component that this function runs, for example intake")]
    Component,
    #[error("{0} is not set: Lambda sets it")]
    Lambda(&'static str),
    #[error("{0}")]
    Malformed(String),
}

/// What the function needs to set when a message that it leaves is delivered again.
pub(crate) struct Queue {
    pub(crate) delays: ReceiveDelays,
    pub(crate) endpoint: Endpoint,
    pub(crate) region: String,
    pub(crate) credentials: Credentials,
}

/// The function's component.
pub(crate) fn component(environment: impl Fn(&str) -> Option<String>) -> Result<String, SettingError> {
    given(&environment, COMPONENT).ok_or(SettingError::Component)
}

/// Values for variables of the manifest that Lambda's own environment has: the region, the credentials of the function's
/// role for `<component>_access_key_id` and so on, and AWS's endpoints of the region (or `AWS_ENDPOINT_URL`). What is set
/// as `SPIN_VARIABLE_…` goes first.
pub(crate) fn variables(
    manifest: &Manifest,
    component: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>, SettingError> {
    let region = required(&environment, "AWS_REGION")?;
    let mut values = vec![("aws_region".to_owned(), Some(region.clone()))];
    for (part, source) in CREDENTIALS {
        values.push((format!("{component}_{part}"), given(&environment, source)));
    }
    for (name, service) in ENDPOINTS {
        values.push((name.to_owned(), Some(endpoint(&environment, service, &region))));
    }
    let is_left = |name: &str| {
        let by_hand = format!("SPIN_VARIABLE_{}", name.to_ascii_uppercase());
        manifest.declares(name) && environment(&by_hand).is_none()
    };
    let values = values.into_iter().filter(|(name, _)| is_left(name));
    Ok(values.filter_map(|(name, value)| Some((name, value?))).collect())
}

/// The queue's settings, where `RECEIVE_DELAYS_SECONDS` is set; without it a message that is left waits for the queue's
/// visibility timeout.
pub(crate) fn queue(environment: impl Fn(&str) -> Option<String>) -> Result<Option<Queue>, SettingError> {
    fn malformed(error: impl Display) -> SettingError {
        SettingError::Malformed(error.to_string())
    }
    let Some(delays) = given(&environment, RECEIVE_DELAYS) else { return Ok(None) };
    let region = required(&environment, "AWS_REGION")?;
    let [key, secret] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| required(&environment, name));
    let credentials = Credentials::from_keys(key?, secret?, given(&environment, "AWS_SESSION_TOKEN"));
    let endpoint = Endpoint::parse(&endpoint(&environment, "sqs", &region)).map_err(malformed)?;
    Ok(Some(Queue { delays: delays.parse().map_err(malformed)?, endpoint, region, credentials }))
}

/// A service's endpoint: `AWS_ENDPOINT_URL`, or AWS's in the region.
fn endpoint(environment: impl Fn(&str) -> Option<String>, service: &str, region: &str) -> String {
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    given(environment, "AWS_ENDPOINT_URL").unwrap_or_else(|| format!("https://{service}.{region}.{suffix}"))
}

fn required(environment: impl Fn(&str) -> Option<String>, name: &'static str) -> Result<String, SettingError> {
    given(environment, name).ok_or(SettingError::Lambda(name))
}

fn given(environment: impl Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    environment(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    fn read(environment: &[(&str, &str)]) -> Result<BTreeMap<String, String>, SettingError> {
        let manifest = Manifest::from_file(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spin.toml")).unwrap();
        let lookup =
            |name: &str| environment.iter().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned());
        variables(&manifest, "intake", lookup).map(|values| values.into_iter().collect())
    }

    #[test]
    fn the_roles_credentials_become_the_components() {
        let role = [
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SESSION_TOKEN", "token"),
        ];
        let values = read(&role).unwrap();
        let expected = [
            ("aws_region", "eu-west-1"),
            ("dynamodb_endpoint", "https://dynamodb.eu-west-1.amazonaws.com"),
            ("eventbridge_endpoint", "https://events.eu-west-1.amazonaws.com"),
            ("intake_access_key_id", "key"),
            ("intake_secret_access_key", "secret"),
            ("intake_session_token", "token"),
            ("sns_endpoint", "https://sns.eu-west-1.amazonaws.com"),
        ];
        assert_eq!(values, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn what_is_set_by_hand_goes_first() {
        let values = read(&[
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566"),
            ("SPIN_VARIABLE_SNS_ENDPOINT", "http://127.0.0.1:1"),
        ])
        .unwrap();
        assert_eq!(values.get("dynamodb_endpoint").unwrap(), "http://127.0.0.1:4566");
        assert_eq!((values.get("sns_endpoint"), values.get("intake_session_token")), (None, None));
    }

    #[test]
    fn a_missing_setting_is_named() {
        assert!(component(|_| Some(String::new())).unwrap_err().to_string().contains("SPIN_COMPONENT is not set"));
        assert!(read(&[]).unwrap_err().to_string().contains("AWS_REGION is not set"));
        let queue = |delays: &'static str| {
            queue(move |name| match name {
                RECEIVE_DELAYS => Some(delays.to_owned()),
                "AWS_SECRET_ACCESS_KEY" => None,
                _ => Some("x".to_owned()),
            })
        };
        assert!(queue("").is_ok_and(|queue| queue.is_none()));
        let Err(error) = queue("5,30") else { panic!("accepted without a secret key") };
        assert!(error.to_string().contains("AWS_SECRET_ACCESS_KEY is not set"), "{error}");
    }
}
