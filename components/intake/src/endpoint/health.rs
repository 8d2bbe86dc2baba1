//! `GET /health`: whether the component runs. It calls nobody.

use edge_component::Response;
use http::StatusCode;
use serde::Serialize;

use crate::respond::json;

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
}

pub(crate) fn handle() -> Response {
    json(StatusCode::OK, &Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}
