//! From `202` to `completed` on the local stack, hop by hop.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use local_stack::LocalStack;
use local_stack::progress::Progress;
use operator::backplane::{Backplane, CatalogueKind};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::booking::{EntryPoint, book};
use crate::burst::{self, Burst};
use crate::emulator_hops::{self, Emulator};
use crate::measure::{cpu_time, cpu_time_of_all};
use crate::programs::Programs;
use crate::stack_log::{Logged, Steps};

/// How long bookings may take to be completed after the last one was sent.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Bookings per second, and for how many seconds.
    pub(crate) rates: &'static [(u32, u32)],
    /// How often the emulator's own hops are timed.
    pub(crate) emulator_hops: usize,
    /// Bookings of the burst whose messages are counted.
    pub(crate) burst: u32,
    /// Whether the functions are those that are deployed, and the host at the edge is optimised; else they are as the tests
    /// have them.
    pub(crate) packaged: bool,
}

impl Plan {
    pub(crate) const FULL: Self =
        Self { rates: &[(1, 15), (10, 10), (50, 8), (100, 6)], emulator_hops: 30, burst: 800, packaged: true };
    pub(crate) const QUICK: Self = Self { rates: &[(5, 2)], emulator_hops: 3, burst: 40, packaged: false };
}

/// Milliseconds of a hop.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Hop {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Hop {
    fn of(mut milliseconds: Vec<f64>) -> Result<Self> {
        milliseconds.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            milliseconds.get((milliseconds.len() * percent / 100).min(milliseconds.len() - 1)).copied()
        };
        Ok(Self { p50: at(50).context("nothing was timed")?, p99: at(99).context("nothing was timed")? })
    }
}

/// How many processors were in use, on average.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Processors {
    /// Of the emulator: one Python process, of whose threads one runs at a time.
    pub(crate) emulator: f64,
    /// Of everything that ran on the machine.
    pub(crate) all: f64,
}

/// CPU times to compare later ones with.
struct CpuTimes {
    at: Instant,
    emulator: Duration,
    all: Duration,
}

impl CpuTimes {
    fn now(stack: &LocalStack) -> Result<Self> {
        let emulator = cpu_time(stack.services().emulator_process_id())?;
        Ok(Self { at: Instant::now(), emulator, all: cpu_time_of_all()? })
    }

    fn until(&self, later: &Self) -> Processors {
        let seconds = (later.at - self.at).as_secs_f64();
        let processors = |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64() / seconds;
        Processors { emulator: processors(self.emulator, later.emulator), all: processors(self.all, later.all) }
    }
}

/// Milliseconds of a hop between the `202` and `completed`, and its part of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Share {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) hop: Hop,
    /// The sum of the hop over all bookings against the sum of the whole time.
    pub(crate) share: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) entry_point: EntryPoint,
    pub(crate) bookings_per_second: u32,
    /// Those that were accepted, all of which were completed.
    pub(crate) bookings: usize,
    /// Those of them that are not timed, because the emulator dropped one of their log lines.
    #[serde(default)]
    pub(crate) untimed: usize,
    /// Those with the response 503: the emulator took longer than intake waits.
    pub(crate) refused: usize,
    /// Processors in use while they were sent.
    pub(crate) processors: Processors,
    /// From the request to its `202`.
    pub(crate) accepted: Hop,
    /// What of that intake took, its calls to DynamoDB and SNS included.
    pub(crate) intake: Hop,
    /// From the `202` to the status `completed`.
    pub(crate) whole: Hop,
    /// From the decision until the confirmation has written all that follows from it: the status, and the slot that people read.
    pub(crate) decided_to_written: Hop,
    /// The hops that the whole is made of, one after another.
    pub(crate) hops: Vec<Share>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EndToEnd {
    pub(crate) rows: Vec<Row>,
    /// Rates at which not every accepted booking was completed in time, or that failed, and how; higher ones are not tried.
    pub(crate) not_held: Vec<String>,
    /// The emulator's hops with none of our code in between.
    pub(crate) emulator: Emulator,
    pub(crate) burst: Burst,
}

impl EndToEnd {
    /// The bookings of one way at a rate.
    pub(crate) fn find(&self, entry_point: EntryPoint, bookings_per_second: u32) -> Option<&Row> {
        self.rows.iter().find(|row| row.entry_point == entry_point && row.bookings_per_second == bookings_per_second)
    }
}

