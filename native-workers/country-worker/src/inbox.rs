use appointment::Country;
use aws_lambda_events::event::sqs::SqsMessage;
use messages::{AppointmentMessage, Command};
use serde::Deserialize;
use serde_json::Value;

/// Why a message on the queue is not a command for this country. It is logged by this kind and never by content: what
/// arrives by mistake may hold anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The message has no body.
    #[error("no_body")]
    NoBody,
    /// The body is not JSON.
    #[error("not_json")]
    NotJson,
    /// The body is JSON, but of another version than 1.
    #[error("unsupported_version")]
    UnsupportedVersion,
    /// A message of version 1 whose type this version does not know: a later one may.
    #[error("unknown_type")]
    UnknownType,
    /// The body is JSON of version 1, or of none, but not a command.
    #[error("not_a_command")]
    NotACommand,
    /// A command for another country: the subscription's filter let it through, or somebody sent it by hand.
    #[error("foreign_country")]
    ForeignCountry,
    /// The batch holds another command for the same appointment that names another person or slot.
    #[error("contradictory")]
    Contradictory,
    /// The code that handles one message panicked on it.
    #[error("panicked")]
    Panicked,
}

/// The command in one message of the queue.
pub(crate) fn read(country: Country, record: &SqsMessage) -> Result<AppointmentMessage, Unreadable> {
    let body = record.body.as_deref().ok_or(Unreadable::NoBody)?;
    let message: AppointmentMessage = serde_json::from_str(body).map_err(|error| classify(body, &error))?;
    if message.command == Command::Move && message.replaces.is_none() {
        return Err(Unreadable::NotACommand);
    }
    if message.country == country { Ok(message) } else { Err(Unreadable::ForeignCountry) }
}

fn classify(body: &str, error: &serde_json::Error) -> Unreadable {
    #[derive(Deserialize)]
    struct Versioned {
        version: u64,
        #[serde(rename = "type", default)]
        kind: Value,
    }
    if !error.is_data() {
        return Unreadable::NotJson;
    }
    match serde_json::from_str(body) {
        Ok(Versioned { version: 1, kind }) => {
            let known = |kind: &str| kind.parse::<Command>().is_ok();
            match kind.as_str() {
                Some(kind) if !known(kind) => Unreadable::UnknownType,
                _ => Unreadable::NotACommand,
            }
        }
        Ok(Versioned { .. }) => Unreadable::UnsupportedVersion,
        Err(_) => Unreadable::NotACommand,
    }
}
