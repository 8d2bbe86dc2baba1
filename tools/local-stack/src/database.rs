//! The countries' databases, as the functions are told of them.

use std::net::IpAddr;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use crate::backplane::Country;
use crate::postgres::Postgres;

/// A country's database, by the URL of the user that owns it.
#[derive(Clone)]
pub struct Database {
    owner: Url,
    /// As a user that a server of our own lets in.
    let_in: Option<Url>,
}

impl Database {
    /// A database of a server of our own, which lets the functions' users in.
    ///
    /// # Errors
    /// Never for a running server.
    pub fn of(postgres: &Postgres, country: &Country) -> Result<Self> {
        let url = |text: String| Url::parse(&text).context("the URL of our own server");
        let owner = url(postgres.url(&country.database))?;
        let let_in = Some(url(postgres.url_as(&country.database_user, &country.database))?);
        Ok(Self { owner, let_in })
    }

    /// A database of a server that exists; the URL's user has to be a superuser.
    ///
    /// # Errors
    /// When the URL is malformed, or names a server that is not on this machine and need not prove who it is; the error
    /// never holds the URL, since it may hold a password.
    pub fn given(url: &str) -> Result<Self> {
        let owner = Url::parse(url).ok().filter(|url| url.has_host() && url.scheme().starts_with("postgres"));
        let owner = owner.context("not a PostgreSQL URL, expected postgres://user:password@host:port/database")?;
        let options: PgConnectOptions = url.parse().map_err(|_| anyhow!("not a PostgreSQL URL"))?;
        let address = options.get_host().trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let local = options.get_host() == "localhost" || address.is_ok_and(|address| address.is_loopback());
        ensure!(
            local || matches!(options.get_ssl_mode(), PgSslMode::VerifyFull),
            "the server is not on this machine: add ?sslmode=verify-full to the URL (and &sslrootcert=FILE where its \
             authority is not one of the system's)"
        );
        Ok(Self { owner, let_in: None })
    }

    /// Whether the server is our own.
    pub(crate) const fn is_own(&self) -> bool {
        self.let_in.is_some()
    }

    /// The URL of the user that owns it.
    #[must_use]
    pub fn owner_url(&self) -> &str {
        self.owner.as_str()
    }

    /// The owner's name and password, in the shape in which RDS keeps them in Secrets Manager.
    #[must_use]
    pub fn master_secret(&self) -> Value {
        json!({"username": decoded(self.owner.username()), "password": decoded(self.owner.password().unwrap_or_default())})
    }

    /// Where it is, without credentials.
    ///
    /// # Errors
    /// Never: the URL has a host.
    pub fn address(&self) -> Result<String> {
        let mut address = self.owner.clone();
        let removed = address.set_username("").and_then(|()| address.set_password(None));
        removed.ok().context("a database URL without a host")?;
        Ok(address.into())
    }

    /// What a function connects with: with the rights of `user` and no others.
    ///
    /// On a server that was given, only IAM would let `user` in: the owner connects, and takes on the role of `user` before
    /// anything else.
    ///
    /// # Errors
    /// Never: the URL has a host.
    pub fn user_url(&self, user: &str) -> Result<String> {
        let mut url = self.let_in.as_ref().unwrap_or(&self.owner).clone();
        if self.is_own() {
            url.set_username(user).ok().context("a database URL without a host")?;
        } else {
            url.query_pairs_mut().append_pair("options[role]", user);
        }
        Ok(url.into())
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}
