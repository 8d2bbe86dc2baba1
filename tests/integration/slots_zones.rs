//! Local times over every change of the clock in America/Santiago and America/Lima from 2015 to 2035.

use std::time::Duration;

use appointment::{Timestamp, UtcOffset};
use country_worker::{InvalidTime, Zone};

/// The changes of America/Santiago's clock from 2015 to 2035, by the instant, with the offset from then on: of the Debian
/// package tzdata 2025b, by Python's `zoneinfo`, and so not by the library that is tested. In 2015 Chile kept summer time all
/// year. A later tzdata may change what is yet to come; then this table is to be corrected, and `slots check-zones` says
/// which slots it concerns.
const SANTIAGO: [(&str, &str); 40] = [
    ("2016-05-15T03:00:00.000Z", "-04:00"),
    ("2016-08-14T04:00:00.000Z", "-03:00"),
    ("2017-05-14T03:00:00.000Z", "-04:00"),
    ("2017-08-13T04:00:00.000Z", "-03:00"),
    ("2018-05-13T03:00:00.000Z", "-04:00"),
    ("2018-08-12T04:00:00.000Z", "-03:00"),
    ("2019-04-07T03:00:00.000Z", "-04:00"),
    ("2019-09-08T04:00:00.000Z", "-03:00"),
    ("2020-04-05T03:00:00.000Z", "-04:00"),
    ("2020-09-06T04:00:00.000Z", "-03:00"),
    ("2021-04-04T03:00:00.000Z", "-04:00"),
    ("2021-09-05T04:00:00.000Z", "-03:00"),
    ("2022-04-03T03:00:00.000Z", "-04:00"),
    ("2022-09-11T04:00:00.000Z", "-03:00"),
    ("2023-04-02T03:00:00.000Z", "-04:00"),
    ("2023-09-03T04:00:00.000Z", "-03:00"),
    ("2024-04-07T03:00:00.000Z", "-04:00"),
    ("2024-09-08T04:00:00.000Z", "-03:00"),
    ("2025-04-06T03:00:00.000Z", "-04:00"),
    ("2025-09-07T04:00:00.000Z", "-03:00"),
    ("2026-04-05T03:00:00.000Z", "-04:00"),
    ("2026-09-06T04:00:00.000Z", "-03:00"),
    ("2027-04-04T03:00:00.000Z", "-04:00"),
    ("2027-09-05T04:00:00.000Z", "-03:00"),
    ("2028-04-02T03:00:00.000Z", "-04:00"),
    ("2028-09-03T04:00:00.000Z", "-03:00"),
    ("2029-04-08T03:00:00.000Z", "-04:00"),
    ("2029-09-02T04:00:00.000Z", "-03:00"),
    ("2030-04-07T03:00:00.000Z", "-04:00"),
    ("2030-09-08T04:00:00.000Z", "-03:00"),
    ("2031-04-06T03:00:00.000Z", "-04:00"),
    ("2031-09-07T04:00:00.000Z", "-03:00"),
    ("2032-04-04T03:00:00.000Z", "-04:00"),
    ("2032-09-05T04:00:00.000Z", "-03:00"),
    ("2033-04-03T03:00:00.000Z", "-04:00"),
    ("2033-09-04T04:00:00.000Z", "-03:00"),
    ("2034-04-02T03:00:00.000Z", "-04:00"),
    ("2034-09-03T04:00:00.000Z", "-03:00"),
    ("2035-04-08T03:00:00.000Z", "-04:00"),
    ("2035-09-02T04:00:00.000Z", "-03:00"),
];

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn changes(zone: &Zone) -> Vec<(String, String)> {
    zone.changes(instant("2015-01-01T00:00:00Z"), instant("2036-01-01T00:00:00Z"))
        .map(|at| (at.to_string(), zone.offset_at(at).unwrap().to_string()))
        .collect()
}

/// The local time of an instant in an offset, to the minute.
fn local(at: Timestamp, offset: UtcOffset) -> String {
    let shifted = at.unix_milliseconds() + i64::from(offset.minutes()) * 60_000;
    Timestamp::from_unix_milliseconds(shifted).to_string()[..16].to_owned()
}

