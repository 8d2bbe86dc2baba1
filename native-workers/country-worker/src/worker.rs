use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Instant, SystemTime};

use appointment::{AppointmentId, Country, Reason, Timestamp, TraceContext};
use aws_http::sqs::ReceiveDelays;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use messages::{AppointmentMessage, Command, Outcome, OutcomeDetail, OutcomeEvent, Version1};

use crate::inbox::{self, Unreadable};
use crate::log::milliseconds;
use crate::span::{Beginning, Step, delivery};
use crate::{CommandOutcome, Decision, Decisions, EventBus, Left, NotAccepted, Replaced, SourceQueue, Verdict};

/// Draws the random bytes of a span id (W3C Trace Context).
type SpanIds = Box<dyn Fn() -> [u8; 8] + Send + Sync>;

/// Processes batches of one country's commands.
pub struct Worker<D, B, Q> {
    country: Country,
    delays: ReceiveDelays,
    decisions: D,
    bus: B,
    queue: Q,
    span_ids: SpanIds,
}

/// A message that has to come again has no id by which to say so. The invocation has to fail, which returns the whole
/// batch: a batch item failure with an empty identifier is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message that failed has no messageId: the whole batch has to come again")]
pub struct UnidentifiedFailure;

/// What becomes of the messages about one appointment.
#[derive(Debug, Clone)]
enum Disposition {
    /// The outcome is on the bus: the messages are done with.
    Reported { command: Command, outcome: Outcome, reason: Option<Reason> },
    /// The appointment was erased: the messages are done with, and nobody hears of them.
    Erased,
    /// The messages have to come again.
    Retry(RetryReason),
}

/// Why messages have to come again; the text is for the log.
#[derive(Debug, Clone, thiserror::Error)]
enum RetryReason {
    #[error("{0}")]
    Unreadable(Unreadable),
    /// There is no decision, for certain.
    #[error("undecided")]
    Undecided,
    /// There may be a decision: the database did not respond, now or at an earlier delivery.
    #[error("no_response")]
    NoResponse,
    /// There is a decision of a later version.
    #[error("unknown_decision")]
    UnknownDecision,
    #[error("panicked")]
    Panicked,
    #[error("event_not_accepted: {0}")]
    NotAccepted(NotAccepted),
}

impl<D: Decisions, B: EventBus, Q: SourceQueue> Worker<D, B, Q> {
    /// A worker of `country`, whose queue delivers a message as often, and with the pauses, that `delays` says. `span_ids`
    /// draws the random bytes of a span id for each event.
    pub fn new(
        country: Country,
        delays: ReceiveDelays,
        decisions: D,
        bus: B,
        queue: Q,
        span_ids: impl Fn() -> [u8; 8] + Send + Sync + 'static,
    ) -> Self {
        Self { country, delays, decisions, bus, queue, span_ids: Box::new(span_ids) }
    }

