//! How many messages a booking is, when more bookings come at once than are decided at once.
//!
//! What waits in a queue must not be published again meanwhile: that would keep the queues behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use local_stack::LocalStack;
use operator::aws::Aws;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::booking::{EntryPoint, book};
use crate::emulator_hops::queue;
use crate::stack_log::{Deliveries, Logged};

/// Connections that send the burst, each the next booking when it has the response to the one before.
const CONNECTIONS: usize = 16;

/// How long the last booking may take to be completed after it was accepted.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Burst {
    pub(crate) bookings: u32,
    /// From the first request until all were accepted.
    pub(crate) accepted_after_s: f64,
    /// From the first request until all were completed.
    pub(crate) completed_after_s: f64,
    /// What SNS and EventBridge took, counted by queues of the benchmark's own behind them.
    pub(crate) published: Published,
    /// What the functions got from the queues, by the lines that they log.
    pub(crate) delivered: Deliveries,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Published {
    /// By intake or the republisher, to the topic.
    pub(crate) commands: u64,
    /// By the workers, to the bus.
    pub(crate) outcomes: u64,
    /// By the confirmation, to the bus.
    pub(crate) announcements: u64,
}

impl Burst {
    /// A count for each booking.
    pub(crate) fn per_booking(&self, count: u64) -> f64 {
        count as f64 / f64::from(self.bookings)
    }
}

/// Sends `bookings` of the slots from `first_slot` on to the edge, and counts what came of them.
pub(crate) async fn measure(stack: &LocalStack, bookings: u32, first_slot: u64) -> Result<Burst> {
    let counters = Counters::create(stack).await?;
    let (began, began_at) = (Instant::now(), SystemTime::now());
    let next = Arc::new(AtomicU32::new(0));
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (next, entry_point) = (next.clone(), EntryPoint::Edge.target(stack));
        connections.spawn(async move {
            let mut booked = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= bookings {
                    return anyhow::Ok(booked);
                }
                let one = book(&entry_point, first_slot + u64::from(number)).await?;
                booked.push(one.context("a booking of the burst had the response 503")?);
            }
        });
    }
    let mut booked = Vec::new();
    while let Some(of_connection) = connections.join_next().await {
        booked.extend(of_connection??);
    }
    let accepted_after_s = began.elapsed().as_secs_f64();
    let given_up = Instant::now() + PATIENCE;
    let completed_at = loop {
        let logged = Logged::read(&stack.services().logs())?;
        let completed: Vec<SystemTime> = booked.iter().filter_map(|one| logged.completed(one)).collect();
        // The workers' lines may be copied later than the confirmation's.
        let delivered = logged.deliveries_since(began_at).commands;
        if let (Some(last), true) =
            (completed.iter().max(), completed.len() == booked.len() && delivered >= booked.len() as u64)
        {
            break *last;
        }
        ensure!(
            Instant::now() < given_up,
            "{} s after the burst of {bookings} bookings the functions' lines tell of {} that are completed, and of {delivered} commands that were delivered",
            PATIENCE.as_secs(),
            completed.len(),
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    Ok(Burst {
        bookings,
        accepted_after_s,
        completed_after_s: completed_at.duration_since(began_at).unwrap_or_default().as_secs_f64(),
        published: counters.read().await?,
        delivered: Logged::read(&stack.services().logs())?.deliveries_since(began_at),
    })
}

/// Queues that get a copy of everything.
struct Counters {
    aws: Aws,
    urls: BTreeMap<&'static str, String>,
}

impl Counters {
    const COMMANDS: &str = "bench-commands";
    const OUTCOMES: &str = "bench-outcomes";
    const ANNOUNCEMENTS: &str = "bench-announcements";

    async fn create(stack: &LocalStack) -> Result<Self> {
        let services = stack.services();
        let (aws, backplane) = (services.aws(), services.backplane());
        let mut urls = BTreeMap::new();
        let (url, arn) = queue(&aws, Self::COMMANDS, "sns.amazonaws.com").await?;
        urls.insert(Self::COMMANDS, url);
        let subscription = [("TopicArn", services.topic_arn()), ("Protocol", "sqs"), ("Endpoint", &arn)];
        aws.sns("Subscribe", &subscription).await?;
        let of_workers: Vec<String> = backplane.countries().map(|country| country.event_source).collect();
        let of_confirmation = vec![backplane.confirmation.event_source.clone()];
        for (name, sources) in [(Self::OUTCOMES, of_workers), (Self::ANNOUNCEMENTS, of_confirmation)] {
            let (url, arn) = queue(&aws, name, "events.amazonaws.com").await?;
            urls.insert(name, url);
            let pattern = json!({ "source": sources }).to_string();
            let bus = &backplane.bus.name;
            aws.events("PutRule", &json!({ "Name": name, "EventBusName": bus, "EventPattern": pattern })).await?;
            let targets = json!({ "Rule": name, "EventBusName": bus, "Targets": [{ "Id": name, "Arn": arn }] });
            aws.events("PutTargets", &targets).await?;
        }
        Ok(Self { aws, urls })
    }

    async fn read(&self) -> Result<Published> {
        Ok(Published {
            commands: self.messages(Self::COMMANDS).await?,
            outcomes: self.messages(Self::OUTCOMES).await?,
            announcements: self.messages(Self::ANNOUNCEMENTS).await?,
        })
    }

    async fn messages(&self, name: &str) -> Result<u64> {
        const ATTRIBUTE: &str = "ApproximateNumberOfMessages";
        let url = self.urls.get(name).with_context(|| format!("no queue {name}"))?;
        let asked = json!({ "QueueUrl": url, "AttributeNames": [ATTRIBUTE] });
        let told = self.aws.sqs("GetQueueAttributes", &asked).await?;
        let count = told.get("Attributes").and_then(|attributes| attributes.get(ATTRIBUTE)).and_then(Value::as_str);
        count.with_context(|| format!("{name} tells no {ATTRIBUTE}"))?.parse().context(ATTRIBUTE)
    }
}
