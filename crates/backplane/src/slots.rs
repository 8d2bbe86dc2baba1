//! The table `slots`: what people read of the countries' catalogues. It is a projection; the country alone decides who gets a slot.
//!
//! Every item has the version that its country gave it, and every write is conditional on a smaller one. So the order and the
//! repetition of events do not matter. Slots that are free, and no others, have the keys of the three indexes, by which they are
//! found in the order of their time.

use std::time::Duration;

use appointment::{Catalogue, Country, Practitioner, ScheduleId, Slot, SlotState, SlotStatus, Timestamp};
use aws_http::dynamodb::{AttributeValue, DynamoDb, GetItem, Item, PutItem, Query};
use aws_http::{Client, Endpoint, Retry, Transport};

use crate::attribute::{self, InvalidItem, parsed, schedule_id_of};
use crate::slot_item::{own, slot_map, slot_of};
use crate::store::{MAX_READS_PER_PAGE, StoreError, is_condition_failed};

/// How long a slot stays after its end.
pub const SLOT_RETENTION: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// What follows the country in the key of its catalogue, where a slot has its number.
const CATALOGUE: &str = "catalogue";

/// The DynamoDB table `slots`: partition key `slotKey` (`PE#100`; a country's catalogue is `PE#catalogue`), and the sparse indexes
/// `free-by-specialty`, `free-by-center` and `free-by-practitioner`.
#[derive(Clone, Copy, Debug)]
pub struct SlotsTable<'a, T> {
    dynamodb: DynamoDb<'a, T>,
    name: &'a str,
}

/// Which free slots to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotSearch<'a> {
    /// Of this country.
    pub country: Country,
    /// Of this specialty.
    pub specialty: &'a str,
    /// At this center.
    pub center: Option<&'a str>,
    /// With this practitioner.
    pub practitioner: Option<&'a str>,
    /// That begin at this instant or later.
    pub from: Timestamp,
    /// That begin before this instant.
    pub to: Timestamp,
    /// At most so many, from 1 to 100.
    pub limit: u32,
    /// That come after this place.
    pub after: Option<SlotPosition>,
}

/// A place in the order of slots: by their beginning, then by their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlotPosition {
    /// When the slot begins.
    pub starts_at: Timestamp,
    /// Its number.
    pub schedule_id: ScheduleId,
}

/// A page of free slots in the order of their time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotPage {
    /// The slots.
    pub slots: Vec<Slot>,
    /// Items that cannot be read and are left out: for the log.
    pub faults: Vec<String>,
    /// Where the next page starts, if there may be one.
    pub next: Option<SlotPosition>,
}

impl<'a, T: Transport> SlotsTable<'a, T> {
    /// The table of this name.
    pub fn new(client: &'a Client<T>, endpoint: &'a Endpoint, name: &'a str) -> Self {
        Self { dynamodb: DynamoDb::new(client, endpoint), name }
    }

    /// Stores a slot's state unless a later one is there, and says whether it was written.
    ///
    /// # Errors
    ///
    /// [`StoreError::Call`].
    pub async fn put(&self, state: &SlotState) -> Result<bool, StoreError> {
        let SlotState { slot, version, status } = state;
        let country = slot.country;
        let mut item = slot_map(slot)
            .with(own::SLOT_KEY, slot_key(country, slot.schedule_id))
            .with(attribute::SCHEDULE_ID, slot.schedule_id.get())
            .with(attribute::COUNTRY, country.code())
            .with(attribute::STATUS, status.as_str())
            .with(attribute::EXPIRES_AT, (slot.ends_at + SLOT_RETENTION).unix_seconds());
        if *status == SlotStatus::Free {
            let position = SlotPosition { starts_at: slot.starts_at, schedule_id: slot.schedule_id };
            item.insert(own::STARTS_KEY, position.key());
            item.insert(own::FREE_SPECIALTY, specialty_key(country, &slot.specialty));
            item.insert(own::FREE_CENTER, part_key(country, &slot.specialty, &slot.center));
            item.insert(own::FREE_PRACTITIONER, part_key(country, &slot.specialty, &slot.practitioner));
        }
        self.put_version(item, *version).await
    }

