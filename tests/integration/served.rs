//! The public component as it runs at the edge: in the embedded host inside this process, or under `spin up`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use edge_host::{EdgeHost, Manifest, RunningHost};
use local_stack::application::{Application, ApplicationSettings, Host};
use tests::{component, scratch_folder, target_folder, workspace};
use tokio::task::JoinHandle;

/// What was logged so far, line by line.
pub(crate) type Lines = Arc<Mutex<Vec<String>>>;

/// How long `spin` may take to write the line about a request after its response.
const LOG_LIMIT: Duration = Duration::from_secs(10);

/// Intake behind an address; it stops when it is dropped.
pub(crate) struct Served {
    running: Running,
    lines: Lines,
}

enum Running {
    Embedded(RunningHost),
    Spin(Application, JoinHandle<()>),
}

impl Served {
    /// Starts intake with these values of the manifest's variables, on the host that this run of the tests is about.
    pub(crate) async fn start(variables: BTreeMap<&str, String>) -> Self {
        match tests::host() {
            Host::Embedded => Self::embedded(variables, Arc::default()).await,
            Host::Spin => Self::under_spin(variables).await,
        }
    }

    /// Starts intake in the embedded host, with a wall clock that runs ahead by so many seconds.
    pub(crate) async fn embedded(variables: BTreeMap<&str, String>, clock_ahead: Arc<AtomicU64>) -> Self {
        Self::components(&["intake"], variables, clock_ahead).await
    }

    /// Starts intake in the embedded host, and the page that calls it.
    pub(crate) async fn with_page(variables: BTreeMap<&str, String>) -> Self {
        Self::components(&["intake", "booking-page"], variables, Arc::default()).await
    }

    async fn components(names: &[&str], variables: BTreeMap<&str, String>, clock_ahead: Arc<AtomicU64>) -> Self {
        for name in names {
            let _ = component(name);
        }
        let lines = Lines::default();
        let kept = Arc::clone(&lines);
        let manifest = Manifest::from_file(workspace().join("spin.toml")).unwrap().only(names).unwrap();
        let mut builder = EdgeHost::builder(manifest)
            .cache_folder(target_folder().join("edge-host-cache"))
            .threads(std::num::NonZero::<usize>::MIN)
            .clock_ahead(clock_ahead)
            .log(Arc::new(move |line| kept.lock().unwrap().push(line.to_string())));
        for (name, value) in variables {
            builder = builder.variable(name, value);
        }
        Self { running: Running::Embedded(builder.start().await.unwrap()), lines }
    }

    async fn under_spin(variables: BTreeMap<&str, String>) -> Self {
        let _ = component("intake");
        let lines = Lines::default();
        let kept = Arc::clone(&lines);
        let root = workspace();
        let log = scratch_folder("spin").join(format!("{:016x}.log", fastrand::u64(..)));
        let application = Application::start(ApplicationSettings {
            host: Host::Spin,
            root: &root,
            edge_host: Path::new(""),
            port: None,
            variables,
            telemetry: BTreeMap::new(),
            log: log.clone(),
        });
        let application = application.await.unwrap();
        let running = Running::Spin(application, tokio::spawn(async move { follow(&log, &kept).await }));
        let served = Self { running, lines };
        // The line about the health check: from now on each further one is about a request of the test's.
        served.until_logged(1).await;
        served
    }

    pub(crate) fn url(&self) -> String {
        match &self.running {
            Running::Embedded(host) => host.url(),
            Running::Spin(application, _) => application.url(),
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.url().strip_prefix("http://").unwrap().parse().unwrap()
    }

    pub(crate) fn lines(&self) -> Lines {
        Arc::clone(&self.lines)
    }

    /// How many requests intake has logged.
    fn logged(&self) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| line.contains(r#""service":"intake""#)).count()
    }

    /// Under `spin`, whose lines come a moment after the responses.
    async fn until_logged(&self, requests: usize) {
        let started = Instant::now();
        while matches!(self.running, Running::Spin(..)) && self.logged() < requests && started.elapsed() < LOG_LIMIT {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for a response, and for the log line about its request.
    pub(crate) async fn logged_call<T>(&self, response: impl Future<Output = T>) -> T {
        let before = self.logged();
        let response = response.await;
        self.until_logged(before + 1).await;
        response
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Running::Spin(_, following) = &self.running {
            following.abort();
        }
    }
}

/// Copies the whole lines of a growing file.
async fn follow(file: &Path, lines: &Mutex<Vec<String>>) {
    let mut copied = 0;
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if let Some(new) = text.get(copied..whole) {
            lines.lock().unwrap().extend(new.lines().map(str::to_owned));
            copied = whole;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
