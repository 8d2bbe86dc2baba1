//! A PostgreSQL server of our own, from the machine's binaries.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection};

use crate::process::{Launch, Process, command_as, free_port, on_path};

/// The account that runs the server when this program runs as root, which `initdb` refuses.
const SYSTEM_USER: &str = "postgres";

/// How long the server may take to start; it needs a tenth of a second.
const START_LIMIT: Duration = Duration::from_secs(30);

/// What to do on a machine without PostgreSQL.
const INSTALL: &str = "no PostgreSQL server found (looked for `initdb` on the PATH, in /usr/lib/postgresql/*/bin and where \
     `pg_config --bindir` points). Install one (Debian and Ubuntu: `sudo apt-get install postgresql`; Fedora: `sudo dnf \
     install postgresql-server`), or name a server that exists for each country, as in DATABASE_URL_PE";

/// A running server with a fresh cluster, without authentication on a port of the loopback interface, without
/// durability: it is thrown away when it stops.
#[derive(Debug)]
pub struct Postgres {
    // Declared first: the server stops before its files go.
    process: Process,
    port: u16,
    _cluster: Cluster,
}

/// A directory that is removed with its content.
#[derive(Debug)]
struct Cluster(PathBuf);

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Postgres {
    /// Creates a cluster and starts its server on a free port.
    ///
    /// `directory` gets the cluster and the log; where the account `postgres` cannot reach it (a home directory that is
    /// closed to others), the cluster goes to the system's temporary directory.
    ///
    /// # Errors
    /// When there are no binaries, or the server does not start.
    pub async fn start(directory: &Path) -> Result<Self> {
        let binaries = binaries()?;
        let user = rustix::process::getuid().is_root().then_some(SYSTEM_USER);
        let cluster = Cluster(place(directory, user)?);
        let path = cluster.0.clone();
        let (initdb, as_user) = (binaries.join("initdb"), user);
        tokio::task::spawn_blocking(move || initialise(&initdb, as_user, &path)).await??;

        let logs = directory.join("logs");
        std::fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        let port = free_port()?;
        let settings = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "max_connections=300",
            "timezone=UTC",
        ];
        let mut args =
            vec!["-D".to_owned(), cluster.0.to_string_lossy().into_owned(), "-p".to_owned(), port.to_string()];
        args.extend(settings.iter().flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]));
        let process = Process::start(Launch {
            name: "PostgreSQL",
            program: &binaries.join("postgres"),
            args,
            environment: Vec::new(),
            clean_environment: false,
            user,
            directory: &cluster.0,
            log: logs.join("postgres.log"),
            // "Fast shutdown": ends sessions and stops.
            stop_signal: Signal::INT,
        })?;
        let mut postgres = Self { process, port, _cluster: cluster };
        let url = postgres.url("postgres");
        postgres.process.until_ready(START_LIMIT, async || connect(&url).await.is_ok()).await?;
        Ok(postgres)
    }

    /// Whether it has ended by itself, and how.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.process.ended()
    }

    /// The id of the server's process, whose children serve the connections, for measurements.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Creates an empty database.
    ///
    /// # Errors
    /// When the server refuses, for example because there is one of that name.
    pub async fn create_database(&self, name: &str) -> Result<()> {
        let mut connection = connect(&self.url("postgres")).await?;
        let statement = format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\""));
        // The name is quoted above; PostgreSQL takes no parameter there.
        connection.execute(AssertSqlSafe(statement)).await.with_context(|| format!("cannot create database {name}"))?;
        connection.close().await.context("cannot close the connection")
    }

    /// The connection URL of a database of this server.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{SYSTEM_USER}@127.0.0.1:{}/{database}", self.port)
    }
}

/// Connects to the database behind a URL.
///
/// # Errors
/// When the URL is malformed, or the server cannot be reached. The error never holds the URL, which may hold a password.
pub async fn connect(url: &str) -> Result<PgConnection> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| anyhow::anyhow!("not a PostgreSQL URL, expected postgres://user:password@host:port/database"))?;
    options.disable_statement_logging().connect().await.context("cannot connect to the database")
}

/// The directory with `initdb` and `postgres`.
///
/// # Errors
/// When there is none; the error says what to install.
pub fn binaries() -> Result<PathBuf> {
    let from_path = on_path("initdb").and_then(|initdb| initdb.canonicalize().ok()?.parent().map(Path::to_owned));
    let installed = || {
        let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
            .ok()?
            .filter_map(|entry| {
                let entry = entry.ok()?;
                Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
            })
            .filter(|(_, directory)| complete(directory))
            .collect();
        versions.sort();
        versions.pop().map(|(_, directory)| directory)
    };
    let configured = || {
        let output = std::process::Command::new(on_path("pg_config")?).arg("--bindir").output().ok()?;
        Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
    };
    from_path
        .filter(|directory| complete(directory))
        .or_else(installed)
        .or_else(|| configured().filter(|directory| complete(directory)))
        .context(INSTALL)
}

fn complete(directory: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|program| directory.join(program).is_file())
}

/// Creates the empty directory of the cluster, owned by who runs the server.
fn place(directory: &Path, user: Option<&'static str>) -> Result<PathBuf> {
    let Some(user) = user else {
        return create(&directory.join("postgres"), None);
    };
    let owner =
        std::fs::read_to_string("/etc/passwd").ok().and_then(|accounts| account_ids(&accounts, user)).with_context(
            || format!("running as root, and there is no account `{user}` to run PostgreSQL as: {INSTALL}"),
        )?;
    let inside = create(&directory.join("postgres"), Some(owner))?;
    let reachable = command_as(Path::new("/usr/bin/test"), Some(user)).arg("-w").arg(&inside).status();
    if reachable.is_ok_and(|status| status.success()) {
        return Ok(inside);
    }
    std::fs::remove_dir(&inside)?;
    create(&std::env::temp_dir().join(format!("appointments-postgres-{}", uuid::Uuid::now_v7())), Some(owner))
}

fn create(directory: &Path, owner: Option<(u32, u32)>) -> Result<PathBuf> {
    if directory.exists() {
        std::fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    if let Some((user, group)) = owner {
        chown(directory, Some(user), Some(group))
            .with_context(|| format!("cannot give {} away", directory.display()))?;
    }
    Ok(directory.to_owned())
}

/// User and group id of an account in the text of `/etc/passwd`.
fn account_ids(accounts: &str, name: &str) -> Option<(u32, u32)> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let (user, group) = (fields.nth(1)?, fields.next()?);
        Some((user.parse().ok()?, group.parse().ok()?))
    })
}

fn initialise(initdb: &Path, user: Option<&'static str>, cluster: &Path) -> Result<()> {
    let output = command_as(initdb, user)
        .args(["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "--no-instructions"])
        .arg(format!("--username={SYSTEM_USER}"))
        .arg("--pgdata")
        .arg(cluster)
        .current_dir(cluster)
        .output()
        .with_context(|| format!("cannot run {}", initdb.display()))?;
    if !output.status.success() {
        bail!("initdb failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