    /// Stores a country's catalogue unless a later one is there, and says whether it was written.
    ///
    /// # Errors
    ///
    /// [`StoreError::Call`].
    pub async fn put_catalogue(&self, catalogue: &Catalogue) -> Result<bool, StoreError> {
        let texts = |texts: &[String]| texts.iter().map(|text| text.clone().into()).collect::<Vec<_>>();
        let practitioner = |practitioner: &Practitioner| {
            let map = Item::new()
                .with(own::NAME, practitioner.name.clone())
                .with(own::SPECIALTY, practitioner.specialty.clone())
                .with(own::CENTER, practitioner.center.clone());
            AttributeValue::M(map)
        };
        let practitioners: Vec<_> = catalogue.practitioners.iter().map(practitioner).collect();
        let item = catalogue_key(catalogue.country)
            .with(attribute::COUNTRY, catalogue.country.code())
            .with(own::SPECIALTIES, texts(&catalogue.specialties))
            .with(own::CENTERS, texts(&catalogue.centers))
            .with(own::PRACTITIONERS, practitioners);
        self.put_version(item, catalogue.catalogue_version).await
    }

    async fn put_version(&self, item: Item<'_>, version: u64) -> Result<bool, StoreError> {
        let put = PutItem {
            table_name: self.name,
            item: item.with(own::VERSION, version),
            condition_expression: Some("attribute_not_exists(slotKey) OR version < :version"),
            expression_attribute_values: Item::new().with(":version", version),
            ..PutItem::default()
        };
        match self.dynamodb.put_item(&put, Retry::Safe).await {
            Ok(_) => Ok(true),
            Err(error) if is_condition_failed(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a slot, `None` where the projection has no such slot.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn get(&self, country: Country, schedule_id: ScheduleId) -> Result<Option<SlotState>, StoreError> {
        let key = Item::new().with(own::SLOT_KEY, slot_key(country, schedule_id));
        let Some(item) = self.item(key).await? else { return Ok(None) };
        Ok(Some(SlotState {
            slot: slot_of(&item, country, schedule_id)?,
            version: version_of(&item)?,
            status: parsed(&item, attribute::STATUS)?,
        }))
    }

    /// Reads a country's catalogue, `None` if it has none.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn catalogue(&self, country: Country) -> Result<Option<Catalogue>, StoreError> {
        let Some(item) = self.item(catalogue_key(country)).await? else { return Ok(None) };
        let practitioners = list(&item, own::PRACTITIONERS, |value| match value {
            AttributeValue::M(map) => Some(Practitioner {
                name: map.s(own::NAME)?.to_owned(),
                specialty: map.s(own::SPECIALTY)?.to_owned(),
                center: map.s(own::CENTER)?.to_owned(),
            }),
            _ => None,
        })?;
        let text = |value: &AttributeValue<'_>| value.as_s().map(str::to_owned);
        Ok(Some(Catalogue {
            country,
            catalogue_version: version_of(&item)?,
            specialties: list(&item, own::SPECIALTIES, text)?,
            centers: list(&item, own::CENTERS, text)?,
            practitioners,
        }))
    }

    async fn item(&self, key: Item<'_>) -> Result<Option<Item<'static>>, StoreError> {
        let get = GetItem { table_name: self.name, key, ..GetItem::default() };
        Ok(self.dynamodb.get_item(&get).await?.item)
    }

    /// Reads a page of free slots, in the order of their time.
    ///
    /// It is one read that reads no more than it returns. Where both a center and a practitioner are given, the center is a
    /// filter: then at most [`MAX_READS_PER_PAGE`] reads are made, so a page may hold fewer than `limit`, even none, and yet
    /// have a next.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn free(&self, search: &SlotSearch<'_>) -> Result<SlotPage, StoreError> {
        let SlotSearch { country, specialty, center, practitioner, limit, .. } = *search;
        let (index, condition, key, filter) = match (center, practitioner) {
            (_, Some(practitioner)) => (
                "free-by-practitioner",
                "freePractitioner = :key AND startsKey BETWEEN :from AND :to",
                part_key(country, specialty, practitioner),
                center,
            ),
            (Some(center), None) => (
                "free-by-center",
                "freeCenter = :key AND startsKey BETWEEN :from AND :to",
                part_key(country, specialty, center),
                None,
            ),
            (None, None) => (
                "free-by-specialty",
                "freeSpecialty = :key AND startsKey BETWEEN :from AND :to",
                specialty_key(country, specialty),
                None,
            ),
        };
        // Every sort key is an instant with something behind it, so `to` itself is not in the range.
        let to = search.to.to_string();
        let mut page = SlotPage { slots: Vec::new(), faults: Vec::new(), next: search.after };
        for _ in 0..MAX_READS_PER_PAGE {
            let from = search.from.to_string();
            // A range in place of an exclusive start key, which DynamoDB refuses where it lies before the range.
            let from = page.next.map(SlotPosition::successor).filter(|after| *after > from).unwrap_or(from);
            page.next = None;
            if from >= to {
                break;
            }
            let found = u32::try_from(page.slots.len()).unwrap_or(limit);
            let mut values = Item::new().with(":key", key.as_str()).with(":from", from).with(":to", to.as_str());
            if let Some(center) = filter {
                values.insert(":center", center);
            }
            let query = Query {
                table_name: self.name,
                index_name: Some(index),
                key_condition_expression: condition,
                filter_expression: filter.map(|_| "center = :center"),
                expression_attribute_values: values,
                limit: Some(limit.saturating_sub(found)),
                ..Query::default()
            };
            let output = self.dynamodb.query(&query).await?;
            for item in &output.items {
                let slot = schedule_id_of(item).and_then(|schedule_id| slot_of(item, country, schedule_id));
                match slot {
                    Ok(slot) => page.slots.push(slot),
                    // One item that cannot be read hides no other.
                    Err(invalid) => {
                        page.faults.push(format!("{}: {invalid}", item.s(own::SLOT_KEY).unwrap_or_default()));
                    }
                }
            }
            page.next = output.last_evaluated_key.as_ref().map(SlotPosition::of_key).transpose()?;
            if page.next.is_none() || page.slots.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
                break;
            }
        }
        Ok(page)
    }
}

impl SlotPosition {
    /// The sort key of a slot there. All digits are written, so texts sort as the numbers do.
    fn key(self) -> String {
        format!("{}#{:016}", self.starts_at, self.schedule_id.get())
    }

