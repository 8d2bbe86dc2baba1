//! The way of a response from the guest to the client.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;
use wasmtime_wasi_http::WasiBody;

use crate::host_response::{ResponseBody, problem};
use crate::linked::GuestResponse;

/// A response on its way: awaited, set by the guest, or sent.
pub(crate) struct PendingResponse {
    state: Mutex<ResponseState>,
    /// Set when the guest ended before its response's body did.
    cut_off: Arc<AtomicBool>,
}

enum ResponseState {
    Awaited(oneshot::Sender<Response<ResponseBody>>),
    Set(oneshot::Sender<Response<ResponseBody>>, GuestResponse),
    Sent,
}

impl PendingResponse {
    pub(crate) fn new(sender: oneshot::Sender<Response<ResponseBody>>) -> Self {
        Self { state: Mutex::new(ResponseState::Awaited(sender)), cut_off: Arc::default() }
    }

    /// Changes the state by a function of it. The lock is held for no longer than that.
    fn advance(&self, step: impl FnOnce(ResponseState) -> ResponseState) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *state, ResponseState::Sent);
        *state = step(before);
    }

    /// Takes the guest's response. The interface lets a guest set one only once.
    pub(crate) fn set(&self, response: GuestResponse) {
        self.advance(|state| match state {
            ResponseState::Awaited(sender) => ResponseState::Set(sender, response),
            other => other,
        });
    }

    /// Sends the guest's response, where there is one that is not sent yet.
    pub(crate) fn send(&self) {
        self.advance(|state| match state {
            ResponseState::Set(sender, response) => {
                let response = match response {
                    Ok(response) => {
                        response.map(|body| GuestBody { body, cut_off: self.cut_off.clone() }.boxed_unsync())
                    }
                    Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the component responded with an error"),
                };
                // The client may be gone.
                let _ = sender.send(response);
                ResponseState::Sent
            }
            other => other,
        });
    }

    /// Sends the host's own response, where the guest's is not sent yet.
    pub(crate) fn fail(&self, response: Response<ResponseBody>) {
        self.advance(|state| {
            if let ResponseState::Awaited(sender) | ResponseState::Set(sender, _) = state {
                let _ = sender.send(response);
            }
            ResponseState::Sent
        });
    }

    pub(crate) fn is_set(&self) -> bool {
        !matches!(*self.state.lock().unwrap_or_else(PoisonError::into_inner), ResponseState::Awaited(_))
    }

    /// Marks the response's body as incomplete. To be called while the instance is still there: with it goes the body's
    /// other end, which by itself looks like a proper end.
    pub(crate) fn cut_off(&self) {
        self.cut_off.store(true, Ordering::Relaxed);
    }
}

/// A response's body as the guest writes it.
struct GuestBody {
    body: WasiBody,
    cut_off: Arc<AtomicBool>,
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = wasmtime_wasi_http::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(None) if self.cut_off.load(Ordering::Relaxed) => {
                Poll::Ready(Some(Err(wasmtime_wasi_http::Error::HttpResponseIncomplete)))
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
