use appointment::{AppointmentId, Country};
use messages::{Command, Outcome, OutcomeEvent};
use serde_json::{Value, json};

/// An appointment that was accepted.
#[derive(Debug, Clone)]
pub struct Booking {
    /// The country that decides.
    pub country: Country,
    /// Whose it is.
    pub insured: String,
    /// Its identity.
    pub id: AppointmentId,
    /// The slot.
    pub slot: u64,
}

impl Booking {
    /// The one that a response, or an entry of a list, shows.
    ///
    /// # Panics
    ///
    /// Where it shows none.
    #[must_use]
    pub fn of(shown: &Value) -> Self {
        let read = || {
            Some(Self {
                country: shown["countryISO"].as_str()?.parse().ok()?,
                insured: shown["insuredId"].as_str()?.to_owned(),
                id: shown["appointmentId"].as_str()?.parse().ok()?,
                slot: shown["scheduleId"].as_u64()?,
            })
        };
        read().unwrap_or_else(|| panic!("this is no appointment: {shown}"))
    }

    /// Its path in the API.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/appointments/{}/{}", self.insured, self.id)
    }

    /// The envelope of the country's outcome of the request.
    #[must_use]
    pub fn outcome(&self, outcome: Outcome) -> Value {
        let detail = json!({
            "version": 1, "eventId": OutcomeEvent::event_id(self.id, outcome, Command::Request), "appointmentId": self.id,
            "insuredId": self.insured, "scheduleId": self.slot, "countryISO": self.country,
            "command": Command::Request, "occurredAt": "2026-11-24T09:30:00.000Z",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        });
        json!({
            "source": format!("appointments.worker.{}", self.country), "detail-type": outcome.detail_type(),
            "detail": detail,
        })
    }
}
