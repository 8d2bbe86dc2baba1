//! AWS Signature Version 4.

use std::fmt;
use std::time::SystemTime;

use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use http::HeaderValue;

use crate::Credentials;

/// Signs requests for one identity in one region.
///
/// `aws-sigv4` derives the signing key anew for each request (four HMACs); its API takes no derived key together with a
/// request, and an instance that lives for one request would hardly reuse one.
#[derive(Clone)]
pub struct Signer {
    identity: Identity,
    region: String,
}

impl Signer {
    /// A signer for these credentials; a session token in them is sent and signed.
    #[must_use]
    pub fn new(region: impl Into<String>, credentials: Credentials) -> Self {
        Self { identity: credentials.into(), region: region.into() }
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
        let params = v4::SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name(signing_name)
            .time(time)
            .settings(settings(signing_name))
            .build()
            .map_err(|_| SigningError)?
            .into();
        let mut headers = Vec::with_capacity(request.headers().len());
        for (name, value) in request.headers() {
            headers.push((name.as_str(), value.to_str().map_err(|_| SigningError)?));
        }
        let signable = SignableRequest::new(
            request.method().as_str(),
            request.uri().to_string(),
            headers.into_iter(),
            SignableBody::Bytes(request.body().as_ref()),
        )
        .map_err(|_| SigningError)?;
        let (instructions, _signature) = sign(signable, &params).map_err(|_| SigningError)?.into_parts();

        let (added, _query) = instructions.into_parts();
        for header in added {
            let mut value = HeaderValue::from_str(header.value()).map_err(|_| SigningError)?;
            value.set_sensitive(header.sensitive() || header.name() == "authorization");
            request.headers_mut().insert(header.name(), value);
        }
        Ok(())
    }
}

/// How a service wants to be signed. S3 wants the path as it is sent, and the body's hash in a header
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>).
fn settings(signing_name: &str) -> SigningSettings {
    let mut settings = SigningSettings::default();
    if signing_name == "s3" {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    }
    settings
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
