use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::SystemTime;

use edge_component::{
    Host, Language, Level, LogLine, Problem, ProblemCode, RequestEntropy, Response, SettingError, Variables, caller,
    has_tag,
};
use http::header::{
    ACCEPT_LANGUAGE, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use crate::assets::{Asset, DOCUMENT, Encoding, VERSION};
use crate::policy;
use crate::settings::Configuration;

const SERVICE: &str = "booking-page";

/// The methods of every path.
const METHODS: &str = "GET, HEAD, OPTIONS";

/// A browser may keep the response, and must validate it each time.
const REVALIDATED: &str = "no-cache";

/// The content of a name never changes.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// What a path names.
enum Resource {
    /// `/`
    Document,
    /// `/config.json`
    Configuration,
    /// `/assets/{version}/{file}`
    Asset(&'static Asset),
}

impl Resource {
    fn find(path: &str) -> Option<Self> {
        match path {
            "/" => Some(Self::Document),
            "/config.json" => Some(Self::Configuration),
            _ => {
                let (version, name) = path.strip_prefix("/assets/")?.split_once('/')?;
                if version == VERSION { Asset::find(name).map(Self::Asset) } else { None }
            }
        }
    }
}

/// Responds to a request. The host logs every request; the component logs a line only for a failure.
pub fn respond<B>(host: impl Host, request: &http::Request<B>, arrived: SystemTime) -> Response {
    let variables = Variables::of(host);
    let headers = request.headers();
    let is_read = *request.method() == Method::GET || *request.method() == Method::HEAD;
    let outcome = match Resource::find(request.uri().path()) {
        None => Ok(refuse(Problem::new(ProblemCode::NotFound), headers)),
        Some(_) if *request.method() == Method::OPTIONS => Ok(options()),
        Some(_) if !is_read => Ok(refuse(Problem::method_not_allowed(METHODS), headers)),
        Some(Resource::Document) => document(&variables, headers),
        Some(Resource::Configuration) => configuration(&variables, headers),
        Some(Resource::Asset(asset)) => Ok(file(asset, IMMUTABLE, asset.hash, headers)),
    };
    let mut response = outcome.unwrap_or_else(|error| fail(host, &error, headers, arrived));
    policy::protect(response.headers_mut());
    response
}

/// The document, with the policy that follows from the settings. Its entity tag covers both, because a browser keeps the policy
/// with the document.
fn document(variables: &Variables<impl Host>, headers: &HeaderMap) -> Result<Response, SettingError> {
    let policy = policy::content_security_policy(Configuration::read(variables)?.origins());
    let mut response =
        file(&DOCUMENT, REVALIDATED, &format!("{}-{:x}", DOCUMENT.hash, hash(policy.as_bytes())), headers);
    // Origins are printable ASCII, as all of a URI is.
    if let Ok(policy) = HeaderValue::try_from(policy) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    Ok(response)
}

fn configuration(variables: &Variables<impl Host>, headers: &HeaderMap) -> Result<Response, SettingError> {
    // Strings always serialise.
    let body = serde_json::to_vec(&Configuration::read(variables)?).unwrap_or_default();
    let tag = format!("\"{:x}\"", hash(&body));
    let mut response = validated(&tag, headers).unwrap_or_else(|| {
        let mut response = Response::new(body);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    });
    keep(response.headers_mut(), REVALIDATED, tag);
    Ok(response)
}

/// A file in the encoding that the client accepts, or `304` if the client has it. `name` identifies its content.
fn file(asset: &Asset, lifetime: &'static str, name: &str, headers: &HeaderMap) -> Response {
    let encoding = Encoding::preferred(headers);
    let tag = format!("\"{name}{}\"", encoding.suffix());
    let mut response = validated(&tag, headers).unwrap_or_else(|| {
        let mut response = Response::new(asset.body(encoding).to_vec());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
        if let Some(encoding) = encoding.name() {
            response.headers_mut().insert(CONTENT_ENCODING, encoding);
        }
        response
    });
    keep(response.headers_mut(), lifetime, tag);
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
    response
}

/// `304` if `If-None-Match` names the tag (RFC 9110, section 13.1.2).
fn validated(tag: &str, headers: &HeaderMap) -> Option<Response> {
    if !has_tag(headers, tag) {
        return None;
    }
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    Some(response)
}

fn keep(headers: &mut HeaderMap, lifetime: &'static str, tag: String) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(lifetime));
    // Hexadecimal digits and quotation marks.
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(ETAG, tag);
    }
}

/// Every instance computes the same value for the same bytes.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

fn options() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(METHODS));
    response
}

fn refuse(problem: Problem, headers: &HeaderMap) -> Response {
    let language = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let mut response = problem.into_response(Language::preferred(language));
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept-language"));
    response
}

/// `500`, and a log line for the operator: a setting is wrong.
fn fail(host: impl Host, error: &SettingError, headers: &HeaderMap, arrived: SystemTime) -> Response {
    let trace = RequestEntropy::draw(host).trace(caller(headers));
    LogLine::new(Level::Error, SERVICE, "request refused", trace)
        .with("request_id", trace.span_id())
        .with("status", StatusCode::INTERNAL_SERVER_ERROR.as_u16())
        .with("error", error.to_string())
        .with_duration_since(arrived)
        .write(host);
    let instance = format!("urn:medical-appointments:request:{}", trace.span_id());
    refuse(Problem::new(ProblemCode::Internal).with_instance(instance), headers)
}
