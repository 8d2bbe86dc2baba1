//! A change of an appointment's status: the condition and the values of its update, made from the state machine.

use std::fmt::Write as _;

use appointment::{Country, HistoryEntry, Reason, Status, StatusEvent, Timestamp, TraceContext};
use aws_http::dynamodb::Item;
use uuid::Uuid;

use crate::attribute;
use crate::item::history_value;

/// `status` is a reserved word in expressions.
pub(crate) const STATUS_NAME: &[(&str, &str)] = &[("#status", attribute::STATUS)];

/// The parts of an update that every change of status has, made from the state machine.
pub(crate) struct StatusChange {
    pub(crate) condition: String,
    pub(crate) values: Item<'static>,
}

impl StatusChange {
    /// `applied` is the event that makes the change, by its id and the trace of its delivery.
    pub(crate) fn new(
        event: StatusEvent,
        target: Status,
        reason: Option<Reason>,
        applied: Option<(Uuid, TraceContext)>,
        now: Timestamp,
    ) -> Self {
        let mut values = Item::new();
        let from = event.moves_from().map(|status| status.as_str().to_owned());
        let condition = is_one_of("#status", "from", from, &mut values);
        values.insert(":status", target.as_str().to_owned());
        values.insert(":now", now.to_string());
        values.insert(":entry", history_value(&HistoryEntry { status: target, at: now, reason }, applied));
        if let Some(reason) = reason {
            values.insert(":reason", reason.as_str().to_owned());
        }
        Self { condition, values }
    }

    /// What only a later version serves moves nowhere.
    pub(crate) fn only_in_known_countries(&mut self) {
        let known = Country::ALL.into_iter().map(|country| country.code().to_owned());
        let condition = is_one_of(attribute::COUNTRY, "country", known, &mut self.values);
        self.condition.push_str(" AND ");
        self.condition.push_str(&condition);
    }
}

/// The condition that an attribute has one of these values, which it adds to `values` by numbered names.
fn is_one_of(attribute: &str, name: &str, texts: impl Iterator<Item = String>, values: &mut Item<'static>) -> String {
    let mut condition = format!("{attribute} IN (");
    for (number, text) in texts.enumerate() {
        let separator = if number == 0 { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(condition, "{separator}:{name}{number}");
        values.insert(format!(":{name}{number}"), text);
    }
    condition.push(')');
    condition
}
