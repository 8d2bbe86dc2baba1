use std::cell::Cell;
use std::mem::{self, ManuallyDrop};

use ::wasi::clocks::monotonic_clock;
use ::wasi::http::types::{IncomingBody as WasiBody, IncomingRequest};
use ::wasi::io::poll::poll;
use ::wasi::io::streams::StreamError;

use crate::{BODY_DEADLINE, Body, BodyError};

/// The body of a request of the host, not read yet.
pub struct IncomingBody {
    /// Left to the host, as what is read from it.
    request: ManuallyDrop<IncomingRequest>,
    /// What `Content-Length` says, if it says anything.
    announced: Option<u64>,
    /// It was not there when it was asked for.
    was_awaited: Cell<bool>,
}

impl IncomingBody {
    pub(super) const fn new(request: IncomingRequest, announced: Option<u64>) -> Self {
        Self { request: ManuallyDrop::new(request), announced, was_awaited: Cell::new(false) }
    }
}

impl Body for IncomingBody {
    /// It waits with the host's blocking poll: an instance serves one request, and there is nothing else to do meanwhile.
    fn read(&self, limit: usize) -> Result<Vec<u8>, BodyError> {
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

    fn was_awaited(&self) -> bool {
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
