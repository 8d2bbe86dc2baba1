//! `POST /internal/republish`: publishes again the commands that have no outcome, and gives up those that will get none.

use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};

use appointment::{Country, FieldError, FieldErrorCode, Status, Timestamp};
use aws_http::{Client, Endpoint};
use backplane::{
    AppointmentsTable, CLAIM_DURATION, CLAIMS_AT_ONCE, CommandTopic, GivenUpSchedule, PendingAppointment,
    PendingShards, RepublishSchedule, StoredAppointment, not_processed_event_id,
};
use edge_component::{
    Body, Host, Language, Level, LogLine, Problem, ProblemCode, RequestEntropy, Response, SettingError, Variables,
    caller,
};
use futures::future::{join_all, ready};
use futures::stream::{self, StreamExt};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::internal::{HandlingError, SERVICE, Settings};
use crate::settings::{
    APPOINTMENTS_TOPIC_ARN, GIVEN_UP_SCHEDULE_SECONDS, PENDING_SHARDS_READ, REPUBLISH_DELAYS_SECONDS, SNS_ENDPOINT,
};

/// What the schedule calls; the component's one route, which is private.
const ROUTE: &str = "/internal/republish";

const BODY_LIMIT: usize = 4 * 1024;

/// How long a call claims rows. Its caller repeats it while there is more. All shards are worked on at once: one that is
/// stuck takes nothing from another.
const RUN: Duration = Duration::from_millis(2_500);

/// How long one call to AWS may take, retries included.
const CALL: Duration = Duration::from_millis(900);

/// How many rows of a shard are read at once.
const ROWS_PER_PAGE: u32 = 100;

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
    /// Appointments that were given up.
    given_up: u32,
    /// Whether rows that are due are left because the time was up: the call is worth repeating at once.
    more: bool,
    /// Rows that come again, because a dependency failed.
    #[serde(skip)]
    failed: u32,
    /// The first of these failures.
    #[serde(skip)]
    error: Option<String>,
    /// Rows of which this version knows not everything, or which nobody can read.
    #[serde(skip)]
    not_understood: u32,
    /// Shards whose rows could not be read.
    #[serde(skip)]
    unread: usize,
    /// Since when the row that has waited longest has been due.
    #[serde(skip)]
    oldest_due: Option<Timestamp>,
}

impl Report {
    fn add(&mut self, other: Self) {
        self.published += other.published;
        self.given_up += other.given_up;
        self.more |= other.more;
        self.failed += other.failed;
        self.not_understood += other.not_understood;
        self.unread += other.unread;
        self.oldest_due = self.oldest_due.into_iter().chain(other.oldest_due).min();
        if self.error.is_none() {
            self.error = other.error;
        }
    }

    const fn level(&self) -> Level {
        match self {
            Self { not_understood: 1.., .. } => Level::Error,
            Self { error: Some(_), .. } => Level::Warn,
            Self { published: 0, given_up: 0, oldest_due: None, .. } => Level::Debug,
            _ => Level::Info,
        }
    }
}

/// What became of one row.
enum RowResult {
    Published,
    GivenUp,
    /// A later version put it there; it stays as it is.
    NotUnderstood,
    /// Another run took it, or its state moved meanwhile.
    Gone,
}

/// What one call works with.
struct Republisher<H: Host> {
    host: H,
    settings: Settings<H>,
    sns: Endpoint,
    topic_arn: String,
    schedule: RepublishSchedule,
    given_up: GivenUpSchedule,
    shards: PendingShards,
}

