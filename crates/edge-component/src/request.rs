//! What comes from a client and what goes back to it.

use std::time::Duration;

/// A response.
pub type Response = http::Response<Vec<u8>>;

/// How long a body may take to arrive. Whoever sends it slowly holds an instance meanwhile.
pub const BODY_DEADLINE: Duration = Duration::from_secs(2);

/// The body of a request, which is read only when it is asked for, and once.
pub trait Body {
    /// Reads the body, at most `limit` bytes of it, within [`BODY_DEADLINE`].
    ///
    /// # Errors
    ///
    /// See [`BodyError`]. A body that announces too many bytes is not read at all.
    fn read(&self, limit: usize) -> Result<Vec<u8>, BodyError>;

    /// Whether [`read`](Self::read) had to wait for it.
    fn was_awaited(&self) -> bool;
}

/// Why a body cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is longer than the limit.
    #[error("the body is too long")]
    TooLarge,
    /// It did not arrive within [`BODY_DEADLINE`].
    #[error("the body did not arrive in time")]
    Late,
    /// The client went away.
    #[error("the body broke off")]
    Broken,
}
