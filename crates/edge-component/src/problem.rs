use appointment::{Country, FieldErrorCode};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::{Language, Response};

/// What kind of error a client gets: the stable `code` of a problem, from which its status and texts follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProblemCode {
    /// The body is empty.
    EmptyBody,
    /// The body is not JSON.
    InvalidJson,
    /// The body is JSON, but not an object.
    NotAnObject,
    /// Members of the body are at fault; `errors` names each.
    InvalidBody,
    /// A part of the path or the query is at fault; `errors` names each.
    InvalidParameter,
    /// The cursor is not one of ours, or belongs to another list.
    InvalidCursor,
    /// The `Idempotency-Key` is not 1 to 128 printable ASCII characters.
    InvalidIdempotencyKey,
    /// There is no valid proof of who asks.
    Unauthorized,
    /// Who asks may not do this.
    Forbidden,
    /// There is no such resource.
    NotFound,
    /// There is no such appointment of this person.
    AppointmentNotFound,
    /// The resource does not know the method; `Allow` lists those that it knows.
    MethodNotAllowed,
    /// The appointment was rejected, so that there is nothing to cancel.
    NotCancellable,
    /// The body is too long.
    BodyTooLarge,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// The `Idempotency-Key` came with another body before.
    IdempotencyKeyReused,
    /// The system failed in a way that does not heal by itself.
    Internal,
    /// A dependency does not answer; it is worth trying again.
    TemporarilyUnavailable,
}

impl ProblemCode {
    /// Every code.
    pub const ALL: [Self; 18] = [
        Self::EmptyBody,
        Self::InvalidJson,
        Self::NotAnObject,
        Self::InvalidBody,
        Self::InvalidParameter,
        Self::InvalidCursor,
        Self::InvalidIdempotencyKey,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::AppointmentNotFound,
        Self::MethodNotAllowed,
        Self::NotCancellable,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::IdempotencyKeyReused,
        Self::Internal,
        Self::TemporarilyUnavailable,
    ];

