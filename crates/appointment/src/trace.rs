use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The place of a hop in the trace of a booking: the `traceparent` of W3C Trace Context, version 00
/// (<https://www.w3.org/TR/trace-context/#traceparent-header>).
///
/// The trace id stays the same from the person's request through every hop and back: one search shows
/// everything that happened to a booking. Each hop has its own span id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

/// The text is not a `traceparent` of version 00.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a traceparent is 00-<32 hexadecimal digits>-<16>-<2>, in lower case and not all zero")]
pub struct InvalidTraceparent;

impl TraceContext {
    /// Starts a trace from 24 random bytes, marked as sampled.
    #[must_use]
    pub fn start(random: [u8; 24]) -> Self {
        let [trace @ .., _, _, _, _, _, _, _, _] = random;
        let [_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, span @ ..] = random;
        // All zero means "invalid" in the specification; one in 2^64 draws would be.
        Self { trace_id: u128::from_be_bytes(trace).max(1), span_id: u64::from_be_bytes(span).max(1), flags: 1 }
    }

    /// The context of the next hop: the same trace, its own span id from eight random bytes.
    #[must_use]
    pub fn child(self, random: [u8; 8]) -> Self {
        Self { span_id: u64::from_be_bytes(random).max(1), ..self }
    }

    /// The trace id as the logs show it: 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The id of this hop: 16 lower-case hexadecimal digits.
    #[must_use]
    pub fn span_id(self) -> String {
        format!("{:016x}", self.span_id)
    }
}

impl FromStr for TraceContext {
    type Err = InvalidTraceparent;

    fn from_str(text: &str) -> Result<Self, InvalidTraceparent> {
        fn hexadecimal(part: Option<&str>, digits: usize) -> Result<&str, InvalidTraceparent> {
            part.filter(|part| {
                part.len() == digits && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            })
            .ok_or(InvalidTraceparent)
        }
        let mut parts = text.split('-');
        if parts.next() != Some("00") {
            return Err(InvalidTraceparent);
        }
        let trace_id = u128::from_str_radix(hexadecimal(parts.next(), 32)?, 16).map_err(|_| InvalidTraceparent)?;
        let span_id = u64::from_str_radix(hexadecimal(parts.next(), 16)?, 16).map_err(|_| InvalidTraceparent)?;
        let flags = u8::from_str_radix(hexadecimal(parts.next(), 2)?, 16).map_err(|_| InvalidTraceparent)?;
        if parts.next().is_some() || trace_id == 0 || span_id == 0 {
            return Err(InvalidTraceparent);
        }
        Ok(Self { trace_id, span_id, flags })
    }
}

impl TryFrom<String> for TraceContext {
    type Error = InvalidTraceparent;

    fn try_from(text: String) -> Result<Self, InvalidTraceparent> {
        text.parse()
    }
}

impl From<TraceContext> for String {
    fn from(context: TraceContext) -> Self {
        context.to_string()
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}
