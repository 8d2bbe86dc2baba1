//! `OPTIONS` of a resource: its methods. What a browser asks before a request of another origin, `cors` adds.

use edge_component::Response;
use http::header::ALLOW;
use http::{HeaderValue, StatusCode};

use crate::route::Resource;

pub(crate) fn handle(resource: Resource) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(resource.allow()));
    response
}