    /// The `code` in the answer.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.parts().0
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.parts().1
    }

    const fn parts(self) -> (&'static str, StatusCode) {
        match self {
            Self::EmptyBody => ("empty_body", StatusCode::BAD_REQUEST),
            Self::InvalidJson => ("invalid_json", StatusCode::BAD_REQUEST),
            Self::NotAnObject => ("not_an_object", StatusCode::BAD_REQUEST),
            Self::InvalidBody => ("invalid_body", StatusCode::BAD_REQUEST),
            Self::InvalidParameter => ("invalid_parameter", StatusCode::BAD_REQUEST),
            Self::InvalidCursor => ("invalid_cursor", StatusCode::BAD_REQUEST),
            Self::InvalidIdempotencyKey => ("invalid_idempotency_key", StatusCode::BAD_REQUEST),
            Self::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED),
            Self::Forbidden => ("forbidden", StatusCode::FORBIDDEN),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND),
            Self::AppointmentNotFound => ("appointment_not_found", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED),
            Self::NotCancellable => ("not_cancellable", StatusCode::CONFLICT),
            Self::BodyTooLarge => ("body_too_large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::UnsupportedMediaType => ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::IdempotencyKeyReused => ("idempotency_key_reused", StatusCode::UNPROCESSABLE_ENTITY),
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR),
            Self::TemporarilyUnavailable => ("temporarily_unavailable", StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    /// The title and the usual detail.
    const fn texts(self, language: Language) -> (&'static str, &'static str) {
        let (spanish, english) = match self {
            Self::EmptyBody => (
                ("Falta el cuerpo", "Envíe la solicitud como un objeto JSON con insuredId, scheduleId y countryISO."),
                ("The body is missing", "Send the request as a JSON object with insuredId, scheduleId and countryISO."),
            ),
            Self::InvalidJson => (
                ("El cuerpo no es JSON", "El cuerpo no se puede leer como JSON."),
                ("The body is not JSON", "The body cannot be read as JSON."),
            ),
            Self::NotAnObject => (
                (
                    "El cuerpo no es un objeto",
                    "El cuerpo debe ser un objeto JSON con insuredId, scheduleId y countryISO.",
                ),
                (
                    "The body is not an object",
                    "The body must be a JSON object with insuredId, scheduleId and countryISO.",
                ),
            ),
            Self::InvalidBody => (
                ("La solicitud no es válida", "Corrija los campos que indica errors."),
                ("The request is not valid", "Correct the members that errors names."),
            ),
            Self::InvalidParameter => (
                ("Un parámetro no es válido", "Corrija los parámetros que indica errors."),
                ("A parameter is not valid", "Correct the parameters that errors names."),
            ),
            Self::InvalidCursor => (
                ("El cursor no es válido", "Use el nextCursor de la página anterior de la misma lista, o ninguno."),
                ("The cursor is not valid", "Use the nextCursor of the same list's previous page, or none."),
            ),
            Self::InvalidIdempotencyKey => (
                ("Idempotency-Key no es válido", "Envíe una sola clave de 1 a 128 caracteres ASCII imprimibles."),
                ("Idempotency-Key is not valid", "Send one key of 1 to 128 printable ASCII characters."),
            ),
            Self::Unauthorized => (
                ("Se requiere autenticación", "Presente una credencial válida."),
                ("Authentication is required", "Present a valid credential."),
            ),
            Self::Forbidden => (
                ("No está permitido", "La credencial no permite actuar por esta persona asegurada."),
                ("Not permitted", "The credential does not permit acting for this insured person."),
            ),
            Self::NotFound => (
                ("No existe", "No hay ningún recurso en esta ruta."),
                ("Not found", "There is no resource at this path."),
            ),
            Self::AppointmentNotFound => (
                ("La cita no existe", "La persona asegurada no tiene una cita con este identificador."),
                ("The appointment does not exist", "The insured person has no appointment with this id."),
            ),
            Self::MethodNotAllowed => (
                ("El método no está permitido", "Use uno de los métodos que indica la cabecera Allow."),
                ("The method is not allowed", "Use one of the methods that the header Allow lists."),
            ),
            Self::NotCancellable => (
                ("La cita no se puede cancelar", "La cita fue rechazada, así que no hay nada que cancelar."),
                ("The appointment cannot be cancelled", "The appointment was rejected, so there is nothing to cancel."),
            ),
            Self::BodyTooLarge => (
                ("El cuerpo es demasiado largo", "El cuerpo puede tener como máximo 4096 bytes."),
                ("The body is too long", "The body may have at most 4096 bytes."),
            ),
            Self::UnsupportedMediaType => (
                ("El tipo de contenido no es compatible", "Envíe la solicitud con Content-Type: application/json."),
                ("The media type is not supported", "Send the request with Content-Type: application/json."),
            ),
            Self::IdempotencyKeyReused => (
                (
                    "Idempotency-Key ya se usó",
                    "La clave se usó con otra solicitud en las últimas 24 horas. Use una nueva.",
                ),
                (
                    "Idempotency-Key was used before",
                    "The key came with another request within 24 hours. Use a new one.",
                ),
            ),
            Self::Internal => (
                ("Error interno", "El sistema no pudo procesar la solicitud."),
                ("Internal error", "The system could not process the request."),
            ),
            Self::TemporarilyUnavailable => (
                (
                    "No disponible por el momento",
                    "Intente de nuevo en unos segundos con el mismo Idempotency-Key: la solicitud puede haberse registrado.",
                ),
                (
                    "Temporarily unavailable",
                    "Try again in a few seconds with the same Idempotency-Key: the request may have been recorded.",
                ),
            ),
        };
        match language {
            Language::Spanish => spanish,
            Language::English => english,
        }
    }
}

/// What is wrong with one member of a body, or one parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidMember {
    /// Its name.
    pub field: String,
    /// What is wrong.
    pub code: FieldErrorCode,
}

/// An error as a client sees it: `application/problem+json` (RFC 9457). It tells nothing of what lies behind the API.
#[derive(Debug, Clone)]
pub struct Problem {
    code: ProblemCode,
    detail: Option<(String, String)>,
    errors: Vec<InvalidMember>,
    allow: Option<&'static str>,
    challenge: Option<String>,
}

