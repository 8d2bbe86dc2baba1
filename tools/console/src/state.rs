//! Where a stack that runs is at this moment, from what `local-stack` tells.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use futures::future::join_all;
use local_stack::fault::HopState;
use local_stack::observation::{self, Counts, Messages};
use local_stack::running::RunningStack;
use operator::account::Account;
use operator::backplane::Backplane;
use operator::redrive::{DeadLetter, GivenUp, RedriveAction};
use serde::Serialize;

/// A local stack that runs, as an operator reaches it.
pub struct Stack {
    pub(crate) backplane: Backplane,
    pub(crate) running: RunningStack,
    pub(crate) account: Account,
    pub(crate) databases: BTreeMap<String, String>,
}

/// Where it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Queues and dead letters.
    pub messages: Messages,
    /// Appointments that were given up.
    pub given_up: Vec<Unanswered>,
    /// Each country's rows, or why they are not known, by the country's code.
    pub countries: BTreeMap<String, Rows>,
    /// What can be broken.
    pub hops: Vec<HopState>,
    /// What could not be looked at, and why.
    pub problems: Vec<String>,
}

/// A country's rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum Rows {
    /// How many there are.
    Counted(Counts),
    /// Why that is not known.
    Unknown {
        /// The error.
        error: String,
    },
}

/// An appointment that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unanswered {
    /// Which one.
    pub appointment_id: String,
    /// Whose it is.
    pub insured_id: String,
    /// The country without an outcome.
    pub country: String,
    /// `failed` or `cancelling`.
    pub status: String,
    /// The command that is published again by a redrive.
    pub command: &'static str,
    /// Its trace.
    pub trace_id: String,
    /// When its country is asked next.
    pub next: String,
}

impl From<GivenUp> for Unanswered {
    fn from(given_up: GivenUp) -> Self {
        let GivenUp { status, next, command } = given_up;
        Self {
            appointment_id: command.appointment_id.to_string(),
            insured_id: command.insured_id.as_str().to_owned(),
            country: command.country.code().to_owned(),
            status: status.as_str().to_owned(),
            command: command.command.as_str(),
            trace_id: command.traceparent.trace_id().to_string(),
            next: next.to_string(),
        }
    }
}

impl Stack {
    /// The stack of an instance's folder.
    ///
    /// # Errors
    /// When none runs, or `infra/backplane.json` cannot be read.
    pub async fn of_instance(root: &Path, directory: &Path) -> Result<Self> {
        Self::new(root, RunningStack::of_instance(directory).await?)
    }

    /// The stack whose application has this port.
    ///
    /// # Errors
    /// As [`Stack::of_instance`].
    pub async fn on_port(root: &Path, port: u16) -> Result<Self> {
        Self::new(root, RunningStack::on_port(root, port).await?)
    }

    fn new(root: &Path, running: RunningStack) -> Result<Self> {
        let backplane = Backplane::load(root)?;
        let account = running.account(&backplane)?;
        let databases = running.database_urls(&backplane)?;
        Ok(Self { backplane, running, account, databases })
    }

    /// Looks at everything. What does not respond is among the problems.
    pub async fn look(&self) -> State {
        let mut state = State::default();
        let messages = async { observation::messages(&self.running.endpoint()?, &self.backplane).await };
        let hops = async { self.running.hops(&self.backplane)?.states().await };
        let countries = join_all(self.databases.iter().map(async |(country, url)| {
            let rows = match observation::counts(url).await {
                Ok(counts) => Rows::Counted(counts),
                Err(error) => Rows::Unknown { error: format!("{error:#}") },
            };
            (country.clone(), rows)
        }));
        let (messages, given_up, hops, countries) =
            futures::join!(messages, self.account.given_up(&self.backplane), hops, countries);
        state.countries = countries.into_iter().collect();
        let mut problem = |what: &str, error: anyhow::Error| state.problems.push(format!("{what}: {error:#}"));
        match messages {
            Ok(messages) => state.messages = messages,
            Err(error) => problem("queues", error),
        }
        match given_up {
            Ok(given_up) => state.given_up = given_up.into_iter().map(Unanswered::from).collect(),
            Err(error) => problem("what was given up", error),
        }
        match hops {
            Ok(hops) => state.hops = hops,
            Err(error) => problem("hops", error),
        }
        state
    }

    /// What a redrive would do, a sentence for each message: of everything, or `only` of the dead letter or the appointment that
    /// was given up with this id.
    ///
    /// # Errors
    /// When the queues or the table cannot be read.
    pub async fn redrive_steps(&self, only: Option<&str>) -> Result<Vec<String>> {
        let mut steps = Vec::new();
        for letter in self.dead_letters(only).await? {
            let what = letter.kind.as_deref().unwrap_or("an unreadable message");
            let id = &letter.message_id;
            steps.push(match self.account.redrive_action(&letter, &self.backplane).await? {
                RedriveAction::PutBack => format!("{id}: {what} goes back to {}", letter.back_to),
                RedriveAction::Drop => format!("{id}: {what} is dropped, its appointment was erased"),
            });
        }
        for GivenUp { command, .. } in self.given_up(only).await? {
            steps.push(format!("{}: {} is published again", command.appointment_id, command.command.as_str()));
        }
        Ok(steps)
    }

    /// The dead letter with this id, or every one.
    pub(crate) async fn dead_letters(&self, message_id: Option<&str>) -> Result<Vec<DeadLetter>> {
        let mut letters = observation::messages(&self.running.endpoint()?, &self.backplane).await?.dead_letters;
        letters.retain(|letter| message_id.is_none_or(|id| id == letter.message_id));
        Ok(letters)
    }

    /// The appointment that was given up with this id, or every one.
    pub(crate) async fn given_up(&self, appointment_id: Option<&str>) -> Result<Vec<GivenUp>> {
        let mut all = self.account.given_up(&self.backplane).await?;
        all.retain(|given_up| appointment_id.is_none_or(|id| id == given_up.command.appointment_id.to_string()));
        Ok(all)
    }
}
