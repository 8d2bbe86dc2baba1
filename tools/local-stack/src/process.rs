//! Child processes that never outlive the program that started them.
//!
//! A process is stopped when its handle is dropped, with its whole process group (the emulator's functions are in it).
//! On Linux it also dies when this program is killed: `setpriv --pdeathsig` (util-linux) asks the kernel for that.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

/// How much of a log is shown when its process fails, in bytes.
const SHOWN_LOG: u64 = 2_000;

/// How often a process that is starting is asked whether it is ready.
const READY_POLL: Duration = Duration::from_millis(20);

/// A running child with its own process group, its output in a file.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
    stop_signal: Signal,
}

/// How to start a [`Process`].
#[derive(Debug)]
pub struct Launch<'a> {
    /// What people call it, in messages.
    pub name: &'static str,
    /// What to run.
    pub program: &'a Path,
    /// Its arguments.
    pub args: Vec<String>,
    /// The whole environment, or what is added to ours.
    pub environment: Vec<(String, String)>,
    /// Whether [`environment`](Self::environment) is all that it gets.
    pub clean_environment: bool,
    /// The account to run it as, where it is not ours.
    pub account: Option<Account>,
    /// Its working directory.
    pub directory: &'a Path,
    /// The file to which its output is appended.
    pub log: PathBuf,
    /// What asks it to stop in good order.
    pub stop_signal: Signal,
}

/// An account of the system, by the numbers of its user and its group.
#[derive(Debug, Clone, Copy)]
pub struct Account {
    /// The user's id.
    pub user: u32,
    /// The id of the user's group.
    pub group: u32,
}

impl Process {
    /// Starts the process; standard output and error go to the end of its log.
    ///
    /// # Errors
    /// When the log cannot be written or the program cannot be run.
    pub fn start(launch: Launch<'_>) -> Result<Self> {
        let Launch { name, program, args, environment, clean_environment, account, directory, log, stop_signal } =
            launch;
        let output = File::options().create(true).append(true).open(&log);
        let output = output.with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = bound_to_this_program(program, account);
        if clean_environment {
            command.env_clear();
        }
        command
            .args(args)
            .envs(environment)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        let child = spawn(command).with_context(|| format!("cannot start {name} ({})", program.display()))?;
        Ok(Self { name, child, log, stop_signal })
    }

    /// Asks `ready` until it says yes; fails as soon as the process ends, or after `limit`.
    ///
    /// # Errors
    /// When it is not ready in time; the error shows the end of the log.
    pub async fn until_ready(&mut self, limit: Duration, mut ready: impl AsyncFnMut() -> bool) -> Result<()> {
        let started = Instant::now();
        while !ready().await {
            if let Some(status) = self.exited()? {
                bail!("{} ended while it started ({status}). {}", self.name, self.log_tail());
            }
            if started.elapsed() > limit {
                bail!("{} was not ready after {} s. {}", self.name, limit.as_secs(), self.log_tail());
            }
            tokio::time::sleep(READY_POLL).await;
        }
        Ok(())
    }

    /// Whether the process has ended, and how.
    fn exited(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Whether the process has ended by itself, and how: a sentence with the end of its log.
    pub(crate) fn ended(&mut self) -> Option<String> {
        match self.exited() {
            Ok(None) => None,
            Ok(Some(status)) => Some(format!("{} has ended ({status}). {}", self.name, self.log_tail())),
            Err(error) => Some(format!("cannot tell whether {} runs: {error}", self.name)),
        }
    }

    /// The process's id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The end of the log, introduced by its path.
    fn log_tail(&self) -> String {
        format!("Its log, {}, ends:\n{}", self.log.display(), tail(&self.log).unwrap_or_else(|error| error.to_string()))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It fails where the group is gone already, which is what is wanted.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        const GRACE: Duration = Duration::from_secs(5);
        self.signal(self.stop_signal);
        let asked = Instant::now();
        while asked.elapsed() < GRACE && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(5));
        }
        // Also when the leader has ended: what it started and did not stop is still in its group.
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

/// A folder that is removed with its content.
#[derive(Debug)]
pub(crate) struct TemporaryFolder(pub(crate) PathBuf);

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A free port of the loopback interface, for programs that cannot choose one themselves. This process gives it to nobody else.
///
/// It is below the ports that a system gives to whoever asks for any (Linux from 32768, RFC 6335 from 49152): none of these can take it
/// before the program does.
///
/// # Errors
/// When no port is free.
pub fn free_port() -> Result<u16> {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Processes that run at the same time begin at different ports.
    let begin = std::process::id().wrapping_mul(61);
    for _ in 0..COUNT {
        let number = begin.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + number)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port of 127.0.0.1 from {FIRST} to {} is free", FIRST + COUNT - 1)
}

/// Says clearly when a port that was asked for is taken.
pub(crate) fn require_free(port: u16, what: &str, remedy: &str) -> Result<()> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            bail!("port {port} of 127.0.0.1, wanted for {what}, is taken by another program: {remedy}")
        }
        Err(error) => Err(error).with_context(|| format!("cannot listen on 127.0.0.1:{port} for {what}")),
    }
}

/// Finds a program on the `PATH`.
#[must_use]
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|candidate| candidate.is_file())
}

/// The command for `program`, as another account where asked, wrapped in `setpriv` where that exists.
fn bound_to_this_program(program: &Path, account: Option<Account>) -> Command {
    let Some(setpriv) = on_path("setpriv") else {
        return Command::new(program);
    };
    let mut command = Command::new(setpriv);
    command.arg("--pdeathsig=KILL");
    if let Some(Account { user, group }) = account {
        command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).arg("--init-groups");
    }
    command.arg("--").arg(program);
    command
}

/// A command that runs as another account and ends by itself.
pub(crate) fn command_as(program: &Path, account: Option<Account>) -> Command {
    bound_to_this_program(program, account)
}

/// Starts a command on a thread that lives as long as this program: the kernel sends the parent-death signal when the
/// *thread* that started the child ends, and threads of asynchronous runtimes come and go.
fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, received) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, result) in received {
                let _ = result.send(command.spawn());
            }
        });
        orders
    });
    let (result, spawned) = mpsc::channel();
    let gone = |_| io::Error::other("the thread that starts processes has ended");
    spawner.send((command, result)).map_err(|_| gone(mpsc::RecvError))?;
    spawned.recv().map_err(gone)?
}

fn tail(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(SHOWN_LOG)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    Ok(String::from_utf8_lossy(&end).into_owned())
}
