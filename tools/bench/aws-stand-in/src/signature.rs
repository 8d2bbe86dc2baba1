//! AWS Signature Version 4, seen from the service's side.

use std::time::SystemTime;

use aws_http::Signer;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Request, Uri};
use time::PrimitiveDateTime;
use time::format_description::well_known::Iso8601;
use time::format_description::well_known::iso8601::{Config, EncodedConfig, TimePrecision};

/// `20261124T093000Z`
const BASIC: EncodedConfig = Config::DEFAULT
    .set_use_separators(false)
    .set_time_precision(TimePrecision::Second { decimal_digits: None })
    .encode();

/// What `Authorization` says.
pub(crate) struct Signature<'a> {
    authorization: &'a str,
    /// `<access key>/<date>/<region>/<service>/aws4_request`
    scope: Vec<&'a str>,
    signed_headers: Vec<&'a str>,
}

/// Reads the signature, `None` if it does not have the right form.
pub(crate) fn read(headers: &HeaderMap) -> Option<Signature<'_>> {
    let authorization = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let rest = authorization.strip_prefix("AWS4-HMAC-SHA256 ")?;
    let mut parts = rest.split(',').map(str::trim);
    let scope = parts.next()?.strip_prefix("Credential=")?.split('/').collect();
    let signed_headers = parts.next()?.strip_prefix("SignedHeaders=")?.split(';').collect();
    let signature = parts.next()?.strip_prefix("Signature=")?;
    let is_hexadecimal = signature.len() == 64 && signature.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hexadecimal && parts.next().is_none()).then_some(Signature { authorization, scope, signed_headers })
}

impl Signature<'_> {
    pub(crate) fn check_scope(&self, access_key: &str, region: &str, service: &str) -> Result<(), &'static str> {
        match *self.scope.as_slice() {
            [key, _date, in_region, for_service, "aws4_request"] => {
                if key != access_key {
                    Err("signed with another access key")
                } else if in_region != region || for_service != service {
                    Err("signed for another region or service")
                } else {
                    Ok(())
                }
            }
            _ => Err("no valid credential scope"),
        }
    }

    /// Signs the same headers and the same body anew, at the same time, and compares.
    pub(crate) fn verify(
        &self,
        signer: &Signer,
        head: &http::request::Parts,
        body: Bytes,
        service: &str,
    ) -> Result<(), &'static str> {
        let host = text(&head.headers, HOST.as_str()).ok_or("no Host")?;
        let date = text(&head.headers, "x-amz-date").ok_or("no X-Amz-Date")?;
        let time = PrimitiveDateTime::parse(date, &Iso8601::<BASIC>).map_err(|_| "X-Amz-Date is no instant")?;
        let uri: Uri = format!("http://{host}{}", head.uri).parse().map_err(|_| "no valid target")?;
        let mut request = Request::new(body);
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = uri;
        for name in &self.signed_headers {
            // The signer adds these two itself.
            if *name == "host" || *name == "x-amz-date" {
                continue;
            }
            let name =
                http::HeaderName::from_bytes(name.as_bytes()).map_err(|_| "a signed header has no valid name")?;
            let value = head.headers.get(&name).ok_or("a signed header is not there")?;
            request.headers_mut().insert(name, value.clone());
        }
        let time: SystemTime = time.assume_utc().into();
        signer.sign(&mut request, service, time).map_err(|_| "cannot be signed")?;
        match request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()) {
            Some(expected) if expected.split("Signature=").last() == self.authorization.split("Signature=").last() => {
                Ok(())
            }
            _ => Err("the signature is wrong"),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
