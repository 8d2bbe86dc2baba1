use appointment::{Appointment, HistoryEntry, Slot, SlotStatus};
use edge_component::{Language, Response, status_text};
use http::header::CONTENT_LANGUAGE;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::respond::json;

/// An appointment as a response shows it.
#[derive(Serialize)]
pub(crate) struct Shown<'a> {
    #[serde(flatten)]
    appointment: &'a Appointment,
    message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<&'a [HistoryEntry]>,
}

impl<'a> Shown<'a> {
    pub(crate) fn new(appointment: &'a Appointment, language: Language) -> Self {
        let reason = appointment.reason.as_ref().map(|reason| reason.as_str());
        let message = status_text(appointment.status.as_str(), reason, language);
        Self { appointment, message, history: None }
    }

    pub(crate) fn with_history(self, history: &'a [HistoryEntry]) -> Self {
        Self { history: Some(history), ..self }
    }
}

/// A slot as a response shows it.
#[derive(Serialize)]
pub(crate) struct ShownSlot<'a> {
    #[serde(flatten)]
    pub(crate) slot: &'a Slot,
    pub(crate) status: SlotStatus,
}

/// Which part of a list a response shows.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pagination {
    pub(crate) limit: u32,
    pub(crate) next_cursor: Option<String>,
}

/// Whether a country has said its last word about an appointment, so following it any longer shows nothing new.
pub(crate) fn is_final(appointment: &Appointment) -> bool {
    matches!(appointment.status.as_str(), "completed" | "rejected" | "cancelled")
}

/// A response with texts for people.
pub(crate) fn json_in(language: Language, status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = json(status, body);
    response.headers_mut().insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    response
}
