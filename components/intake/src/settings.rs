use aws_http::{Client, Credentials, Endpoint};
use backplane::{AppointmentsTable, PendingShards, RepublishSchedule, SlotsTable};
use edge_component::{Host, Setting, SettingError, Variables, settings};

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

/// Where appointments and slots are, and who asks.
pub(crate) struct Settings<H: Host> {
    pub(crate) client: Client<H::Transport>,
    dynamodb: Endpoint,
    appointments: String,
    slots: String,
}

/// What a booking or a cancellation needs beside [`Settings`].
pub(crate) struct CommandSettings {
    pub(crate) sns: Endpoint,
    pub(crate) topic_arn: String,
    pub(crate) schedule: RepublishSchedule,
    pub(crate) shards: PendingShards,
}

impl<H: Host> Settings<H> {
    /// For a request, whose log line lists the client's calls.
    pub(crate) fn read(context: &RequestContext<H>) -> Result<Self, SettingError> {
        let variables = &context.variables;
        let credentials = Credentials::from_keys(
            ACCESS_KEY_ID.text(variables)?,
            SECRET_ACCESS_KEY.text(variables)?,
            SESSION_TOKEN.optional_text(variables)?,
        );
        Ok(Self {
            client: Client::new(context.host.transport(), AWS_REGION.text(variables)?, credentials)
                .with_date(context.arrived)
                .with_call_log(context.calls.clone()),
            dynamodb: DYNAMODB_ENDPOINT.parse(variables)?,
            appointments: APPOINTMENTS_TABLE.text(variables)?,
            slots: SLOTS_TABLE.text(variables)?,
        })
    }

    /// The table of the appointments.
    pub(crate) fn appointments(&self) -> AppointmentsTable<'_, H::Transport> {
        self.appointments_through(&self.client)
    }

    /// The same by calls of another client, which has other limits.
    pub(crate) fn appointments_through<'a>(
        &'a self,
        client: &'a Client<H::Transport>,
    ) -> AppointmentsTable<'a, H::Transport> {
        AppointmentsTable::new(client, &self.dynamodb, &self.appointments)
    }

    /// The projection of the countries' slots.
    pub(crate) fn slots(&self) -> SlotsTable<'_, H::Transport> {
        SlotsTable::new(&self.client, &self.dynamodb, &self.slots)
    }
}

impl CommandSettings {
    pub(crate) fn read(variables: &Variables<impl Host>) -> Result<Self, SettingError> {
        Ok(Self {
            sns: SNS_ENDPOINT.parse(variables)?,
            topic_arn: APPOINTMENTS_TOPIC_ARN.text(variables)?,
            schedule: REPUBLISH_DELAYS_SECONDS.parse(variables)?,
            shards: PENDING_SHARDS_WRITTEN.parse(variables)?,
        })
    }
}
