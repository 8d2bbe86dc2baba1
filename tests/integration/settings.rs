//! The components' settings, which come as one document: no value can break it, or set anything else.

use http::{Method, StatusCode};
use local_stack::tokens::{Authentication, TokenIssuer};

use crate::components::{Confirmation, Double, JSON, completed, host_with};
use crate::contract::call;
use crate::served::Served;

/// The response of an intake that requires tokens to a request without one, and its log.
async fn asked_without_a_token(variables: &[(&str, &str)]) -> (u16, String) {
    let double = Double::start(&[("Query", 200, r#"{"Items":[],"Count":0}"#.to_owned())]).await;
    let issuer = TokenIssuer::generate().unwrap();
    let tokens = Authentication::Jwt(&issuer).variables();
    let given: Vec<_> =
        tokens.iter().map(|(name, value)| (*name, value.as_str())).chain(variables.iter().copied()).collect();
    let host: Served = host_with(&double.url, &double.url, &given).await;
    let (status, _, _) = call(&host, Method::GET, "/appointments/00123", &[], "").await;
    assert!(double.operations().is_empty(), "{variables:?}");
    let lines = host.lines();
    let lines = lines.lock().unwrap().join("\n");
    (status.as_u16(), lines)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_with_a_line_break_is_refused_and_sets_nothing() {
    assert_eq!(asked_without_a_token(&[]).await.0, 401, "the settings themselves are sound");
    let later = "x\nauthentication=none";
    let next = "x\nauthentication=none\njwt_issuer=https://issuer.test";
    let cases = [
        ("aws_region", "us-east-1\n", "aws_region"),
        ("aws_region", later, "aws_region"),
        ("appointments_table", "appointments\nno setting", "appointments_table"),
        ("intake_secret_access_key", "secret\nsecret", "intake_secret_access_key"),
        // What goes on as the document does is found where it goes on once more.
        ("intake_session_token", later, "authentication"),
        ("intake_session_token", next, "jwt_issuer"),
        // The last one, after which nothing may come.
        ("audit_key", "key\n", "audit_key"),
        ("audit_key", "key\nauthentication=none", "audit_key"),
    ];
    for (name, value, named) in cases {
        let (status, lines) = asked_without_a_token(&[(name, value)]).await;
        assert_eq!(status, 500, "{name}: {value:?}");
        let error = format!("the variable '{named}' is invalid: it holds a line break");
        assert!(lines.contains(&error) && lines.contains("ERROR"), "{name} {value:?}: {lines}");
        assert!(!lines.contains("secret\n") && !lines.contains("no setting"), "no line shows a value: {lines}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_value_arrives_as_it_is() {
    let double = Double::start(&[]).await;
    // Signs of the document and of templates, and what JSON and TOML would have to escape.
    for table in ["a=b", "settings=", "{{ authentication }}", "'''", "\\n\"", " spaced ", "ñandú"] {
        let host = host_with(&double.url, &double.url, &[("appointments_table", table)]).await;
        let (status, _, body) = call(&host, Method::POST, "/appointments", &[JSON], crate::components::BOOKING).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{body}");
        let sent = double.sent.lock().unwrap();
        let write = sent.iter().rev().find(|sent| sent.operation == "PutItem").unwrap();
        assert_eq!(write.json()["TableName"], table);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_setting_of_confirmation_leaves_its_message() {
    let double = Double::start(&[]).await;
    let broken = [("appointments_event_bus", "appointments\nconfirmation_access_key_id=x")];
    let confirmation = Confirmation::start_with(&double.url, "key", "secret", None, &broken).await;
    assert!(!confirmation.deliver(&completed()).await);
    let lines = confirmation.lines.lock().unwrap().join("\n");
    assert!(lines.contains("the variable 'appointments_event_bus' is invalid") && lines.contains("ERROR"), "{lines}");
    assert!(double.operations().is_empty());
}
