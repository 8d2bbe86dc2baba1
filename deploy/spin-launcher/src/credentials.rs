//! The identity that AWS gives the container, and the components' credentials that STS gives for it.

use std::env;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, ensure};
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{Region, SdkConfig};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::types::Credentials;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// Where a container finds its identity; as the AWS SDKs and ECS, EKS and others name them:
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>,
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-assume-role-credentials.html>.
const WEB_IDENTITY_TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
const CONTAINER_RELATIVE_URI: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const CONTAINER_FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";

/// Variables that lead to the container's own identity, which is none of the application's business.
pub(crate) const OWN_IDENTITY: [&str; 6] = [
    WEB_IDENTITY_TOKEN_FILE,
    CONTAINER_RELATIVE_URI,
    CONTAINER_FULL_URI,
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_ROLE_ARN",
];

/// The name under which CloudTrail shows the sessions.
const SESSION_NAME: &str = "spin-launcher";

/// For one try of a call to STS, and for all of its tries.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// A component of the application, and the role whose rights it gets: `intake=arn:aws:iam::123456789012:role/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ComponentRole {
    component: String,
    arn: String,
}

impl FromStr for ComponentRole {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (component, arn) = text.trim().split_once('=').ok_or("write COMPONENT=ARN")?;
        let named = component.starts_with(|first: char| first.is_ascii_lowercase())
            && component.chars().all(|each| each.is_ascii_lowercase() || each.is_ascii_digit() || each == '_');
        if !named {
            return Err(format!("`{component}` is no component: a name is lower_snake_case, such as intake"));
        }
        let mut parts = arn.splitn(6, ':');
        let is_role = parts.next() == Some("arn")
            && parts.nth(1) == Some("iam")
            && parts.nth(2).is_some_and(|resource| resource.starts_with("role/"));
        if !is_role {
            return Err(format!("`{arn}` is no ARN of a role, such as arn:aws:iam::123456789012:role/name"));
        }
        Ok(Self { component: component.to_owned(), arn: arn.to_owned() })
    }
}

/// Credentials for every component. Only their names and their expiry can be shown.
pub(crate) struct Issued {
    variables: Vec<(String, String)>,
    /// When the first of them expires.
    pub(crate) expires_at: SystemTime,
}

impl Issued {
    /// The environment variables that give them to Spin, with their values.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Issued").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// How the container proves to STS who it is.
enum Identity {
    /// A token of an OIDC issuer, renewed by whoever mounts the file.
    WebIdentity(PathBuf),
    /// The credentials of the task's role, which sign the call.
    TaskRole,
}

/// Assumes the components' roles.
pub(crate) struct Issuer {
    sts: aws_sdk_sts::Client,
    identity: Identity,
    roles: Vec<ComponentRole>,
    session: Duration,
}

impl Issuer {
    /// An issuer for the identity that the environment names.
    pub(crate) async fn from_environment(roles: Vec<ComponentRole>, region: String, session: Duration) -> Result<Self> {
        for (index, role) in roles.iter().enumerate() {
            let twice = roles.iter().take(index).any(|other| other.component == role.component);
            ensure!(!twice, "--role names the component `{}` twice", role.component);
        }
        let region = Region::new(region);
        let http_client =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let timeouts =
            TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).operation_timeout(CALL_TIMEOUT).build();
        let config = aws_config::from_env()
            .region(region.clone())
            .http_client(http_client.clone())
            .retry_config(RetryConfig::standard())
            .timeout_config(timeouts);
        let (identity, config): (_, SdkConfig) = if let Some(file) = given(WEB_IDENTITY_TOKEN_FILE) {
            (Identity::WebIdentity(file.into()), config.no_credentials().load().await)
        } else if given(CONTAINER_RELATIVE_URI).or_else(|| given(CONTAINER_FULL_URI)).is_some() {
            let provider = ProviderConfig::without_region().with_region(Some(region)).with_http_client(http_client);
            let task_role = EcsCredentialsProvider::builder().configure(&provider).build();
            (Identity::TaskRole, config.credentials_provider(task_role).load().await)
        } else {
            return Err(anyhow!(
                "nothing says who this container is: neither {WEB_IDENTITY_TOKEN_FILE} (an OIDC token) nor \
                 {CONTAINER_RELATIVE_URI} or {CONTAINER_FULL_URI} (a task's role) is set. ECS sets one for a task with a \
                 taskRoleArn; with access keys of IAM users no launcher is needed"
            ));
        };
        Ok(Self { sts: aws_sdk_sts::Client::new(&config), identity, roles, session })
    }

