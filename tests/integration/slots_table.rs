//! The table `slots` over the emulator: versions, the sparse indexes, and the conditions of an appointment's row that name its slot.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use appointment::{
    Appointment, Catalogue, Country, Practitioner, Reason, ScheduleId, Slot, SlotState, SlotStatus, StatusEvent,
    Timestamp,
};
use aws_http::native::NativeTransport;
use aws_http::{Client, Credentials};
use backplane::{Applied, AppointmentsTable, Cancelled, SlotPosition, SlotSearch, SlotsTable};
use local_stack::ministack::REGION;
use messages::{Command, Outcome, OutcomeDetail, OutcomeEvent, Version1};
use serde_json::{Value, json};
use tests::services;

use crate::states::{fresh_appointment, outcome_event, schedule, trace};

/// This test's own table, in the emulator.
async fn table(name: &str) -> (Client<NativeTransport>, String) {
    let services = &*services().await;
    let name = format!("slots-{name}-{}", fastrand::u32(..));
    let mut definition = services.backplane().slots_table.definition();
    definition["TableName"] = json!(name);
    services.aws().dynamodb("CreateTable", &definition).await.unwrap();
    let root = Credentials::from_keys("test", "test", None);
    (Client::new(NativeTransport::new(), REGION, root).with_deadline(Duration::from_secs(30)), name)
}

fn number(number: u64) -> ScheduleId {
    number.try_into().unwrap()
}

fn slot(schedule_id: u64, hour: u64) -> Slot {
    let starts_at = "2090-03-01T00:00:00Z".parse::<Timestamp>().unwrap() + Duration::from_secs(3600 * hour);
    Slot {
        schedule_id: number(schedule_id),
        country: Country::Peru,
        specialty: "Cardiología".to_owned(),
        center: format!("Center {}", schedule_id % 3),
        practitioner: format!("Dr. {}", schedule_id % 2),
        starts_at,
        ends_at: starts_at + Duration::from_secs(1800),
        time_zone: "America/Lima".to_owned(),
        utc_offset: "-05:00".parse().unwrap(),
    }
}

fn search<'a>(center: Option<&'a str>, practitioner: Option<&'a str>, limit: u32) -> SlotSearch<'a> {
    SlotSearch {
        country: Country::Peru,
        specialty: "Cardiología",
        center,
        practitioner,
        from: "2090-03-01T00:00:00Z".parse().unwrap(),
        to: "2090-04-01T00:00:00Z".parse().unwrap(),
        limit,
        after: None,
    }
}

