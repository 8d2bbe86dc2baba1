//! What can go wrong with a call, told apart by what a caller does about it.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;
use serde::Deserialize;

use crate::item::Item;
use crate::transport::TransportError;
use crate::xml;

/// A logical call that failed, after whatever retries were allowed.
///
/// Its texts name the service, the operation, the kind of failure and what to do about it. They hold no secrets, no
/// request data and no attribute values.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    service: &'static str,
    operation: Box<str>,
    attempts: u32,
    effect_unknown: bool,
}

/// The kinds of failure.
#[derive(Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The write's condition did not hold (`ConditionalCheckFailedException`); nothing was written by this attempt.
    ConditionFailed {
        /// The item as it is, if the request asked for it and there is one.
        item: Option<Item<'static>>,
    },
    /// The transaction was cancelled as a whole (`TransactionCanceledException`); nothing was written by this attempt.
    TransactionCanceled {
        /// One reason for each item of the request, in its order.
        reasons: Vec<CancellationReason>,
    },
    /// Another write to the same item was under way (`TransactionConflictException`), or the same transaction is
    /// (`TransactionInProgressException`).
    Conflict {
        /// The service's error code.
        code: String,
    },
    /// The service asks for fewer calls. It did not execute this one.
    Throttled {
        /// The service's error code.
        code: String,
    },
    /// The service failed (5xx). It may have executed the call.
    ServiceFault {
        /// The HTTP status.
        status: u16,
        /// The service's error code, or an empty string.
        code: String,
    },
    /// The service refused the call for what it is: access denied, a wrong signature, a missing table, bad input.
    Rejected {
        /// The service's error code.
        code: String,
        /// The service's explanation. It is empty if the service could quote request data in it (see
        /// [`Client::with_verbatim_rejections`](crate::Client::with_verbatim_rejections)).
        message: String,
    },
    /// The Wasm host forbids this destination. Nothing was sent.
    Denied {
        /// The authority that was refused.
        host: String,
    },
    /// The service's host cannot be reached. Nothing was sent.
    Unreachable {
        /// The authority that was to be reached.
        host: String,
        /// What failed, in the transport's words.
        reason: String,
    },
    /// An attempt got no response within its limit.
    Timeout,
    /// The call's total budget ran out while an attempt was waiting.
    DeadlineExceeded,
    /// The connection broke before the response was complete.
    ResponseLost {
        /// What failed, in the transport's words.
        reason: String,
    },
    /// A response came that does not follow the protocol.
    InvalidResponse {
        /// What is wrong with it.
        reason: String,
    },
    /// The request could not be built from its input, or cannot be put on the wire. Nothing was sent.
    InvalidRequest {
        /// The part at fault.
        reason: String,
    },
}

/// Why one item of a transaction did not let it pass.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CancellationReason {
    /// `None` for an item that was not at fault, else `ConditionalCheckFailed`, `TransactionConflict`,
    /// `ThrottlingError`, … ("TransactWriteItems", DynamoDB API reference).
    #[serde(default = "not_at_fault")]
    pub code: String,
    /// The item as it is, if the request asked for it and there is one.
    #[serde(default)]
    pub item: Option<Item<'static>>,
}

fn not_at_fault() -> String {
    "None".to_owned()
}

impl CancellationReason {
    /// Whether this item's condition did not hold.
    #[must_use]
    pub fn is_condition_failed(&self) -> bool {
        self.code == "ConditionalCheckFailed"
    }

