//! Values that tests invent, and how long they wait.

use std::time::Duration;

/// How long a test waits for something that takes a fifth of a second on a machine that is not busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The number of a slot that no other test books and no imported sample has.
#[must_use]
pub fn fresh_slot() -> u64 {
    fastrand::u64(1 << 40..1 << 50)
}
