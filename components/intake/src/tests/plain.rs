//! What calls nobody: health, the description, `OPTIONS` and what no route has.

use super::*;

#[tokio::test]
async fn health_and_the_description_need_no_setting() {
    // A document that no line of is right.
    let host = host(&[("aws_region", "a\nb"), ("authentication", "unheard")]);
    let response = call(&host, Method::GET, "/health", &[], None).await;
    assert_eq!((response.status, &response.body["status"]), (StatusCode::OK, &json!("ok")));
    assert_eq!(host.lines()[0]["level"], "DEBUG");
    let response = call(&host, Method::GET, "/openapi.yaml", &[], None).await;
    assert_eq!((response.status, response.header("content-type")), (StatusCode::OK, Some("application/yaml")));
    let response = call(&host, Method::OPTIONS, "/appointments", &[], None).await;
    assert_eq!((response.status, response.header("allow")), (StatusCode::NO_CONTENT, Some("POST, OPTIONS")));

    let response = call(&host, Method::GET, "/appointments/00123", &[], None).await;
    assert_eq!(response.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(host.lines()[3]["error"].as_str().unwrap().contains("'aws_region'"), "{}", host.lines()[3]);
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_with_the_requests_number() {
    let host = host(&[]);
    let response = call(&host, Method::GET, "/appointments/00123/x/y/z", &[("traceparent", TRACE)], None).await;
    assert_eq!(response.status, StatusCode::NOT_FOUND);
    let line = &host.lines()[0];
    let instance = format!("urn:medical-appointments:request:{}", line["request_id"].as_str().unwrap());
    assert_eq!(response.body["instance"], instance);
    assert_eq!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(call(&host, Method::PUT, "/slots", &[], None).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_ask() {
    let host = host(&[("cors_allowed_origins", "https://clinic.example")]);
    let origin = ("origin", "https://clinic.example");
    let preflight = [origin, ("access-control-request-method", "POST")];
    let response = call(&host, Method::OPTIONS, "/appointments", &preflight, None).await;
    assert_eq!(response.header("access-control-allow-origin"), Some("https://clinic.example"));
    assert_eq!(response.header("access-control-allow-methods"), Some("POST, OPTIONS"));
    let response = call(&host, Method::GET, "/health", &[("origin", "https://other.example")], None).await;
    assert_eq!(response.header("access-control-allow-origin"), None);
}
