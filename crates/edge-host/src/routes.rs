//! Which component serves a path: Spin's rules, by the crate that Spin uses.
//!
//! A route is exact (`/health`), ends in a wildcard that also matches its base (`/appointments/...`), or has single
//! segments as parameters (`/users/:id`). An exact segment wins over a parameter, a parameter over a wildcard.

use std::net::SocketAddr;

use http::header::{HeaderName, HeaderValue, InvalidHeaderValue};
use http::{HeaderMap, Uri};

/// One route and what the request's headers say about it.
#[derive(Debug)]
struct Route {
    /// Index of the component that serves it.
    component: usize,
    /// The pattern as the manifest writes it.
    pattern: HeaderValue,
    /// The pattern without a trailing `/...`.
    prefix: HeaderValue,
}

/// All routes of an application.
#[derive(Debug, Default)]
pub(crate) struct Routes(routefinder::Router<Route>);

const PATH_INFO: HeaderName = HeaderName::from_static("spin-path-info");
const FULL_URL: HeaderName = HeaderName::from_static("spin-full-url");
const MATCHED_ROUTE: HeaderName = HeaderName::from_static("spin-matched-route");
const BASE_PATH: HeaderName = HeaderName::from_static("spin-base-path");
const RAW_COMPONENT_ROUTE: HeaderName = HeaderName::from_static("spin-raw-component-route");
const COMPONENT_ROUTE: HeaderName = HeaderName::from_static("spin-component-route");
const CLIENT_ADDR: HeaderName = HeaderName::from_static("spin-client-addr");
const PATH_MATCH: &str = "spin-path-match-";

impl Routes {
    /// Adds a route.
    ///
    /// # Errors
    ///
    /// Why it is no pattern.
    pub(crate) fn add(&mut self, pattern: &str, component: usize) -> Result<(), String> {
        let prefix = pattern.strip_suffix("/...").unwrap_or(pattern);
        let header = |text: &str| HeaderValue::from_str(text).map_err(|_| "a route is printable ASCII".to_owned());
        let route = Route { component, pattern: header(pattern)?, prefix: header(prefix)? };
        if prefix.len() == pattern.len() {
            self.0.add(pattern, route)
        } else {
            self.0.add(format!("{prefix}/*"), route)
        }
    }

    /// The component for a path, or `None` where no route matches.
    pub(crate) fn component(&self, path: &str) -> Option<usize> {
        self.0.best_match(path).map(|found| found.component)
    }

    /// The component for a request. Adds the headers by which Spin tells a component how it was reached, in place of any
    /// that the client sent.
    pub(crate) fn prepare(&self, uri: &Uri, headers: &mut HeaderMap, client: SocketAddr) -> Option<usize> {
        let path = uri.path();
        let found = self.0.best_match(path)?;
        let captures = found.captures();
        let path_info = captures.wildcard().map_or_else(String::new, |rest| path_info(rest, path));
        describe(uri, headers, path_info, (found.pattern.clone(), found.prefix.clone()), client);
        for (name, value) in captures.iter() {
            let name = format!("{PATH_MATCH}{}", name.to_ascii_lowercase());
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                insert(headers, name, value.to_owned());
            }
        }
        Some(found.component)
    }
}

/// Adds the same headers for a component that the host calls by its name: its route is every path.
pub(crate) fn prepare_call(uri: &Uri, headers: &mut HeaderMap) {
    let every = (HeaderValue::from_static("/..."), HeaderValue::from_static(""));
    describe(uri, headers, uri.path().to_owned(), every, SocketAddr::from(([127, 0, 0, 1], 0)));
}

fn describe(
    uri: &Uri,
    headers: &mut HeaderMap,
    path_info: String,
    (pattern, prefix): (HeaderValue, HeaderValue),
    client: SocketAddr,
) {
    let forged: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(PATH_MATCH)).cloned().collect();
    for name in forged {
        headers.remove(name);
    }
    let host = headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or(uri.authority().map(|authority| authority.as_str())).unwrap_or("localhost");
    let path_and_query = uri.path_and_query().map_or("/", |both| both.as_str());
    let full_url = format!("{}://{host}{path_and_query}", uri.scheme_str().unwrap_or("http"));

    headers.insert(MATCHED_ROUTE, pattern.clone());
    headers.insert(RAW_COMPONENT_ROUTE, pattern);
    headers.insert(COMPONENT_ROUTE, prefix);
    headers.insert(BASE_PATH, HeaderValue::from_static("/"));
    insert(headers, PATH_INFO, path_info);
    insert(headers, FULL_URL, full_url);
    insert(headers, CLIENT_ADDR, client.to_string());
}

/// What a wildcard matched, as Spin writes it: with the leading slash and, other than routefinder, a trailing one.
fn path_info(matched: &str, path: &str) -> String {
    match (matched.is_empty(), path.ends_with('/')) {
        (true, false) => String::new(),
        (true, true) => "/".to_owned(),
        (false, false) => format!("/{matched}"),
        (false, true) => format!("/{matched}/"),
    }
}

/// Sets a header to a part of the request's own line, which is a valid value; if it were not, a client's header of that
/// name must not be there.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: String) {
    let value: Result<HeaderValue, InvalidHeaderValue> = value.try_into();
    match value {
        Ok(value) => headers.insert(name, value),
        Err(_) => headers.remove(name),
    };
}
