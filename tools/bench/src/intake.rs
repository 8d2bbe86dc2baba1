//! `POST /appointments`: the component against its peers and against the limit.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use local_stack::progress::Progress;
use serde::{Deserialize, Serialize};

use crate::equal_responses::Behaviour;
use crate::load::{self, Length, Outcome, Pace};
use crate::measure::{Spread, cpu_time, micros, resident_mb};
use crate::programs::Programs;
use crate::subjects::{Kind, Rules, Sizes, StandIn, Subject};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) round: Duration,
    /// Not measured: what an optimising runtime needs before it is at its speed.
    pub(crate) warm_up: u64,
    /// After how many bookings memory is looked at.
    pub(crate) memory_at: &'static [u64],
    pub(crate) starts: usize,
    /// Bookings per second.
    pub(crate) rates: &'static [u32],
    /// The settings that only the component is measured in.
    pub(crate) own_settings: &'static [(usize, u64)],
}

impl Plan {
    pub(crate) const FULL: Self = Self {
        rounds: 5,
        round: Duration::from_millis(1500),
        warm_up: 4000,
        memory_at: &[25_000, 50_000, 75_000, 100_000],
        starts: 5,
        rates: &[100, 400],
        own_settings: &[(64, 0), (256, 0), (64, 5), (256, 5), (1, 20), (16, 20), (64, 20), (256, 20)],
    };
    pub(crate) const QUICK: Self = Self {
        rounds: 1,
        round: Duration::from_millis(500),
        warm_up: 200,
        memory_at: &[1_000],
        starts: 1,
        rates: &[50],
        own_settings: &[(64, 20)],
    };
    /// Connections, and the milliseconds after which the backend responds, with which everything is measured.
    const SETTINGS: [(usize, u64); 4] = [(1, 0), (16, 0), (1, 5), (16, 5)];
}

/// The bookings of one setting.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) subject: Kind,
    pub(crate) connections: usize,
    pub(crate) backend_ms: u64,
    /// `None` if each connection sends the next booking when it has the response.
    pub(crate) rate: Option<u32>,
    pub(crate) cpu_us_per_booking: Spread,
    pub(crate) p50_ms: Spread,
    pub(crate) p99_ms: Spread,
    pub(crate) bookings_per_second: Spread,
}

impl Row {
    /// Whether it was measured with so many connections, at no fixed rate.
    pub(crate) fn is_setting(&self, connections: usize, backend_ms: u64) -> bool {
        self.connections == connections && self.backend_ms == backend_ms && self.rate.is_none()
    }
}

/// What a subject needs besides CPU.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Footprint {
    pub(crate) subject: Kind,
    /// From the process's start to the response to its first booking.
    pub(crate) first_response_ms: Spread,
    /// Bookings so far, and the resident memory then.
    pub(crate) resident_mb: Vec<(u64, f64)>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Intake {
    /// How many requests had equal responses before anything was timed.
    pub(crate) equal_responses: usize,
    pub(crate) sizes: Sizes,
    pub(crate) rows: Vec<Row>,
    pub(crate) footprints: Vec<Footprint>,
}

impl Intake {
    /// A subject's row with so many connections, at no fixed rate.
    pub(crate) fn find(&self, subject: Kind, connections: usize, backend_ms: u64) -> Option<&Row> {
        self.rows.iter().find(|row| row.subject == subject && row.is_setting(connections, backend_ms))
    }
}