    /// Decides and reports a batch, and names the messages that have to come again: one that is no command for this
    /// country, one whose event was not accepted, and each message of a batch that could not be decided. How soon they
    /// come is told to their queue.
    ///
    /// # Errors
    ///
    /// A message that has to come again has no id; then the whole batch has to.
    pub async fn process(&self, event: SqsEvent) -> Result<SqsBatchResponse, UnidentifiedFailure> {
        let began = Beginning::now();
        let records = event.records;
        let mut messages: Vec<Result<AppointmentMessage, Unreadable>> = records
            .iter()
            .map(|record| isolated(|| inbox::read(self.country, record)).unwrap_or(Err(Unreadable::Panicked)))
            .collect();
        let commands = fold(&mut messages);

        let mut places = Places::default();
        let mut steps = Vec::with_capacity(2);
        let decided = self.decide(&commands, &mut steps).await;
        let mut dispositions = HashMap::with_capacity(commands.len());
        // The events, and what each of them is to its command.
        let (mut events, mut purposes) = (Vec::with_capacity(commands.len()), Vec::with_capacity(commands.len()));
        for command in commands.values() {
            let disposition = match decided.get(&command.appointment_id) {
                Some(CommandOutcome::Decided(decision)) => match isolated(|| self.outcomes(command, decision)) {
                    Ok((outcome, of_replaced)) => {
                        places.insert(command, &outcome);
                        purposes.push((command.appointment_id, Purpose::Outcome));
                        events.push(outcome);
                        purposes.extend(of_replaced.iter().map(|_| (command.appointment_id, Purpose::Replaced)));
                        events.extend(of_replaced);
                        continue;
                    }
                    Err(Panicked) => Disposition::Retry(RetryReason::Panicked),
                },
                Some(CommandOutcome::Erased) => Disposition::Erased,
                Some(CommandOutcome::Undecided) => Disposition::Retry(RetryReason::Undecided),
                Some(CommandOutcome::Unknown) => Disposition::Retry(RetryReason::UnknownDecision),
                None => Disposition::Retry(RetryReason::NoResponse),
            };
            dispositions.insert(command.appointment_id, disposition);
        }
        for (message, final_failure) in self.final_failures(&records, &messages, &dispositions) {
            places.insert(message, &final_failure);
            purposes.push((final_failure.detail.appointment_id, Purpose::FinalFailure));
            events.push(final_failure);
        }

        let mut accepted = Vec::new();
        if !events.is_empty() {
            let started = Instant::now();
            accepted = self.bus.put(&events).await;
            steps.push(Step { name: "events.PutEvents", started, duration: started.elapsed() });
        }
        for ((event, (command, purpose)), accepted) in events.iter().zip(purposes).zip(accepted) {
            settle(&mut dispositions, command, purpose, event, accepted);
        }

        let report = Report { country: self.country, delays: &self.delays, began, steps, places };
        let (response, left) = respond(&records, &messages, &dispositions, &report);
        if !left.is_empty() {
            self.queue.leave(&left).await;
        }
        let failed = response.as_ref().map_or(records.len(), |response| response.batch_item_failures.len());
        let trace_ids: HashSet<String> =
            messages.iter().flatten().map(|message| message.traceparent.trace_id()).collect();
        tracing::info!(
            country = self.country.code(),
            batch_size = records.len(),
            succeeded = records.len() - failed,
            failed,
            sql_duration_ms = report.took("postgres.decide"),
            put_events_duration_ms = report.took("events.PutEvents"),
            duration_ms = milliseconds(began.instant.elapsed()),
            trace_ids = trace_ids.into_iter().collect::<Vec<_>>().join(" "),
            "batch processed"
        );
        response
    }

    /// The database's decisions. A batch that could not be decided has none.
    async fn decide(
        &self,
        commands: &BTreeMap<AppointmentId, AppointmentMessage>,
        steps: &mut Vec<Step>,
    ) -> HashMap<AppointmentId, CommandOutcome> {
        if commands.is_empty() {
            return HashMap::new();
        }
        let started = Instant::now();
        let decided = self.decisions.decide(&commands.values().collect::<Vec<_>>()).await.unwrap_or_else(|error| {
            tracing::error!(country = self.country.code(), error = %error, "batch undecided: all of it has to come again");
            HashMap::new()
        });
        steps.push(Step { name: "postgres.decide", started, duration: started.elapsed() });
        decided
    }

    /// The event with the `decision` about `command`, and the event about the appointment that this one replaced.
    fn outcomes(&self, command: &AppointmentMessage, decision: &Decision) -> (OutcomeEvent, Option<OutcomeEvent>) {
        let place = self.place(command);
        let of_replaced = decision.replaced.as_deref().map(|Replaced { appointment_id, schedule_id, decision }| {
            let replaced =
                AppointmentMessage { appointment_id: *appointment_id, schedule_id: *schedule_id, ..command.clone() };
            self.outcome(&replaced, decision, place)
        });
        (self.outcome(command, decision, place), of_replaced)
    }

