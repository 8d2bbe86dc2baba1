//! What tests make up, and how long they wait.

use std::time::Duration;

/// How long something that takes a fifth of a second may take on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The number of a slot that no other test books, nor any imported sample has.
#[must_use]
pub fn fresh_slot() -> u64 {
    fastrand::u64(1 << 40..1 << 50)
}
