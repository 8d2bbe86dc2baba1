//! Five hundred people who book, move and cancel among fifty slots, over eight connections to the country's database at once.

use std::collections::{BTreeMap, HashMap};
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use appointment::{Appointment, AppointmentId, Country, InsuredId, ScheduleId, Timestamp, TraceContext};
use country_worker::{
    CatalogueKind, CommandOutcome, CountryRules, Database, DatabaseLogin, DatabasePlace, Decisions, MigrationSettings,
    Verdict, migrate,
};
use local_stack::postgres::Postgres;
use messages::{AppointmentMessage, Command};
use operator::database::connect;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnection;
use tokio::task::JoinSet;

use crate::programs::Programs;

const PEOPLE: usize = 500;
const SLOTS: u64 = 50;
const CONNECTIONS: usize = 8;
/// What the queue delivers at once.
const BATCH: usize = 10;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Moves {
    pub(crate) people: usize,
    pub(crate) slots: u64,
    pub(crate) connections: usize,
    pub(crate) commands: usize,
    pub(crate) moved: usize,
    pub(crate) seconds: f64,
    /// Slots that more than one appointment holds at the end.
    pub(crate) held_twice: usize,
    /// People who hold another slot at the end than they were told.
    pub(crate) told_otherwise: usize,
}

impl Moves {
    pub(crate) fn commands_per_second(&self) -> f64 {
        self.commands as f64 / self.seconds
    }
}

pub(crate) async fn measure(programs: &Programs, rounds: usize) -> Result<Moves> {
    let postgres = Postgres::start(&programs.root, &programs.scratch).await?;
    postgres.create_database("moves").await?;
    let url = postgres.url("moves");
    own_catalogue(&url, SLOTS).await?;
    let mut owner = connect(&url).await?;

    let people: Vec<usize> = (1..=PEOPLE).collect();
    let began = Instant::now();
    let mut connections = JoinSet::new();
    for of_connection in people.chunks(PEOPLE.div_ceil(CONNECTIONS)) {
        let database = Database::new(DatabaseLogin::Url(url.parse()?));
        let people = of_connection.to_vec();
        connections.spawn(async move { ask(&database, &people, rounds).await });
    }
    let mut all = Asked { commands: 0, moved: 0, held: HashMap::new() };
    while let Some(of_connection) = connections.join_next().await {
        let Asked { commands, moved, held } = of_connection??;
        all.commands += commands;
        all.moved += moved;
        all.held.extend(held);
    }
    let seconds = began.elapsed().as_secs_f64();
    let booked: Vec<(String, i64)> =
        sqlx::query_as("SELECT insured_id::text, schedule_id FROM appointments WHERE status = 'booked'")
            .fetch_all(&mut owner)
            .await?;
    let mut holders: BTreeMap<i64, usize> = BTreeMap::new();
    for (_, slot) in &booked {
        *holders.entry(*slot).or_default() += 1;
    }
    let mut told: Vec<(String, i64)> = all
        .held
        .into_values()
        .map(|held| Ok((held.insured_id.as_str().to_owned(), held.schedule_id.get().try_into()?)))
        .collect::<Result<_>>()?;
    told.retain(|held| !booked.contains(held));
    Ok(Moves {
        people: PEOPLE,
        slots: SLOTS,
        connections: CONNECTIONS,
        commands: all.commands,
        moved: all.moved,
        seconds,
        held_twice: holders.values().filter(|holders| **holders > 1).count(),
        told_otherwise: told.len(),
    })
}

/// Migrates a database, and gives it a catalogue with the slots from 1 on.
pub(crate) async fn own_catalogue(url: &str, slots: u64) -> Result<()> {
    let place = DatabasePlace::Url(url.parse()?);
    let rules = CountryRules { catalogue: Some(CatalogueKind::Own), ..CountryRules::default() };
    let (worker, importer) = ("worker".parse()?, "importer".parse()?);
    migrate(&MigrationSettings { place, master_secret: None, worker, importer, rules }).await?;
    let mut owner: PgConnection = connect(url).await?;
    sqlx::query(
        "INSERT INTO slots (schedule_id, specialty, center, practitioner, starts_at, ends_at, time_zone,
                            utc_offset_minutes, state, version)
         SELECT number, 'Cardiología', 'Center ' || number % 3, 'Dr. ' || number % 10,
                now() + number * interval '30 minutes', now() + (number + 1) * interval '30 minutes',
                'America/Lima', -300, 'open', 1
         FROM generate_series(1, $1) AS number",
    )
    .bind(i64::try_from(slots)?)
    .execute(&mut owner)
    .await?;
    Ok(())
}

/// What people asked for, and what each was told to hold at the end.
struct Asked {
    commands: usize,
    moved: usize,
    held: HashMap<InsuredId, Appointment>,
}

/// Each of `people` asks now and then for a slot while they have none, moves to another one, and cancels now and then.
async fn ask(database: &Database, people: &[usize], rounds: usize) -> Result<Asked> {
    let (mut held, mut moved) = (HashMap::<InsuredId, Appointment>::new(), 0);
    let mut commands = 0;
    for _ in 0..rounds {
        let mut wishes = Vec::new();
        for person in people {
            let person: InsuredId = format!("{person:05}").parse()?;
            let held = held.get(&person);
            // Did all ask who hold none, each slot would be taken, and nobody could move.
            if held.is_some() || fastrand::u8(..20) == 0 {
                wishes.push(wish(person, held)?);
            }
        }
        commands += wishes.len();
        for asked in wishes.chunks(BATCH) {
            let trace = TraceContext::start(std::array::from_fn(|_| fastrand::u8(..)));
            let messages: Vec<AppointmentMessage> = asked
                .iter()
                .map(|(command, appointment)| AppointmentMessage::new(*command, appointment, trace).context("Peru"))
                .collect::<Result<_>>()?;
            let outcomes = database.decide(&messages.iter().collect::<Vec<_>>()).await?;
            for (command, appointment) in asked {
                let outcome = outcomes.get(&appointment.appointment_id);
                let Some(CommandOutcome::Decided(decision)) = outcome else {
                    anyhow::bail!("no decision: {outcome:?}")
                };
                match decision.verdict {
                    Verdict::Booked => {
                        moved += usize::from(*command == Command::Move);
                        held.insert(appointment.insured_id, appointment.clone());
                    }
                    Verdict::Cancelled { .. } => {
                        ensure!(held.remove(&appointment.insured_id).is_some(), "a cancellation of nothing");
                    }
                    Verdict::Rejected(_) => {}
                }
            }
        }
    }
    Ok(Asked { commands, moved, held })
}

fn wish(person: InsuredId, held: Option<&Appointment>) -> Result<(Command, Appointment)> {
    let now = Timestamp::from(SystemTime::now());
    let id = AppointmentId::new(now, std::array::from_fn(|_| fastrand::u8(..)));
    let slot = ScheduleId::try_from(fastrand::u64(1..=SLOTS))?;
    Ok(match held {
        None => (Command::Request, Appointment::requested(id, person, slot, Country::Peru, now)),
        Some(held) if fastrand::u8(..5) == 0 => (Command::Cancellation, held.clone()),
        Some(held) => (Command::Move, held.moved_to(slot, id, now)),
    })
}