/// Every page of a search, by the numbers of its slots.
async fn pages(table: &SlotsTable<'_, NativeTransport>, mut search: SlotSearch<'_>) -> Vec<Vec<u64>> {
    let mut pages = Vec::new();
    loop {
        let page = table.free(&search).await.unwrap();
        assert_eq!(page.faults, Vec::<String>::new());
        pages.push(page.slots.iter().map(|slot| slot.schedule_id.get()).collect());
        search.after = page.next;
        if page.next.is_none() {
            return pages;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_slot_the_latest_version_stands_whatever_the_order() {
    let services = &*services().await;
    let (client, name) = table("versions").await;
    let table = SlotsTable::new(&client, services.endpoint(), &name);
    let statuses =
        [SlotStatus::Free, SlotStatus::Busy, SlotStatus::Free, SlotStatus::BusyUnavailable, SlotStatus::Free];
    let epoch = 1_u64 << 40;
    let versions = [1, 2, 3, epoch | 1, epoch | 2];
    let history: Vec<SlotState> = (versions.into_iter().zip(statuses))
        .map(|(version, status)| SlotState { slot: slot(1, version % 50), version, status })
        .collect();
    for round in 0..20 {
        let id = 100 + round;
        let mut events: Vec<SlotState> = history.iter().chain(&history).cloned().collect();
        fastrand::shuffle(&mut events);
        let last = usize::try_from(fastrand::u64(1..=10)).unwrap();
        let mut newest: Option<SlotState> = None;
        for mut state in events.into_iter().take(last) {
            state.slot.schedule_id = number(id);
            let newer = newest.as_ref().is_none_or(|newest| newest.version < state.version);
            assert_eq!(table.put(&state).await.unwrap(), newer);
            if newer {
                newest = Some(state);
            }
            let kept = table.get(Country::Peru, number(id)).await.unwrap();
            assert_eq!(kept, newest);
            let free = pages(&table, search(None, None, 100)).await.concat().contains(&id);
            assert_eq!(free, newest.as_ref().is_some_and(|newest| newest.status == SlotStatus::Free));
        }
    }
    assert_eq!(table.get(Country::Chile, number(100)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn free_slots_come_in_the_order_of_their_time_page_by_page() {
    let services = &*services().await;
    let (client, name) = table("pages").await;
    let table = SlotsTable::new(&client, services.endpoint(), &name);
    // Several begin at once, and of every four one is busy; the numbers have one digit and several.
    let mut expected = Vec::new();
    for id in (1..=30).chain([ScheduleId::MAX]) {
        let status = if id % 4 == 0 { SlotStatus::Busy } else { SlotStatus::Free };
        let slot = slot(id, (id * 7) % 5);
        if status == SlotStatus::Free {
            expected.push(slot.clone());
        }
        table.put(&SlotState { slot, version: 1, status }).await.unwrap();
    }
    expected.sort_by_key(|slot| SlotPosition { starts_at: slot.starts_at, schedule_id: slot.schedule_id });
    for (center, practitioner) in
        [(None, None), (Some("Center 1"), None), (None, Some("Dr. 0")), (Some("Center 2"), Some("Dr. 1"))]
    {
        let wanted: Vec<u64> = expected
            .iter()
            .filter(|slot| center.is_none_or(|center| slot.center == center))
            .filter(|slot| practitioner.is_none_or(|practitioner| slot.practitioner == practitioner))
            .map(|slot| slot.schedule_id.get())
            .collect();
        for limit in [1, 2, 5, 100] {
            let pages = pages(&table, search(center, practitioner, limit)).await;
            assert_eq!(pages.concat(), wanted, "{center:?} {practitioner:?} {limit}");
            assert!(pages.iter().all(|page| page.len() <= usize::try_from(limit).unwrap()));
        }
    }
    let mut hour = search(None, None, 100);
    hour.from = "2090-03-01T01:00:00Z".parse().unwrap();
    hour.to = "2090-03-01T02:00:00Z".parse().unwrap();
    let found: BTreeSet<u64> = pages(&table, hour).await.concat().into_iter().collect();
    let in_that_hour = expected.iter().filter(|slot| slot.starts_at == hour.from);
    assert_eq!(found, in_that_hour.map(|slot| slot.schedule_id.get()).collect(), "from is in it, to is not");
    // A cursor before the beginning of the search continues at the beginning.
    hour.after = Some(SlotPosition { starts_at: search(None, None, 1).from, schedule_id: number(1) });
    assert_eq!(pages(&table, hour).await.concat().len(), found.len());
    hour.from = hour.to;
    assert_eq!(pages(&table, hour).await, [Vec::<u64>::new()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_is_kept_by_its_version() {
    let services = &*services().await;
    let (client, name) = table("catalogue").await;
    let table = SlotsTable::new(&client, services.endpoint(), &name);
    assert_eq!(table.catalogue(Country::Chile).await.unwrap(), None);
    let catalogue = |version: u64, specialties: &[&str]| Catalogue {
        country: Country::Chile,
        catalogue_version: version,
        specialties: specialties.iter().map(|&text| text.to_owned()).collect(),
        centers: vec!["Providencia".to_owned()],
        practitioners: vec![Practitioner {
            name: "Dra. Rojas".to_owned(),
            specialty: "Cardiología".to_owned(),
            center: "Providencia".to_owned(),
        }],
    };
    let (first, second) = (catalogue(1, &[]), catalogue(2, &["Cardiología"]));
    assert!(table.put_catalogue(&second).await.unwrap());
    for earlier in [&first, &second] {
        assert!(!table.put_catalogue(earlier).await.unwrap());
    }
    assert_eq!(table.catalogue(Country::Chile).await.unwrap(), Some(second));
}

/// A booked appointment whose slot begins at this instant.
pub(crate) async fn booked(table: &AppointmentsTable<'_, NativeTransport>, starts_at: Timestamp) -> Appointment {
    let mut appointment = fresh_appointment();
    appointment.slot = None;
    table.book(&appointment, trace(), &schedule()).await.unwrap();
    let mut event = outcome_event(&appointment, StatusEvent::Completed).unwrap();
    let slot = Slot { schedule_id: appointment.schedule_id, starts_at, ..slot(1, 0) };
    event.detail.slot = Some(SlotState { slot: slot.clone(), version: 1, status: SlotStatus::Busy });
    assert!(matches!(table.apply(&event, Timestamp::from(SystemTime::now())).await.unwrap(), Applied::Moved(_)));
    Appointment { slot: Some(slot), ..appointment }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_appointment_keeps_its_slot_and_cannot_be_cancelled_once_it_has_begun() {
    let services = &*services().await;
    let client = crate::states::client(services);
    let table = AppointmentsTable::new(&client, services.endpoint(), &services.backplane().table.name);
    let now = Timestamp::from(SystemTime::now());
    for (starts_at, begun) in [(now, true), (now + Duration::from_secs(1), false)] {
        let appointment = booked(&table, starts_at).await;
        let (insured, id) = (appointment.insured_id, appointment.appointment_id);
        let kept = table.get(&insured, id).await.unwrap().unwrap();
        assert_eq!(kept.appointment.slot, appointment.slot);
        let cancelled = table.request_cancellation(&insured, id, trace(), now, &schedule()).await.unwrap();
        match cancelled {
            Cancelled::AlreadyStarted => assert!(begun),
            Cancelled::Requested(kept) => {
                assert!(!begun);
                assert_eq!(kept.appointment.slot, appointment.slot, "the row keeps it");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_moved_names_its_successor_however_often_it_is_told() {
    let services = &*services().await;
    let client = crate::states::client(services);
    let table = AppointmentsTable::new(&client, services.endpoint(), &services.backplane().table.name);
    let now = Timestamp::from(SystemTime::now());
    let original = booked(&table, now + Duration::from_secs(3600)).await;
    let successor = fresh_appointment().appointment_id;
    let command = Command::Cancellation;
    let detail = OutcomeDetail {
        version: Version1,
        event_id: OutcomeEvent::event_id(original.appointment_id, Outcome::Cancelled, command),
        appointment_id: original.appointment_id,
        insured_id: original.insured_id,
        schedule_id: original.schedule_id,
        country: original.country.known().unwrap(),
        command,
        reason: Some(Reason::Moved),
        replaced_by: Some(successor),
        slot: None,
        occurred_at: now,
        traceparent: trace(),
    };
    let event = OutcomeEvent { outcome: Outcome::Cancelled, detail };
    let Applied::Moved(change) = table.apply(&event, now).await.unwrap() else { panic!("it was booked") };
    assert_eq!((change.reason, change.replaced_by), (Some(Reason::Moved), Some(successor)));
    assert_eq!(table.apply(&event, now).await.unwrap(), Applied::Repeated(change));
    // What came of it before is announced as it was then.
    let booked = outcome_event(&original, StatusEvent::Completed).unwrap();
    let Applied::Repeated(before) = table.apply(&booked, now).await.unwrap() else { panic!("it was applied") };
    assert_eq!((before.reason, before.replaced_by), (None, None));
    let kept = table.get(&original.insured_id, original.appointment_id).await.unwrap().unwrap().appointment;
    assert_eq!((kept.reason, kept.replaced_by), (Some(Reason::Moved), Some(successor)));
    assert_eq!(kept.slot, original.slot);
    let row: Value = services
        .aws()
        .dynamodb(
            "GetItem",
            &json!({"TableName": services.backplane().table.name, "Key": crate::states::key(&original)}),
        )
        .await
        .unwrap();
    assert_eq!(row["Item"]["replacedBy"]["S"], successor.to_string());
}
