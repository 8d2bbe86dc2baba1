//! Invokes the republishing function and the importers as the EventBridge rules do on AWS, one each for each country.
//!
//! The emulator runs such rules too, but in whole minutes, which is too slow to watch. In every interval a function gets
//! each rule's constant input, once, because the next interval invokes it again.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use futures::future::join_all;
use operator::aws::Aws;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::journal::Journal;
use crate::provision::Function;

/// A running schedule; it stops at once when it is dropped.
pub(crate) struct Schedule(JoinHandle<()>);

impl Schedule {
    /// Starts the schedule of rules, each a name and its input; invocations that failed are noted in `log`.
    pub(crate) fn start(
        aws: Aws,
        function: Function,
        rules: Vec<(String, Value)>,
        interval: Duration,
        log: &Path,
    ) -> Result<Self> {
        let journal = Journal::open("schedule", log)?;
        Ok(Self(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(interval);
            // On AWS the interval is far longer than an invocation; here a slow one puts the next off.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                join_all(rules.iter().map(async |(rule, input)| {
                    if let Err(error) = function.invoke(&aws, input).await {
                        journal.note("WARN", &format!("{error:#}"), Some(("rule", rule)));
                    }
                }))
                .await;
            }
        })))
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        self.0.abort();
    }
}
