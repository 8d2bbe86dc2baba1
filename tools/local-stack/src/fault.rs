//! Breaks a hop of a stack that runs, and heals it: to watch what the system does about it.
//!
//! A hop is broken by what the local stack itself has: PostgreSQL lets nobody into a country's database, or a policy of IAM denies
//! a call to everybody who makes it. Whether a hop is broken is read from there, and no two programs disagree about it.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, bail};
use aws_http::Endpoint;
use operator::aws::Aws;
use operator::backplane::{Backplane, PrincipalKind};
use operator::database::connect;
use serde::Serialize;
use serde_json::json;
use sqlx::{AssertSqlSafe, PgConnection};
use url::Url;

use crate::emulator;
use crate::running::RunningStack;

/// The name of the policy that denies.
const POLICY: &str = "broken-hop";

/// What can be broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hop {
    /// A country's database, by the country's code: connections end, and nobody is let in.
    Database(String),
    /// The topic refuses what is published to it.
    Topic,
    /// The event bus refuses what is put on it.
    Bus,
}

/// A hop, and whether it is broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HopState {
    /// As [`Hop`] is displayed.
    pub hop: String,
    /// Whether it is broken.
    pub broken: bool,
}

impl Hop {
    /// Every hop.
    #[must_use]
    pub fn all(backplane: &Backplane) -> Vec<Self> {
        let databases = backplane.codes().map(|code| Self::Database(code.to_owned()));
        databases.chain([Self::Topic, Self::Bus]).collect()
    }

    /// By how it is displayed: `database-PE`, `topic` or `bus`.
    #[must_use]
    pub fn named(name: &str, backplane: &Backplane) -> Option<Self> {
        Self::all(backplane).into_iter().find(|hop| hop.to_string() == name)
    }

    const fn action(&self) -> Option<&'static str> {
        match self {
            Self::Database(_) => None,
            Self::Topic => Some("sns:Publish"),
            Self::Bus => Some("events:PutEvents"),
        }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(country) => write!(formatter, "database-{country}"),
            Self::Topic => formatter.write_str("topic"),
            Self::Bus => formatter.write_str("bus"),
        }
    }
}

/// The hops of a stack that runs.
pub struct Hops<'a> {
    aws: Aws,
    backplane: &'a Backplane,
    /// Of the databases that the stack started itself.
    databases: &'a BTreeMap<String, String>,
}

impl RunningStack {
    /// Its hops, to break and to heal.
    ///
    /// # Errors
    /// When the file was changed by somebody.
    pub fn hops<'a>(&'a self, backplane: &'a Backplane) -> Result<Hops<'a>> {
        Ok(Hops::new(self.endpoint()?, backplane, self.own_databases()))
    }
}

impl<'a> Hops<'a> {
    fn new(endpoint: Endpoint, backplane: &'a Backplane, databases: &'a BTreeMap<String, String>) -> Self {
        Self { aws: emulator::root(endpoint), backplane, databases }
    }

    /// Every hop, and whether it is broken; a database that was given to the stack is not among them.
    ///
    /// # Errors
    /// When the server of the databases, or the emulator, does not respond.
    pub async fn states(&self) -> Result<Vec<HopState>> {
        let mut states = Vec::new();
        for hop in Hop::all(self.backplane) {
            if let Hop::Database(country) = &hop
                && !self.databases.contains_key(country)
            {
                continue;
            }
            states.push(HopState { hop: hop.to_string(), broken: self.is_broken(&hop).await? });
        }
        Ok(states)
    }

