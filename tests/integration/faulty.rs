//! The whole system with a proxy between the components and the emulator, and what tests look at in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_http::Endpoint;
use bytes::Bytes;
use http::StatusCode;
use local_stack::emulator;
use local_stack::http::Http;
use local_stack::ministack::{ACCOUNT, REGION};
use local_stack::{Endpoints, LocalStack};
use operator::backplane::{Backplane, CatalogueKind, Durations};
use operator::database::connect;
use serde_json::{Value, json};
use tests::stack_behind;
pub(crate) use tests::{Booking, fresh_slot};

use crate::fault_proxy::{Action, Armed, Fault, FaultProxy};

/// How long something that takes seconds may take on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// As often as a fault may happen in a test.
pub(crate) const ALWAYS: usize = usize::MAX;

/// A test's own system, with faults that the test arms.
pub(crate) struct Faulty {
    pub(crate) stack: LocalStack,
    pub(crate) proxy: FaultProxy,
    /// The endpoint at which the component confirmation reaches AWS.
    pub(crate) confirmation_endpoint: Endpoint,
}

pub(crate) fn body(insured: &str, slot: u64) -> Value {
    json!({"insuredId": insured, "scheduleId": slot, "countryISO": if slot.is_multiple_of(2) { "PE" } else { "CL" }})
}

pub(crate) fn insured() -> String {
    format!("{:05}", fastrand::u32(0..100_000))
}

pub(crate) async fn post(url: &str, body: &Value) -> anyhow::Result<(StatusCode, http::HeaderMap, Value)> {
    let request = http::Request::post(format!("{url}/appointments"))
        .header("content-type", "application/json")
        .body(Bytes::from(body.to_string()))?;
    let (head, body) = Http::default().send_within(request, PATIENCE).await?.into_parts();
    Ok((head.status, head.headers, serde_json::from_slice(&body)?))
}

impl Faulty {
    /// Starts a system that books any number.
    pub(crate) async fn start(name: &'static str, change: fn(&mut Durations)) -> Self {
        Self::start_with(name, CatalogueKind::External, change).await
    }

    /// Starts a system. With its own catalogue a country has no slots yet.
    pub(crate) async fn start_with(name: &'static str, catalogue: CatalogueKind, change: fn(&mut Durations)) -> Self {
        let proxy = FaultProxy::default();
        let (serving, (tell, told)) = (proxy.clone(), tokio::sync::oneshot::channel());
        let between = async move |emulator: Endpoint| {
            let intake = serving.serve(emulator.clone(), "intake").await;
            let confirmation = serving.serve(emulator, "confirmation").await;
            tell.send(confirmation.clone()).unwrap();
            Endpoints { intake, confirmation }
        };
        let stack = stack_behind(name, catalogue, change, between).await;
        Self { stack, proxy, confirmation_endpoint: told.await.unwrap() }
    }

    /// Lets calls of a component fail.
    pub(crate) fn arm(
        &self,
        caller: &'static str,
        operation: &'static str,
        about: u64,
        action: Action,
        times: usize,
    ) -> Arc<Armed> {
        self.proxy.arm(Fault { caller, operation, about: about.to_string(), action, times })
    }

    /// Books, and wants it to be accepted.
    pub(crate) async fn book(&self, slot: u64) -> Booking {
        self.book_for(&insured(), slot).await
    }

    /// Books for a person, and wants it to be accepted.
    pub(crate) async fn book_for(&self, insured: &str, slot: u64) -> Booking {
        let (status, _, accepted) = post(&self.stack.url(), &body(insured, slot)).await.unwrap();
        assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
        Booking::of(&accepted)
    }

    /// Cancels; returns the status of the response.
    pub(crate) async fn cancel(&self, booking: &Booking) -> StatusCode {
        let url = format!("{}{}", self.stack.url(), booking.path());
        let request = http::Request::delete(url).body(Bytes::new()).unwrap();
        Http::default().send_within(request, PATIENCE).await.unwrap().status()
    }

    /// The appointments of a slot in the person's list.
    pub(crate) async fn listed(&self, insured: &str, slot: u64) -> Vec<Value> {
        let response = Http::default().get(&format!("{}/appointments/{insured}", self.stack.url())).await.unwrap();
        let list: Value = serde_json::from_slice(response.body()).unwrap();
        let appointments = list["appointments"].as_array().unwrap().iter();
        appointments.filter(|found| found["scheduleId"] == slot).cloned().collect()
    }

    /// The only appointment of a slot in the person's list.
    pub(crate) async fn only_one(&self, insured: &str, slot: u64) -> Booking {
        match self.listed(insured, slot).await.as_slice() {
            [only] => Booking::of(only),
            listed => panic!("one appointment, not {listed:?}"),
        }
    }

