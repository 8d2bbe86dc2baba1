//! `POST /internal/republish`: publishes again what its country has not answered, and gives up what it never will.

use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};

use appointment::{Country, Status, Timestamp};
use aws_http::wasi::WasiTransport;
use aws_http::{Client, Endpoint, Transport};
use backplane::{
    AppointmentsTable, CommandTopic, PendingAppointment, RepublishSchedule, not_processed_event_id, pending_shards,
};
use edge_component::{
    Chance, InvalidMember, Language, Level, LogLine, Problem, ProblemCode, Request, Response, Setting, SettingError,
};
use futures::future::{Either, select};
use futures::stream::{self, StreamExt};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::internal::{Failure, SERVICE, Settings};

/// What the schedule calls; the component's one route, which is private.
const ROUTE: &str = "/internal/republish";

const BODY_LIMIT: usize = 4 * 1024;

/// How long a call works. Each shard gets an equal share of what is left, so that a shard
/// that is stuck takes nothing from the next.
const RUN: Duration = Duration::from_millis(3_500);

/// How many rows of a shard one call looks at, and how many of them it works on at once.
const ROWS_PER_SHARD: u32 = 100;
const IN_FLIGHT: usize = 16;

/// What the schedule sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// Whose commands to publish again.
    #[serde(rename = "countryISO")]
    country: Country,
}

/// What a call did.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// Commands that were published again.
    published: u32,
    /// Appointments that were moved to the shard `given_up`.
    given_up: u32,
    /// Whether there may be more whose turn has come.
    more: bool,
    /// Rows that stay for the next call, because a dependency failed.
    #[serde(skip)]
    failed: u32,
    /// The first of these failures.
    #[serde(skip)]
    error: Option<String>,
    /// Shards whose rows could not be read.
    #[serde(skip)]
    unread: usize,
}

/// What became of one row.
enum Turn {
    Published,
    GivenUp,
    /// Another run took it, or its state moved meanwhile.
    Gone,
}

/// What one call works with.
struct Republisher {
    settings: Settings,
    sns: Endpoint,
    topic_arn: String,
    schedule: RepublishSchedule,
}

/// Answers a call of the schedule, and writes one log line about it, and one about each appointment that it gives up.
pub(crate) async fn answer(request: Request, arrived: Instant) -> Response {
    let trace = Chance::draw().trace(request.headers().get("traceparent").and_then(|value| value.to_str().ok()));
    let mut country = None;
    let result = match order(&request) {
        Ok(order) => {
            country = Some(order.country);
            run(order.country, arrived).await.map_err(|failure| {
                let code = match failure {
                    Failure::Retry(_) => ProblemCode::TemporarilyUnavailable,
                    Failure::Poison(_) | Failure::Setting(_) => ProblemCode::Internal,
                };
                (Problem::new(code), failure.level(), Some(failure.to_string()))
            })
        }
        Err(problem) => Err((problem, Level::Warn, None)),
    };
    let (response, level, message, report) = match result {
        Ok(report) => {
            let level = if report.error.is_some() { Level::Warn } else { Level::Info };
            (json(&report), level, "unanswered commands published again", report)
        }
        Err((problem, level, error)) => {
            let response = problem.into_response(Language::English);
            (response, level, "nothing published again", Report { error, ..Report::default() })
        }
    };
    LogLine::new(level, SERVICE, message, trace)
        .with("route", ROUTE)
        .with("status", response.status().as_u16())
        .with_some("country", country)
        .with("published", report.published)
        .with("given_up", report.given_up)
        .with("failed", report.failed)
        .with("more", report.more)
        .with_some("error", report.error)
        .with("duration_ms", arrived.elapsed().as_micros() as f64 / 1000.0)
        .write();
    response
}