    fn outcome(&self, command: &AppointmentMessage, decision: &Decision, place: TraceContext) -> OutcomeEvent {
        let (outcome, reason, replaced_by) = match decision.verdict {
            Verdict::Booked => (Outcome::Completed, None, None),
            Verdict::Rejected(reason) => (Outcome::Rejected, Some(reason), None),
            Verdict::Cancelled { reason, replaced_by } => (Outcome::Cancelled, reason, replaced_by),
        };
        let mut event = self.event(command, outcome, reason, decision.decided_at, place);
        event.detail.replaced_by = replaced_by;
        event.detail.slot = decision.slot.clone().map(|slot| slot.of(self.country));
        event
    }

    fn event(
        &self,
        command: &AppointmentMessage,
        outcome: Outcome,
        reason: Option<Reason>,
        occurred_at: Timestamp,
        place: TraceContext,
    ) -> OutcomeEvent {
        // What was cancelled although nobody asked is told in several ways, and is one event.
        let reported = match (outcome, reason) {
            (Outcome::Cancelled, Some(_)) => Command::Cancellation,
            _ => command.command,
        };
        OutcomeEvent {
            outcome,
            detail: OutcomeDetail {
                version: Version1,
                event_id: OutcomeEvent::event_id(command.appointment_id, outcome, reported),
                appointment_id: command.appointment_id,
                insured_id: command.insured_id,
                schedule_id: command.schedule_id,
                country: self.country,
                command: reported,
                reason,
                replaced_by: None,
                slot: None,
                occurred_at,
                traceparent: place,
            },
        }
    }

    /// Draws the place of this hop in a message's trace.
    fn place(&self, message: &AppointmentMessage) -> TraceContext {
        message.traceparent.child((self.span_ids)())
    }

    /// `AppointmentFailed` for each command that the queue delivered for the last time and that is undecided for certain:
    /// the person hears of it, while the message itself moves to the dead-letter queue. About one that may have been
    /// decided nothing is said: the republisher asks for it again. Nor about a question for a decision, whose appointment
    /// has failed already.
    fn final_failures<'a>(
        &self,
        records: &[SqsMessage],
        messages: &'a [Result<AppointmentMessage, Unreadable>],
        dispositions: &HashMap<AppointmentId, Disposition>,
    ) -> Vec<(&'a AppointmentMessage, OutcomeEvent)> {
        let now = Timestamp::from(SystemTime::now());
        let undecided = |message: &AppointmentMessage| {
            matches!(dispositions.get(&message.appointment_id), Some(Disposition::Retry(RetryReason::Undecided)))
        };
        let mut reported = HashSet::new();
        let may_fail = |message: &AppointmentMessage| message.command != Command::Decision;
        records
            .iter()
            .zip(messages)
            .filter_map(|(record, message)| Some((record, message.as_ref().ok()?)))
            .filter(|(_, message)| may_fail(message) && undecided(message))
            .filter(|(record, _)| delivery(record).receive_count >= self.delays.max_receive_count())
            .filter(|(_, message)| reported.insert((message.appointment_id, message.command)))
            .filter_map(|(_, message)| {
                let event =
                    || self.event(message, Outcome::Failed, Some(Reason::ProcessingFailed), now, self.place(message));
                isolated(event).ok().map(|event| (message, event))
            })
            .collect()
    }
}

impl<D: fmt::Debug, B: fmt::Debug, Q: fmt::Debug> fmt::Debug for Worker<D, B, Q> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Worker")
            .field("country", &self.country)
            .field("delays", &self.delays)
            .field("decisions", &self.decisions)
            .field("bus", &self.bus)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

