use std::time::SystemTime;

use appointment::TraceContext;
use aws_http::CallLog;
use edge_component::{
    Body, Host, Language, Level, LogLine, Problem, ProblemCode, RequestEntropy, Response, Variables, caller,
};
use http::header::{ACCEPT_LANGUAGE, CONTENT_LANGUAGE, VARY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method};

use crate::audit::Audit;
use crate::auth::{Caller, Role};
use crate::context::RequestContext;
use crate::cors;
use crate::endpoint::{book, cancel, catalog, health, list, moves, openapi, options, show, slot, slots};
use crate::error::RequestError;
use crate::respond::text_of;
use crate::route::{Resource, Route};
use crate::settings::AUDIT_KEY;

const SERVICE: &str = "intake";

/// What a request's id follows in the `instance` of its problem.
const REQUEST_URN: &str = "urn:medical-appointments:request:";

/// Handles a request that came at this instant, and writes one log line about it.
pub async fn handle<H: Host>(host: H, request: &http::Request<impl Body>, arrived: SystemTime) -> Response {
    let entropy = RequestEntropy::draw(host);
    let variables = Variables::of(host);
    let headers = request.headers();
    let allowed_origin = cors::allowed_origin(headers, &variables);
    let caller = caller(headers);
    let mut context = RequestContext {
        host,
        variables,
        trace: entropy.trace(caller),
        entropy,
        arrived,
        calls: CallLog::since(arrived),
        language: Language::preferred(text_of(headers, &ACCEPT_LANGUAGE)),
        appointment_id: None,
        country: None,
        authentication: None,
        caller: None,
        audit: Audit::default(),
        message: "request handled",
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
                    dispatch(route, request, &mut context).await
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
            context.error = failure.error.map(String::from);
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
        // Pages of other origins are shut out, which their users will report; everybody else is served.
        Err(error) => {
            context.level = Some(Level::Error);
            context.error = Some(error.to_string());
        }
    }
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let varies = if headers.contains_key(CONTENT_LANGUAGE) { "accept-language, origin" } else { "origin" };
    headers.insert(VARY, HeaderValue::from_static(varies));
    let key = || AUDIT_KEY.optional_text(&context.variables).ok().flatten();
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
        .write(host);
    response
}

async fn dispatch<H: Host>(
    route: Route,
    request: &http::Request<impl Body>,
    context: &mut RequestContext<H>,
) -> Result<Response, RequestError> {
    let (caller, role) = admit(&route, request.headers(), context).await?;
    let (headers, query) = (request.headers(), request.uri().query());
    match route {
        Route::Health => {
            context.level.get_or_insert(Level::Debug);
            Ok(health::handle())
        }
        Route::Describe => Ok(openapi::handle()),
        Route::Book => book::handle(request, &caller, context).await,
        Route::List(insured_id) => list::handle(insured_id, &role, query, context).await,
        Route::Read(insured_id, id) => show::handle(insured_id, id, &role, headers, context).await,
        Route::Cancel(insured_id, id) => cancel::handle(insured_id, id, &role, headers, context).await,
        Route::Move(insured_id, id) => moves::handle(insured_id, id, &role, request, context).await,
        Route::FreeSlots => slots::handle(query, headers, context).await,
        Route::ReadSlot(country, schedule_id) => slot::handle(country, schedule_id, headers, context).await,
        Route::ReadCatalog(country) => catalog::handle(country, headers, context).await,
        Route::Options(resource) => Ok(options::handle(resource)),
    }
}

/// Refuses who may not act for the person of the path, before anything but the head of the request is read. A booking names
/// the person in its body, so [`book::handle`] asks about that one.
async fn admit<H: Host>(
    route: &Route,
    headers: &HeaderMap,
    context: &mut RequestContext<H>,
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
        Some(person) => caller.act_for(person, &context.variables)?,
        None => Role::Anybody,
    };
    context.caller = role.name();
    Ok((caller, role))
}