#[derive(Serialize)]
struct ProblemBody<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<MemberBody<'a>>,
}

#[derive(Serialize)]
struct MemberBody<'a> {
    field: &'a str,
    code: FieldErrorCode,
    message: String,
}

impl Problem {
    /// A problem with the usual texts of its code.
    #[must_use]
    pub const fn new(code: ProblemCode) -> Self {
        Self { code, detail: None, errors: Vec::new(), allow: None, challenge: None }
    }

    /// The same problem with a detail of its own, in Spanish and in English.
    #[must_use]
    pub fn with_detail(mut self, spanish: String, english: String) -> Self {
        self.detail = Some((spanish, english));
        self
    }

    /// The same problem, naming what is at fault.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<InvalidMember>) -> Self {
        self.errors = errors;
        self
    }

    /// `405` with the methods that the resource knows.
    #[must_use]
    pub const fn method_not_allowed(allow: &'static str) -> Self {
        let mut problem = Self::new(ProblemCode::MethodNotAllowed);
        problem.allow = Some(allow);
        problem
    }

    /// The same problem with the `WWW-Authenticate` of RFC 6750, which tells what is wrong with the credential.
    #[must_use]
    pub fn with_challenge(mut self, challenge: String) -> Self {
        self.challenge = Some(challenge);
        self
    }

    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> ProblemCode {
        self.code
    }

    /// The answer.
    #[must_use]
    pub fn into_response(self, language: Language) -> Response {
        let (title, usual_detail) = self.code.texts(language);
        let detail = match (&self.detail, language) {
            (Some((spanish, _)), Language::Spanish) => spanish,
            (Some((_, english)), Language::English) => english,
            (None, _) => usual_detail,
        };
        let body = ProblemBody {
            r#type: format!("urn:medical-appointments:problem:{}", self.code.as_str()),
            title,
            status: self.code.status().as_u16(),
            detail,
            code: self.code.as_str(),
            errors: self
                .errors
                .iter()
                .map(|error| MemberBody {
                    field: &error.field,
                    code: error.code,
                    message: member_message(error, language),
                })
                .collect(),
        };
        // Strings and numbers always serialise.
        let mut response = Response::new(serde_json::to_vec(&body).unwrap_or_default());
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        match self.code {
            ProblemCode::Unauthorized => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            ProblemCode::TemporarilyUnavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
            }
            _ => {}
        }
        if let Some(challenge) = self.challenge.and_then(|challenge| HeaderValue::try_from(challenge).ok()) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// What is wrong with a member, for a person.
fn member_message(error: &InvalidMember, language: Language) -> String {
    let (spanish, english) = match (error.code, error.field.as_str()) {
        (FieldErrorCode::Required, _) => ("El campo es obligatorio.", "The member is required."),
        (FieldErrorCode::UnknownField, _) => ("El campo no existe.", "There is no such member."),
        (FieldErrorCode::DuplicateField, _) => ("El campo está repetido.", "The member is repeated."),
        (_, "insuredId") => {
            ("Debe ser un texto de exactamente cinco dígitos.", "It must be a string of exactly five digits.")
        }
        (_, "scheduleId") => {
            ("Debe ser un número entero de 1 a 9007199254740991.", "It must be an integer from 1 to 9007199254740991.")
        }
        (_, "countryISO") => {
            return match language {
                Language::Spanish => format!("Debe ser {}, en mayúsculas.", Country::alternatives("o")),
                Language::English => format!("It must be {}, in capitals.", Country::alternatives("or")),
            };
        }
        (_, "appointmentId") => {
            ("Debe ser un UUID de versión 7 en minúsculas.", "It must be a UUID of version 7 in lower case.")
        }
        (_, "limit") => ("Debe ser un número entero de 1 a 100.", "It must be an integer from 1 to 100."),
        (_, "status") => (
            "Debe ser pending, failed, completed, rejected, cancelling o cancelled.",
            "It must be pending, failed, completed, rejected, cancelling or cancelled.",
        ),
        _ => ("El valor no es válido.", "The value is not valid."),
    };
    match language {
        Language::Spanish => spanish.to_owned(),
        Language::English => english.to_owned(),
    }
}
