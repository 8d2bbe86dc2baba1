//! An HTTP API's events (payload format 2.0) as HTTP, and back.
//!
//! `lambda_http` has such a conversion, but it panics at a query that is no URI's, takes a path for another one, and of two
//! response headers of one name keeps the first (docs/adr/0044).

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use aws_lambda_events::encodings::Body;
use aws_lambda_events::event::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, COOKIE, HOST, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::event::EventError;

pub(crate) type Response = ApiGatewayV2httpResponse;

/// What no path contains: API Gateway hands over a path that is partly decoded, in which `?` and `#` are the client's `%3F`
/// and `%23`.
const NOT_IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
const NOT_IN_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

/// The request of an event, and the client's address (without its port, which API Gateway does not tell).
///
/// # Errors
///
/// [`EventError::Malformed`] names the field.
pub(crate) fn request(event: ApiGatewayV2httpRequest) -> Result<(Request<Bytes>, SocketAddr), EventError> {
    let malformed = |reason: &str| EventError::Malformed { what: "request of API Gateway", reason: reason.to_owned() };
    let ApiGatewayV2httpRequest { mut headers, request_context: context, .. } = event;
    let http = context.http;

    let path = event.raw_path.or(http.path).ok_or_else(|| malformed("rawPath is missing"))?;
    let mut target = utf8_percent_encode(&path, NOT_IN_PATH).to_string();
    if let Some(query) = event.raw_query_string.filter(|query| !query.is_empty()) {
        target.push('?');
        target.extend(utf8_percent_encode(&query, NOT_IN_QUERY));
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).or(context.domain_name.as_deref());
    let host = host.ok_or_else(|| malformed("requestContext.domainName is missing"))?;
    let uri = Uri::builder().scheme("https").authority(host).path_and_query(target).build();
    let uri = uri.map_err(|_| malformed("rawPath, rawQueryString and the host make no URI"))?;

    if let Some(cookies) = event.cookies.filter(|cookies| !cookies.is_empty()) {
        let cookies = HeaderValue::try_from(cookies.join("; ")).map_err(|_| malformed("cookies are no header"))?;
        headers.insert(COOKIE, cookies);
    }
    let body = match (event.body, event.is_base64_encoded) {
        (None, _) => Bytes::new(),
        (Some(text), false) => Bytes::from(text),
        (Some(text), true) => STANDARD.decode(text).map_err(|_| malformed("body is no base64"))?.into(),
    };
    let client = http.source_ip.and_then(|address| address.parse().ok());
    let client = client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));

    let mut request = Request::new(body);
    *request.method_mut() = http.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok((request, SocketAddr::new(client, 0)))
}

/// The result of the event for a response. A body that is not UTF-8 is base64.
pub(crate) fn response(response: http::Response<Bytes>) -> Response {
    let (head, body) = response.into_parts();
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    let mut result = Response::default();
    result.status_code = head.status.as_u16().into();
    result.cookies = head.headers.get_all(SET_COOKIE).iter().filter_map(text).collect();
    result.headers = single(&head.headers);
    (result.is_base64_encoded, result.body) = match String::from_utf8(body.into()) {
        Ok(text) => (false, Some(Body::Text(text))),
        Err(bytes) => (true, Some(Body::Binary(bytes.into_bytes()))),
    };
    result
}

/// The headers with one value each, joined as RFC 9110 (section 5.3) allows. `Set-Cookie`, which cannot be joined, has a
/// field of its own, and the gateway measures the body itself.
fn single(headers: &HeaderMap) -> HeaderMap {
    let mut joined = HeaderMap::with_capacity(headers.keys_len());
    for name in headers.keys().filter(|name| **name != SET_COOKIE && **name != CONTENT_LENGTH) {
        if let Some(value) = values(headers, name) {
            joined.insert(name.clone(), value);
        }
    }
    joined
}

fn values(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let texts: Vec<Cow<'_, str>> =
        headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    texts.join(", ").try_into().ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::{Value, json};

    use super::*;

    fn event(changes: Value) -> ApiGatewayV2httpRequest {
        let mut event = json!({
            "version": "2.0", "rawPath": "/appointments/00123", "rawQueryString": "limit=5&status=pending",
            "headers": {"host": "api.example.com", "accept": "a, b"},
            "requestContext": {
                "domainName": "gateway.example.com", "http": {"method": "POST", "sourceIp": "192.0.2.1"},
            },
            "isBase64Encoded": false,
        });
        for (name, value) in changes.as_object().unwrap() {
            event.as_object_mut().unwrap().insert(name.clone(), value.clone());
        }
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn an_event_becomes_the_request_that_the_client_sent() {
        let plain = event(json!({"cookies": ["a=1", "b=2"], "body": "täxt"}));
        let (plain, client) = request(plain).unwrap();
        assert_eq!((plain.method().as_str(), client.to_string().as_str()), ("POST", "192.0.2.1:0"));
        assert_eq!(plain.uri(), "https://api.example.com/appointments/00123?limit=5&status=pending");
        assert_eq!(plain.headers().get(COOKIE).unwrap(), "a=1; b=2");
        assert_eq!(plain.headers().get("accept").unwrap(), "a, b");
        assert_eq!(plain.body(), "täxt");

        let (binary, _) = request(event(json!({"body": "AP8=", "isBase64Encoded": true, "headers": {}}))).unwrap();
        assert_eq!(&binary.body()[..], [0, 255]);
        assert_eq!(binary.uri().host(), Some("gateway.example.com"));
    }

    #[test]
    fn whatever_path_a_client_chooses_makes_a_uri() {
        for (path, query, expected) in [
            ("/a b/ñ?#\"{}", "", "/a%20b/%C3%B1%3F%23%22%7B%7D"),
            ("/a%20b", "x=%20 y", "/a%20b?x=%20%20y"),
            ("/\u{0}\n", "\"<", "/%00%0A?%22%3C"),
        ] {
            let event = event(json!({"rawPath": path, "rawQueryString": query}));
            assert_eq!(request(event).unwrap().0.uri().path_and_query().unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_request_is_named() {
        for (changes, expected) in [
            (json!({"rawPath": null}), "rawPath is missing"),
            (json!({"headers": {"host": "a b"}}), "make no URI"),
            (json!({"body": "%", "isBase64Encoded": true}), "body is no base64"),
            (json!({"cookies": ["a=\n"]}), "cookies are no header"),
        ] {
            let Err(error) = request(event(changes)) else { panic!("accepted: {expected}") };
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn a_response_becomes_the_functions_result() {
        let of = |body: &'static [u8]| {
            let component = http::Response::builder()
                .status(201)
                .header("vary", "a")
                .header("vary", "b")
                .header("content-length", "9")
                .header("set-cookie", "a=1")
                .header("set-cookie", "b=2")
                .body(Bytes::from_static(body))
                .unwrap();
            serde_json::to_value(response(component)).unwrap()
        };
        let text = of("ñ".as_bytes());
        assert_eq!(text["statusCode"], 201);
        assert_eq!(text["headers"], json!({"vary": "a, b"}));
        assert_eq!(text["cookies"], json!(["a=1", "b=2"]));
        assert_eq!((&text["body"], &text["isBase64Encoded"]), (&json!("ñ"), &json!(false)));
        let binary = of(&[0, 255]);
        assert_eq!((&binary["body"], &binary["isBase64Encoded"]), (&json!("AP8="), &json!(true)));
    }
}
