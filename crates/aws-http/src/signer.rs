//! AWS Signature Version 4 in the `Authorization` header
//! ("Create a signed AWS API request", IAM User Guide: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).
//!
//! Written here and not taken from `aws-sigv4`, because a component signs with a fresh instance each time and pays for
//! every allocation and every kilobyte of code; `docs/adr/0035-own-sigv4.md` has the figures. The published vectors hold
//! it to the standard.

use std::fmt;
use std::sync::OnceLock;
use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Uri};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::Credentials;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const X_AMZ_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// Proxies change these, so that they are never signed.
const UNSIGNED: [&str; 5] = ["authorization", "expect", "transfer-encoding", "user-agent", "x-amzn-trace-id"];

/// The digits of an instant, `20150830T123600Z`; the first eight are its date.
type Instant = [u8; 16];

/// Signs requests for one identity in one region.
#[derive(Clone)]
pub struct Signer {
    credentials: Credentials,
    region: String,
    /// The key of a date and the region, from which each service's key is derived: a booking calls two.
    of_region: OnceLock<([u8; 8], [u8; 32])>,
}

impl Signer {
    /// A signer for these credentials; a session token in them is sent and signed.
    #[must_use]
    pub fn new(region: impl Into<String>, credentials: Credentials) -> Self {
        Self { credentials, region: region.into(), of_region: OnceLock::new() }
    }

    /// Adds `x-amz-date`, `authorization` and, with a session token, `x-amz-security-token`.
    ///
    /// Every header already there is signed, and `host` as it follows from the URI. Headers that the transport adds
    /// later (`content-length`, `user-agent`) are not part of the signature.
    ///
    /// # Errors
    /// A header or a credential that no HTTP header can carry. The error names none of the values.
    pub fn sign<B: AsRef<[u8]>>(
        &self,
        request: &mut http::Request<B>,
        signing_name: &str,
        time: SystemTime,
    ) -> Result<(), SigningError> {
        let instant = digits(time);
        let date = *instant.first_chunk().ok_or(SigningError)?;
        let host = request.uri().authority().ok_or(SigningError)?.as_str().to_owned();
        request.headers_mut().insert(X_AMZ_DATE, HeaderValue::from_bytes(&instant).map_err(|_| SigningError)?);
        if let Some(token) = self.credentials.session_token() {
            let mut token = HeaderValue::from_str(token).map_err(|_| SigningError)?;
            token.set_sensitive(true);
            request.headers_mut().insert(X_AMZ_SECURITY_TOKEN, token);
        }

        let mut headers = Vec::with_capacity(request.headers().len() + 1);
        headers.push(("host", host.as_str()));
        for (name, value) in request.headers() {
            let name = name.as_str();
            if !UNSIGNED.contains(&name) {
                // Sorted as they come, which for a handful is less code than to sort them; values of one name keep their order.
                let position = headers.partition_point(|(before, _)| *before <= name);
                headers.insert(position, (name, value.to_str().map_err(|_| SigningError)?));
            }
        }
        let mut signed_headers = String::with_capacity(128);
        for (position, (name, _)) in headers.iter().enumerate() {
            if position > 0 && headers.get(position - 1).is_some_and(|(before, _)| before == name) {
                continue;
            }
            if position > 0 {
                signed_headers.push(';');
            }
            signed_headers.push_str(name);
        }

        let mut canonical = String::with_capacity(512);
        canonical.push_str(request.method().as_str());
        canonical.push('\n');
        push_path(&mut canonical, request.uri().path());
        canonical.push('\n');
        push_query(&mut canonical, request.uri());
        canonical.push('\n');
        push_headers(&mut canonical, &headers);
        canonical.push('\n');
        canonical.push_str(&signed_headers);
        canonical.push('\n');
        push_hex(&mut canonical, &Sha256::digest(request.body().as_ref()));

        let mut scope = String::with_capacity(64);
        for part in [text(&date)?, "/", &self.region, "/", signing_name, "/aws4_request"] {
            scope.push_str(part);
        }
        let mut to_sign = String::with_capacity(192);
        for part in [ALGORITHM, "\n", text(&instant)?, "\n", &scope, "\n"] {
            to_sign.push_str(part);
        }
        push_hex(&mut to_sign, &Sha256::digest(&canonical));
        let signature = hmac(&self.key(date, signing_name), to_sign.as_bytes());

        let mut authorization = String::with_capacity(320);
        let key_id = self.credentials.access_key_id();
        for part in
            [ALGORITHM, " Credential=", key_id, "/", &scope, ", SignedHeaders=", &signed_headers, ", Signature="]
        {
            authorization.push_str(part);
        }
        push_hex(&mut authorization, &signature);
        let mut authorization = HeaderValue::try_from(authorization).map_err(|_| SigningError)?;
        authorization.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, authorization);
        Ok(())
    }

    /// The key that signs for a service on a date.
    fn key(&self, date: [u8; 8], signing_name: &str) -> [u8; 32] {
        let of_region = || {
            let secret = format!("AWS4{}", self.credentials.secret_access_key());
            hmac(&hmac(secret.as_bytes(), &date), self.region.as_bytes())
        };
        let (of_date, kept) = *self.of_region.get_or_init(|| (date, of_region()));
        // A signer that lives for days derives anew after the first.
        let of_region = if of_date == date { kept } else { of_region() };
        hmac(&hmac(&of_region, signing_name.as_bytes()), b"aws4_request")
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("region", &self.region).finish_non_exhaustive()
    }
}

