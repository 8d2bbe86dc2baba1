//! The request's body on its way to the guest.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

/// How much of a body that the guest left unread is read and thrown away, in bytes.
const LINGER_BYTES: usize = 2 << 20;
/// How long that may take.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// A request body that is read to its end, within bounds, also where the guest does not.
///
/// A server that closes a connection with unread data on it resets it, and the client may lose the response that told
/// it why (RFC 9112, section 9.6). So a body over the guest's limit is still taken off the wire.
pub(crate) struct LingeringBody<B: Body + Send + Unpin + 'static>(Option<B>);

impl<B: Body + Send + Unpin + 'static> LingeringBody<B> {
    pub(crate) fn new(body: B) -> Self {
        Self(Some(body))
    }
}

impl<B> Body for LingeringBody<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B: Body + Send + Unpin + 'static> Drop for LingeringBody<B> {
    fn drop(&mut self) {
        let Some(body) = self.0.take_if(|body| !body.is_end_stream()) else { return };
        // Dropped with the runtime, there is no connection left either.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(linger(body));
        }
    }
}

async fn linger<B: Body + Unpin>(mut body: B) {
    let read = async {
        let mut left = LINGER_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let size = frame.data_ref().map_or(0, bytes::Buf::remaining);
            match left.checked_sub(size) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    };
    // Nobody needs the rest: whether it arrives does not matter.
    let _ = tokio::time::timeout(LINGER_TIME, read).await;
}