    /// The first sort key after the one of this place.
    fn successor(self) -> String {
        format!("{}#{:016}", self.starts_at, self.schedule_id.get() + 1)
    }

    /// The place of an item, by its sort key.
    fn of_key(item: &Item<'_>) -> Result<Self, InvalidItem> {
        let position = item.s(own::STARTS_KEY).and_then(|key| {
            let (starts_at, schedule_id) = key.split_once('#')?;
            let schedule_id = schedule_id.parse::<u64>().ok()?.try_into().ok()?;
            Some(Self { starts_at: starts_at.parse().ok()?, schedule_id })
        });
        position.ok_or(InvalidItem { attribute: own::STARTS_KEY })
    }
}

fn slot_key(country: Country, schedule_id: ScheduleId) -> String {
    format!("{country}#{schedule_id}")
}

fn catalogue_key(country: Country) -> Item<'static> {
    Item::new().with(own::SLOT_KEY, format!("{country}#{CATALOGUE}"))
}

fn specialty_key(country: Country, specialty: &str) -> String {
    format!("{country}#{specialty}")
}

/// `part` is a center or a practitioner. No name holds a `#`, so two different keys never look the same.
fn part_key(country: Country, specialty: &str, part: &str) -> String {
    format!("{country}#{specialty}#{part}")
}

fn version_of(item: &Item<'_>) -> Result<u64, InvalidItem> {
    item.n(own::VERSION).ok_or(InvalidItem { attribute: own::VERSION })
}

fn list<V>(
    item: &Item<'_>,
    attribute: &'static str,
    read: impl Fn(&AttributeValue<'_>) -> Option<V>,
) -> Result<Vec<V>, InvalidItem> {
    let invalid = InvalidItem { attribute };
    match item.get(attribute) {
        Some(AttributeValue::L(values)) => values.iter().map(read).collect::<Option<_>>().ok_or(invalid),
        _ => Err(invalid),
    }
}
