//! Whether what the tables, the countries' databases, the announcements and the dead letters say at the end of a chaos run
//! agrees, and with what the people were promised. Nothing of it is read or judged by the product's own code.

use std::collections::{BTreeMap, BTreeSet};

use local_stack::LocalStack;
use operator::database::connect;
use serde_json::{Value, json};

use crate::race::{rows, scan};

/// An appointment that was accepted.
pub(crate) struct Accepted {
    pub(crate) id: String,
    pub(crate) insured: String,
    pub(crate) country: &'static str,
    pub(crate) slot: u64,
    /// The appointment whose place it was to take.
    pub(crate) replaces: Option<String>,
    /// Whether the person's wish to cancel was accepted too.
    pub(crate) cancelled: bool,
}

/// A country's decision: the appointment, its slot, the status, the reason, and the appointment that took its place.
type Decision = (String, i64, String, Option<String>, Option<String>);

/// A slot as its country has it: its number, its version, and whether somebody holds it.
type Slot = (i64, i64, bool);

/// What the system says at its end.
pub(crate) struct Evidence {
    /// The table's rows by appointment.
    rows: BTreeMap<String, Value>,
    /// What people see of slots, by country and slot.
    shown: BTreeMap<String, Value>,
    decisions: BTreeMap<&'static str, Vec<Decision>>,
    slots: BTreeMap<&'static str, Vec<Slot>>,
    /// The details of every `AppointmentStatusChanged`, by appointment.
    announced: BTreeMap<String, Vec<Value>>,
    /// The bodies in dead-letter queues, by queue.
    dead: BTreeMap<String, Vec<String>>,
}

