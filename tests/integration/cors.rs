//! Pages of other origins: what a browser asks before it lets them call, and what it lets them see.

use http::{HeaderMap, Method, StatusCode};
use local_stack::tokens::{Authentication, TokenIssuer};

use crate::components::{BOOKING, Double, ID, JSON, host_with};
use crate::contract::call;
use crate::served::Served;

const CLINIC: (&str, &str) = ("origin", "https://clinic.example");

async fn host_for(double: &Double, origins: &str) -> Served {
    host_with(&double.url, &double.url, &[("cors_allowed_origins", origins)]).await
}

fn allowed(headers: &HeaderMap) -> Option<&str> {
    headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap())
}

/// The elements of a header's list.
fn list(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers[name].to_str().unwrap().split(',').map(|member| member.trim().to_lowercase()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_needs_no_authentication() {
    let issuer = TokenIssuer::generate().unwrap();
    let double = Double::start(&[]).await;
    let variables = Authentication::Jwt(&issuer).variables();
    let mut variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    variables.push(("cors_allowed_origins", "https://other.example, https://clinic.example"));
    let host = host_with(&double.url, &double.url, &variables).await;
    let one = format!("/appointments/00123/{ID}");
    for (path, method) in [("/appointments", "POST"), ("/appointment/00123", "GET"), (&*one, "GET"), (&*one, "DELETE")]
    {
        let asked = [
            CLINIC,
            ("access-control-request-method", method),
            ("access-control-request-headers", "authorization,content-type,idempotency-key,if-none-match,prefer"),
        ];
        let (status, headers, _) = call(&host, Method::OPTIONS, path, &asked, "").await;
        assert_eq!((status, allowed(&headers)), (StatusCode::NO_CONTENT, Some(CLINIC.1)), "{path}");
        assert!(list(&headers, "access-control-allow-methods").contains(&method.to_lowercase()), "{method} {path}");
        let permitted = list(&headers, "access-control-allow-headers");
        assert!(asked[2].1.split(',').all(|asked| permitted.iter().any(|name| name == asked)), "{permitted:?}");
        assert_eq!(headers["access-control-max-age"], "7200");
        assert!(!headers.contains_key("access-control-allow-credentials"), "there are no cookies");
    }
    // What follows the preflight is refused like any request without a token, and the page may see that.
    let (status, headers, _) = call(&host, Method::POST, "/appointments", &[CLINIC, JSON], BOOKING).await;
    assert_eq!((status, allowed(&headers)), (StatusCode::UNAUTHORIZED, Some(CLINIC.1)));
    assert!(double.operations().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_origin_sees_every_response_and_its_headers() {
    let double = Double::start(&[]).await;
    let host = host_for(&double, "https://clinic.example").await;
    for (method, path, expected) in [
        (Method::GET, "/health", 200),
        (Method::POST, "/appointments", 202),
        (Method::GET, "/appointments/00123", 200),
        (Method::GET, "/appointments/1", 400),
        (Method::GET, "/nowhere", 404),
        (Method::PUT, "/appointments", 405),
        // Without the header of a preflight it is a request like others.
        (Method::OPTIONS, "/appointments", 204),
    ] {
        let (status, headers, _) = call(&host, method, path, &[CLINIC, JSON], BOOKING).await;
        assert_eq!((status.as_u16(), allowed(&headers)), (expected, Some(CLINIC.1)), "{path}");
        let exposed = list(&headers, "access-control-expose-headers");
        for name in ["location", "retry-after", "idempotency-replayed", "etag", "preference-applied"] {
            assert!(exposed.iter().any(|exposed| exposed == name), "{name} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_exact_origin_is_let_in() {
    let double = Double::start(&[]).await;
    for (origins, origin, expected) in [
        ("https://clinic.example", "https://clinic.example", Some("https://clinic.example")),
        (
            "https://a.example,https://clinic.example:8443",
            "https://clinic.example:8443",
            Some("https://clinic.example:8443"),
        ),
        ("*", "https://anywhere.example", Some("*")),
        ("*", "null", Some("*")),
        ("", "https://clinic.example", None),
        ("https://clinic.example", "https://clinic.example.evil.example", None),
        ("https://clinic.example", "https://evilclinic.example", None),
        ("https://clinic.example", "http://clinic.example", None),
        ("https://clinic.example", "https://clinic.example:8443", None),
        ("https://clinic.example", "HTTPS://CLINIC.EXAMPLE", None),
        ("https://clinic.example", "null", None),
    ] {
        let host = host_for(&double, origins).await;
        let preflight = [("origin", origin), ("access-control-request-method", "POST")];
        let (status, headers, _) = call(&host, Method::OPTIONS, "/appointments", &preflight, "").await;
        assert_eq!((status, allowed(&headers)), (StatusCode::NO_CONTENT, expected), "{origins} {origin}");
        assert_eq!(headers.contains_key("access-control-allow-methods"), expected.is_some(), "{origins} {origin}");
        let (_, headers, _) = call(&host, Method::GET, "/health", &[("origin", origin)], "").await;
        assert_eq!(allowed(&headers), expected, "{origins} {origin}");
        assert_eq!(headers["vary"], "origin");
        let (_, headers, _) = call(&host, Method::GET, "/health", &[], "").await;
        assert_eq!((allowed(&headers), headers["vary"].to_str().unwrap()), (None, "origin"), "no page asks");
    }
}

/// A mistake there shuts pages out, and nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_wrong_is_named_in_the_log() {
    let double = Double::start(&[]).await;
    for origins in ["clinic.example", "https://clinic.example/", "https://*.example", "https://Clinic.example", "://x"]
    {
        let host = host_for(&double, origins).await;
        let (status, headers, _) = call(&host, Method::GET, "/appointments/00123", &[CLINIC], "").await;
        assert_eq!((status, allowed(&headers)), (StatusCode::OK, None), "{origins}");
        let lines = host.lines().lock().unwrap().join("\n");
        assert!(lines.contains("ERROR") && lines.contains("the variable 'cors_allowed_origins'"), "{origins}: {lines}");
    }
}
