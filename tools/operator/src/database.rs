//! The countries' databases, as the users that own them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr as _;

use anyhow::{Context as _, Result, anyhow, ensure};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions as _, PgConnection};
use url::Url;

use crate::backplane::Backplane;

/// Connects to the database behind a URL.
///
/// # Errors
/// When the URL is malformed, or the server cannot be reached. The error never holds the URL, which may hold a password.
pub async fn connect(url: &str) -> Result<PgConnection> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| anyhow!("not a PostgreSQL URL, expected postgres://user:password@host:port/database"))?;
    options.disable_statement_logging().connect().await.context("cannot connect to the database")
}

/// The URLs of the databases that the environment names, by country: `DATABASE_URL_PE` and so on.
///
/// # Errors
/// As [`trusted_url`]; the error names the variable.
pub fn given_urls(backplane: &Backplane) -> Result<BTreeMap<String, Url>> {
    let mut given = BTreeMap::new();
    for country in backplane.countries() {
        let variable = format!("DATABASE_URL_{}", country.code);
        if let Ok(url) = std::env::var(&variable) {
            given.insert(country.code, trusted_url(&url).context(variable)?);
        }
    }
    Ok(given)
}

/// The URL of a database of a server that exists.
///
/// # Errors
/// When the URL is malformed, or names a server that is not on this machine and need not prove who it is; the error
/// never holds the URL, since it may hold a password.
pub fn trusted_url(url: &str) -> Result<Url> {
    let parsed = Url::parse(url).ok().filter(|url| url.has_host() && url.scheme().starts_with("postgres"));
    let parsed = parsed.context("not a PostgreSQL URL, expected postgres://user:password@host:port/database")?;
    let options: PgConnectOptions = url.parse().map_err(|_| anyhow!("not a PostgreSQL URL"))?;
    let address = options.get_host().trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let local = options.get_host() == "localhost" || address.is_ok_and(|address| address.is_loopback());
    ensure!(
        local || matches!(options.get_ssl_mode(), PgSslMode::VerifyFull),
        "the server is not on this machine: add ?sslmode=verify-full to the URL (and &sslrootcert=FILE where its \
         authority is not one of the system's)"
    );
    Ok(parsed)
}