impl Evidence {
    /// Reads it; `events` is the queue of all announcements.
    pub(crate) async fn of(stack: &LocalStack, events: &str) -> Self {
        let services = stack.services();
        let (mut decisions, mut slots) = (BTreeMap::new(), BTreeMap::new());
        for country in ["PE", "CL"] {
            let mut connection = connect(services.database_url(country).unwrap()).await.unwrap();
            let query = "SELECT appointment_id::text, schedule_id, status, reason, replaced_by::text FROM appointments";
            decisions.insert(country, sqlx::query_as(query).fetch_all(&mut connection).await.unwrap());
            let query = "SELECT schedule_id, version, EXISTS (
                             SELECT FROM appointments AS a WHERE a.schedule_id = s.schedule_id AND a.status = 'booked'
                         ) FROM slots AS s";
            slots.insert(country, sqlx::query_as(query).fetch_all(&mut connection).await.unwrap());
        }
        let shown = scan(services, json!({"TableName": services.backplane().slots_table.name})).await;
        let shown = shown.into_iter().map(|item| (text(&item["slotKey"]).to_owned(), item)).collect();
        let mut announced: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for body in drain(stack, events).await {
            let envelope: Value = serde_json::from_str(&body).unwrap();
            if envelope["detail-type"] == "AppointmentStatusChanged" {
                let id = envelope["detail"]["appointmentId"].as_str().unwrap().to_owned();
                announced.entry(id).or_default().push(envelope["detail"].clone());
            }
        }
        let mut dead = BTreeMap::new();
        for (name, url) in services.queue_urls().iter().filter(|(name, _)| name.ends_with("_DLQ")) {
            dead.insert(name.clone(), drain(stack, url).await);
        }
        Self { rows: rows(stack).await, shown, decisions, slots, announced, dead }
    }

    /// Every contradiction, in words.
    pub(crate) fn contradictions(&self, accepted: &[Accepted]) -> Vec<String> {
        let mut found = Vec::new();
        for (queue, messages) in &self.dead {
            found.extend(messages.iter().map(|message| format!("{queue} holds {message}")));
        }
        for (country, decisions) in &self.decisions {
            found.extend(self.of_country(country, decisions));
        }
        for (country, slots) in &self.slots {
            found.extend(self.of_slots(country, slots));
        }
        for appointment in accepted {
            found.extend(self.of_appointment(appointment, accepted));
        }
        for booking in accepted.iter().filter(|appointment| appointment.replaces.is_none()) {
            found.extend(self.of_booking(booking, accepted));
        }
        let asked: BTreeSet<&String> = accepted.iter().map(|appointment| &appointment.id).collect();
        for (id, row) in &self.rows {
            if !asked.contains(id) {
                found.push(format!("nobody asked for {id}: {row}"));
            }
            if row.get("pendingShard").is_some() {
                found.push(format!("{id} still waits: {row}"));
            }
            found.extend(announcements(id, row, self.announced.get(id).map_or(&[], Vec::as_slice)));
        }
        for id in self.announced.keys().filter(|id| !self.rows.contains_key(*id)) {
            found.push(format!("an announcement is about {id}, which does not exist"));
        }
        found
    }

    /// How much there is, in words.
    pub(crate) fn size(&self) -> String {
        let announced: usize = self.announced.values().map(Vec::len).sum();
        format!("{} appointments, {} slots shown, {announced} announcements", self.rows.len(), self.shown.len())
    }

    /// How many moves there were, by the status of the appointment that was to replace another.
    pub(crate) fn moves(&self, accepted: &[Accepted]) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for appointment in accepted.iter().filter(|appointment| appointment.replaces.is_some()) {
            *counts.entry(self.status(&appointment.id)).or_default() += 1;
        }
        counts
    }

    fn status(&self, id: &str) -> &str {
        self.rows.get(id).map_or("lost", |row| text(&row["status"]))
    }

    /// A country's decisions are what the table shows, and no slot has two holders.
    fn of_country(&self, country: &str, decisions: &[Decision]) -> Vec<String> {
        let mut found = Vec::new();
        let mut holders: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
        for (id, slot, status, reason, replaced_by) in decisions {
            let status = if status == "booked" { "completed" } else { status };
            if status == "completed" {
                holders.entry(*slot).or_default().push(id);
            }
            let decided = (status, reason.as_deref().unwrap_or_default(), replaced_by.as_deref().unwrap_or_default());
            match self.rows.get(id) {
                Some(row) if decided == (text(&row["status"]), text(&row["reason"]), text(&row["replacedBy"])) => {}
                row => found.push(format!("{country} says {decided:?} of {id}, the table {}", said(row))),
            }
        }
        let twice = holders.into_iter().filter(|(_, holders)| holders.len() > 1);
        found.extend(twice.map(|(slot, holders)| format!("slot {slot} of {country} is held by {holders:?}")));
        found
    }

    /// People see each slot that has ever had a holder as its country has it.
    fn of_slots(&self, country: &str, slots: &[Slot]) -> Vec<String> {
        let mut found = Vec::new();
        for (slot, version, is_held) in slots {
            let (status, version) = (if *is_held { "busy" } else { "free" }, version.to_string());
            match self.shown.get(&format!("{country}#{slot}")) {
                Some(shown) if text(&shown["status"]) == status && shown["version"]["N"] == version => {}
                // Nothing has been told of it.
                None if version == "1" => {}
                shown => found.push(format!(
                    "slot {slot} of {country} is {status} in version {version}, shown is {}",
                    said(shown)
                )),
            }
        }
        found
    }

    /// It is there, it is its person's, its country has decided it, and what was promised about it is true.
    fn of_appointment(&self, appointment: &Accepted, accepted: &[Accepted]) -> Vec<String> {
        let Accepted { id, insured, country, slot, replaces, cancelled } = appointment;
        let Some(row) = self.rows.get(id) else { return vec![format!("the accepted {id} is not in the table")] };
        let mut found = Vec::new();
        let number = |value: &Value| value["N"].as_str().and_then(|number| number.parse().ok());
        if (text(&row["insuredId"]), text(&row["countryISO"]), number(&row["scheduleId"]))
            != (insured, country, Some(*slot))
        {
            found.push(format!("{id} is another one than was asked for: {row}"));
        }
        if !self.decisions[country].iter().any(|(decided, ..)| decided == id) {
            found.push(format!("{country} never decided {id}: {row}"));
        }
        let (status, reason, successor) = (text(&row["status"]), text(&row["reason"]), text(&row["replacedBy"]));
        if *cancelled && status != "cancelled" {
            found.push(format!("the cancellation of {id} was accepted and is lost: {row}"));
        }
        if status == "cancelled" && !cancelled && reason != "moved" {
            found.push(format!("nobody cancelled {id}: {row}"));
        }
        if (reason == "moved") != (status == "cancelled" && !successor.is_empty()) {
            found.push(format!("{id} is moved in part only: {row}"));
        }
        if reason == "moved" {
            let known = accepted.iter().find(|other| other.id == successor && other.replaces.as_ref() == Some(id));
            // Who has won may have moved on, or cancelled, since.
            if known.is_none() || !["completed", "cancelled"].contains(&self.status(successor)) {
                found.push(format!("{id} made way for {successor}, which is {}: {row}", self.status(successor)));
            }
        }
        let Some(original) = replaces else { return found };
        let Some(original_row) = self.rows.get(original) else { return found };
        let named = &row["replaces"]["M"];
        if text(&named["appointmentId"]) != original || named["scheduleId"] != original_row["scheduleId"] {
            found.push(format!("{id} was to replace {original}, and says otherwise: {row}"));
        }
        let is_replaced = text(&original_row["replacedBy"]) == id;
        let has_won = was_completed(row) || reason == "moved";
        if has_won && !is_replaced {
            found.push(format!("{id} was completed, and {original} did not make way for it: {original_row}"));
        }
        if is_replaced && !has_won && !cancelled {
            found.push(format!("{original} made way for {id}, which was never completed: {row}"));
        }
        if reason == "original_not_booked" && text(&original_row["status"]) == "completed" {
            found.push(format!("{id} was rejected with {reason}, and {original} is booked: {original_row}"));
        }
        found
    }

    /// A booking with all that it was moved to holds one slot at most, and one for certain if it ever held one that nobody
    /// gave back.
    fn of_booking(&self, booking: &Accepted, accepted: &[Accepted]) -> Option<String> {
        let mut line = vec![booking];
        // Each appointment is accepted after the one that it replaces.
        let mut next = 0;
        while let Some(original) = line.get(next) {
            line.extend(accepted.iter().filter(|other| other.replaces.as_ref() == Some(&original.id)));
            next += 1;
        }
        let held = line.iter().filter(|one| self.status(&one.id) == "completed").count();
        let is_given_back = line.iter().any(|one| one.cancelled);
        let was_won = line.iter().filter_map(|one| self.rows.get(&one.id)).any(was_completed);
        let states = || {
            let states = line.iter().map(|one| format!("{} {}", one.id, self.status(&one.id)));
            states.collect::<Vec<_>>().join(", ")
        };
        match held {
            0 if was_won && !is_given_back => {
                Some(format!("{} had a slot and is left without one: {}", booking.insured, states()))
            }
            0 | 1 => None,
            _ => Some(format!("{} holds {held} slots by one booking: {}", booking.insured, states())),
        }
    }
}

