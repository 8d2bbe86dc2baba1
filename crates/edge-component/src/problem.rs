use appointment::{Country, FieldError, FieldErrorCode};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};

use crate::{Language, Response};

/// What kind of error a client gets: the stable `code` of a problem, from which its status and texts follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ProblemCode {
    /// The body is empty.
    EmptyBody,
    /// The body is not JSON.
    InvalidJson,
    /// The body is JSON, but not an object.
    NotAnObject,
    /// Fields of the body are at fault; `errors` names each.
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
    /// The country's catalogue has no such slot.
    SlotNotFound,
    /// The country has no catalogue in this system.
    CatalogNotFound,
    /// The resource does not know the method; `Allow` lists those that it knows.
    MethodNotAllowed,
    /// The appointment was rejected, so there is nothing to cancel.
    NotCancellable,
    /// The appointment is not booked, so it cannot be moved.
    NotMovable,
    /// The appointment has begun, so it can be neither cancelled nor moved.
    AlreadyStarted,
    /// The appointment has the slot to which it is to be moved.
    SameSlot,
    /// The body did not arrive in time.
    RequestTimeout,
    /// The body is too long.
    BodyTooLarge,
    /// The query is too long to be looked at.
    QueryTooLong,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// The `Idempotency-Key` came with another body before.
    IdempotencyKeyReused,
    /// The system failed in a way that does not heal by itself.
    Internal,
    /// A dependency does not respond; it is worth trying again.
    TemporarilyUnavailable,
}

