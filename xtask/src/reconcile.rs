//! `cargo xtask reconcile`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use appointment::{Country, Timestamp};
use operator::backplane::Backplane;
use operator::reconcile::reconcile;

use crate::account::Place;

pub(crate) async fn run(
    root: &Path,
    place: &Place,
    country: Country,
    restored_to: Timestamp,
    dry_run: bool,
) -> Result<ExitCode> {
    let backplane = Backplane::load(root)?;
    let (account, urls) = place.account_and_databases(root, &backplane).await?;
    let names = backplane.countries().find(|names| names.code == country.code()).context("no such country")?;
    let url = urls
        .get(country.code())
        .with_context(|| format!("no database of {country} is known: set DATABASE_URL_{country} to its owner's URL"))?;
    let done = reconcile(&account, &backplane, &names, url, restored_to, dry_run).await?;
    let would = if dry_run { " would be" } else { "" };
    println!(
        "{country}: of {} appointments {} decisions{would} re-entered and {} cancelled, {} erased again",
        done.appointments, done.re_entered, done.cancelled, done.erased
    );
    if done.unknown > 0 {
        println!(
            "{country}: {} appointments are in a status that this version does not know: left alone",
            done.unknown
        );
    }
    for found in &done.contradictions {
        println!(
            "CONTRADICTION about slot {}: the table shows {} as {}, the database {}{}; nothing was changed",
            found.schedule_id,
            found.appointment_id,
            found.shown,
            found.kept.as_ref().map_or("has no row of it".to_owned(), |kept| format!("as {kept}")),
            found.holder.as_ref().map_or(String::new(), |holder| format!(", and {holder} holds the slot")),
        );
    }
    let good = done.contradictions.is_empty() && done.unknown == 0;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