/// An item in words.
fn said(item: Option<&Value>) -> String {
    item.map_or_else(|| "nothing".to_owned(), Value::to_string)
}

/// Whether a row said `completed` once.
fn was_completed(row: &Value) -> bool {
    row["history"]["L"].as_array().unwrap().iter().any(|entry| text(&entry["M"]["status"]) == "completed")
}

/// Holds what was announced of an appointment against its history: every change that a country or the republisher made is
/// announced, nothing else is, and a repeated announcement says the same.
fn announcements(id: &str, row: &Value, announced: &[Value]) -> Vec<String> {
    let mut found = Vec::new();
    let mut by_event: BTreeMap<&str, &Value> = BTreeMap::new();
    for detail in announced {
        let event = detail["eventId"].as_str().unwrap();
        if by_event.insert(event, detail).is_some_and(|before| before != detail) {
            found.push(format!("event {event} of {id} was announced in two ways"));
        }
        if detail["insuredId"] != row["insuredId"]["S"]
            || row["scheduleId"]["N"].as_str() != Some(&detail["scheduleId"].to_string())
        {
            found.push(format!("event {event} of {id} was announced of another one: {detail}"));
        }
    }
    // The place in the history, the event, the status, the reason, and what took its place.
    type Change<'a> = (u64, &'a str, &'a str, &'a str, &'a str);
    let mut changes: BTreeSet<Change> = BTreeSet::new();
    for (position, entry) in (1..).zip(row["history"]["L"].as_array().unwrap()) {
        let entry = &entry["M"];
        let status = text(&entry["status"]);
        // Intake's own changes are in its response to the person, and not announced.
        if !["pending", "cancelling"].contains(&status) {
            let successor = if status == "cancelled" { text(&row["replacedBy"]) } else { "" };
            changes.insert((position, text(&entry["eventId"]), status, text(&entry["reason"]), successor));
        }
    }
    let mut told: BTreeSet<Change> = BTreeSet::new();
    for (event, detail) in by_event {
        let field = |name: &str| detail[name].as_str().unwrap_or_default();
        let position = detail["sequence"].as_u64().unwrap_or_default();
        told.insert((position, event, field("status"), field("reason"), field("replacedBy")));
    }
    if changes != told {
        found.push(format!("{id} changed as {changes:?} and was announced as {told:?}"));
    }
    found
}

/// A text attribute of an item in DynamoDB's JSON.
pub(crate) fn text(attribute: &Value) -> &str {
    attribute["S"].as_str().unwrap_or_default()
}

/// Takes everything out of a queue.
async fn drain(stack: &LocalStack, url: &str) -> Vec<String> {
    let aws = stack.services().aws();
    let mut bodies = Vec::new();
    loop {
        let receive = json!({"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0});
        let received = aws.sqs("ReceiveMessage", &receive).await.unwrap();
        let Some(messages) = received["Messages"].as_array().filter(|messages| !messages.is_empty()) else {
            return bodies;
        };
        for message in messages {
            bodies.push(message["Body"].as_str().unwrap().to_owned());
            let delete = json!({"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]});
            aws.sqs("DeleteMessage", &delete).await.unwrap();
        }
    }
}
