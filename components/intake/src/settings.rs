use aws_http::wasi::WasiTransport;
use aws_http::{Client, Credentials, Endpoint};
use backplane::{PendingShards, RepublishSchedule};
use edge_component::{Setting, SettingError};

/// What the component reads from its variables, once a request: an instance serves one request only.
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
    pub(crate) fn read() -> Result<Self, SettingError> {
        let credentials = Credentials::from_keys(
            Setting("access_key_id").text()?,
            Setting("secret_access_key").text()?,
            Setting("session_token").optional_text()?,
        );
        Ok(Self {
            client: Client::new(WasiTransport, Setting("region").text()?, credentials),
            dynamodb: Setting("dynamodb_endpoint").parse()?,
            table: Setting("table").text()?,
        })
    }
}

impl CommandSettings {
    pub(crate) fn read() -> Result<Self, SettingError> {
        Ok(Self {
            sns: Setting("sns_endpoint").parse()?,
            topic_arn: Setting("topic_arn").text()?,
            schedule: Setting("republish_delays_seconds").parse()?,
            shards: Setting("pending_shards").parse()?,
        })
    }
}
