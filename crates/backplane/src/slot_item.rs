//! How a slot lies in its own item of the table `slots`, and in an appointment's.

use appointment::{Country, ScheduleId, Slot};
use aws_http::dynamodb::Item;

use crate::attribute::{InvalidItem, parsed};

/// Names of the table's attributes that no appointment has.
pub(crate) mod own {
    pub(crate) const SLOT_KEY: &str = "slotKey";
    pub(crate) const VERSION: &str = "version";
    pub(crate) const SPECIALTY: &str = "specialty";
    pub(crate) const CENTER: &str = "center";
    pub(crate) const PRACTITIONER: &str = "practitioner";
    pub(crate) const STARTS_AT: &str = "startsAt";
    pub(crate) const ENDS_AT: &str = "endsAt";
    pub(crate) const TIME_ZONE: &str = "timeZone";
    pub(crate) const UTC_OFFSET: &str = "utcOffset";
    pub(crate) const STARTS_KEY: &str = "startsKey";
    pub(crate) const FREE_SPECIALTY: &str = "freeSpecialty";
    pub(crate) const FREE_CENTER: &str = "freeCenter";
    pub(crate) const FREE_PRACTITIONER: &str = "freePractitioner";
    pub(crate) const SPECIALTIES: &str = "specialties";
    pub(crate) const CENTERS: &str = "centers";
    pub(crate) const PRACTITIONERS: &str = "practitioners";
    pub(crate) const NAME: &str = "name";
}

/// What a slot is beside its number and its country, as it lies in its own item and in an appointment's.
pub(crate) fn slot_map(slot: &Slot) -> Item<'static> {
    Item::new()
        .with(own::SPECIALTY, slot.specialty.clone())
        .with(own::CENTER, slot.center.clone())
        .with(own::PRACTITIONER, slot.practitioner.clone())
        .with(own::STARTS_AT, slot.starts_at.to_string())
        .with(own::ENDS_AT, slot.ends_at.to_string())
        .with(own::TIME_ZONE, slot.time_zone.clone())
        .with(own::UTC_OFFSET, slot.utc_offset.to_string())
}

/// The slot of this number and country, as [`slot_map`] wrote it.
pub(crate) fn slot_of(map: &Item<'_>, country: Country, schedule_id: ScheduleId) -> Result<Slot, InvalidItem> {
    let text = |attribute| map.s(attribute).map(str::to_owned).ok_or(InvalidItem { attribute });
    Ok(Slot {
        schedule_id,
        country,
        specialty: text(own::SPECIALTY)?,
        center: text(own::CENTER)?,
        practitioner: text(own::PRACTITIONER)?,
        starts_at: parsed(map, own::STARTS_AT)?,
        ends_at: parsed(map, own::ENDS_AT)?,
        time_zone: text(own::TIME_ZONE)?,
        utc_offset: parsed(map, own::UTC_OFFSET)?,
    })
}
