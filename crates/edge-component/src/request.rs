//! What comes from a client and what goes back to it.

use std::cell::Cell;
use std::mem::{self, ManuallyDrop};
use std::time::Duration;

use wasi::clocks::monotonic_clock;
use wasi::http::types::{IncomingBody as WasiBody, IncomingRequest};
use wasi::io::poll::poll;
use wasi::io::streams::StreamError;

/// A request whose body is read only when it is asked for.
pub type Request = http::Request<IncomingBody>;

/// A response.
pub type Response = http::Response<Vec<u8>>;

/// The body of a request, not read yet.
pub struct IncomingBody {
    /// Left to the host, as what is read from it.
    pub(crate) request: ManuallyDrop<IncomingRequest>,
    /// What `Content-Length` says, if it says anything.
    pub(crate) announced: Option<u64>,
    /// It was not there when it was asked for.
    pub(crate) was_awaited: Cell<bool>,
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

/// How long a body may take to arrive. Whoever sends it slowly holds an instance meanwhile.
pub const BODY_DEADLINE: Duration = Duration::from_secs(2);

impl IncomingBody {
    /// Reads the body, at most `limit` bytes of it, within [`BODY_DEADLINE`].
    ///
    /// It waits with the host's blocking poll: an instance serves one request, and there is nothing else to do meanwhile.
    ///
    /// # Errors
    ///
    /// See [`BodyError`]. A body that announces too many bytes is not read at all.
    pub fn read(&self, limit: usize) -> Result<Vec<u8>, BodyError> {
        let limit_u64 = limit as u64;
        if self.announced.is_some_and(|length| length > limit_u64) {
            return Err(BodyError::TooLarge);
        }
        let body = self.request.consume().map_err(|()| BodyError::Broken)?;
        let outcome = read_all(&body, limit, self.announced, &self.was_awaited);
        // As the stream of it: the host clears them away with the instance.
        mem::forget(body);
        outcome
    }

    /// Whether [`read`](Self::read) had to wait for it.
    #[must_use]
    pub fn was_awaited(&self) -> bool {
        self.was_awaited.get()
    }
}

fn read_all(
    body: &WasiBody,
    limit: usize,
    announced: Option<u64>,
    was_awaited: &Cell<bool>,
) -> Result<Vec<u8>, BodyError> {
    let stream = ManuallyDrop::new(body.stream().map_err(|()| BodyError::Broken)?);
    let mut content = Vec::new();
    let mut deadline = None;
    // The end of a body that announced its length need not be asked for.
    while announced != Some(content.len() as u64) {
        // One more than fits, to tell a body of exactly the limit from a longer one.
        let room = (limit - content.len()) as u64 + 1;
        match stream.read(room) {
            Ok(piece) if piece.is_empty() => {
                was_awaited.set(true);
                let deadline = deadline.get_or_insert_with(|| monotonic_clock::subscribe_duration(nanoseconds()));
                let readable = stream.subscribe();
                poll(&[&readable, deadline]);
                if deadline.ready() {
                    return Err(BodyError::Late);
                }
            }
            Ok(piece) if content.is_empty() => content = piece,
            Ok(piece) => content.extend_from_slice(&piece),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(_)) => return Err(BodyError::Broken),
        }
        if content.len() > limit {
            return Err(BodyError::TooLarge);
        }
    }
    Ok(content)
}

/// [`BODY_DEADLINE`] as the host's clock counts.
fn nanoseconds() -> u64 {
    u64::try_from(BODY_DEADLINE.as_nanos()).unwrap_or(u64::MAX)
}
