//! A PostgreSQL server of our own, from the machine's binaries or those that the set-up installed.

use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use operator::database::connect;
use ring::rand::SystemRandom;
use rustix::process::Signal;
use sqlx::{AssertSqlSafe, Connection, Executor};

use crate::command::successful;
use crate::process::{self, Account, Launch, Process, TemporaryFolder, command_as, free_port, on_path};
use crate::tools;

/// The superuser of the cluster.
const SUPERUSER: &str = "postgres";

/// The accounts that may run the server when this program runs as root, which `initdb` refuses; the second is on every
/// Linux system, also where PostgreSQL never was installed.
const SERVER_ACCOUNTS: [&str; 2] = ["postgres", "nobody"];

/// How `initdb` makes a cluster.
///
/// Passwords come in clear: nothing leaves this machine, and a login by SCRAM costs an unoptimised program 30 ms. What is
/// deployed logs in over TLS (`tests/integration/rds.rs`). Segments of the log of 1 MB instead of 16 make a new cluster a third smaller.
const INITDB: [&str; 7] = [
    "--auth=password",
    "--no-sync",
    "--encoding=UTF8",
    "--locale=C",
    "--no-instructions",
    "--wal-segsize=1",
    "--username=postgres",
];

/// The folder under `target` of new clusters that later ones are copies of, one for each version of the server: `initdb` takes a
/// second, and a whole run of the tests starts forty clusters.
const KEPT: &str = "postgres-clusters";

/// How long the server may take to start; it needs a tenth of a second.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running server with a fresh cluster on a port of the loopback interface. It asks every user for a password. What was
/// committed survives a crash of the server, as in production, but not one of the machine: it is thrown away when it stops.
#[derive(Debug)]
pub struct Postgres {
    // Declared first: the server stops before its files go.
    process: Process,
    port: u16,
    passwords: Passwords,
    _cluster: TemporaryFolder,
}

/// The passwords of a cluster, made when it is. `Debug` shows none.
struct Passwords {
    superuser: String,
    /// Of whom [`Postgres::let_in`] lets in.
    others: String,
}

impl Passwords {
    fn generate() -> Result<Self> {
        let random = SystemRandom::new();
        let password = || {
            let bytes: [u8; 24] = ring::rand::generate(&random)
                .map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?
                .expose();
            anyhow::Ok(URL_SAFE_NO_PAD.encode(bytes))
        };
        Ok(Self { superuser: password()?, others: password()? })
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Passwords").finish_non_exhaustive()
    }
}

impl Postgres {
    /// Creates a cluster and starts its server on a free port.
    ///
    /// `directory` gets the cluster and the log. Where the account that runs the server cannot reach the repository (a home
    /// directory that is closed to others), the cluster, and the programs if need be, go to the system's temporary directory.
    ///
    /// # Errors
    /// When there are no binaries, or the server does not start.
    pub async fn start(root: &Path, directory: &Path) -> Result<Self> {
        Self::start_on(root, directory, None).await
    }

    /// As [`Postgres::start`], on `port`, or on a free one.
    ///
    /// # Errors
    /// As [`Postgres::start`], and when the port is taken.
    pub async fn start_on(root: &Path, directory: &Path, port: Option<u16>) -> Result<Self> {
        let port = match port {
            Some(port) => {
                require_free(port)?;
                port
            }
            None => free_port()?,
        };
        let account = if rustix::process::getuid().is_root() { Some(server_account()?) } else { None };
        let cluster = TemporaryFolder(place(directory, account)?);
        let path = cluster.0.join("data");
        let binaries = reachable(binaries(root)?, &cluster.0, account)?;
        let passwords = Passwords::generate()?;
        let superuser = passwords.superuser.clone();
        let (kept, programs) = (root.join("target").join(KEPT), binaries.clone());
        tokio::task::spawn_blocking(move || create_cluster(&kept, &programs, account, &path, &superuser)).await??;

        let logs = directory.join("logs");
        std::fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        let settings = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "full_page_writes=off",
            "max_connections=300",
            "timezone=UTC",
        ];
        let mut args = vec![
            "-D".to_owned(),
            cluster.0.join("data").to_string_lossy().into_owned(),
            "-p".to_owned(),
            port.to_string(),
        ];
        args.extend(settings.iter().flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]));
        let process = Process::start(Launch {
            name: "PostgreSQL",
            program: &binaries.join("postgres"),
            args,
            environment: Vec::new(),
            clean_environment: false,
            account,
            directory: &cluster.0,
            log: logs.join("postgres.log"),
            // "Fast shutdown": ends sessions and stops.
            stop_signal: Signal::INT,
        })?;
        let mut postgres = Self { process, port, passwords, _cluster: cluster };
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

    /// Lets a user in with the password of [`Postgres::url_as`], and creates it if no user has that name. It gets no
    /// other right.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn let_in(&self, user: &str) -> Result<()> {
        let name = format!("\"{}\"", user.replace('"', "\"\""));
        let mut connection = connect(&self.url("postgres")).await?;
        // The server would write a statement that fails into its log, with the password. PostgreSQL takes no parameter here:
        // the name is quoted above, and the password is base64url.
        let statements = format!(
            "SET log_min_error_statement TO panic;
             DO $$ BEGIN CREATE ROLE {name} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
             ALTER ROLE {name} PASSWORD '{}'",
            self.passwords.others
        );
        connection.execute(AssertSqlSafe(statements)).await.with_context(|| format!("cannot let user {user} in"))?;
        connection.close().await.context("cannot close the connection")
    }

    /// The connection URL of a database of this server, as the superuser, with the password.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_with(SUPERUSER, &self.passwords.superuser, database)
    }

    /// As [`Postgres::url`], as a user that was [let in](Postgres::let_in).
    #[must_use]
    pub fn url_as(&self, user: &str, database: &str) -> String {
        self.url_with(user, &self.passwords.others, database)
    }

    fn url_with(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgres://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }
}