    /// Whether this item was not at fault.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.code == "None"
    }

    fn is_transient(&self) -> bool {
        matches!(self.code.as_str(), "TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded")
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, service: &'static str, operation: &str, attempts: u32, earlier: bool) -> Self {
        let effect_unknown = earlier || kind.may_have_taken_effect();
        Self { kind, service, operation: operation.into(), attempts, effect_unknown }
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// What went wrong, to take its data.
    #[must_use]
    pub fn into_kind(self) -> ErrorKind {
        self.kind
    }

    /// The service's signing name, for example `dynamodb`.
    #[must_use]
    pub fn service(&self) -> &'static str {
        self.service
    }

    /// The operation, for example `PutItem`.
    #[must_use]
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// How many attempts were made; 0 where the request could not be built.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Whether any attempt may have been executed although no response says so.
    ///
    /// This looks at all attempts, not only at the last: a failed condition after a lost response can mean that the first
    /// attempt itself wrote the item.
    #[must_use]
    pub fn took_effect_unknown(&self) -> bool {
        self.effect_unknown
    }
}

impl ErrorKind {
    /// The attempt certainly did nothing, and the next may succeed.
    pub(crate) fn is_transient_without_effect(&self) -> bool {
        self.is_transient() && !self.may_have_taken_effect()
    }

    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Conflict { .. }
            | Self::Throttled { .. }
            | Self::ServiceFault { .. }
            | Self::Unreachable { .. }
            | Self::Timeout
            | Self::DeadlineExceeded
            | Self::ResponseLost { .. } => true,
            Self::TransactionCanceled { reasons } => {
                reasons.iter().any(CancellationReason::is_transient)
                    && reasons.iter().all(|reason| reason.is_none() || reason.is_transient())
            }
            Self::ConditionFailed { .. }
            | Self::Rejected { .. }
            | Self::Denied { .. }
            | Self::InvalidResponse { .. }
            | Self::InvalidRequest { .. } => false,
        }
    }

    pub(crate) fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::ServiceFault { .. }
            | Self::Timeout
            | Self::DeadlineExceeded
            | Self::ResponseLost { .. }
            | Self::InvalidResponse { .. } => true,
            Self::ConditionFailed { .. }
            | Self::TransactionCanceled { .. }
            | Self::Conflict { .. }
            | Self::Throttled { .. }
            | Self::Rejected { .. }
            | Self::Denied { .. }
            | Self::Unreachable { .. }
            | Self::InvalidRequest { .. } => false,
        }
    }

    /// Reads the error of a JSON protocol: the type is in the body's `__type`, or in `x-amzn-errortype` ("AWS JSON
    /// 1.0 protocol", "Operation error serialization", Smithy).
    pub(crate) fn from_json(status: StatusCode, error_type: Option<&str>, body: &[u8], verbatim: bool) -> Self {
        let fault: JsonFault<'_> = serde_json::from_slice(body).unwrap_or_default();
        let code = error_type.or(fault.kind.as_deref()).or(fault.code.as_deref()).unwrap_or_default();
        let code = code.rsplit('#').next().unwrap_or_default();
        let code = code.split(':').next().unwrap_or_default();
        match code {
            "ConditionalCheckFailedException" => Self::ConditionFailed { item: fault.item },
            "TransactionCanceledException" => Self::TransactionCanceled { reasons: fault.cancellation_reasons },
            "TransactionConflictException" | "TransactionInProgressException" => {
                Self::Conflict { code: code.to_owned() }
            }
            _ => Self::from_code(status, code, fault.message.as_deref().unwrap_or_default(), verbatim),
        }
    }

    /// Reads the error of the Query protocol: `<ErrorResponse><Error><Code/><Message/></Error></ErrorResponse>`.
    pub(crate) fn from_xml(status: StatusCode, body: &[u8], verbatim: bool) -> Self {
        let document = std::str::from_utf8(body).unwrap_or_default();
        let code = xml::first_text(document, "Code").unwrap_or_default();
        let message = xml::first_text(document, "Message").unwrap_or_default();
        Self::from_code(status, &code, &message, verbatim)
    }

    fn from_code(status: StatusCode, code: &str, message: &str, verbatim: bool) -> Self {
        if status == StatusCode::TOO_MANY_REQUESTS || THROTTLING_CODES.contains(&code) {
            return Self::Throttled { code: code.to_owned() };
        }
        if status.is_server_error() {
            return Self::ServiceFault { status: status.as_u16(), code: code.to_owned() };
        }
        if !status.is_client_error() || code.is_empty() {
            return Self::InvalidResponse { reason: format!("status {} without an AWS error", status.as_u16()) };
        }
        let message = if verbatim || QUOTES_NO_REQUEST_DATA.contains(&code) {
            // A signature's error goes on, after its first line, with the canonical request, which includes the session token.
            message.lines().next().unwrap_or_default()
        } else {
            ""
        };
        Self::Rejected { code: code.to_owned(), message: message.to_owned() }
    }
}

