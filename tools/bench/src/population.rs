//! What fills the tables of [`Store`](crate::store::Store): appointments and slots, as they lie in DynamoDB.

use std::time::Duration;

use anyhow::Result;
use appointment::{
    Appointment, AppointmentId, Country, InsuredId, ScheduleId, Slot, SlotStatus, Status, Timestamp, UtcOffset,
};
use backplane::SLOT_RETENTION;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Persons among whom the appointments of many are spread: an insured id has five digits.
const PERSONS: usize = 100_000;

pub(crate) const SPECIALTY: &str = "Cardiología";

/// What fills the table: whose appointments, or slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Population {
    /// All are one person's, in one partition.
    One,
    /// They are spread over up to 100,000 persons.
    Many,
    /// Slots of one specialty, all of them free.
    Slots,
}

pub(crate) fn insured(population: Population, number: usize) -> Result<InsuredId> {
    let person = match population {
        Population::One => 1,
        Population::Many | Population::Slots => number % PERSONS,
    };
    Ok(format!("{person:05}").parse()?)
}

pub(crate) fn appointment(insured_id: InsuredId, number: usize, at: Timestamp) -> Result<Appointment> {
    Ok(Appointment::requested(
        AppointmentId::new(at, std::array::from_fn(|_| fastrand::u8(..))),
        insured_id,
        ScheduleId::try_from(number as u64 + 1)?,
        Country::Peru,
        at,
    ))
}

/// An appointment as it lies in the table once its country has completed it.
pub(crate) fn item(appointment: &Appointment) -> Value {
    let at = appointment.created_at.to_string();
    json!({
        "insuredId": { "S": appointment.insured_id.as_str() },
        "sk": { "S": format!("appointment#{}", appointment.appointment_id) },
        "scheduleId": { "N": appointment.schedule_id.to_string() },
        "countryISO": { "S": appointment.country.as_str() },
        "status": { "S": Status::Completed.as_str() },
        "createdAt": { "S": at },
        "updatedAt": { "S": at },
        "history": { "L": [
            { "M": { "status": { "S": "pending" }, "at": { "S": at } } },
            { "M": { "status": { "S": "completed" }, "at": { "S": at } } },
        ] },
        "traceparent": { "S": "00-07070707070707070707070707070707-0707070707070707-01" },
        "shard": { "S": "PE#0" },
    })
}

/// Half an hour after half an hour, ten at once, at three centers.
pub(crate) fn slot(number: usize) -> Result<Slot> {
    let starts_at = Timestamp::from_unix_milliseconds(4_000_000_000_000 + i64::try_from(number / 10)? * 1_800_000);
    Ok(Slot {
        schedule_id: ScheduleId::try_from(number as u64 + 1)?,
        country: Country::Peru,
        specialty: SPECIALTY.to_owned(),
        center: format!("Center {}", number % 3),
        practitioner: format!("Dr. {}", number % 10),
        starts_at,
        ends_at: starts_at + Duration::from_secs(1800),
        time_zone: "America/Lima".to_owned(),
        utc_offset: UtcOffset::from_minutes(-300)?,
    })
}

/// A free slot as it lies in the table.
pub(crate) fn slot_item(slot: &Slot) -> Value {
    let (starts_at, number) = (slot.starts_at.to_string(), slot.schedule_id.get());
    json!({
        "slotKey": { "S": format!("PE#{number}") },
        "scheduleId": { "N": number.to_string() },
        "countryISO": { "S": "PE" },
        "version": { "N": "1" },
        "status": { "S": SlotStatus::Free.as_str() },
        "specialty": { "S": slot.specialty },
        "center": { "S": slot.center },
        "practitioner": { "S": slot.practitioner },
        "startsAt": { "S": starts_at },
        "endsAt": { "S": slot.ends_at.to_string() },
        "timeZone": { "S": slot.time_zone },
        "utcOffset": { "S": slot.utc_offset.to_string() },
        "expiresAt": { "N": (slot.ends_at + SLOT_RETENTION).unix_seconds().to_string() },
        "startsKey": { "S": format!("{starts_at}#{number:016}") },
        "freeSpecialty": { "S": format!("PE#{}", slot.specialty) },
        "freeCenter": { "S": format!("PE#{}#{}", slot.specialty, slot.center) },
        "freePractitioner": { "S": format!("PE#{}#{}", slot.specialty, slot.practitioner) },
    })
}
