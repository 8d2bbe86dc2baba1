use std::time::Instant;

use appointment::{Appointment, AppointmentId, Country, TraceContext};
use backplane::{KeptAppointment, StoreError};
use edge_component::{Chance, Language, Level, LogLine, Problem, ProblemCode, Request, Response, SettingError};
use http::header::{ACCEPT_LANGUAGE, ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use crate::auth::Caller;
use crate::route::{Resource, Route};
use crate::{commands, queries};

const SERVICE: &str = "intake";
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// One request on its way to an answer, and what its log line will say.
pub(crate) struct Exchange {
    /// This hop's place in the trace.
    pub(crate) trace: TraceContext,
    /// The language of the answer's texts.
    pub(crate) language: Language,
    /// The appointment that it is about.
    pub(crate) appointment_id: Option<AppointmentId>,
    /// Its country.
    pub(crate) country: Option<Country>,
    /// How it is known who asks, where that matters.
    pub(crate) authentication: Option<&'static str>,
    /// In which role the caller acts for the insured person, where there are roles.
    pub(crate) caller: Option<&'static str>,
    /// What was done.
    pub(crate) message: &'static str,
    /// How much attention that asks for, where it is more than usual.
    pub(crate) level: Option<Level>,
    /// What failed behind the API.
    pub(crate) error: Option<String>,
}

impl Exchange {
    /// Remembers which appointment it is about.
    pub(crate) fn about(&mut self, appointment: &Appointment) {
        self.appointment_id = Some(appointment.appointment_id);
        self.country = Some(appointment.country);
    }

    /// Remembers for the log what of the rows this version does not know or cannot read, which asks for an operator.
    pub(crate) fn report(&mut self, faults: &[String]) {
        if !faults.is_empty() {
            self.level = Some(Level::Error);
            self.error = Some(faults.join("; "));
        }
    }

    /// As [`Self::report`], of one appointment.
    pub(crate) fn report_unknown(&mut self, kept: &KeptAppointment) {
        if let Some(unknown) = kept.unknown_value() {
            self.report(&[unknown.to_string()]);
        }
    }
}

/// A request that ends in a problem, and what the log says of it.
pub(crate) struct Failure {
    pub(crate) problem: Problem,
    pub(crate) error: Option<String>,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self { problem, error: None }
    }
}

impl From<SettingError> for Failure {
    fn from(error: SettingError) -> Self {
        Self { problem: Problem::new(ProblemCode::Internal), error: Some(error.to_string()) }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            // A refusal (no permission, no table) is for the operator, yet heals without the client changing anything.
            StoreError::Call(_) => ProblemCode::TemporarilyUnavailable,
            StoreError::InvalidItem(_) => ProblemCode::Internal,
        };
        Self { problem: Problem::new(code), error: Some(error.to_string()) }
    }
}

/// Answers a request, and writes one log line about it.
pub(crate) async fn answer(request: Request, arrived: Instant) -> Response {
    let chance = Chance::draw();
    let headers = request.headers();
    let mut exchange = Exchange {
        trace: chance.trace(text_of(headers, &TRACEPARENT)),
        language: Language::preferred(text_of(headers, &ACCEPT_LANGUAGE)),
        appointment_id: None,
        country: None,
        authentication: None,
        caller: None,
        message: "request answered",
        level: None,
        error: None,
    };
    let (template, result) = match Resource::find(request.uri().path()) {
        None => ("none", Err(Problem::new(ProblemCode::NotFound).into())),
        Some((resource, identifiers)) => {
            let result = match resource.route(request.method(), identifiers) {
                Ok(route) => dispatch(route, &request, &chance, &mut exchange).await,
                Err(problem) => Err(problem.into()),
            };
            (resource.template(), result)
        }
    };
    let (mut response, code) = match result {
        Ok(response) => (response, None),
        Err(failure) => {
            let code = failure.problem.code();
            exchange.error = failure.error;
            let level = if code == ProblemCode::Internal { Level::Error } else { Level::Warn };
            exchange.level.get_or_insert(level);
            exchange.message = "request refused";
            (failure.problem.into_response(exchange.language), Some(code.as_str()))
        }
    };
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    LogLine::new(exchange.level.unwrap_or(Level::Info), SERVICE, exchange.message, exchange.trace)
        .with("method", request.method().as_str())
        .with("route", template)
        .with("status", response.status().as_u16())
        .with_some("code", code)
        .with_some("appointment_id", exchange.appointment_id)
        .with_some("country", exchange.country)
        .with_some("authentication", exchange.authentication)
        .with_some("caller", exchange.caller)
        .with_some("error", exchange.error)
        .with("duration_ms", arrived.elapsed().as_micros() as f64 / 1000.0)
        .write();
    response
}

async fn dispatch(
    route: Route,
    request: &Request,
    chance: &Chance,
    exchange: &mut Exchange,
) -> Result<Response, Failure> {
    let caller = admit(&route, request.headers(), exchange)?;
    match route {
        Route::Health => Ok(health()),
        Route::Describe => Ok(describe()),
        Route::Book => commands::book(request, &caller, chance, exchange).await,
        Route::List(insured_id) => queries::list(insured_id, request.uri().query(), exchange).await,
        Route::Read(insured_id, appointment_id) => {
            exchange.appointment_id = Some(appointment_id);
            queries::read(insured_id, appointment_id, exchange).await
        }
        Route::Cancel(insured_id, appointment_id) => commands::cancel(insured_id, appointment_id, exchange).await,
        Route::Options(resource) => Ok(options(resource)),
    }
}

/// Refuses who may not act for the person of the path, before anything but the head of the request is read. A booking names
/// the person in its body, so that [`commands::book`] asks about that one.
fn admit(route: &Route, headers: &HeaderMap, exchange: &mut Exchange) -> Result<Caller, Failure> {
    if route.is_open() {
        return Ok(Caller::Anybody);
    }
    let caller = Caller::identify(headers)?;
    exchange.authentication = Some(caller.authentication());
    if let Some(person) = route.insured_id() {
        exchange.caller = caller.act_for(person)?;
    }
    Ok(caller)
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
}

fn health() -> Response {
    json(StatusCode::OK, &Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// The description of this API, which is the same for everybody until the next release.
fn describe() -> Response {
    let mut response = Response::new(include_bytes!("../../../docs/openapi.yaml").to_vec());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}

fn options(resource: Resource) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(resource.allow()));
    response
}

/// An answer with a JSON body, which nobody may keep: it may hold personal data.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    // Strings and numbers always serialise.
    let mut response = Response::new(serde_json::to_vec(body).unwrap_or_default());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A header's text, `None` where it is missing or not ASCII.
pub(crate) fn text_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
