//! Four weeks of slots for each country, from tomorrow on: something to book on a stack that has just started.
//!
//! The numbers begin at 100 and follow the time, so a slot has the same number whenever the stack is started.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use appointment::Country;
use time::{Date, Duration, Weekday};

/// The first slot's number.
pub const FIRST: u64 = 100;

/// For how many days a stack that people use has slots; clinics are closed at the weekend.
pub const DAYS: i64 = 28;

/// When a consultation begins, in local time.
const TIMES: [&str; 4] = ["09:00", "10:00", "15:00", "16:00"];

/// How long a consultation takes.
const MINUTES: u64 = 30;

/// A practitioner of a center.
struct Practitioner {
    center: &'static str,
    name: &'static str,
    specialty: &'static str,
}

const fn practitioner(center: &'static str, name: &'static str, specialty: &'static str) -> Practitioner {
    Practitioner { center, name, specialty }
}

const PERU: [Practitioner; 6] = [
    practitioner("Clínica Miraflores", "Dra. Quispe", "Cardiología"),
    practitioner("Clínica Miraflores", "Dr. Flores", "Pediatría"),
    practitioner("Clínica San Isidro", "Dr. Huamán", "Cardiología"),
    practitioner("Clínica San Isidro", "Dra. Salazar", "Dermatología"),
    practitioner("Clínica Arequipa", "Dra. Mamani", "Pediatría"),
    practitioner("Clínica Arequipa", "Dr. Chávez", "Dermatología"),
];

const CHILE: [Practitioner; 6] = [
    practitioner("Clínica Providencia", "Dra. Rojas", "Cardiología"),
    practitioner("Clínica Providencia", "Dr. Muñoz", "Pediatría"),
    practitioner("Clínica Las Condes", "Dr. Soto", "Cardiología"),
    practitioner("Clínica Las Condes", "Dra. Contreras", "Dermatología"),
    practitioner("Clínica Valparaíso", "Dra. Silva", "Pediatría"),
    practitioner("Clínica Valparaíso", "Dr. Araya", "Dermatología"),
];

/// The file of a country's slots of so many days from the day after `today` on, as an import takes it: CSV with a header.
///
/// # Errors
/// When the calendar ends.
pub fn file(country: Country, today: Date, days: i64) -> Result<String> {
    let (practitioners, time_zone) = match country {
        Country::Peru => (&PERU, "America/Lima"),
        Country::Chile => (&CHILE, "America/Santiago"),
    };
    let mut file = String::from("scheduleId,specialty,center,practitioner,start,durationMinutes,timeZone\n");
    let mut number = FIRST;
    for day in 1..=days {
        let day = today.checked_add(Duration::days(day)).context("the calendar ends")?;
        if matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday) {
            continue;
        }
        for time in TIMES {
            for Practitioner { center, name, specialty } in practitioners {
                // Writing to a string cannot fail.
                let _ = writeln!(file, "{number},{specialty},{center},{name},{day}T{time},{MINUTES},{time_zone}");
                number += 1;
            }
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeSet;

    use time::Month;

    use super::*;

    #[test]
    fn each_country_has_three_centers_and_four_weeks() {
        // A Saturday.
        let today = Date::from_calendar_date(2026, Month::November, 28).unwrap();
        for country in Country::ALL {
            let file = file(country, today, DAYS).unwrap();
            let lines: Vec<Vec<&str>> = file.lines().skip(1).map(|line| line.split(',').collect()).collect();
            assert_eq!(lines.len(), 20 * 4 * 6);
            let numbers: Vec<u64> = lines.iter().map(|line| line.first().unwrap().parse().unwrap()).collect();
            assert_eq!(numbers, (FIRST..FIRST + 480).collect::<Vec<_>>());
            let centers: BTreeSet<&str> = lines.iter().filter_map(|line| line.get(2).copied()).collect();
            assert_eq!(centers.len(), 3);
            let starts: Vec<&str> = lines.iter().filter_map(|line| line.get(4).copied()).collect();
            assert!(starts.is_sorted());
            assert_eq!((starts.first().unwrap(), starts.last().unwrap()), (&"2026-11-30T09:00", &"2026-12-25T16:00"));
            assert!(lines.iter().all(|line| line.len() == 7));
        }
    }
}