impl From<TransportError> for ErrorKind {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Unreachable { host, reason } => Self::Unreachable { host, reason },
            TransportError::Denied { host } => Self::Denied { host },
            TransportError::InvalidRequest { reason } => Self::InvalidRequest { reason },
            TransportError::Timeout => Self::Timeout,
            TransportError::Interrupted { reason } => Self::ResponseLost { reason },
            TransportError::TooLarge { .. } => Self::InvalidResponse { reason: error.to_string() },
        }
    }
}

/// Codes that mean "send fewer calls": those that the AWS SDKs treat as throttling ("Retry behavior", AWS SDKs and
/// Tools reference guide), without `LimitExceededException`, which for several services is a quota that no retry helps.
const THROTTLING_CODES: &[&str] = &[
    "BandwidthLimitExceeded",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "Throttled",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

/// Codes whose message names principals, actions and resources only.
const QUOTES_NO_REQUEST_DATA: &[&str] = &[
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
    "AuthorizationErrorException",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotFound",
    "NotFoundException",
    "ResourceNotFoundException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

/// The fields of a JSON error that matter.
#[derive(Default, Deserialize)]
#[serde(default)]
struct JsonFault<'a> {
    #[serde(rename = "__type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    code: Option<Cow<'a, str>>,
    #[serde(alias = "Message", borrow)]
    message: Option<Cow<'a, str>>,
    #[serde(rename = "Item")]
    item: Option<Item<'static>>,
    #[serde(rename = "CancellationReasons")]
    cancellation_reasons: Vec<CancellationReason>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.service, self.operation, self.kind)?;
        if self.attempts > 1 {
            write!(f, " (after {} attempts)", self.attempts)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConditionFailed { .. } => f.write_str("the condition did not hold"),
            Self::TransactionCanceled { reasons } => {
                f.write_str("the transaction was cancelled: ")?;
                for (position, reason) in reasons.iter().enumerate() {
                    if position > 0 {
                        f.write_str(", ")?;
                    }
                    f.write_str(&reason.code)?;
                }
                Ok(())
            }
            Self::Conflict { code } => write!(f, "another write was under way ({code})"),
            Self::Throttled { code } => write!(f, "throttled ({code})"),
            Self::ServiceFault { status, code } if code.is_empty() => write!(f, "the service failed (status {status})"),
            Self::ServiceFault { status, code } => write!(f, "the service failed (status {status}, {code})"),
            Self::Rejected { code, message } if message.is_empty() => write!(f, "refused ({code})"),
            Self::Rejected { code, message } => write!(f, "refused ({code}): {message}"),
            Self::Denied { host } => TransportError::Denied { host: host.clone() }.fmt(f),
            Self::Unreachable { host, reason } => write!(f, "{host} cannot be reached: {reason}"),
            Self::Timeout => f.write_str("no response in time"),
            Self::DeadlineExceeded => f.write_str("no response before the call's deadline"),
            Self::ResponseLost { reason } => {
                write!(f, "the connection broke before the response was complete: {reason}")
            }
            Self::InvalidResponse { reason } => write!(f, "the response is not understood: {reason}"),
            Self::InvalidRequest { reason } => write!(f, "the request cannot be sent: {reason}"),
        }
    }
}
