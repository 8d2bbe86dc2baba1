//! The countries' databases, as the functions are told of them.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use url::Url;

use crate::backplane::Country;
use crate::postgres::Postgres;

/// A country's database, by the URL of the user that owns it.
#[derive(Clone)]
pub struct Database {
    owner: Url,
    /// Whether the server is our own, which lets every user in without a password.
    own: bool,
}

impl Database {
    /// A database of a server of our own.
    ///
    /// # Errors
    /// Never for a running server.
    pub fn of(postgres: &Postgres, country: &Country) -> Result<Self> {
        let owner = Url::parse(&postgres.url(&country.database)).context("the URL of our own server")?;
        Ok(Self { owner, own: true })
    }

    /// A database of a server that exists; the URL's user has to be a superuser.
    ///
    /// # Errors
    /// When the URL is malformed; the error never holds it, since it may hold a password.
    pub fn given(url: &str) -> Result<Self> {
        let owner = Url::parse(url).ok().filter(|url| url.has_host() && url.scheme().starts_with("postgres"));
        let owner = owner.context("not a PostgreSQL URL, expected postgres://user:password@host:port/database")?;
        Ok(Self { owner, own: false })
    }

    /// Whether the server is our own.
    pub(crate) const fn is_own(&self) -> bool {
        self.own
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
    /// Where only IAM would let `user` in, that is on a server that asks for passwords, the owner connects, and takes on
    /// the role of `user` before anything else.
    ///
    /// # Errors
    /// Never: the URL has a host.
    pub fn user_url(&self, user: &str) -> Result<String> {
        let mut url = self.owner.clone();
        if self.own {
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