pub(crate) async fn measure(programs: &Programs, plan: Plan, progress: &Progress) -> Result<Intake> {
    let step = progress.step("intake: starts and equal responses");
    let stand_in = StandIn::start(programs).await?;

    // The component first: the limit moves as many bytes as it does. The first start may compile, and is not counted.
    let component = Subject::start(Kind::Component, programs, &stand_in, None).await?;
    let (expected, sizes) = Behaviour::of(&component, &stand_in).await?;
    drop(component);
    let mut subjects = Vec::new();
    let mut footprints = Vec::new();
    for kind in [Kind::Component, Kind::AxumAwsSdk, Kind::NodeAwsSdk, Kind::BareHyper] {
        let mut starts = Vec::new();
        let mut subject = None;
        for _ in 0..plan.starts {
            drop(subject.take());
            let started = Subject::start(kind, programs, &stand_in, Some(sizes)).await?;
            starts.push(started.first_response.as_secs_f64() * 1000.0);
            subject = Some(started);
        }
        let subject = subject.context("a plan without a start")?;
        if kind.signs() {
            expected.require_equal(&Behaviour::of(&subject, &stand_in).await?.0, kind)?;
        }
        subjects.push(subject);
        let first_response_ms = Spread::of(starts).context("a plan without a start")?;
        footprints.push(Footprint { subject: kind, first_response_ms, resident_mb: Vec::new() });
    }
    step.done(&format!("{} requests, {} subjects", expected.cases(), subjects.len()));

    let step = progress.step("intake: rounds");
    let mut bench = Bench { stand_in, rounds: Vec::new() };
    let saturated = Setting { connections: 16, backend_ms: 0, rate: None };
    let mut of_component = Vec::new();
    for kind in [Kind::ComponentEs256, Kind::ComponentEdDsa, Kind::ComponentRs256, Kind::ComponentWaiting] {
        of_component.push(Subject::start(kind, programs, &bench.stand_in, None).await?);
    }
    for subject in subjects.iter_mut().chain(&mut of_component) {
        bench.round(subject, saturated, Length::Bookings(plan.warm_up)).await?;
    }
    bench.rounds.clear();
    let everyone = Plan::SETTINGS.map(|(connections, backend_ms)| Setting { connections, backend_ms, rate: None });
    let at_rates = plan.rates.iter().map(|rate| Setting { connections: 64, backend_ms: 5, rate: Some(*rate) });
    let shared: Vec<Setting> = everyone.into_iter().chain(at_rates).collect();
    let own = plan.own_settings.iter();
    let own: Vec<Setting> = own
        .map(|(connections, backend_ms)| Setting { connections: *connections, backend_ms: *backend_ms, rate: None })
        .collect();
    for _ in 0..plan.rounds {
        for setting in &shared {
            for subject in &mut subjects {
                bench.round(subject, *setting, Length::Time(plan.round)).await?;
            }
        }
        for setting in &own {
            let component = subjects.first_mut().context("the component is the first subject")?;
            bench.round(component, *setting, Length::Time(plan.round)).await?;
        }
        for subject in &mut of_component {
            bench.round(subject, saturated, Length::Time(plan.round)).await?;
        }
    }
    drop((subjects, of_component));
    step.done(&format!("{} rounds of {} ms", bench.rounds.len(), plan.round.as_millis()));
    let rows = bench.rows();

    let step = progress.step("intake: memory");
    // Of fresh processes: those of the rounds have served more than the first marks.
    for footprint in &mut footprints {
        let mut subject = Subject::start(footprint.subject, programs, &bench.stand_in, Some(sizes)).await?;
        for &mark in plan.memory_at {
            let missing = mark.saturating_sub(subject.bookings);
            bench.round(&mut subject, saturated, Length::Bookings(missing)).await?;
            footprint.resident_mb.push((subject.bookings, resident_mb(subject.process_id())?));
        }
    }
    step.done("");
    Ok(Intake { equal_responses: expected.cases(), sizes, rows, footprints })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Setting {
    connections: usize,
    backend_ms: u64,
    rate: Option<u32>,
}

struct Round {
    subject: Kind,
    setting: Setting,
    cpu_us_per_booking: f64,
    outcome: Outcome,
}

struct Bench {
    stand_in: StandIn,
    rounds: Vec<Round>,
}

impl Bench {
    /// One round against one subject, while the others idle. Every booking must have had the right response, and
    /// have made both calls.
    async fn round(&mut self, subject: &mut Subject, setting: Setting, length: Length) -> Result<()> {
        let Setting { connections, backend_ms, rate } = setting;
        let kind = subject.kind;
        self.stand_in.set(Rules { delay_ms: backend_ms, verify_every: 64, unsigned: !kind.signs() }).await?;
        let pace = rate.map_or(Pace::Closed, Pace::PerSecond);
        let before = cpu_time(subject.process_id())?;
        let outcome = load::run(subject.address, &subject.headers, connections, pace, length)
            .await
            .with_context(|| format!("{}, {connections} connections, backend {backend_ms} ms", kind.name()))?;
        let cpu = cpu_time(subject.process_id())?.saturating_sub(before);
        let seen = self.stand_in.seen().await?;
        seen.require_no_refusal()?;
        let calls = (seen.calls("PutItem"), seen.calls("Publish"));
        let bookings = outcome.bookings;
        ensure!(
            calls == (bookings, bookings),
            "{}: {bookings} bookings made {calls:?} calls of PutItem and Publish",
            kind.name()
        );
        // Who finds no free place to wait reads nothing.
        let read = seen.calls("GetItem");
        let most_waited = kind != Kind::ComponentWaiting || read * 2 >= bookings;
        ensure!(most_waited, "{}: of {bookings} bookings only {read} looked for their outcome", kind.name());
        subject.bookings += bookings;
        let cpu_us_per_booking = micros(cpu) / bookings.max(1) as f64;
        self.rounds.push(Round { subject: kind, setting, cpu_us_per_booking, outcome });
        Ok(())
    }

    /// The rounds of each subject and setting, summed up, in the order in which they were first measured.
    fn rows(&self) -> Vec<Row> {
        let mut keys: Vec<(Kind, Setting)> = Vec::new();
        for round in &self.rounds {
            if !keys.contains(&(round.subject, round.setting)) {
                keys.push((round.subject, round.setting));
            }
        }
        keys.into_iter().filter_map(|(subject, setting)| self.row(subject, setting)).collect()
    }

    fn row(&self, subject: Kind, setting: Setting) -> Option<Row> {
        let rounds = || self.rounds.iter().filter(|round| round.subject == subject && round.setting == setting);
        let Setting { connections, backend_ms, rate } = setting;
        Some(Row {
            subject,
            connections,
            backend_ms,
            rate,
            cpu_us_per_booking: Spread::of(rounds().map(|round| round.cpu_us_per_booking))?,
            p50_ms: Spread::of(rounds().map(|round| round.outcome.milliseconds(0.50)))?,
            p99_ms: Spread::of(rounds().map(|round| round.outcome.milliseconds(0.99)))?,
            bookings_per_second: Spread::of(
                rounds().map(|round| round.outcome.bookings as f64 / round.outcome.elapsed.as_secs_f64()),
            )?,
        })
    }
}
