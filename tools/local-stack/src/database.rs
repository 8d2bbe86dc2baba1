//! The countries' databases, as the functions are told of them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use operator::backplane::{Backplane, Country};
use operator::database::given_urls;
use serde_json::{Value, json};
use url::Url;

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

    /// A database of a server that exists; the user of its [`trusted_url`](operator::database::trusted_url) has to be a superuser.
    #[must_use]
    pub const fn given(owner: Url) -> Self {
        Self { owner, let_in: None }
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

/// Whether the environment names a database server for every country, so none of our own is needed.
pub(crate) fn are_given(root: &Path) -> bool {
    Backplane::load(root)
        .is_ok_and(|backplane| given_urls(&backplane).is_ok_and(|given| given.len() == backplane.countries().count()))
}

/// Each country's database, created unless one is given.
pub(crate) async fn create_all(
    backplane: &Backplane,
    mut databases: BTreeMap<String, Database>,
    postgres: Option<&Postgres>,
) -> Result<BTreeMap<String, Database>> {
    for country in backplane.countries() {
        if let (None, Some(postgres)) = (databases.get(&country.code), postgres) {
            postgres.create_database(&country.database).await?;
            // Before the migration, which finds it there: two at once would change one role at once.
            postgres.let_in(&country.database_user).await?;
            postgres.let_in(&country.importer_user).await?;
            databases.insert(country.code.clone(), Database::of(postgres, &country)?);
        }
    }
    Ok(databases)
}
