//! Follows the logs of an instance while it runs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use crate::history::History;
use crate::spans::{LogFolder, LogLine};

/// What passes between two looks at the logs.
const LOOK: Duration = Duration::from_millis(200);

/// How far a listener may be behind before it is told to begin anew.
const BEHIND: usize = 256;

/// Follows logs until it is dropped.
pub struct Watch {
    told: Arc<Told>,
    task: JoinHandle<()>,
}

/// What the logs have told, and who listens.
pub(crate) struct Told {
    history: Mutex<History>,
    changes: broadcast::Sender<Arc<Change>>,
}

/// What one look at the logs brought.
pub(crate) struct Change {
    /// Traces with new lines.
    pub(crate) traces: Vec<String>,
    /// New lines, in order of time.
    pub(crate) lines: Vec<LogLine>,
}

impl Told {
    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<Change>> {
        self.changes.subscribe()
    }
}

impl Watch {
    /// Follows the logs in a folder, from their beginning. It has to be called in a runtime.
    #[must_use]
    pub fn start(logs: PathBuf) -> Self {
        let told = Arc::new(Told { history: Mutex::default(), changes: broadcast::channel(BEHIND).0 });
        let telling = Arc::clone(&told);
        let task = tokio::spawn(async move {
            let mut folder = LogFolder::new(logs);
            loop {
                // A file that cannot be read now is read by the next look.
                if let Ok(lines) = folder.read()
                    && !lines.is_empty()
                {
                    let mut traces: Vec<String> = {
                        let mut history = telling.history();
                        lines.iter().filter_map(|line| history.add(line.clone())).collect()
                    };
                    traces.sort_unstable();
                    traces.dedup();
                    // Nobody may be listening.
                    let _ = telling.changes.send(Arc::new(Change { traces, lines }));
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        Self { told, task }
    }

    pub(crate) fn told(&self) -> Arc<Told> {
        Arc::clone(&self.told)
    }

    /// Gives each line that is written from now on to `take`, until it is dropped.
    pub async fn lines(&self, mut take: impl FnMut(&LogLine)) {
        let mut changes = self.told.listen();
        loop {
            match changes.recv().await {
                Ok(change) => change.lines.iter().for_each(&mut take),
                // Lines that came too fast to be shown are in the logs.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
