use aws_http::wasi::WasiTransport;
use aws_http::{Client, Credentials, Endpoint};
use backplane::{PendingShards, RepublishSchedule};
use edge_component::{Setting, SettingError, settings};

use crate::context::RequestContext;

settings! {
    AWS_REGION = "aws_region";
    DYNAMODB_ENDPOINT = "dynamodb_endpoint";
    SNS_ENDPOINT = "sns_endpoint";
    APPOINTMENTS_TABLE = "appointments_table";
    SLOTS_TABLE = "slots_table";
    APPOINTMENTS_TOPIC_ARN = "appointments_topic_arn";
    REPUBLISH_DELAYS_SECONDS = "republish_delays_seconds";
    PENDING_SHARDS_WRITTEN = "pending_shards_written";
    ACCESS_KEY_ID = "intake_access_key_id";
    SECRET_ACCESS_KEY = "intake_secret_access_key";
    SESSION_TOKEN = "intake_session_token";
    AUTHENTICATION = "authentication";
    JWT_ISSUER = "jwt_issuer";
    JWT_AUDIENCE = "jwt_audience";
    JWT_JWKS_ORIGIN = "jwt_jwks_origin";
    JWT_JWKS_PATH = "jwt_jwks_path";
    JWT_TYPE = "jwt_type";
    JWT_MAX_LIFETIME_SECONDS = "jwt_max_lifetime_seconds";
    JWT_INSURED_ID_CLAIM = "jwt_insured_id_claim";
    JWT_STAFF_CLAIM = "jwt_staff_claim";
    JWT_STAFF_VALUE = "jwt_staff_value";
    CORS_ALLOWED_ORIGINS = "cors_allowed_origins";
    WAIT_LIMIT_SECONDS = "wait_limit_seconds";
    AUDIT_KEY = "audit_key";
}

/// The issuer's static keys: the one setting that may have several lines.
pub(crate) const JWT_KEYS: Setting = Setting::variable("jwt_keys");

/// Where the appointments are, and who asks.
pub(crate) struct Settings {
    pub(crate) client: Client<WasiTransport>,
    pub(crate) dynamodb: Endpoint,
    pub(crate) table: String,
}

/// What a booking or a cancellation needs beside [`Settings`].
pub(crate) struct CommandSettings {
    pub(crate) sns: Endpoint,
    pub(crate) topic_arn: String,
    pub(crate) schedule: RepublishSchedule,
    pub(crate) shards: PendingShards,
}

impl Settings {
    /// For a request, whose log line tells of the client's calls.
    pub(crate) fn read(context: &RequestContext) -> Result<Self, SettingError> {
        let credentials =
            Credentials::from_keys(ACCESS_KEY_ID.text()?, SECRET_ACCESS_KEY.text()?, SESSION_TOKEN.optional_text()?);
        Ok(Self {
            client: Client::new(WasiTransport, AWS_REGION.text()?, credentials)
                .with_date(context.arrived)
                .with_call_log(context.calls.clone()),
            dynamodb: DYNAMODB_ENDPOINT.parse()?,
            table: APPOINTMENTS_TABLE.text()?,
        })
    }
}

impl CommandSettings {
    pub(crate) fn read() -> Result<Self, SettingError> {
        Ok(Self {
            sns: SNS_ENDPOINT.parse()?,
            topic_arn: APPOINTMENTS_TOPIC_ARN.text()?,
            schedule: REPUBLISH_DELAYS_SECONDS.parse()?,
            shards: PENDING_SHARDS_WRITTEN.parse()?,
        })
    }
}
