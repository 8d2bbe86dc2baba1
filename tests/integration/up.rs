//! `cargo xtask up` as somebody types it: what it prints, with and without the console, and how it ends.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use http::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use tests::{artifacts, program, scratch_folder, workspace};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::console::ask;

/// How long a start may take on a machine that is busy with other tests.
const START_LIMIT: Duration = Duration::from_secs(300);

/// A stack that somebody started.
struct Up {
    child: Child,
    /// The folder of the instance's data.
    folder: PathBuf,
    printed: String,
}

impl Up {
    /// Starts it, and reads what it prints until it only waits.
    async fn start(arguments: &[&str], log: &Path) -> Self {
        // Built before: only the start is timed.
        let _ = artifacts().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port().to_string();
        let progress = log.with_extension("progress");
        let child = Command::new(program("xtask"))
            .args(["up", "--host", "embedded", "--port", &free])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(log).unwrap())
            .stderr(std::fs::File::create(&progress).unwrap())
            .kill_on_drop(true)
            .spawn();
        let folder = workspace().join("target/local-stack").join(&free);
        let mut up = Self { child: child.unwrap(), folder, printed: String::new() };
        let started = std::time::Instant::now();
        while !up.printed.contains("Ctrl-C stops everything.") {
            let ended = up.child.try_wait().unwrap().is_some();
            assert!(!ended, "it ended: {}{}", up.printed, std::fs::read_to_string(&progress).unwrap());
            assert!(started.elapsed() < START_LIMIT, "it only prints: {}", up.printed);
            tokio::time::sleep(Duration::from_millis(50)).await;
            up.printed = std::fs::read_to_string(log).unwrap();
        }
        up
    }

    fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// The TCP sockets on which the program itself listens: it serves the console, and what it starts are others.
    fn listening(&self) -> usize {
        let sockets = std::fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap();
        let own: Vec<String> = sockets
            .filter_map(|file| std::fs::read_link(file.unwrap().path()).ok()?.to_str().map(str::to_owned))
            .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
            .collect();
        // The fourth column is the state, of which 0A is LISTEN, and the tenth the inode (proc_pid_net(5)).
        let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", self.id())).unwrap();
        let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
        rows.filter(|row| row[3] == "0A" && own.iter().any(|inode| inode == row[9])).count()
    }

    /// Asks it to end, as the terminal does, and waits until it has.
    async fn end(mut self) {
        let id = Pid::from_raw(self.id().try_into().unwrap()).unwrap();
        kill_process(id, Signal::INT).unwrap();
        let status = tokio::time::timeout(START_LIMIT, self.child.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}");
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_the_console() {
    let up = Up::start(&[], &scratch_folder("up").join("printed")).await;
    let address = up.printed.lines().skip_while(|line| *line != "The console, for you alone:").nth(1).unwrap().trim();
    assert_eq!(ask(Method::GET, address, &[]).await.status(), StatusCode::OK, "{address}");
    assert_eq!(up.listening(), 1);
    up.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_no_console_if_it_is_told_so() {
    let up = Up::start(&["--no-console"], &scratch_folder("up-alone").join("printed")).await;
    assert!(up.printed.contains("The page on which people book") && !up.printed.contains("onsole"), "{}", up.printed);
    assert_eq!(up.listening(), 0, "nothing of it can be asked");
    up.end().await;
}
