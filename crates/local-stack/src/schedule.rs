//! Plays the EventBridge rule that calls the republisher.
//!
//! It does what the rule of `infra/` does on AWS: in every interval one `POST` for each country with the rule's constant
//! input, the API key in the connection's header, and no retry, because the next interval calls again.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use futures::future::join_all;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::http::Http;
use crate::journal::Journal;

/// Whom a schedule calls, and how often.
pub struct ScheduleSettings {
    /// The republisher's URL, path included.
    pub destination: String,
    /// ISO 3166-1 alpha-2 codes.
    pub countries: Vec<String>,
    /// The time from one call to the next.
    pub interval: Duration,
    /// The header that carries the API key.
    pub api_key_header: String,
    /// The API key.
    pub api_key: HeaderValue,
    /// How long to wait for an answer.
    pub answer_limit: Duration,
}

/// A running schedule; it stops at once when it is dropped.
pub struct Schedule(JoinHandle<()>);

impl Schedule {
    /// Starts the schedule; calls that did not succeed are noted in `log`, one JSON object a line.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn start(mut settings: ScheduleSettings, log: &Path) -> Result<Self> {
        settings.api_key.set_sensitive(true);
        let journal = Journal::open("schedule", log)?;
        let http = Http::default();
        Ok(Self(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(settings.interval);
            // On AWS the interval is far longer than a call; here a slow call puts the next off.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                join_all(settings.countries.iter().map(|country| settings.call(country, &http, &journal))).await;
            }
        })))
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl ScheduleSettings {
    async fn call(&self, country: &str, http: &Http, journal: &Journal) {
        let request = http::Request::post(&self.destination)
            .header(CONTENT_TYPE, "application/json")
            .header(&self.api_key_header, &self.api_key)
            .body(Bytes::from(json!({"countryISO": country}).to_string()));
        let country = Some(("country", country));
        match request {
            Err(error) => journal.note("error", &format!("cannot build a request: {error}"), country),
            Ok(request) => match http.send_within(request, self.answer_limit).await {
                Ok(answer) if answer.status().is_success() => {}
                Ok(answer) => journal.note("warn", &format!("answered with {}", answer.status()), country),
                Err(error) => journal.note("warn", &format!("no answer: {error}"), country),
            },
        }
    }
}
