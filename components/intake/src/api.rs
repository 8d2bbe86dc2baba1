use std::time::SystemTime;

use appointment::{Appointment, AppointmentId, KeptCountry, TraceContext};
use aws_http::CallLog;
use backplane::{KeptAppointment, StoreError};
use edge_component::{Chance, Language, Level, LogLine, Problem, ProblemCode, Request, Response, SettingError, caller};
use http::header::{
    ACCEPT_LANGUAGE, ALLOW, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Serialize;

use crate::audit::Audit;
use crate::auth::{Caller, Role};
use crate::route::{Resource, Route};
use crate::{commands, cors, moving, queries, slots};

const SERVICE: &str = "intake";

/// What a request's id follows in the `instance` of its problem.
const REQUEST_URN: &str = "urn:medical-appointments:request:";

/// One request on its way to an answer, and what its log line will say.
pub(crate) struct Exchange {
    /// When the request came. It dates what the request does: reading the clock is a call of the host.
    pub(crate) arrived: SystemTime,
    /// This hop's place in the trace.
    pub(crate) trace: TraceContext,
    /// The calls that it makes.
    pub(crate) calls: CallLog,
    /// The language of the answer's texts.
    pub(crate) language: Language,
    /// The appointment that it is about.
    pub(crate) appointment_id: Option<AppointmentId>,
    /// Its country.
    pub(crate) country: Option<KeptCountry>,
    /// How it is known who asks, where that matters.
    pub(crate) authentication: Option<&'static str>,
    /// In which role the caller acts for the insured person, where there are roles.
    pub(crate) caller: Option<&'static str>,
    /// Who acts, and for whom.
    pub(crate) audit: Audit,
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
pub(crate) async fn answer(request: Request, arrived: SystemTime) -> Response {
    let chance = Chance::draw();
    let headers = request.headers();
    let allowed_origin = cors::allowed_origin(headers);
    let caller = caller(headers);
    let mut exchange = Exchange {
        arrived,
        trace: chance.trace(caller),
        calls: CallLog::since(arrived),
        language: Language::preferred(text_of(headers, &ACCEPT_LANGUAGE)),
        appointment_id: None,
        country: None,
        authentication: None,
        caller: None,
        audit: Audit::default(),
        message: "request answered",
        level: None,
        error: None,
    };
    let mut writes = false;
    let (template, methods, result) = match Resource::find(request.uri().path()) {
        None => ("none", "", Err(Problem::new(ProblemCode::NotFound).into())),
        Some((resource, identifiers)) => {
            let result = match resource.route(request.method(), identifiers) {
                Ok(route) => {
                    writes = route.writes();
                    dispatch(route, &request, &chance, &mut exchange).await
                }
                Err(problem) => Err(problem.into()),
            };
            (resource.template(), resource.allow(), result)
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
            let problem = failure.problem.with_instance(format!("{REQUEST_URN}{}", exchange.trace.span_id()));
            (problem.into_response(exchange.language), Some(code.as_str()))
        }
    };
    match allowed_origin {
        Ok(Some(origin)) if request.method() == Method::OPTIONS && cors::is_preflight(headers) => {
            cors::permit(response.headers_mut(), origin, methods);
        }
        Ok(Some(origin)) => cors::share(response.headers_mut(), origin),
        Ok(None) => {}
        // Pages of other origins are shut out, which their users will tell of; everybody else is served.
        Err(error) => {
            exchange.level = Some(Level::Error);
            exchange.error = Some(error.to_string());
        }
    }
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let varies = if headers.contains_key(CONTENT_LANGUAGE) { "accept-language, origin" } else { "origin" };
    headers.insert(VARY, HeaderValue::from_static(varies));
    let audited = exchange.audit.of(writes, exchange.caller, response.status());
    LogLine::new(exchange.level.unwrap_or(Level::Info), SERVICE, exchange.message, exchange.trace)
        .with_some("parent_span_id", caller.map(TraceContext::span_id))
        .with("request_id", exchange.trace.span_id())
        .with("method", request.method().as_str())
        .with("route", template)
        .with("status", response.status().as_u16())
        .with_some("code", code)
        .with_some("appointment_id", exchange.appointment_id)
        .with_some("country", exchange.country)
        .with_some("authentication", exchange.authentication)
        .with_some("caller", exchange.caller)
        .with_some("audit", audited.as_ref().map(|audited| audited.what))
        .with_some("actor", audited.as_ref().and_then(|audited| audited.actor.as_deref()))
        .with_some("person", audited.as_ref().and_then(|audited| audited.person.as_deref()))
        .with_some("error", exchange.error)
        .with_duration_since(arrived)
        .with_spans(arrived, Vec::new(), &exchange.calls)
        .write();
    response
}

async fn dispatch(
    route: Route,
    request: &Request,
    chance: &Chance,
    exchange: &mut Exchange,
) -> Result<Response, Failure> {
    let (caller, role) = admit(&route, request.headers(), exchange).await?;
    match route {
        Route::Health => {
            exchange.level.get_or_insert(Level::Debug);
            Ok(health())
        }
        Route::Describe => Ok(describe()),
        Route::Book => commands::book(request, &caller, chance, exchange).await,
        Route::List(insured_id) => queries::list(insured_id, &role, request.uri().query(), exchange).await,
        Route::Read(insured_id, appointment_id) => {
            exchange.appointment_id = Some(appointment_id);
            queries::read(insured_id, appointment_id, &role, request, exchange).await
        }
        Route::Cancel(insured_id, appointment_id) => {
            commands::cancel(insured_id, appointment_id, &role, request, chance, exchange).await
        }
        Route::Move(insured_id, appointment_id) => {
            moving::move_to(insured_id, appointment_id, &role, request, chance, exchange).await
        }
        Route::FreeSlots => slots::free(request, exchange).await,
        Route::ReadSlot(country, schedule_id) => slots::read(country, schedule_id, request, exchange).await,
        Route::ReadCatalog(country) => slots::catalog(country, request, exchange).await,
        Route::Options(resource) => Ok(options(resource)),
    }
}

/// Refuses who may not act for the person of the path, before anything but the head of the request is read. A booking names
/// the person in its body, so that [`commands::book`] asks about that one.
async fn admit(route: &Route, headers: &HeaderMap, exchange: &mut Exchange) -> Result<(Caller, Role), Failure> {
    if route.is_open() {
        return Ok((Caller::Anybody, Role::Anybody));
    }
    exchange.audit.person = route.insured_id();
    let caller = Caller::identify(headers, exchange).await?;
    if !matches!(caller, Caller::Anybody) {
        // A signature takes milliseconds, and an issuer's keys may have to be fetched.
        exchange.calls.waited();
    }
    exchange.authentication = Some(caller.authentication());
    exchange.audit.actor = caller.subject().map(str::to_owned);
    let role = match route.insured_id() {
        Some(person) => caller.act_for(person)?,
        None => Role::Anybody,
    };
    exchange.caller = role.name();
    Ok((caller, role))
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