/// A request could not be signed. The cause is not kept, because it can quote a header's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the request cannot be signed: the access key, the session token or a header holds characters that HTTP does not allow"
)]
pub struct SigningError;

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    // A key of any length is one.
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.chain_update(message).finalize().into_bytes().into()
}

fn digits(time: SystemTime) -> Instant {
    let time = OffsetDateTime::from(time);
    let (hour, minute, second) = time.to_hms();
    let mut digits = *b"00000000T000000Z";
    let year = u32::try_from(time.year()).unwrap_or_default();
    let parts = [
        (0..4, year),
        (4..6, u32::from(u8::from(time.month()))),
        (6..8, u32::from(time.day())),
        (9..11, u32::from(hour)),
        (11..13, u32::from(minute)),
        (13..15, u32::from(second)),
    ];
    for (range, mut number) in parts {
        for digit in digits.get_mut(range).into_iter().flatten().rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
        }
    }
    digits
}

fn text(ascii: &[u8]) -> Result<&str, SigningError> {
    std::str::from_utf8(ascii).map_err(|_| SigningError)
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit }));
        }
    }
}

/// The path without dot segments and empty ones, its segments percent-encoded once more than they are sent.
fn push_path(canonical: &mut String, path: &str) {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    for segment in &segments {
        canonical.push('/');
        push_encoded(canonical, segment.as_bytes());
    }
    if segments.is_empty() || path.ends_with('/') {
        canonical.push('/');
    }
}

/// The query's parameters, percent-encoded anew and sorted.
fn push_query(canonical: &mut String, uri: &Uri) {
    let Some(query) = uri.query() else { return };
    let mut parameters: Vec<(String, String)> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let [mut encoded_name, mut encoded_value] = [String::new(), String::new()];
        push_encoded(&mut encoded_name, name.as_bytes());
        push_encoded(&mut encoded_value, value.as_bytes());
        let parameter = (encoded_name, encoded_value);
        let position = parameters.partition_point(|before| *before <= parameter);
        parameters.insert(position, parameter);
    }
    for (position, (name, value)) in parameters.iter().enumerate() {
        for part in [if position > 0 { "&" } else { "" }, name, "=", value] {
            canonical.push_str(part);
        }
    }
}

/// `name:value` for each header, the values of one name joined, with their outer spaces removed and inner runs made one.
fn push_headers(canonical: &mut String, headers: &[(&str, &str)]) {
    let mut before = "";
    for (name, value) in headers {
        if *name == before {
            canonical.push(',');
        } else {
            if !before.is_empty() {
                canonical.push('\n');
            }
            canonical.push_str(name);
            canonical.push(':');
        }
        for (position, word) in value.split(' ').filter(|word| !word.is_empty()).enumerate() {
            if position > 0 {
                canonical.push(' ');
            }
            canonical.push_str(word);
        }
        before = name;
    }
    canonical.push('\n');
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn push_encoded(text: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push('%');
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from(if digit < 10 { b'0' + digit } else { b'A' - 10 + digit }));
            }
        }
    }
}
