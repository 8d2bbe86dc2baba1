//! How a request travels. Everything above this trait is the same inside a component and outside.

use std::future::Future;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::HeaderName;

/// The longest response that a transport takes. A page of DynamoDB's `Query`, the largest in use, has at most 1 MB.
pub(crate) const MAX_RESPONSE_BYTES: usize = 2 * 1024 * 1024;

/// Where the REST-JSON and, optionally, the JSON protocols name an error's type.
pub(crate) const X_AMZN_ERRORTYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// Carries one HTTP exchange, and waits.
///
/// The futures have no `Send` bound: in a component nothing is `Send`. If a transport's own futures are `Send`, those
/// of [`Client`](crate::Client) over it are as well.
pub trait Transport {
    /// Sends a request whose `Host` follows from its URI, and reads the whole response, all within the limit.
    ///
    /// The implementation adds `Content-Length`, sends head and body in one write, and limits the size of the response. Of the
    /// response's headers it has to keep `x-amzn-errortype` only.
    ///
    /// # Errors
    /// A [`TransportError`] means that there was no response. A response of any status is not an error.
    fn send(
        &self,
        request: http::Request<Bytes>,
        terms: Terms,
    ) -> impl Future<Output = Result<http::Response<Bytes>, TransportError>>;

    /// Waits.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;
}

/// What holds for one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// When it begins.
    pub started: SystemTime,
    /// How long it may take, from its connection to the end of its response.
    pub limit: Duration,
    /// What the body of its response is.
    pub body: ResponseBody,
}

impl Terms {
    /// An exchange that begins now, with a response of any kind.
    #[must_use]
    pub fn within(limit: Duration) -> Self {
        Self { started: SystemTime::now(), limit, body: ResponseBody::Bytes }
    }
}

/// What the body of a response is. A transport that recognises its end by it saves a call to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseBody {
    /// A JSON object.
    Json,
    /// An XML document whose root element does not contain an element of the same name.
    Xml,
    /// Anything.
    Bytes,
    /// A JSON object that nobody needs if the status is 2xx; another exchange follows.
    Unread,
}

/// How much of a body is searched for its end. A longer one arrives in several pieces in any case.
#[cfg(any(target_os = "wasi", test))]
const SCANNED_BYTES: usize = 4096;

#[cfg(any(target_os = "wasi", test))]
impl ResponseBody {
    /// Whether the bytes are certainly the whole body. A body that breaks off never seems whole.
    pub(crate) fn is_whole(self, body: &[u8]) -> bool {
        body.len() <= SCANNED_BYTES
            && match self {
                Self::Json | Self::Unread => is_whole_json(body),
                Self::Xml => is_whole_xml(body),
                Self::Bytes => false,
            }
    }
}

/// Whether the last byte closes the object that the first one opens.
#[cfg(any(target_os = "wasi", test))]
fn is_whole_json(body: &[u8]) -> bool {
    if !matches!(body, [b'{', .., b'}']) {
        return false;
    }
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for (index, byte) in body.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => match depth {
                0 => return false,
                1 => return index + 1 == body.len(),
                _ => depth -= 1,
            },
            _ => {}
        }
    }
    false
}

/// Whether the last tag closes the first element.
#[cfg(any(target_os = "wasi", test))]
fn is_whole_xml(body: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(body) else { return false };
    let last =
        text.trim_end().strip_suffix('>').and_then(|text| text.rsplit_once("</")).map(|(_, name)| name.trim_end());
    let mut tags = text.split('<').skip(1).filter(|tag| !tag.starts_with(['?', '!']));
    let first = tags.next().and_then(|tag| tag.split(['>', '/', ' ', '\n', '\r', '\t']).next());
    first.is_some_and(|name| !name.is_empty()) && first == last
}

impl<T: Transport> Transport for &T {
    fn send(
        &self,
        request: http::Request<Bytes>,
        terms: Terms,
    ) -> impl Future<Output = Result<http::Response<Bytes>, TransportError>> {
        T::send(self, request, terms)
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> {
        T::sleep(self, duration)
    }
}

/// Why a request got no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection came about, so nothing was sent.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// The authority that was to be reached.
        host: String,
        /// What failed, in the transport's words.
        reason: String,
    },
    /// The Wasm host forbids this destination, so nothing was sent.
    #[error("the host does not let this component call {host}: add it to allowed_outbound_hosts in spin.toml")]
    Denied {
        /// The authority that was refused.
        host: String,
    },
    /// The request cannot be put on the wire, so nothing was sent.
    #[error("the request cannot be sent: {reason}")]
    InvalidRequest {
        /// The part at fault.
        reason: String,
    },
    /// The response did not arrive, or not completely, in time.
    #[error("no response in time")]
    Timeout,
    /// The connection broke after at least a part of the request was sent.
    #[error("the connection broke before the response was complete: {reason}")]
    Interrupted {
        /// What failed, in the transport's words.
        reason: String,
    },
    /// The response is longer than the transport takes.
    #[error("the response is longer than {limit_bytes} bytes")]
    TooLarge {
        /// The most that is taken.
        limit_bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_whole_body_is_known_by_its_end() {
        let json = [
            ("{}", true),
            (r#"{"Items":[{"name":{"S":"}"}}],"Count":1}"#, true),
            (r#"{"text":"a \" and a \\"}"#, true),
            ("{}\n", false),
            ("{}{}", false),
            ("{]}", false),
            ("[]", false),
            ("", false),
            ("{", false),
            ("}", false),
        ];
        for (body, whole) in json {
            assert_eq!(ResponseBody::Json.is_whole(body.as_bytes()), whole, "{body}");
        }
        let xml = [
            ("<PublishResponse xmlns=\"u\"><Id>1</Id></PublishResponse>", true),
            ("<?xml version=\"1.0\"?>\n<!-- a --><n:a>b</n:a >\n", true),
            ("<a><b></b>", false),
            ("<a/>", false),
            ("a>", false),
            ("</>", false),
            ("", false),
        ];
        for (body, whole) in xml {
            assert_eq!(ResponseBody::Xml.is_whole(body.as_bytes()), whole, "{body}");
        }
        assert!(!ResponseBody::Bytes.is_whole(b"{}"));
        let long = format!(r#"{{"text":"{}"}}"#, "x".repeat(SCANNED_BYTES));
        assert!(!ResponseBody::Json.is_whole(long.as_bytes()), "it arrives in pieces in any case");
    }

    #[test]
    fn a_body_that_breaks_off_is_never_whole() {
        let json = r#"{"Items":[{"a":{"M":{"b":{"S":"}]}"}}}},{"c":{"L":[{"N":"1"}]}}],"Count":2}"#;
        let xml = "<?xml version=\"1.0\"?><PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>";
        for (kind, body) in [(ResponseBody::Json, json), (ResponseBody::Xml, xml)] {
            assert!(kind.is_whole(body.as_bytes()), "{body}");
            for length in 0..body.len() {
                assert!(!kind.is_whole(&body.as_bytes()[..length]), "{}", &body[..length]);
            }
        }
    }
}
