//! One exchange with a client: the only code of the components that touches `wasi:http` on the inbound side.

use std::future::Future;
use std::time::{Duration, Instant};

use http::header::{CONTENT_LENGTH, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Uri};
use spin_sdk::http::{IncomingRequest, OutgoingResponse, ResponseOutparam};
use spin_sdk::wit::wasi::http0_2_0::types::{Fields, IncomingBody as WasiBody, Method as WasiMethod, OutgoingBody};
use wasi::clocks::monotonic_clock;
use wasi::io::poll::poll;
use wasi::io::streams::StreamError;

/// A request whose body is read only when it is asked for.
pub type Request = http::Request<IncomingBody>;

/// An answer.
pub type Response = http::Response<Vec<u8>>;

/// The body of a request, not read yet.
pub struct IncomingBody {
    request: IncomingRequest,
    /// What `Content-Length` says, if it says anything.
    announced: Option<u64>,
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
        let outcome = read_all(&body, limit, self.announced);
        WasiBody::finish(body);
        outcome
    }
}

fn read_all(body: &WasiBody, limit: usize, announced: Option<u64>) -> Result<Vec<u8>, BodyError> {
    let stream = body.stream().map_err(|()| BodyError::Broken)?;
    let mut content = Vec::new();
    let mut deadline = None;
    // The end of a body that announced its length need not be asked for.
    while announced != Some(content.len() as u64) {
        // One more than fits, to tell a body of exactly the limit from a longer one.
        let room = (limit - content.len()) as u64 + 1;
        match stream.read(room) {
            Ok(piece) if piece.is_empty() => {
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

/// Serves one call of the host: hands the request to `answer`, with the instant at which it came, and sends what it gives.
pub async fn serve<F: Future<Output = Response>>(
    incoming: IncomingRequest,
    outgoing: ResponseOutparam,
    answer: impl FnOnce(Request, Instant) -> F,
) {
    let arrived = Instant::now();
    let response = match request(incoming) {
        Some(request) => answer(request, arrived).await,
        None => {
            let mut response = Response::default();
            *response.status_mut() = http::StatusCode::BAD_REQUEST;
            response
        }
    };
    send(outgoing, response);
}

/// The host's request as one of the `http` crate, `None` where its method or target is not HTTP's.
fn request(incoming: IncomingRequest) -> Option<Request> {
    let method = match incoming.method() {
        WasiMethod::Get => Method::GET,
        WasiMethod::Post => Method::POST,
        WasiMethod::Delete => Method::DELETE,
        WasiMethod::Head => Method::HEAD,
        WasiMethod::Options => Method::OPTIONS,
        WasiMethod::Put => Method::PUT,
        WasiMethod::Patch => Method::PATCH,
        WasiMethod::Connect => Method::CONNECT,
        WasiMethod::Trace => Method::TRACE,
        WasiMethod::Other(name) => Method::from_bytes(name.as_bytes()).ok()?,
    };
    let uri = Uri::try_from(incoming.path_with_query().unwrap_or_default()).ok()?;
    let mut headers = HeaderMap::new();
    for (name, value) in incoming.headers().entries() {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let mut request = http::Request::new(IncomingBody { request: incoming, announced });
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Some(request)
}

/// Hands the answer over with its body already written and finished, so that the host has both when it first writes: head
/// and body then leave in one write, where two would wait for the peer's delayed acknowledgement (about 44 ms).
fn send(outgoing: ResponseOutparam, response: Response) {
    let (mut head, content) = response.into_parts();
    // What has no body announces none (RFC 9110, section 8.6).
    if !matches!(head.status, http::StatusCode::NO_CONTENT | http::StatusCode::NOT_MODIFIED) {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(content.len()));
    }
    let fields: Vec<(String, Vec<u8>)> =
        head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_owned())).collect();
    // The host refuses only headers of its own (`Connection`, …), which no answer of ours sets.
    let fields = Fields::from_list(&fields).unwrap_or_else(|_| Fields::new());
    let response = OutgoingResponse::new(fields);
    let _ = response.set_status_code(head.status.as_u16());
    let Ok(body) = response.body() else { return };
    let mut rest: &[u8] = &content;
    let stream = body.write();
    if let Ok(stream) = &stream
        && let Ok(budget) = stream.check_write()
    {
        let length = rest.len().min(usize::try_from(budget).unwrap_or(usize::MAX));
        let (piece, later) = rest.split_at(length);
        if piece.is_empty() || stream.write(piece).is_ok() {
            rest = later;
        }
    }
    if rest.is_empty() {
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
        outgoing.set(response);
        return;
    }
    // Longer than the host takes before anybody reads: the rest follows the head. A client that has gone away is none of
    // our business any more.
    outgoing.set(response);
    if let Ok(stream) = stream {
        for piece in rest.chunks(4096) {
            if stream.blocking_write_and_flush(piece).is_err() {
                break;
            }
        }
        drop(stream);
    }
    let _ = OutgoingBody::finish(body, None);
}