pub(crate) async fn measure(programs: &Programs, plan: Plan, progress: &Progress) -> Result<EndToEnd> {
    let step = progress.noisy_step("end to end");
    // With the durations that are deployed: nothing comes again sooner than it would on AWS.
    let backplane = Backplane::load(&programs.root)?.with_catalogue(CatalogueKind::External);
    let artifacts = programs.artifacts(plan.packaged, &backplane)?;
    // A stack each: none has to work off what another was sent too fast.
    let start = async || programs.stack("bench", &backplane, &artifacts).await;
    let mut slots = (0..).map(|series: u64| series * 1_000_000 + 1);
    let mut first_slot = || slots.next().context("a series of slots");
    let (mut rows, mut not_held) = (Vec::new(), Vec::new());
    for entry_point in EntryPoint::ALL {
        let stack = start().await?;
        for &(rate, seconds) in plan.rates {
            progress.note(&format!("{}: {rate} bookings per second", entry_point.label()));
            match at_rate(&stack, entry_point, rate, seconds, first_slot()?, first_slot()?).await {
                Ok(row) => rows.push(row),
                Err(error) => {
                    not_held.push(format!("{}, {rate} per second: {error:#}", entry_point.label()));
                    break;
                }
            }
        }
    }
    progress.note(&format!("a burst of {} bookings", plan.burst));
    let stack = start().await?;
    let burst = burst::measure(&stack, plan.burst, first_slot()?).await?;
    let emulator = emulator_hops::measure(stack.services(), plan.emulator_hops).await?;
    step.done("");
    Ok(EndToEnd { rows, not_held, emulator, burst })
}

/// Bookings at a rate for some seconds, after one second that is not counted: functions start as many processes in it as they
/// need.
pub(crate) async fn at_rate(
    stack: &LocalStack,
    entry_point: EntryPoint,
    rate: u32,
    seconds: u32,
    first_slot: u64,
    counted_from: u64,
) -> Result<Row> {
    bookings(stack, entry_point, rate, rate, first_slot, PATIENCE).await?;
    bookings(stack, entry_point, rate, rate * seconds, counted_from, PATIENCE).await
}

/// Books `count` slots from `first_slot` on at a rate, waits until all are completed, and times the hops by the log lines.
pub(crate) async fn bookings(
    stack: &LocalStack,
    entry_point: EntryPoint,
    rate: u32,
    count: u32,
    first_slot: u64,
    patience: Duration,
) -> Result<Row> {
    let (began, cpu_before) = (Instant::now(), CpuTimes::now(stack)?);
    let target = entry_point.target(stack);
    let mut tasks = JoinSet::new();
    for number in 0..count {
        sleep_until((began + Duration::from_secs(1) * number / rate).into()).await;
        let target = target.clone();
        tasks.spawn(async move { book(&target, first_slot + u64::from(number)).await });
    }
    let (mut booked, mut refused) = (Vec::new(), 0);
    while let Some(one) = tasks.join_next().await {
        match one?? {
            Some(one) => booked.push(one),
            None => refused += 1,
        }
    }
    let processors = cpu_before.until(&CpuTimes::now(stack)?);
    let given_up = Instant::now() + patience;
    let logged = loop {
        let logged = Logged::read(&stack.services().logs())?;
        if booked.iter().all(|one| logged.steps(one).is_some() && logged.intake_ms(one).is_some()) {
            break logged;
        }
        if Instant::now() > given_up {
            // The emulator reads what a function prints for at most 250 ms after its response. What comes later is in the log of
            // the same process's next call, or never. So a line that is missing says nothing: the appointment does.
            let mut open = 0;
            for one in booked.iter().filter(|one| logged.completed(one).is_none()) {
                open += usize::from(!target.is_completed(one).await?);
            }
            ensure!(
                open == 0,
                "{} s after the last of {} bookings was accepted, {open} of them are not completed; {refused} more had the response 503. While they were sent the emulator used {:.2} processors, and everything {:.2}",
                patience.as_secs(),
                booked.len(),
                processors.emulator,
                processors.all,
            );
            break logged;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    let steps: Vec<Steps> = booked.iter().filter_map(|one| logged.steps(one)).collect();
    let intake = booked.iter().filter_map(|one| logged.intake_ms(one)).collect();
    let whole: Vec<f64> = steps.iter().map(|steps| between(steps.accepted, steps.completed)).collect();
    let hop = |name: &str, from: fn(&Steps) -> SystemTime, to: fn(&Steps) -> SystemTime| -> Result<Share> {
        let each: Vec<f64> = steps.iter().map(|steps| between(from(steps), to(steps))).collect();
        Ok(Share {
            name: name.to_owned(),
            share: each.iter().sum::<f64>() / whole.iter().sum::<f64>(),
            hop: Hop::of(each)?,
        })
    };
    let hops = vec![
        hop("SNS, SQS, mapping", |steps| steps.accepted, |steps| steps.received)?,
        hop("worker: SQL", |steps| steps.received, |steps| steps.decided)?,
        hop("PutEvents, rule, SQS, mapping", |steps| steps.decided, |steps| steps.delivered)?,
        hop("confirmation", |steps| steps.delivered, |steps| steps.completed)?,
    ];
    Ok(Row {
        entry_point,
        bookings_per_second: rate,
        bookings: booked.len(),
        untimed: booked.len() - steps.len(),
        refused,
        processors,
        accepted: Hop::of(booked.iter().map(|one| between(one.sent, one.accepted)).collect())?,
        intake: Hop::of(intake)?,
        whole: Hop::of(whole)?,
        decided_to_written: Hop::of(steps.iter().map(|steps| between(steps.decided, steps.completed)).collect())?,
        hops,
    })
}

/// Zero where the clock's milliseconds make the later instant the earlier one, and where the topic was faster than `202`.
fn between(earlier: SystemTime, later: SystemTime) -> f64 {
    later.duration_since(earlier).unwrap_or_default().as_secs_f64() * 1000.0
}
