//! The problems of `POST /appointments` (RFC 9457), in Spanish.

use appointment::{FieldError, InvalidRequest};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde_json::json;

pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: &'static str,
    errors: Vec<FieldError>,
}

impl Problem {
    pub(crate) const UNSUPPORTED_MEDIA_TYPE: Self = Self::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "Formato no admitido",
        "Envíe la solicitud con el encabezado «Content-Type: application/json».",
    );
    pub(crate) const BODY_TOO_LARGE: Self = Self::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        "La solicitud es demasiado larga",
        "La solicitud puede tener hasta 4096 bytes.",
    );
    pub(crate) const TEMPORARILY_UNAVAILABLE: Self = Self::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "temporarily_unavailable",
        "No disponible por el momento",
        "Intente de nuevo en unos segundos. Su solicitud pudo haberse registrado: repítala con la misma clave de idempotencia.",
    );

    const fn new(status: StatusCode, code: &'static str, title: &'static str, detail: &'static str) -> Self {
        Self { status, code, title, detail, errors: Vec::new() }
    }

    pub(crate) const fn code(&self) -> &'static str {
        self.code
    }
}

impl From<InvalidRequest> for Problem {
    fn from(fault: InvalidRequest) -> Self {
        let bad_request = |code, title, detail| Self::new(StatusCode::BAD_REQUEST, code, title, detail);
        match fault {
            InvalidRequest::Empty => {
                bad_request("empty_body", "La solicitud está vacía", "Envíe los datos de la cita en formato JSON.")
            }
            InvalidRequest::NotJson { .. } => {
                bad_request("invalid_json", "La solicitud no es JSON", "No pudimos leer la solicitud como JSON.")
            }
            InvalidRequest::NotAnObject => bad_request(
                "not_an_object",
                "La solicitud no es un objeto",
                "Envíe los datos de la cita como un objeto JSON.",
            ),
            InvalidRequest::Fields(errors) => Self {
                errors,
                ..bad_request("invalid_body", "La solicitud no es válida", "Corrija los campos indicados en «errors».")
            },
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = serde_json::Map::from_iter([
            ("type".to_owned(), json!(format!("urn:medical-appointments:problem:{}", self.code))),
            ("title".to_owned(), json!(self.title)),
            ("status".to_owned(), json!(self.status.as_u16())),
            ("detail".to_owned(), json!(self.detail)),
            ("code".to_owned(), json!(self.code)),
        ]);
        if !self.errors.is_empty() {
            let error = |error: &FieldError| json!({ "field": error.field, "code": error.code, "message": "El valor no es válido." });
            body.insert("errors".to_owned(), self.errors.iter().map(error).collect());
        }
        let headers =
            [(CONTENT_TYPE, "application/problem+json"), (CONTENT_LANGUAGE, "es"), (CACHE_CONTROL, "no-store")];
        (self.status, headers, [("x-content-type-options", "nosniff")], serde_json::Value::from(body).to_string())
            .into_response()
    }
}