fn json(report: &Report) -> Response {
    // Numbers and truth values always serialise.
    let mut response = Response::new(serde_json::to_vec(report).unwrap_or_default());
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What a request asks for, or why it is not what the schedule sends.
fn order(request: &Request) -> Result<Order, Problem> {
    if request.uri().path() != ROUTE {
        return Err(Problem::new(ProblemCode::NotFound));
    }
    if request.method() != Method::POST {
        return Err(Problem::method_not_allowed("POST"));
    }
    let body = request.body().read(BODY_LIMIT).map_err(|_| invalid_order())?;
    serde_json::from_slice(&body).map_err(|_| invalid_order())
}

async fn run(country: Country, arrived: Instant) -> Result<Report, Failure> {
    let republisher = Republisher::read()?;
    let shards = pending_shards(country);
    let count = shards.len();
    let mut report = Report::default();
    for (number, shard) in shards.enumerate() {
        let left = u32::try_from(count - number).unwrap_or(u32::MAX);
        let share = RUN.saturating_sub(arrived.elapsed()) / left;
        republisher.shard(&shard, share, &mut report).await;
    }
    match report.error {
        Some(error) if report.unread == count => Err(Failure::Retry(error)),
        _ => Ok(report),
    }
}

fn invalid_order() -> Problem {
    let detail = (
        "Envíe {\"countryISO\":\"PE\"} o {\"countryISO\":\"CL\"}.".to_owned(),
        "Send {\"countryISO\":\"PE\"} or {\"countryISO\":\"CL\"}.".to_owned(),
    );
    let member = InvalidMember { field: "countryISO".to_owned(), code: appointment::FieldErrorCode::UnsupportedValue };
    Problem::new(ProblemCode::InvalidBody).with_detail(detail.0, detail.1).with_errors(vec![member])
}

impl Republisher {
    fn read() -> Result<Self, SettingError> {
        Ok(Self {
            settings: Settings::read()?,
            sns: Setting("sns_endpoint").parse()?,
            topic_arn: Setting("topic_arn").text()?,
            schedule: Setting("republish_delays_seconds").parse()?,
        })
    }

    /// Works on a shard for as long as its share lasts. What is in flight then is cancelled: its next turn finishes it.
    async fn shard(&self, shard: &str, share: Duration, report: &mut Report) {
        let client = self.settings.client.clone().with_deadline(share);
        let mut time_is_up = pin!(WasiTransport.sleep(share));
        let table = self.table(&client);
        let due = match table.due(shard, now(), ROWS_PER_SHARD).await {
            Ok(due) => due,
            Err(error) => {
                report.unread += 1;
                report.more = true;
                report.error.get_or_insert_with(|| error.to_string());
                return;
            }
        };
        report.more |= due.more;
        let mut turns =
            pin!(stream::iter(due.appointments).map(|row| self.turn(&client, row)).buffer_unordered(IN_FLIGHT));
        loop {
            match select(turns.next(), &mut time_is_up).await {
                Either::Left((None, _)) => break,
                Either::Left((Some(Ok(Turn::Published)), _)) => report.published += 1,
                Either::Left((Some(Ok(Turn::GivenUp)), _)) => report.given_up += 1,
                Either::Left((Some(Ok(Turn::Gone)), _)) => {}
                Either::Left((Some(Err(error)), _)) => {
                    report.failed += 1;
                    report.error.get_or_insert(error);
                }
                Either::Right(((), _)) => {
                    report.more = true;
                    break;
                }
            }
        }
    }

    /// One row's turn: its command is published again, or, in place of one time too many, given up.
    async fn turn(&self, client: &Client<WasiTransport>, row: PendingAppointment) -> Result<Turn, String> {
        let now = now();
        let attempt = row.attempt.saturating_add(1);
        match self.schedule.after(attempt, now) {
            Some(next) if row.status.awaits_country() => self.publish(client, &row, attempt, next).await,
            _ => self.give_up(client, row, attempt, now).await,
        }
    }

    async fn publish(
        &self,
        client: &Client<WasiTransport>,
        row: &PendingAppointment,
        attempt: u32,
        next: Timestamp,
    ) -> Result<Turn, String> {
        let taken = self.table(client).take_turn(row, attempt, next).await.map_err(text)?;
        // What the table returns counts: the index may be older.
        let Some(message) = taken.and_then(|kept| kept.unanswered_command()) else { return Ok(Turn::Gone) };
        CommandTopic::new(client, &self.sns, &self.topic_arn).publish(&message).await.map_err(text)?;
        Ok(Turn::Published)
    }

    /// A request that its country never answered fails, which is announced; a cancellation stays `cancelling`. A log line
    /// raises the alarm for both, and only then the row leaves its shard: where a run dies in between, the next one finds
    /// the row again, `failed` already, and finishes.
    async fn give_up(
        &self,
        client: &Client<WasiTransport>,
        row: PendingAppointment,
        attempt: u32,
        now: Timestamp,
    ) -> Result<Turn, String> {
        let next = self.schedule.first(now);
        let table = self.table(client);
        let taken = match row.status {
            Status::Pending => table.fail_unanswered(&row, attempt, now, next).await,
            _ => table.take_turn(&row, attempt, next).await,
        };
        let Some(kept) = taken.map_err(text)? else { return Ok(Turn::Gone) };
        let message = match kept.appointment.status {
            Status::Failed => {
                let event_id = not_processed_event_id(row.appointment_id);
                self.settings.announce(client, &kept, event_id, kept.trace).await.map_err(text)?;
                "request given up: its country never answered"
            }
            _ => "cancellation given up: its country never answered",
        };
        LogLine::new(Level::Error, SERVICE, message, kept.trace)
            .with("appointment_id", kept.appointment.appointment_id)
            .with("country", kept.appointment.country)
            .with("appointment_status", kept.appointment.status.as_str())
            .write();
        let moved = table.give_up(&row.after_turn(next)).await.map_err(text)?;
        Ok(if moved { Turn::GivenUp } else { Turn::Gone })
    }

    fn table<'a>(&'a self, client: &'a Client<WasiTransport>) -> AppointmentsTable<'a, WasiTransport> {
        AppointmentsTable::new(client, &self.settings.dynamodb, &self.settings.table)
    }
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