/// Says clearly when the port that was asked for is taken.
pub(crate) fn require_free(port: u16) -> Result<()> {
    process::require_free(port, "the databases", "stop it, or choose another port with --database-port")
}

/// The directory with `initdb` and `postgres`: the machine's, or else the set-up's.
///
/// # Errors
/// When the machine has no PostgreSQL; the error says what to do.
pub fn binaries(root: &Path) -> Result<PathBuf> {
    let installed = || {
        let program = tools::POSTGRESQL.program(root);
        program.parent().filter(|directory| complete(directory)).map(Path::to_owned)
    };
    machine_binaries().or_else(installed).context(
        "no PostgreSQL server found: run `cargo xtask setup`, or name a server for each country, as in DATABASE_URL_PE",
    )
}

/// The directory of the machine's own server: on the PATH, where Debian puts it, or where `pg_config --bindir` points.
pub(crate) fn machine_binaries() -> Option<PathBuf> {
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
        let output = Command::new(on_path("pg_config")?).arg("--bindir").output().ok()?;
        Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
    };
    from_path
        .filter(|directory| complete(directory))
        .or_else(installed)
        .or_else(|| configured().filter(|directory| complete(directory)))
}

fn complete(directory: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|program| directory.join(program).is_file())
}

/// The account that runs the server for root.
fn server_account() -> Result<Account> {
    let accounts = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    SERVER_ACCOUNTS.into_iter().find_map(|name| account(&accounts, name)).context(
        "root may not run PostgreSQL, and there is no account `postgres` or `nobody` for it: run this as another user",
    )
}

/// Creates the empty directory of the cluster, owned by who runs the server.
fn place(directory: &Path, account: Option<Account>) -> Result<PathBuf> {
    let inside = create(&directory.join("postgres"), account)?;
    if account.is_none_or(|account| may(account, "-w", &inside)) {
        return Ok(inside);
    }
    std::fs::remove_dir(&inside)?;
    create(&std::env::temp_dir().join(format!("appointments-postgres-{}", uuid::Uuid::now_v7())), account)
}

/// The programs where the account can run them: where the repository is closed to others, a copy beside the cluster.
fn reachable(binaries: PathBuf, cluster: &Path, account: Option<Account>) -> Result<PathBuf> {
    if account.is_none_or(|account| may(account, "-x", &binaries.join("initdb"))) {
        return Ok(binaries);
    }
    let [programs, libraries] = tools::POSTGRESQL_FOLDERS;
    let packages = binaries.ancestors().find(|folder| folder.join(libraries).is_dir()).with_context(|| {
        format!("who runs PostgreSQL for root may not run the programs in {}: open that folder", binaries.display())
    })?;
    let copy = cluster.join("programs");
    for folder in [programs, libraries] {
        copy_tree(&packages.join(folder), &copy.join(folder), None)
            .with_context(|| format!("cannot copy PostgreSQL to {}", copy.display()))?;
    }
    Ok(copy.join(binaries.strip_prefix(packages)?))
}

/// Whether a test of a file, such as `-x`, is true for an account.
fn may(account: Account, test: &str, file: &Path) -> bool {
    let status = command_as(Path::new("/usr/bin/test"), Some(account)).arg(test).arg(file).status();
    status.is_ok_and(|status| status.success())
}