impl ProblemCode {
    /// Every code.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The `code` in the response.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::EmptyBody
            | Self::InvalidJson
            | Self::NotAnObject
            | Self::InvalidBody
            | Self::InvalidParameter
            | Self::InvalidCursor
            | Self::InvalidIdempotencyKey => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound | Self::AppointmentNotFound | Self::SlotNotFound | Self::CatalogNotFound => {
                StatusCode::NOT_FOUND
            }
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotCancellable | Self::NotMovable | Self::AlreadyStarted => StatusCode::CONFLICT,
            Self::SameSlot | Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::QueryTooLong => StatusCode::URI_TOO_LONG,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The title and the usual detail.
    const fn texts(self, language: Language) -> (&'static str, &'static str) {
        let (spanish, english) = match self {
            Self::EmptyBody => (
                ("La solicitud está vacía", "Envíe los datos de la cita en formato JSON."),
                ("The request is empty", "Send the appointment's fields as a JSON object."),
            ),
            Self::InvalidJson => (
                ("La solicitud no es JSON", "No pudimos leer la solicitud como JSON."),
                ("The request is not JSON", "The request cannot be read as JSON."),
            ),
            Self::NotAnObject => (
                ("La solicitud no es un objeto", "Envíe los datos de la cita como un objeto JSON."),
                ("The request is not an object", "Send the appointment's fields as a JSON object."),
            ),
            Self::InvalidBody => (
                ("La solicitud no es válida", "Corrija los campos indicados en «errors»."),
                ("The request is not valid", "Correct the fields listed in `errors`."),
            ),
            Self::InvalidParameter => (
                ("Un parámetro no es válido", "Corrija los parámetros indicados en «errors»."),
                ("A parameter is not valid", "Correct the parameters listed in `errors`."),
            ),
            Self::InvalidCursor => (
                (
                    "El cursor no es válido",
                    "Use el cursor que devolvió la página anterior de la misma lista, o ninguno.",
                ),
                ("The cursor is not valid", "Use the `nextCursor` of the same list's previous page, or none."),
            ),
            Self::InvalidIdempotencyKey => (
                (
                    "La clave de idempotencia no es válida",
                    "Envíe un solo encabezado «Idempotency-Key», de 1 a 128 caracteres ASCII imprimibles.",
                ),
                (
                    "The idempotency key is not valid",
                    "Send one `Idempotency-Key` header of 1 to 128 printable ASCII characters.",
                ),
            ),
            Self::Unauthorized => (
                ("Se requiere autenticación", "Inicie sesión nuevamente."),
                ("Authentication is required", "Sign in again."),
            ),
            Self::Forbidden => (
                ("Sin permiso", "No tiene permiso para gestionar las citas de esta persona."),
                ("Not permitted", "You may not manage this person's appointments."),
            ),
            Self::NotFound => {
                (("No encontrado", "Esta dirección no existe."), ("Not found", "This address does not exist."))
            }
            Self::AppointmentNotFound => (
                ("Cita no encontrada", "Esta persona no tiene una cita con ese identificador."),
                ("Appointment not found", "This person has no appointment with this id."),
            ),
            Self::SlotNotFound => (
                ("Horario no encontrado", "El país no tiene un horario con ese número."),
                ("Slot not found", "The country has no slot with this number."),
            ),
            Self::CatalogNotFound => (
                ("Catálogo no encontrado", "El país no publica un catálogo de horarios."),
                ("Catalogue not found", "The country does not publish a catalogue of slots."),
            ),
            Self::MethodNotAllowed => (
                ("Método no permitido", "Use uno de los métodos indicados en el encabezado «Allow»."),
                ("Method not allowed", "Use one of the methods listed in the `Allow` header."),
            ),
            Self::NotCancellable => (
                ("La cita no se puede cancelar", "La cita fue rechazada, por lo que no hay nada que cancelar."),
                ("The appointment cannot be cancelled", "The appointment was rejected, so there is nothing to cancel."),
            ),
            Self::NotMovable => (
                ("La cita no se puede reprogramar", "Solo se puede reprogramar una cita confirmada."),
                ("The appointment cannot be moved", "Only a confirmed appointment can be moved."),
            ),
            Self::AlreadyStarted => (
                ("La cita ya comenzó", "Una cita que ya comenzó no se puede cancelar ni reprogramar."),
                ("The appointment has begun", "An appointment that has begun can be neither cancelled nor moved."),
            ),
            Self::SameSlot => (
                ("El horario es el mismo", "La cita ya tiene este horario. Elija otro."),
                ("The slot is the same", "The appointment already has this slot. Choose another one."),
            ),
            Self::RequestTimeout => (
                ("La solicitud tardó demasiado", "La solicitud no llegó completa a tiempo. Envíela nuevamente."),
                ("The request took too long", "The request did not arrive in full in time. Send it again."),
            ),
            Self::QueryTooLong => (
                ("La consulta es demasiado larga", "La consulta puede tener hasta 16 parámetros y 1024 bytes."),
                ("The query is too long", "The query may have at most 16 parameters and 1024 bytes."),
            ),
            Self::BodyTooLarge => (
                ("La solicitud es demasiado larga", "La solicitud puede tener hasta 4096 bytes."),
                ("The request is too long", "The request may have at most 4096 bytes."),
            ),
            Self::UnsupportedMediaType => (
                ("Formato no admitido", "Envíe la solicitud con el encabezado «Content-Type: application/json»."),
                ("Media type not supported", "Send the request with the header `Content-Type: application/json`."),
            ),
            Self::IdempotencyKeyReused => (
                (
                    "La clave de idempotencia ya se usó",
                    "Esta clave se usó con otra solicitud en las últimas 24 horas. Use una nueva.",
                ),
                (
                    "The idempotency key was used before",
                    "This key came with another request within the last 24 hours. Use a new one.",
                ),
            ),
            Self::Internal => (
                (
                    "Error interno",
                    "No pudimos procesar la solicitud. Si vuelve a ocurrir, comuníquese con soporte e indique el código de «instance».",
                ),
                (
                    "Internal error",
                    "We could not process the request. If it happens again, contact support and give them `instance`.",
                ),
            ),
            Self::TemporarilyUnavailable => (
                (
                    "No disponible por el momento",
                    "Intente de nuevo en unos segundos. Su solicitud pudo haberse registrado: repítala con la misma clave de idempotencia.",
                ),
                (
                    "Temporarily unavailable",
                    "Try again in a few seconds. Your request may have been recorded: repeat it with the same idempotency key.",
                ),
            ),
        };
        match language {
            Language::Spanish => spanish,
            Language::ChileanSpanish => match self.chilean_texts() {
                Some(chilean) => chilean,
                None => spanish,
            },
            Language::English => english,
        }
    }

    /// The texts that speak of an appointment or a slot, in the words of Chile.
    const fn chilean_texts(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Self::Forbidden => ("Sin permiso", "No tiene permiso para gestionar las horas de esta persona."),
            Self::AppointmentNotFound => {
                ("Hora no encontrada", "Esta persona no tiene una hora con ese identificador.")
            }
            Self::SlotNotFound => ("Hora no encontrada", "El país no tiene una hora con ese número."),
            Self::CatalogNotFound => ("Catálogo no encontrado", "El país no publica un catálogo de horas."),
            Self::NotCancellable => {
                ("La hora no se puede anular", "La hora fue rechazada, por lo que no hay nada que anular.")
            }
            Self::NotMovable => ("La hora no se puede reagendar", "Solo se puede reagendar una hora confirmada."),
            Self::AlreadyStarted => ("La hora ya comenzó", "Una hora que ya comenzó no se puede anular ni reagendar."),
            Self::SameSlot => ("La hora es la misma", "Usted ya tiene esta hora. Elija otra."),
            _ => return None,
        })
    }
}

