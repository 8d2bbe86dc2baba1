//! `GET /openapi.yaml`: the description of this API, which is the same for everybody until the next release.

use edge_component::Response;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

pub(crate) fn handle() -> Response {
    let mut response = Response::new(include_bytes!("../../../../docs/openapi.yaml").to_vec());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}