    /// Assumes every component's role, one after the other.
    pub(crate) async fn issue(&self) -> Result<Issued> {
        let mut issued = Issued { variables: Vec::new(), expires_at: SystemTime::now() + self.session };
        for role in &self.roles {
            let credentials = self
                .assume(role)
                .await
                .with_context(|| format!("cannot assume {} for the component `{}`", role.arn, role.component))?;
            let expires_at = SystemTime::try_from(credentials.expiration).context("STS answers a date out of range")?;
            issued.expires_at = issued.expires_at.min(expires_at);
            let prefix = format!("SPIN_VARIABLE_{}", role.component.to_ascii_uppercase());
            for (name, value) in [
                ("ACCESS_KEY_ID", credentials.access_key_id),
                ("SECRET_ACCESS_KEY", credentials.secret_access_key),
                ("SESSION_TOKEN", credentials.session_token),
            ] {
                issued.variables.push((format!("{prefix}_{name}"), value));
            }
        }
        Ok(issued)
    }

    async fn assume(&self, role: &ComponentRole) -> Result<Credentials> {
        let seconds = i32::try_from(self.session.as_secs()).context("--session is too long")?;
        let credentials = match &self.identity {
            Identity::TaskRole => {
                let call = self.sts.assume_role().role_arn(&role.arn).role_session_name(SESSION_NAME);
                call.duration_seconds(seconds).send().await.map_err(refusal)?.credentials
            }
            Identity::WebIdentity(file) => {
                let token = tokio::fs::read_to_string(file).await;
                let token = token.with_context(|| format!("{WEB_IDENTITY_TOKEN_FILE}: {}", file.display()))?;
                let call = self.sts.assume_role_with_web_identity().role_arn(&role.arn);
                let call = call.role_session_name(SESSION_NAME).web_identity_token(token.trim());
                call.duration_seconds(seconds).send().await.map_err(refusal)?.credentials
            }
        };
        credentials.context("STS answers without credentials")
    }
}

/// A variable of the environment that is set and not empty.
fn given(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// What STS says, or why there is no answer. Without the request, which may hold a token.
fn refusal<E>(error: SdkError<E>) -> anyhow::Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    if let Some(code) = error.code() {
        return anyhow!("{code}: {}", error.message().unwrap_or("STS gives no reason"));
    }
    let mut causes = vec![error.to_string()];
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    anyhow!(causes.join(": "))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_role_belongs_to_a_component() {
        let role: ComponentRole = "intake=arn:aws:iam::123456789012:role/path/appointments-intake".parse().unwrap();
        assert_eq!(role.component, "intake");
        assert_eq!(role.arn, "arn:aws:iam::123456789012:role/path/appointments-intake");
        for (text, expected) in [
            ("intake", "COMPONENT=ARN"),
            ("In-take=arn:aws:iam::123456789012:role/a", "lower_snake_case"),
            ("=arn:aws:iam::123456789012:role/a", "lower_snake_case"),
            ("intake=arn:aws:iam::123456789012:user/a", "no ARN of a role"),
            ("intake=appointments-intake", "no ARN of a role"),
        ] {
            let refused = text.parse::<ComponentRole>().unwrap_err();
            assert!(refused.contains(expected), "{text}: {refused}");
        }
    }
}