    /// Waits until the row in the table is as it should be; the row, in DynamoDB's JSON.
    pub(crate) async fn until(&self, booking: &Booking, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let row = self.row(booking).await;
            if holds(&row) {
                return row;
            }
            assert!(started.elapsed() < PATIENCE, "{} is not {what}: {row}", booking.id);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn until_completed(&self, booking: &Booking) -> Value {
        self.until(booking, "completed", |row| row["status"]["S"] == "completed").await
    }

    pub(crate) async fn row(&self, booking: &Booking) -> Value {
        let services = self.stack.services();
        let get = json!({
            "TableName": services.backplane().table.name,
            "Key": {"insuredId": {"S": booking.insured}, "sk": {"S": format!("appointment#{}", booking.id)}},
            "ConsistentRead": true,
        });
        services.aws().dynamodb("GetItem", &get).await.unwrap()["Item"].clone()
    }

    /// The country's decisions about a slot.
    pub(crate) async fn decisions(&self, slot: u64) -> Vec<(String, String)> {
        let country = if slot.is_multiple_of(2) { "PE" } else { "CL" };
        let mut connection = connect(self.stack.services().database_url(country).unwrap()).await.unwrap();
        let query = "SELECT appointment_id::text, status FROM appointments WHERE schedule_id = $1";
        sqlx::query_as(query).bind(i64::try_from(slot).unwrap()).fetch_all(&mut connection).await.unwrap()
    }

    /// The `AppointmentStatusChanged` about an appointment that EventBridge took: status and event id of each.
    pub(crate) fn announced(&self, booking: &Booking) -> Vec<(String, String)> {
        let text = |detail: &Value, field: &str| detail[field].as_str().unwrap().to_owned();
        let details = self.announcements(booking);
        details.iter().map(|detail| (text(detail, "status"), text(detail, "eventId"))).collect()
    }

    /// As [`Self::announced`], whole.
    pub(crate) fn announcements(&self, booking: &Booking) -> Vec<Value> {
        let calls = self.proxy.taken("PutEvents", &booking.id.to_string());
        let details = calls.iter().map(|call| {
            let call: Value = serde_json::from_str(call).unwrap();
            serde_json::from_str(call["Entries"][0]["Detail"].as_str().unwrap()).unwrap()
        });
        details.collect()
    }

    /// Waits until each of these statuses of an appointment is announced.
    pub(crate) async fn until_announced(&self, booking: &Booking, statuses: &[&str]) {
        let started = Instant::now();
        loop {
            let announced = self.announced(booking);
            if statuses.iter().all(|status| announced.iter().any(|(told, _)| told == status)) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{} is announced as {announced:?}", booking.id);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Books, and lets the announcement of the outcome fail once.
    pub(crate) async fn book_unannounced(&self) -> Booking {
        let slot = fresh_slot();
        let armed = self.arm(
            "confirmation",
            "PutEvents",
            slot,
            Action::Respond(500, r#"{"__type":"InternalServerError"}"#),
            ALWAYS,
        );
        let booking = self.book(slot).await;
        self.until_completed(&booking).await;
        armed.has_happened().await;
        armed.heal();
        booking
    }

    /// Invokes the function behind SQS_CONFIRMATION with a batch of one outcome, as its event source mapping does; whether
    /// the message would be deleted.
    pub(crate) async fn deliver(&self, event: &Value) -> bool {
        let record = json!({
            "messageId": "1", "receiptHandle": "1", "body": event.to_string(), "attributes": {"ApproximateReceiveCount": "1"},
            "messageAttributes": {}, "md5OfBody": "", "eventSource": "aws:sqs", "awsRegion": REGION,
            "eventSourceARN": format!("arn:aws:sqs:{REGION}:{ACCOUNT}:SQS_CONFIRMATION"),
        });
        let response = self.invoke_update(&json!({"Records": [record]})).await;
        let failures =
            response["batchItemFailures"].as_array().unwrap_or_else(|| panic!("no batch response: {response}"));
        assert!(failures.iter().all(|failure| failure["itemIdentifier"] == "1"), "{response}");
        failures.is_empty()
    }

    /// What the function `appointment-update` returns for an event.
    pub(crate) async fn invoke_update(&self, event: &Value) -> Value {
        let services = self.stack.services();
        let Backplane { confirmation, function_alias, .. } = services.backplane();
        let path = format!("/2015-03-31/functions/{}/invocations?Qualifier={function_alias}", confirmation.function);
        emulator::root_with_limit(services.endpoint().clone(), PATIENCE).lambda(&path, event).await.unwrap()
    }

    /// Waits for a line of the application's functions that holds all of these texts.
    pub(crate) async fn until_logged(&self, texts: &[&str]) {
        let started = Instant::now();
        let log = self.stack.services().logs().join("functions.log");
        loop {
            let lines = std::fs::read_to_string(&log).unwrap();
            if lines.lines().any(|line| texts.iter().all(|text| line.contains(text))) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "no line of {} holds {texts:?}", log.display());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

pub(crate) fn history(row: &Value) -> Vec<&str> {
    row["history"]["L"].as_array().unwrap().iter().map(|entry| entry["M"]["status"]["S"].as_str().unwrap()).collect()
}

/// Whether a row is in a shard for what was given up.
pub(crate) fn is_given_up(row: &Value) -> bool {
    row["pendingShard"]["S"].as_str().is_some_and(|shard| shard.ends_with("#given_up"))
}