    /// Breaks a hop, or heals it. Doing it twice is doing it once.
    ///
    /// # Errors
    /// When it is the database of a server that was given to the stack, or a call fails.
    pub async fn set(&self, hop: &Hop, broken: bool) -> Result<()> {
        let Some(action) = hop.action() else {
            return self.let_nobody_in(hop, broken).await;
        };
        let deny = json!({
            "Version": "2012-10-17",
            "Statement": [{"Sid": "BrokenHop", "Effect": "Deny", "Action": action, "Resource": "*"}],
        });
        for (kind, name) in self.who_may(action) {
            let owner = match kind {
                PrincipalKind::User => "User",
                PrincipalKind::Function | PrincipalKind::CountryWorker => "Role",
            };
            let owner_name = format!("{owner}Name");
            let mut parameters = vec![(owner_name.as_str(), name.as_str()), ("PolicyName", POLICY)];
            let deny = deny.to_string();
            if broken {
                parameters.push(("PolicyDocument", &deny));
                self.aws.iam(&format!("Put{owner}Policy"), &parameters).await?;
            } else if self.has_policy(kind, &name).await? {
                self.aws.iam(&format!("Delete{owner}Policy"), &parameters).await?;
            }
        }
        Ok(())
    }

    async fn is_broken(&self, hop: &Hop) -> Result<bool> {
        match hop.action() {
            None => {
                let (mut server, name) = self.server_of(hop).await?;
                let open = sqlx::query_scalar::<_, bool>("SELECT datallowconn FROM pg_database WHERE datname = $1");
                Ok(!open.bind(name).fetch_one(&mut server).await?)
            }
            Some(action) => match self.who_may(action).into_iter().next() {
                Some((kind, name)) => self.has_policy(kind, &name).await,
                None => Ok(false),
            },
        }
    }

    /// Everybody whom a policy of `infra/backplane.json` allows an action.
    fn who_may(&self, action: &str) -> Vec<(PrincipalKind, String)> {
        let principals = self.backplane.principals.values().filter(|principal| {
            self.backplane.statements(principal).any(|statement| statement.actions.iter().any(|it| it == action))
        });
        principals
            .flat_map(|principal| {
                let countries = match principal.kind {
                    PrincipalKind::CountryWorker => self.backplane.codes().map(Some).collect(),
                    PrincipalKind::Function | PrincipalKind::User => vec![None],
                };
                let name = |country| (principal.kind, self.backplane.principal_name(principal, country));
                countries.into_iter().map(name).collect::<Vec<_>>()
            })
            .collect()
    }

    async fn has_policy(&self, kind: PrincipalKind, name: &str) -> Result<bool> {
        let listed = match kind {
            PrincipalKind::User => self.aws.iam("ListUserPolicies", &[("UserName", name)]).await?,
            PrincipalKind::Function | PrincipalKind::CountryWorker => {
                self.aws.iam("ListRolePolicies", &[("RoleName", name)]).await?
            }
        };
        Ok(listed.contains(&format!("<member>{POLICY}</member>")))
    }

    async fn let_nobody_in(&self, hop: &Hop, broken: bool) -> Result<()> {
        let (mut server, name) = self.server_of(hop).await?;
        let quoted = name.replace('"', "\"\"");
        // The name is quoted; PostgreSQL takes no parameter there.
        let change = format!("ALTER DATABASE \"{quoted}\" WITH ALLOW_CONNECTIONS {}", !broken);
        sqlx::query(AssertSqlSafe(change)).execute(&mut server).await?;
        if broken {
            let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
            sqlx::query(end).bind(name).execute(&mut server).await?;
        }
        Ok(())
    }

    /// The server of a country's database, by way of another database, and the database's name.
    async fn server_of(&self, hop: &Hop) -> Result<(PgConnection, String)> {
        let Hop::Database(country) = hop else { bail!("{hop} is no database") };
        let url = self.databases.get(country).with_context(|| {
            format!(
                "the database of {country} is not the stack's own, and is left alone: DATABASE_URL_{country} names it"
            )
        })?;
        let mut url = Url::parse(url).ok().context("the URL of our own server")?;
        let name = url.path().trim_start_matches('/').to_owned();
        url.set_path("/postgres");
        Ok((connect(url.as_str()).await?, name))
    }
}
