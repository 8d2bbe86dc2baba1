//! What a country decides about slots, said a second time: a model that knows nothing of SQL, locks or JSON. It decides one
//! command after the other, in the order of the appointments.

use std::collections::{BTreeMap, BTreeSet};

use appointment::SlotStatus;
use messages::Command;

/// A slot of the model's catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) withdrawn: bool,
    /// Whether it has begun, and whether it has ended.
    pub(crate) begun: bool,
    pub(crate) ended: bool,
}

/// A command about an appointment; a larger number was asked for later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) command: Command,
    pub(crate) appointment: u64,
    pub(crate) person: u32,
    pub(crate) slot: u64,
    /// The appointment that is to be moved, and its slot.
    pub(crate) original: Option<(u64, u64)>,
}

/// What is recorded about an appointment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) person: u32,
    pub(crate) slot: u64,
    /// `booked`, `rejected` or `cancelled`.
    pub(crate) status: &'static str,
    pub(crate) reason: Option<&'static str>,
    pub(crate) replaces: Option<u64>,
    pub(crate) replaced_by: Option<u64>,
}

/// An outcome: of which command, about which appointment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Said {
    pub(crate) command: u64,
    pub(crate) appointment: u64,
    pub(crate) outcome: String,
    pub(crate) reason: Option<String>,
    pub(crate) replaced_by: Option<u64>,
    /// The slot's status and version, if the country has its own catalogue.
    pub(crate) slot: Option<(&'static str, u64)>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    /// Nothing with an external catalogue.
    pub(crate) catalogue: Option<BTreeMap<u64, Place>>,
    pub(crate) max_open: usize,
    pub(crate) standing: BTreeMap<u64, Standing>,
    pub(crate) versions: BTreeMap<u64, u64>,
}

impl Model {
    fn holder(&self, slot: u64) -> Option<u32> {
        self.standing.values().find(|row| row.slot == slot && row.status == "booked").map(|row| row.person)
    }

    fn open_bookings(&self, person: u32, catalogue: &BTreeMap<u64, Place>) -> usize {
        let held = self.standing.values().filter(|row| row.person == person && row.status == "booked");
        held.filter(|row| catalogue.get(&row.slot).is_some_and(|place| !place.ended)).count()
    }

    /// Why the order is refused, if it is.
    fn refusal(&self, order: &Order) -> Option<&'static str> {
        if let (Command::Move, Some((original, slot))) = (order.command, order.original) {
            let right = |row: &&Standing| row.status == "booked" && row.person == order.person && row.slot == slot;
            if self.standing.get(&original).filter(right).is_none() {
                return Some("original_not_booked");
            }
            let place = self.catalogue.as_ref().and_then(|catalogue| catalogue.get(&slot));
            if place.is_some_and(|place| place.begun) {
                return Some("already_started");
            }
        }
        if let Some(catalogue) = &self.catalogue {
            match catalogue.get(&order.slot) {
                None => return Some("slot_unknown"),
                Some(place) if place.withdrawn => return Some("slot_withdrawn"),
                Some(place) if place.begun => return Some("slot_past"),
                Some(_) => {}
            }
        }
        match self.holder(order.slot) {
            Some(person) if person == order.person => return Some("already_booked"),
            Some(_) => return Some("slot_taken"),
            None => {}
        }
        let catalogue = self.catalogue.as_ref().filter(|_| order.command == Command::Request)?;
        (self.open_bookings(order.person, catalogue) >= self.max_open).then_some("too_many_open")
    }

    /// Decides a batch with at most one order per appointment.
    pub(crate) fn decide(&mut self, batch: &[Order]) -> Vec<Said> {
        let mut sorted = batch.to_vec();
        sorted.sort_by_key(|order| order.appointment);
        let (mut said, mut changed) = (Vec::new(), BTreeSet::new());
        for order in &sorted {
            match self.standing.get(&order.appointment) {
                Some(row) if (row.person, row.slot) != (order.person, order.slot) => {
                    said.push((order.appointment, order.appointment, None));
                    continue;
                }
                Some(row) if order.command == Command::Cancellation && row.status != "cancelled" => {
                    if row.status == "booked" {
                        changed.insert(row.slot);
                    }
                    let row = Standing { status: "cancelled", reason: None, ..row.clone() };
                    self.standing.insert(order.appointment, row);
                }
                Some(_) => {}
                None => {
                    let (status, reason) = match order.command {
                        Command::Cancellation => ("cancelled", None),
                        Command::Decision => ("rejected", Some("not_processed")),
                        Command::Request | Command::Move => match self.refusal(order) {
                            Some(reason) => ("rejected", Some(reason)),
                            None => ("booked", None),
                        },
                    };
                    if status == "booked" {
                        changed.insert(order.slot);
                        let original = order.original.filter(|_| order.command == Command::Move);
                        if let Some(moved) = original.and_then(|(original, _)| self.standing.get_mut(&original)) {
                            changed.insert(moved.slot);
                            moved.status = "cancelled";
                            moved.reason = Some("moved");
                            moved.replaced_by = Some(order.appointment);
                        }
                    }
                    let replaces = order.original.map(|(original, _)| original);
                    let row = Standing {
                        person: order.person,
                        slot: order.slot,
                        status,
                        reason,
                        replaces,
                        replaced_by: None,
                    };
                    self.standing.insert(order.appointment, row);
                }
            }
            let row = self.standing[&order.appointment].clone();
            let original = row.replaces.and_then(|original| Some((original, self.standing.get(&original)?.clone())));
            said.push((order.appointment, order.appointment, Some(row)));
            if let Some((original, row)) = original.filter(|(_, row)| row.replaced_by == Some(order.appointment)) {
                said.push((order.appointment, original, Some(row)));
            }
        }
        for slot in changed {
            if let Some(version) = self.versions.get_mut(&slot) {
                *version += 1;
            }
        }
        let slot_of = |command: u64, row: &Option<Standing>| {
            let asked = || sorted.iter().find(|order| order.appointment == command).map(|order| order.slot);
            row.as_ref().map(|row| row.slot).or_else(asked)
        };
        let said = said.into_iter().map(|(command, appointment, row)| Said {
            command,
            appointment,
            slot: slot_of(command, &row).and_then(|slot| self.state(slot)),
            outcome: row.as_ref().map_or("unclassified", |row| row.status).to_owned(),
            reason: row.as_ref().and_then(|row| row.reason).map(ToOwned::to_owned),
            replaced_by: row.and_then(|row| row.replaced_by),
        });
        said.collect()
    }

    fn state(&self, slot: u64) -> Option<(&'static str, u64)> {
        let place = self.catalogue.as_ref()?.get(&slot)?;
        let status = match (place.withdrawn, self.holder(slot)) {
            (true, _) => SlotStatus::BusyUnavailable,
            (false, Some(_)) => SlotStatus::Busy,
            (false, None) => SlotStatus::Free,
        };
        Some((status.as_str(), self.versions[&slot]))
    }
}