/// Handles a call of the schedule, and writes one log line about it, and one about each appointment that it gives up.
pub async fn handle(host: impl Host, request: &http::Request<impl Body>, arrived: SystemTime) -> Response {
    let trace = RequestEntropy::draw(host).trace(caller(request.headers()));
    let mut country = None;
    let result = match order(request) {
        Ok(order) => {
            country = Some(order.country);
            run(host, order.country, arrived).await.map_err(|failure| {
                let code = match failure {
                    HandlingError::Retry(_) => ProblemCode::TemporarilyUnavailable,
                    HandlingError::Poison(_) | HandlingError::Setting(_) => ProblemCode::Internal,
                };
                (Problem::new(code), failure.level(), Some(failure.to_string()))
            })
        }
        Err(problem) => Err((problem, Level::Warn, None)),
    };
    let (response, level, message, report) = match result {
        Ok(report) => (json(&report), report.level(), "undecided commands published again", report),
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
        .with("not_understood", report.not_understood)
        .with("oldest_due_seconds", report.oldest_due.map_or(0, |since| seconds_since(since, Timestamp::from(arrived))))
        .with("more", report.more)
        .with_some("error", report.error)
        .with_duration_since(arrived)
        .write(host);
    response
}

fn json(report: &Report) -> Response {
    // Numbers and booleans always serialise.
    let mut response = Response::new(serde_json::to_vec(report).unwrap_or_default());
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What a request asks for, or why it is not what the schedule sends.
fn order(request: &http::Request<impl Body>) -> Result<Order, Problem> {
    if request.uri().path() != ROUTE {
        return Err(Problem::new(ProblemCode::NotFound));
    }
    if request.method() != Method::POST {
        return Err(Problem::method_not_allowed("POST"));
    }
    let body = request.body().read(BODY_LIMIT).map_err(|_| invalid_order())?;
    serde_json::from_slice(&body).map_err(|_| invalid_order())
}

async fn run(host: impl Host, country: Country, arrived: SystemTime) -> Result<Report, HandlingError> {
    let republisher = Republisher::read(host, arrived)?;
    let began = Instant::now();
    let shards: Vec<String> = republisher.shards.waiting(country).chain(republisher.shards.given_up(country)).collect();
    let mut report = Report::default();
    for shard in join_all(shards.iter().map(|shard| republisher.shard(shard, began))).await {
        report.add(shard);
    }
    // Where nothing could be done, the next call of the schedule is soon enough.
    report.more &= report.published + report.given_up > 0;
    match report.error {
        Some(error) if report.unread == shards.len() => Err(HandlingError::Retry(error)),
        _ => Ok(report),
    }
}

fn invalid_order() -> Problem {
    let detail = (
        "Envíe {\"countryISO\":\"PE\"} o {\"countryISO\":\"CL\"}.".to_owned(),
        "Send {\"countryISO\":\"PE\"} or {\"countryISO\":\"CL\"}.".to_owned(),
    );
    let error = FieldError { field: "countryISO".to_owned(), code: FieldErrorCode::UnsupportedValue };
    Problem::new(ProblemCode::InvalidBody).with_detail(detail.0, detail.1).with_errors(vec![error])
}

impl<H: Host> Republisher<H> {
    fn read(host: H, arrived: SystemTime) -> Result<Self, SettingError> {
        let variables = &Variables::of(host);
        Ok(Self {
            host,
            settings: Settings::read(host, variables, arrived)?,
            sns: SNS_ENDPOINT.parse(variables)?,
            topic_arn: APPOINTMENTS_TOPIC_ARN.text(variables)?,
            schedule: REPUBLISH_DELAYS_SECONDS.parse(variables)?,
            given_up: GIVEN_UP_SCHEDULE_SECONDS.parse(variables)?,
            shards: PENDING_SHARDS_READ.parse(variables)?,
        })
    }

    /// Processes each row of a shard that is due by now, as far as the time reaches. No row is begun after it, and those that
    /// have begun are finished.
    async fn shard(&self, shard: &str, began: Instant) -> Report {
        let client = self.settings.client.clone().with_deadline(CALL);
        let table = self.table(&client);
        let mut report = Report::default();
        let due_by = now();
        let mut start = None;
        loop {
            let page = match table.due(shard, due_by, ROWS_PER_PAGE, start).await {
                Ok(page) => page,
                Err(error) => {
                    report.unread = 1;
                    report.error.get_or_insert(error.to_string());
                    return report;
                }
            };
            report.oldest_due = report.oldest_due.or_else(|| page.appointments.first().map(|row| row.since));
            for invalid in page.unreadable {
                report.not_understood += 1;
                report.error.get_or_insert(invalid.to_string());
            }
            let mut waiting = page.appointments.len();
            let in_time = stream::iter(page.appointments).take_while(|_| ready(began.elapsed() < RUN));
            let mut results = pin!(in_time.map(|row| self.process(&client, row)).buffer_unordered(CLAIMS_AT_ONCE));
            while let Some(result) = results.next().await {
                waiting -= 1;
                match result {
                    Ok(RowResult::Published) => report.published += 1,
                    Ok(RowResult::GivenUp) => report.given_up += 1,
                    Ok(RowResult::NotUnderstood) => report.not_understood += 1,
                    Ok(RowResult::Gone) => {}
                    Err(error) => {
                        report.failed += 1;
                        report.error.get_or_insert(error);
                    }
                }
            }
            start = page.next;
            if waiting > 0 || start.is_none() || began.elapsed() >= RUN {
                report.more = waiting > 0 || start.is_some();
                return report;
            }
        }
    }

    /// Publishes a row's command again, or gives it up after the last time.
    async fn process(&self, client: &Client<H::Transport>, row: PendingAppointment) -> Result<RowResult, String> {
        let now = now();
        let attempt = row.attempt.saturating_add(1);
        match row.status {
            Status::Unknown(_) => self.put_off(client, row, now).await,
            _ if row.is_given_up() => match self.given_up.after(attempt, now) {
                Some(next) => self.publish(client, row, attempt, next, now).await,
                None => self.let_go(client, row, now).await,
            },
            Status::Pending | Status::Cancelling => match self.schedule.after(attempt, now) {
                Some(next) => self.publish(client, row, attempt, next, now).await,
                None => self.give_up(client, row, now).await,
            },
            // A run died before it had given this one up.
            Status::Failed | Status::Completed | Status::Rejected | Status::Cancelled => {
                self.give_up(client, row, now).await
            }
        }
    }

    /// The attempt counts only when it is made: what is not published keeps its number and comes again with the next call, for
    /// as long as the attempts would have taken. Then it counts as the last one: the call may have taken effect, and an earlier
    /// one too, so its outcome is waited for before anybody is told that the request failed.
    async fn publish(
        &self,
        client: &Client<H::Transport>,
        row: PendingAppointment,
        attempt: u32,
        next: Timestamp,
        now: Timestamp,
    ) -> Result<RowResult, String> {
        let table = self.table(client);
        let until = now + CLAIM_DURATION;
        // What the table returns counts: the index may be older.
        let Some(stored) = table.claim(&row, until).await.map_err(text)? else { return Ok(RowResult::Gone) };
        let Some(message) = stored.undecided_command() else { return Ok(RowResult::Gone) };
        let before = row.attempt;
        let claimed = row.claimed_until(until);
        if let Err(error) = CommandTopic::new(client, &self.sns, &self.topic_arn).publish(&message).await {
            let last =
                self.schedule.last_attempt(stored.appointment.updated_at, now).filter(|_| !claimed.is_given_up());
            // Of a cancellation that is given up nobody is told anything.
            if last.is_some() && stored.appointment.status == Status::Cancelling {
                return self.give_up_claimed(client, &claimed, stored, now).await;
            }
            let (attempt, next) = last.unwrap_or_else(|| (before, self::now()));
            // If this fails too, the claim ends by itself.
            let _ = table.reschedule(&claimed, attempt, next).await;
            return Err(error.to_string());
        }
        table.reschedule(&claimed, attempt, next).await.map_err(text)?;
        Ok(RowResult::Published)
    }

    /// A row of a later version stays as it is, and out of the way of the others.
    async fn put_off(
        &self,
        client: &Client<H::Transport>,
        row: PendingAppointment,
        now: Timestamp,
    ) -> Result<RowResult, String> {
        let next = self.schedule.first(now);
        match self.table(client).claim(&row, next).await.map_err(text)? {
            None => Ok(RowResult::Gone),
            Some(stored) => {
                self.alarm("row left as it is: its status is of a later version", &stored);
                Ok(RowResult::NotUnderstood)
            }
        }
    }

    /// A request whose country sent no outcome fails, which is announced; a cancellation stays `cancelling`. A log line
    /// raises the alarm for both, and only then the row leaves its shard: where a run dies in between, the next one finds
    /// the row again, `failed` already, and finishes.
    async fn give_up(
        &self,
        client: &Client<H::Transport>,
        row: PendingAppointment,
        now: Timestamp,
    ) -> Result<RowResult, String> {
        let until = now + CLAIM_DURATION;
        match self.table(client).claim(&row, until).await.map_err(text)? {
            Some(stored) => self.give_up_claimed(client, &row.claimed_until(until), stored, now).await,
            None => Ok(RowResult::Gone),
        }
    }

    /// As [`Self::give_up`], of a row that is claimed.
    async fn give_up_claimed(
        &self,
        client: &Client<H::Transport>,
        claimed: &PendingAppointment,
        mut stored: StoredAppointment,
        now: Timestamp,
    ) -> Result<RowResult, String> {
        let table = self.table(client);
        if stored.appointment.status == Status::Pending {
            let failed = table.fail_undecided(claimed, stored.trace, now).await.map_err(text)?;
            let Some(failed) = failed else { return Ok(RowResult::Gone) };
            stored = failed;
        }
        match stored.appointment.status {
            Status::Failed => {
                let change =
                    stored.change_by(not_processed_event_id(claimed.appointment_id), Status::Failed, stored.trace);
                if let Some(change) = change {
                    self.settings.announce(client, &change).await.map_err(text)?;
                }
                self.alarm("request given up: its country sent no outcome", &stored);
            }
            Status::Cancelling => self.alarm("cancellation given up: its country sent no outcome", &stored),
            // It has its outcome, and no longer waits.
            _ => {
                table.leave_index(claimed).await.map_err(text)?;
                return Ok(RowResult::Gone);
            }
        }
        let moved = table.give_up(claimed, self.given_up.first(now)).await.map_err(text)?;
        Ok(if moved { RowResult::GivenUp } else { RowResult::Gone })
    }

    /// Nobody is asked any more about what was given up so long ago that no queue holds anything about it.
    async fn let_go(
        &self,
        client: &Client<H::Transport>,
        row: PendingAppointment,
        now: Timestamp,
    ) -> Result<RowResult, String> {
        let until = now + CLAIM_DURATION;
        let table = self.table(client);
        let Some(stored) = table.claim(&row, until).await.map_err(text)? else { return Ok(RowResult::Gone) };
        self.alarm("nobody is asked any more about what was given up", &stored);
        table.leave_index(&row.claimed_until(until)).await.map_err(text)?;
        Ok(RowResult::Gone)
    }

    fn table<'a>(&'a self, client: &'a Client<H::Transport>) -> AppointmentsTable<'a, H::Transport> {
        AppointmentsTable::new(client, &self.settings.dynamodb, &self.settings.table)
    }

    /// Writes a log line that asks for an operator.
    fn alarm(&self, message: &'static str, stored: &StoredAppointment) {
        LogLine::new(Level::Error, SERVICE, message, stored.trace)
            .with("appointment_id", stored.appointment.appointment_id)
            .with("country", stored.appointment.country)
            .with("appointment_status", stored.appointment.status)
            .write(self.host);
    }
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

fn seconds_since(since: Timestamp, now: Timestamp) -> i64 {
    now.unix_milliseconds().saturating_sub(since.unix_milliseconds()) / 1000
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
