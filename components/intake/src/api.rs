use std::time::SystemTime;

use appointment::TraceContext;
use aws_http::CallLog;
use edge_component::{Language, Level, LogLine, Problem, ProblemCode, Request, RequestEntropy, Response, caller};
use http::header::{
    ACCEPT_LANGUAGE, ALLOW, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Serialize;

use crate::audit::Audit;
use crate::auth::{Caller, Role};
use crate::context::RequestContext;
use crate::error::RequestError;
use crate::respond::{json, text_of};
use crate::route::{Resource, Route};
use crate::settings::AUDIT_KEY;
use crate::{commands, cors, moving, queries, slots};

const SERVICE: &str = "intake";

/// What a request's id follows in the `instance` of its problem.
const REQUEST_URN: &str = "urn:medical-appointments:request:";

/// Answers a request, and writes one log line about it.
pub(crate) async fn answer(request: Request, arrived: SystemTime) -> Response {
    let entropy = RequestEntropy::draw();
    let headers = request.headers();
    let allowed_origin = cors::allowed_origin(headers);
    let caller = caller(headers);
    let mut context = RequestContext {
        arrived,
        trace: entropy.trace(caller),
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
                    dispatch(route, &request, &entropy, &mut context).await
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
            context.error = failure.error;
            let level = if code == ProblemCode::Internal { Level::Error } else { Level::Warn };
            context.level.get_or_insert(level);
            context.message = "request refused";
            let problem = failure.problem.with_instance(format!("{REQUEST_URN}{}", context.trace.span_id()));
            (problem.into_response(context.language), Some(code.as_str()))
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
            context.level = Some(Level::Error);
            context.error = Some(error.to_string());
        }
    }
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let varies = if headers.contains_key(CONTENT_LANGUAGE) { "accept-language, origin" } else { "origin" };
    headers.insert(VARY, HeaderValue::from_static(varies));
    let key = || AUDIT_KEY.optional_text().ok().flatten();
    let audited = context.audit.of(key, writes, context.caller, response.status());
    LogLine::new(context.level.unwrap_or(Level::Info), SERVICE, context.message, context.trace)
        .with_some("parent_span_id", caller.map(TraceContext::span_id))
        .with("request_id", context.trace.span_id())
        .with("method", request.method().as_str())
        .with("route", template)
        .with("status", response.status().as_u16())
        .with_some("code", code)
        .with_some("appointment_id", context.appointment_id)
        .with_some("country", context.country)
        .with_some("authentication", context.authentication)
        .with_some("caller", context.caller)
        .with_some("audit", audited.as_ref().map(|audited| audited.what))
        .with_some("actor", audited.as_ref().and_then(|audited| audited.actor.as_deref()))
        .with_some("person", audited.as_ref().and_then(|audited| audited.person.as_deref()))
        .with_some("error", context.error)
        .with_duration_since(arrived)
        .with_spans(arrived, Vec::new(), &context.calls)
        .write();
    response
}

async fn dispatch(
    route: Route,
    request: &Request,
    entropy: &RequestEntropy,
    context: &mut RequestContext,
) -> Result<Response, RequestError> {
    let (caller, role) = admit(&route, request.headers(), context).await?;
    match route {
        Route::Health => {
            context.level.get_or_insert(Level::Debug);
            Ok(health())
        }
        Route::Describe => Ok(describe()),
        Route::Book => commands::book(request, &caller, entropy, context).await,
        Route::List(insured_id) => queries::list(insured_id, &role, request.uri().query(), context).await,
        Route::Read(insured_id, appointment_id) => {
            context.appointment_id = Some(appointment_id);
            queries::read(insured_id, appointment_id, &role, request, context).await
        }
        Route::Cancel(insured_id, appointment_id) => {
            commands::cancel(insured_id, appointment_id, &role, request, entropy, context).await
        }
        Route::Move(insured_id, appointment_id) => {
            moving::move_to(insured_id, appointment_id, &role, request, entropy, context).await
        }
        Route::FreeSlots => slots::free(request, context).await,
        Route::ReadSlot(country, schedule_id) => slots::read(country, schedule_id, request, context).await,
        Route::ReadCatalog(country) => slots::catalog(country, request, context).await,
        Route::Options(resource) => Ok(options(resource)),
    }
}

/// Refuses who may not act for the person of the path, before anything but the head of the request is read. A booking names
/// the person in its body, so [`commands::book`] asks about that one.
async fn admit(
    route: &Route,
    headers: &HeaderMap,
    context: &mut RequestContext,
) -> Result<(Caller, Role), RequestError> {
    if route.is_open() {
        return Ok((Caller::Anybody, Role::Anybody));
    }
    context.audit.person = route.insured_id();
    let caller = Caller::identify(headers, context).await?;
    if !matches!(caller, Caller::Anybody) {
        // A signature takes milliseconds, and an issuer's keys may have to be fetched.
        context.calls.waited();
    }
    context.authentication = Some(caller.authentication());
    context.audit.actor = caller.subject().map(str::to_owned);
    let role = match route.insured_id() {
        Some(person) => caller.act_for(person)?,
        None => Role::Anybody,
    };
    context.caller = role.name();
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