/// One command per appointment, the greatest: a cancellation wins over everything, and the question for the decision over
/// the request, which the person was told has failed. A message that names another person or slot than the first one for
/// its appointment is not a command.
fn fold(messages: &mut [Result<AppointmentMessage, Unreadable>]) -> BTreeMap<AppointmentId, AppointmentMessage> {
    let mut commands: BTreeMap<AppointmentId, AppointmentMessage> = BTreeMap::new();
    for entry in messages {
        let Ok(message) = entry else { continue };
        let command = commands.entry(message.appointment_id).or_insert_with(|| message.clone());
        if (command.insured_id, command.schedule_id) != (message.insured_id, message.schedule_id) {
            *entry = Err(Unreadable::Contradictory);
        } else if message.command > command.command {
            *command = message.clone();
        }
    }
    commands
}

/// What an event is to its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// It is the outcome of the command.
    Outcome,
    /// It is about the appointment that the command's replaced.
    Replaced,
    /// It tells that the command failed for good. A failure that was reported still is one.
    FinalFailure,
}

/// Notes what became of a command when one of its events was put on the bus.
fn settle(
    dispositions: &mut HashMap<AppointmentId, Disposition>,
    command: AppointmentId,
    purpose: Purpose,
    event: &OutcomeEvent,
    accepted: Result<(), NotAccepted>,
) {
    let detail = &event.detail;
    match (purpose, accepted) {
        (Purpose::Outcome, Ok(())) => {
            let disposition =
                Disposition::Reported { command: detail.command, outcome: event.outcome, reason: detail.reason };
            dispositions.insert(command, disposition);
        }
        (Purpose::Replaced, Ok(())) => {}
        (Purpose::Outcome | Purpose::Replaced, Err(error)) => {
            dispositions.insert(command, Disposition::Retry(RetryReason::NotAccepted(error)));
        }
        (Purpose::FinalFailure, accepted) => tracing::error!(
            trace_id = detail.traceparent.trace_id(),
            appointment_id = %detail.appointment_id,
            country = detail.country.code(),
            command = detail.command.as_str(),
            event_accepted = accepted.is_ok(),
            "appointment given up: delivered for the last time, and undecided"
        ),
    }
}

/// The places of this hop in the traces of the messages that it told of, by what each message says of its trace.
#[derive(Default)]
struct Places(HashMap<TraceContext, TraceContext>);

impl Places {
    fn insert(&mut self, message: &AppointmentMessage, event: &OutcomeEvent) {
        self.0.insert(message.traceparent, event.detail.traceparent);
    }

    fn of(&self, message: &AppointmentMessage) -> Option<TraceContext> {
        self.0.get(&message.traceparent).copied()
    }
}

/// What the lines about the messages of a batch have in common.
struct Report<'a> {
    country: Country,
    delays: &'a ReceiveDelays,
    began: Beginning,
    steps: Vec<Step>,
    places: Places,
}

/// Logs what became of each message, names the ones that have to come again, and says after how long.
fn respond(
    records: &[SqsMessage],
    messages: &[Result<AppointmentMessage, Unreadable>],
    dispositions: &HashMap<AppointmentId, Disposition>,
    report: &Report<'_>,
) -> (Result<SqsBatchResponse, UnidentifiedFailure>, Vec<Left>) {
    let mut response = SqsBatchResponse::default();
    let mut left = Vec::new();
    let mut unidentified = false;
    for (record, message) in records.iter().zip(messages) {
        let disposition = match message {
            Ok(message) => dispositions.get(&message.appointment_id).cloned(),
            Err(kind) => Some(Disposition::Retry(RetryReason::Unreadable(*kind))),
        };
        // A bus that reports on fewer events than it got has not accepted the rest.
        let disposition = disposition
            .unwrap_or(Disposition::Retry(RetryReason::NotAccepted(NotAccepted { code: "NoResponse".to_owned() })));
        report.log(record, message.as_ref().ok(), &disposition);
        let Disposition::Retry(failure) = disposition else { continue };
        match record.message_id.as_deref().filter(|id| !id.is_empty()) {
            Some(id) => response.add_failure(id),
            None => unidentified = true,
        }
        let (Some(queue_arn), Some(receipt_handle)) = (&record.event_source_arn, &record.receipt_handle) else {
            continue;
        };
        let delay = match failure {
            RetryReason::Unreadable(_) => report.delays.after_poison(delivery(record).receive_count),
            _ => report.delays.after(delivery(record).receive_count),
        };
        left.push(Left { queue_arn: queue_arn.clone(), receipt_handle: receipt_handle.clone(), delay });
    }
    (if unidentified { Err(UnidentifiedFailure) } else { Ok(response) }, left)
}

