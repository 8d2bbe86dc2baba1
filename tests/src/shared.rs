//! Something that several tests use, and that runs as long as one of them uses it.

use std::ops::Deref;
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::Mutex;

/// Runs what something shared does in the background; the runtime of a single test ends with that test.
pub(crate) static BACKGROUND: LazyLock<Runtime> = LazyLock::new(|| match Runtime::new() {
    Ok(runtime) => runtime,
    Err(error) => panic!("no runtime: {error}"),
});

/// How long it stays for the next test. An idle stack uses a tenth of a processor.
const LINGER: Duration = Duration::from_secs(3);

/// The first test that needs it starts it; it stops soon after the last one has dropped its use. A later test starts it again.
pub struct Shared<T>(Mutex<Weak<T>>);

impl<T: Send + Sync + 'static> Shared<T> {
    /// It has not been started yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::const_new(Weak::new()))
    }

    /// Uses it; starts it if it does not run.
    pub async fn get(&self, start: impl AsyncFnOnce() -> T) -> Lease<T> {
        let mut running = self.0.lock().await;
        if let Some(shared) = running.upgrade() {
            return Lease(shared);
        }
        let started = Arc::new(start().await);
        *running = Arc::downgrade(&started);
        Lease(started)
    }
}

impl<T: Send + Sync + 'static> Default for Shared<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The use of what is [`Shared`].
pub struct Lease<T: Send + Sync + 'static>(Arc<T>);

impl<T: Send + Sync> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Send + Sync> Drop for Lease<T> {
    fn drop(&mut self) {
        let shared = Arc::clone(&self.0);
        BACKGROUND.spawn(async move {
            tokio::time::sleep(LINGER).await;
            // Stopping programs blocks.
            let _ = tokio::task::spawn_blocking(move || drop(shared)).await;
        });
    }
}