#[test]
fn the_clock_of_santiago_changes_as_its_laws_say_and_that_of_lima_never() {
    let santiago = Zone::named("America/Santiago").unwrap();
    let expected = SANTIAGO.map(|(at, offset)| (at.to_owned(), offset.to_owned()));
    assert_eq!(changes(&santiago), expected);
    assert_eq!(changes(&Zone::named("America/Lima").unwrap()), []);
}

/// At each change, minute by minute: what the clock skips is refused, what it shows twice needs its offset, and every other
/// time is still the same instant.
#[test]
fn at_each_change_of_the_clock_every_local_time_is_its_instant_or_refused() {
    let zone = Zone::named("America/Santiago").unwrap();
    let minute = Duration::from_secs(60);
    for (at, offset) in SANTIAGO {
        let (at, after): (Timestamp, UtcOffset) = (instant(at), offset.parse().unwrap());
        let before = zone.offset_at(Timestamp::from_unix_milliseconds(at.unix_milliseconds() - 1)).unwrap();
        let back = after.minutes() < before.minutes();
        assert_eq!((after.minutes() - before.minutes()).abs(), 60);
        println!("{at} {before} -> {after}: {}", if back { "set back" } else { "set forward" });
        let start = Timestamp::from_unix_milliseconds(at.unix_milliseconds() - 3 * 3_600_000);
        for step in 0..360 {
            let now = start + minute * step;
            let offset = if now < at { before } else { after };
            let text = local(now, offset);
            let twice = back && now + minute * 60 >= at && now < at + minute * 60;
            let with_offset = zone.moment(&format!("{text}{offset}"));
            assert_eq!(with_offset.map(|moment| (moment.at, moment.offset)), Ok((now, offset)), "{text}{offset}");
            assert_eq!(zone.moment(&format!("{text}:00{offset}")), with_offset);
            match zone.moment(&text) {
                Err(error) => assert_eq!((twice, error), (true, InvalidTime::Ambiguous), "{text}"),
                Ok(moment) => assert_eq!((twice, moment.at, moment.offset), (false, now, offset), "{text}"),
            }
            let wrong = if offset == before { after } else { before };
            if !twice {
                let error = if zone.moment(&text).is_ok() { InvalidTime::WrongOffset } else { InvalidTime::Gap };
                assert_eq!(zone.moment(&format!("{text}{wrong}")), Err(error), "{text}{wrong}");
            } else {
                assert_eq!(zone.moment(&format!("{text}+00:00")), Err(InvalidTime::WrongOffset), "{text}");
            }
        }
        // The hour that the clock skips: as it would have been before, and as it would be after.
        for step in 0..60 {
            let skipped = local(at + minute * step, before);
            for text in [skipped.clone(), format!("{skipped}{before}"), format!("{skipped}{after}")] {
                assert_eq!(zone.moment(&text).err() == Some(InvalidTime::Gap), !back, "{text}");
            }
        }
    }
}

#[test]
fn every_hour_of_lima_from_2015_to_2035_is_five_hours_behind() {
    let zone = Zone::named("America/Lima").unwrap();
    let offset: UtcOffset = "-05:00".parse().unwrap();
    let hour = Duration::from_secs(3600);
    let (mut now, end) = (instant("2015-01-01T00:00:00Z"), instant("2036-01-01T00:00:00Z"));
    while now < end {
        let moment = zone.moment(&local(now, offset)).unwrap();
        assert_eq!((moment.at, moment.offset), (now, offset));
        now = now + hour;
    }
}

#[test]
fn a_zone_is_known_by_its_name_and_no_other_text_is_a_time() {
    assert_eq!(Zone::named("america/lima").unwrap().name(), "America/Lima");
    for name in ["", "Lima", "America/Cuzco", "-05:00", "America/Lima\0"] {
        assert!(Zone::named(name).is_none(), "{name:?}");
    }
    let zone = Zone::named("America/Lima").unwrap();
    for text in [
        "",
        "2026-12-01",
        "2026-12-01T09",
        "2026-12-01T9:00",
        "2026-12-01T09:00:01",
        "2026-12-01T24:00",
        "2026-12-01T09:00-5",
        "2026-12-01T09:00 -05:00",
        "2026-12-01T09:00[America/Lima]",
        "2026-13-01T09:00",
        "1969-12-31T09:00",
        "20261201T090000",
        "２０26-12-01T09:00",
    ] {
        assert_eq!(zone.moment(text), Err(InvalidTime::Malformed), "{text:?}");
    }
}
