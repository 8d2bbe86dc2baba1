use edge_component::settings;

settings! {
    AWS_REGION = "aws_region";
    DYNAMODB_ENDPOINT = "dynamodb_endpoint";
    SNS_ENDPOINT = "sns_endpoint";
    EVENTBRIDGE_ENDPOINT = "eventbridge_endpoint";
    APPOINTMENTS_TABLE = "appointments_table";
    SLOTS_TABLE = "slots_table";
    APPOINTMENTS_TOPIC_ARN = "appointments_topic_arn";
    APPOINTMENTS_EVENT_BUS = "appointments_event_bus";
    REPUBLISH_DELAYS_SECONDS = "republish_delays_seconds";
    GIVEN_UP_SCHEDULE_SECONDS = "given_up_schedule_seconds";
    PENDING_SHARDS_READ = "pending_shards_read";
    ACCESS_KEY_ID = "confirmation_access_key_id";
    SECRET_ACCESS_KEY = "confirmation_secret_access_key";
    SESSION_TOKEN = "confirmation_session_token";
}
