//! What several tests use, for as long as one of them does.

use std::ops::Deref;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Mutex;

use crate::stack::BACKGROUND;

/// How long it stays for the next test. A stack that idles takes a tenth of a processor from the others.
const LINGER: Duration = Duration::from_secs(3);

/// Started by the first test that asks for it, and stopped soon after the last one has let it go; a later test starts it anew.
pub struct Shared<T>(Mutex<Weak<T>>);

impl<T: Send + Sync + 'static> Shared<T> {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::const_new(Weak::new()))
    }

    /// It, started if it does not run.
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
            // To stop programs blocks.
            let _ = tokio::task::spawn_blocking(move || drop(shared)).await;
        });
    }
}