/// Copies a folder with the permissions of its files, and gives the copy away.
fn copy_tree(from: &Path, to: &Path, owner: Option<Account>) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &place, owner)?;
        } else {
            std::fs::copy(entry.path(), &place)?;
            give_away(&place, owner)?;
        }
    }
    std::fs::set_permissions(to, std::fs::metadata(from)?.permissions())?;
    give_away(to, owner)
}

fn give_away(file: &Path, owner: Option<Account>) -> std::io::Result<()> {
    owner.map_or(Ok(()), |Account { user, group }| chown(file, Some(user), Some(group)))
}

fn create(directory: &Path, owner: Option<Account>) -> Result<PathBuf> {
    if directory.exists() {
        std::fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    give_away(directory, owner).with_context(|| format!("cannot give {} away", directory.display()))?;
    Ok(directory.to_owned())
}

/// An account in the text of `/etc/passwd`.
fn account(accounts: &str, name: &str) -> Option<Account> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let (user, group) = (fields.nth(1)?, fields.next()?);
        Some(Account { user: user.parse().ok()?, group: group.parse().ok()? })
    })
}

/// Creates a cluster whose superuser has this password: a copy of the one that is kept, or, where none is, by `initdb`.
fn create_cluster(
    kept: &Path,
    binaries: &Path,
    account: Option<Account>,
    cluster: &Path,
    password: &str,
) -> Result<()> {
    // Another version's, or one made in another way, has another name.
    let version = successful(Command::new(binaries.join("postgres")).arg("--version"), "postgres")?.stdout;
    let name = format!("{} {}", String::from_utf8_lossy(&version).trim(), INITDB.join(" "));
    let kept = kept.join(name.replace(|character: char| !(character.is_ascii_alphanumeric() || character == '.'), "-"));
    if kept.is_dir() {
        copy_tree(&kept, cluster, account).with_context(|| format!("cannot copy {}", kept.display()))?;
        return set_password(&binaries.join("postgres"), account, cluster, password);
    }
    initialise(&binaries.join("initdb"), account, cluster, password)?;
    keep(cluster, &kept).with_context(|| format!("cannot copy the new cluster to {}", kept.display()))
}

/// Copies a new cluster to where later ones are copied from, in one step.
fn keep(cluster: &Path, kept: &Path) -> std::io::Result<()> {
    let unfinished = kept.with_file_name(format!("unfinished-{}", uuid::Uuid::now_v7()));
    copy_tree(cluster, &unfinished, None)?;
    match std::fs::rename(&unfinished, kept) {
        // Another start was faster.
        Err(_) if kept.is_dir() => std::fs::remove_dir_all(&unfinished),
        kept => kept,
    }
}

/// Changes the superuser's password, before anybody else reaches the server.
fn set_password(postgres: &Path, account: Option<Account>, cluster: &Path, password: &str) -> Result<()> {
    // The statement, which is of base64url, is written to the standard input: arguments can be read by everybody.
    let mut server = command_as(postgres, account)
        .args(["--single", "-F", "-c", "log_min_error_statement=panic", "-D"])
        .arg(cluster)
        .arg("postgres")
        .current_dir(cluster.parent().unwrap_or(cluster))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", postgres.display()))?;
    let statement = format!("ALTER ROLE {SUPERUSER} PASSWORD '{password}'\n");
    // Dropped when it is written, which ends the server. Why it could not be written is in what the server says.
    let written = server.stdin.take().map(|mut input| input.write_all(statement.as_bytes()));
    let output = server.wait_with_output()?;
    if !output.status.success() || !matches!(written, Some(Ok(()))) {
        bail!("the password cannot be set ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn initialise(initdb: &Path, account: Option<Account>, cluster: &Path, password: &str) -> Result<()> {
    let folder = cluster.parent().unwrap_or(cluster);
    let password_file = folder.join("password");
    write_secret(&password_file, password, account).context("cannot write the password of the database")?;
    let output = command_as(initdb, account)
        .args(INITDB)
        .arg("--pwfile")
        .arg(&password_file)
        .arg("--pgdata")
        .arg(cluster)
        .current_dir(folder)
        .output()
        .with_context(|| format!("cannot run {}", initdb.display()))?;
    std::fs::remove_file(&password_file).context("cannot remove the file with the password of the database")?;
    if !output.status.success() {
        bail!("initdb failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Writes a file that only the account reads, or only this user where there is no account.
fn write_secret(file: &Path, secret: &str, account: Option<Account>) -> std::io::Result<()> {
    let mut open = std::fs::File::options().create_new(true).write(true).mode(0o600).open(file)?;
    give_away(file, account)?;
    open.write_all(secret.as_bytes())
}