impl Report<'_> {
    /// The milliseconds of a step; 0 where there was none.
    fn took(&self, step: &str) -> f64 {
        let step = self.steps.iter().find(|done| done.name == step);
        step.map_or(0.0, |step| milliseconds(step.duration))
    }

    fn log(&self, record: &SqsMessage, message: Option<&AppointmentMessage>, disposition: &Disposition) {
        let message_id = record.message_id.as_deref().unwrap_or_default();
        let country = self.country.code();
        let duration_ms = milliseconds(self.began.instant.elapsed());
        // Both cost something, and most lines do not need the first.
        let receive_count = || delivery(record).receive_count;
        let spans = || self.began.spans(record, &self.steps);
        let span_id = message.and_then(|message| self.places.of(message)).map(TraceContext::span_id);
        let span_id = span_id.as_deref();
        match (message, disposition) {
            (Some(message), Disposition::Reported { command, outcome, reason }) => tracing::info!(
                trace_id = message.traceparent.trace_id(),
                span_id,
                parent_span_id = message.traceparent.span_id(),
                appointment_id = %message.appointment_id,
                country,
                // The decided command: the outcome of a cancellation is also that of the request beside it.
                command = command.as_str(),
                outcome = outcome.detail_type(),
                reason = reason.as_ref().map(Reason::as_str),
                message_id,
                duration_ms,
                spans = spans(),
                "appointment decided and reported"
            ),
            (Some(message), Disposition::Erased) => tracing::info!(
                trace_id = message.traceparent.trace_id(),
                span_id,
                parent_span_id = message.traceparent.span_id(),
                appointment_id = %message.appointment_id,
                country,
                command = message.command.as_str(),
                message_id,
                duration_ms,
                spans = spans(),
                "command of an erased appointment dropped"
            ),
            (Some(message), Disposition::Retry(failure)) => {
                // A macro, because the level of a line is a constant of its place.
                macro_rules! line {
                    ($level:ident, $text:literal) => {
                        tracing::$level!(
                            trace_id = message.traceparent.trace_id(),
                            span_id,
                            parent_span_id = message.traceparent.span_id(),
                            appointment_id = %message.appointment_id,
                            country,
                            command = message.command.as_str(),
                            failure = %failure,
                            message_id,
                            receive_count = receive_count(),
                            duration_ms,
                            spans = spans(),
                            $text
                        )
                    };
                }
                if matches!(failure, RetryReason::UnknownDecision) {
                    line!(error, "the decision is one of a later version");
                } else if receive_count() >= self.delays.max_receive_count() {
                    line!(error, "message goes to the dead-letter queue");
                } else {
                    line!(warn, "message has to come again");
                }
            }
            (None, Disposition::Retry(failure)) => tracing::error!(
                country,
                failure = %failure,
                message_id,
                receive_count = receive_count(),
                duration_ms,
                "message is no command for this country"
            ),
            // What could not be read is never reported.
            (None, Disposition::Reported { .. } | Disposition::Erased) => {}
        }
    }
}

struct Panicked;

/// Runs the part for one message separately: a panic in it does not fail the batch. The panic itself is logged
/// by the hook.
fn isolated<T>(step: impl FnOnce() -> T) -> Result<T, Panicked> {
    // Unwind-safe: the steps only read what they share, and what they return is dropped with the panic.
    catch_unwind(AssertUnwindSafe(step)).map_err(|_payload| Panicked)
}
