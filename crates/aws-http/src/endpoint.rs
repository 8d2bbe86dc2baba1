//! Where a service listens.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

/// The base URL of a service: `https://<authority>`, or `http://<authority>` for an emulator.
///
/// The authority is kept as an HTTP stack sends it in `Host` (lower case, without the scheme's default port), because
/// that is what gets signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    scheme: Scheme,
    authority: Authority,
}

impl Endpoint {
    /// Parses `scheme://authority`; a single trailing slash is allowed.
    ///
    /// # Errors
    /// Names the part that is missing or does not belong there.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let uri: Uri = text.parse().map_err(|_| EndpointError::Malformed)?;
        let parts = uri.into_parts();
        let scheme = parts.scheme.ok_or(EndpointError::Scheme)?;
        if scheme != Scheme::HTTPS && scheme != Scheme::HTTP {
            return Err(EndpointError::Scheme);
        }
        let authority = parts.authority.ok_or(EndpointError::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(EndpointError::UserInfo);
        }
        if authority.host().is_empty() {
            return Err(EndpointError::Malformed);
        }
        if parts.path_and_query.is_some_and(|path| path != "/") {
            return Err(EndpointError::Path);
        }
        // `http` accepts any digits as a port (and ignores what does not fit), so the text is checked here.
        let host = authority.host();
        let port = match authority.as_str().get(host.len()..).and_then(|rest| rest.strip_prefix(':')) {
            Some(digits) => Some(digits.parse::<u16>().map_err(|_| EndpointError::Port)?),
            None => None,
        };
        let default_port = if scheme == Scheme::HTTPS { 443 } else { 80 };
        let mut normalized = host.to_ascii_lowercase();
        if let Some(port) = port.filter(|port| *port != default_port) {
            normalized.push(':');
            normalized.push_str(&port.to_string());
        }
        let authority = Authority::try_from(normalized).map_err(|_| EndpointError::Malformed)?;
        Ok(Self { scheme, authority })
    }

    /// This endpoint as one AWS service, under the name that goes into the signature (`dynamodb`, `sns`, `events`).
    #[must_use]
    pub fn service(&self, signing_name: &'static str) -> Service<'_> {
        Service { endpoint: self, signing_name }
    }

    /// The host, with the port unless it is the scheme's default.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// The URI of a path (with its query) at this endpoint.
    pub(crate) fn uri(&self, path_and_query: &str) -> Result<Uri, http::Error> {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(PathAndQuery::try_from(path_and_query)?);
        Ok(Uri::from_parts(parts)?)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

/// Why a text is no [`Endpoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL with a host.
    #[error("an endpoint looks like https://host or http://host:port")]
    Malformed,
    /// Neither `http` nor `https`.
    #[error("an endpoint starts with https:// or http://")]
    Scheme,
    /// A user name or password before the host.
    #[error("an endpoint holds no user name or password: credentials are set apart from it")]
    UserInfo,
    /// A port that is no number from 0 to 65535.
    #[error("an endpoint's port is a number up to 65535")]
    Port,
    /// A path or query after the host.
    #[error("an endpoint ends after its host and port: leave the path away")]
    Path,
}

/// An [`Endpoint`] together with the name by which a service is signed.
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) signing_name: &'static str,
}