/// An error as a client sees it: `application/problem+json` (RFC 9457). It tells nothing of what lies behind the API.
#[derive(Debug, Clone)]
pub struct Problem {
    code: ProblemCode,
    detail: Option<Box<(String, String)>>,
    errors: Vec<FieldError>,
    allow: Option<&'static str>,
    challenge: Option<String>,
    instance: Option<String>,
}

#[derive(Serialize)]
struct ProblemBody<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    code: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldErrorBody<'a>>,
}

#[derive(Serialize)]
struct FieldErrorBody<'a> {
    field: &'a str,
    code: FieldErrorCode,
    message: String,
}

impl Problem {
    /// A problem with the usual texts of its code.
    #[must_use]
    pub const fn new(code: ProblemCode) -> Self {
        Self { code, detail: None, errors: Vec::new(), allow: None, challenge: None, instance: None }
    }

    /// The same problem with another detail, in Spanish and in English.
    #[must_use]
    pub fn with_detail(mut self, spanish: String, english: String) -> Self {
        self.detail = Some(Box::new((spanish, english)));
        self
    }

    /// The same problem, naming what is at fault.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
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

    /// The same problem with the URI of the request that met it (RFC 9457, section 3.1.5).
    #[must_use]
    pub fn with_instance(mut self, instance: String) -> Self {
        self.instance = Some(instance);
        self
    }

    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> ProblemCode {
        self.code
    }

    /// The response.
    #[must_use]
    pub fn into_response(self, language: Language) -> Response {
        let (title, usual_detail) = self.code.texts(language);
        let detail = match (self.detail.as_deref(), language) {
            (Some((spanish, _)), Language::Spanish | Language::ChileanSpanish) => spanish,
            (Some((_, english)), Language::English) => english,
            (None, _) => usual_detail,
        };
        let body = ProblemBody {
            r#type: format!("urn:medical-appointments:problem:{}", self.code.as_str()),
            title,
            status: self.code.status().as_u16(),
            detail,
            instance: self.instance.as_deref(),
            code: self.code.as_str(),
            errors: self
                .errors
                .iter()
                .map(|error| FieldErrorBody {
                    field: &error.field,
                    code: error.code,
                    message: field_message(error, language),
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

/// What is wrong with a field or a parameter, for a person.
fn field_message(error: &FieldError, language: Language) -> String {
    let (spanish, english) = match (error.code, error.field.as_str()) {
        (FieldErrorCode::Required, _) => ("El campo es obligatorio.", "The field is required."),
        (FieldErrorCode::UnknownField, _) => ("El campo no existe.", "There is no such field."),
        (FieldErrorCode::DuplicateField, _) => ("El campo está repetido.", "The field is repeated."),
        (_, "insuredId") => {
            ("Debe ser un texto de exactamente cinco dígitos.", "It must be a string of exactly five digits.")
        }
        (_, "scheduleId") => {
            ("Debe ser un número entero de 1 a 9007199254740991.", "It must be an integer from 1 to 9007199254740991.")
        }
        (_, "countryISO") => {
            return match language {
                Language::Spanish | Language::ChileanSpanish => {
                    format!("Debe ser {}, en mayúsculas.", Country::alternatives("o"))
                }
                Language::English => format!("It must be {}, in uppercase.", Country::alternatives("or")),
            };
        }
        (_, "appointmentId") => {
            ("Debe ser un UUID de versión 7, en minúsculas.", "It must be a UUID of version 7, in lowercase.")
        }
        (_, "specialty" | "center" | "practitioner") => (
            "Debe ser un texto del catálogo: de 1 a 80 caracteres, sin «#» y sin espacios al principio ni al final.",
            "It must be a text of the catalogue: 1 to 80 characters, without `#` and without spaces at either end.",
        ),
        (FieldErrorCode::OutOfRange, "to") => (
            "Debe ser posterior a «from», y a lo sumo 62 días después.",
            "It must be later than `from`, by 62 days at most.",
        ),
        (_, "from" | "to") => (
            "Debe ser una fecha, como 2026-12-01, o un instante con su zona, como 2026-12-01T09:00:00-05:00.",
            "It must be a date, such as 2026-12-01, or an instant with its offset, such as 2026-12-01T09:00:00-05:00.",
        ),
        (_, "limit") => ("Debe ser un número entero de 1 a 100.", "It must be an integer from 1 to 100."),
        (_, "status") => (
            "Debe ser «pending», «failed», «completed», «rejected», «cancelling» o «cancelled».",
            "It must be `pending`, `failed`, `completed`, `rejected`, `cancelling` or `cancelled`.",
        ),
        _ => ("El valor no es válido.", "The value is not valid."),
    };
    match language {
        Language::Spanish | Language::ChileanSpanish => spanish.to_owned(),
        Language::English => english.to_owned(),
    }
}
