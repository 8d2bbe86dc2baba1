//! Who asks, by bearer tokens of an issuer whose keys are fetched.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};

use super::*;

const KEYS: &str = "https://issuer.test/jwks.json";

const VARIABLES: &[(&str, &str)] = &[
    ("authentication", "jwt"),
    ("jwt_issuer", "https://issuer.test"),
    ("jwt_audience", "appointments"),
    ("jwt_jwks_origin", "https://issuer.test"),
    ("jwt_jwks_path", "/jwks.json"),
    ("audit_key", "key"),
];

fn signing_key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn jwks() -> Value {
    let public = URL_SAFE_NO_PAD.encode(signing_key().verifying_key().as_bytes());
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": public}]})
}

/// The value of `Authorization` for a person, or for staff with this scope.
fn bearer(subject: &str, scope: &str) -> String {
    // The library reads the clock itself.
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let header = part(json!({"alg": "EdDSA", "kid": "1"}));
    let claims = part(json!({
        "iss": "https://issuer.test", "aud": "appointments", "sub": subject, "scope": scope, "exp": now + 600,
    }));
    let signature = signing_key().sign(format!("{header}.{claims}").as_bytes());
    format!("Bearer {header}.{claims}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

/// Asks for one appointment, with this `Authorization`.
async fn show(host: &TestHost, authorization: &str) -> ApiResponse {
    let path = format!("/appointments/00123/{ID}");
    call_at(SystemTime::now(), host, Method::GET, &path, &[("authorization", authorization)], None).await
}

#[tokio::test]
async fn the_issuers_keys_are_fetched_once() {
    let item = json!({"Item": row("completed")});
    let host = host(VARIABLES).then(KEYS, 200, &jwks()).then("GetItem", 200, &item).then("GetItem", 200, &item);
    let authorization = bearer("00123", "");
    for _ in 0..2 {
        assert_eq!(show(&host, &authorization).await.status, StatusCode::OK);
    }
    assert_eq!(host.operations(), [KEYS, "GetItem", "GetItem"]);
    assert_eq!(host.stored_keys(), [format!("jwks {KEYS}")]);
    assert_eq!(host.lines()[1]["caller"], "insured_person");
}

#[tokio::test]
async fn nobody_is_believed_without_the_issuers_keys() {
    let host = host(VARIABLES).then(KEYS, 500, &json!({}));
    assert_eq!(show(&host, &bearer("00123", "")).await.status, StatusCode::SERVICE_UNAVAILABLE);
    // Not asked again within seconds.
    assert_eq!(show(&host, &bearer("00123", "")).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(host.operations(), [KEYS]);
}

#[tokio::test]
async fn who_may_not_is_refused_before_anything_is_read() {
    let host = host(VARIABLES).then(KEYS, 200, &jwks());
    let response = call(&host, Method::DELETE, &format!("/appointments/00123/{ID}"), &[], None).await;
    assert_eq!(response.status, StatusCode::UNAUTHORIZED);
    assert_eq!(response.header("www-authenticate"), Some("Bearer realm=\"appointments\""));
    assert_eq!(show(&host, &bearer("00124", "")).await.status, StatusCode::FORBIDDEN);
    let mut forged = bearer("00123", "");
    forged.truncate(forged.len() - 86);
    forged.push_str(&"A".repeat(86));
    assert_eq!(show(&host, &forged).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(host.operations(), [KEYS]);
    assert!(host.lines().iter().all(|line| line["audit"] == "refusal"), "{:?}", host.lines());
}

#[tokio::test]
async fn staff_see_what_belongs_to_their_country() {
    let item = json!({"Item": row("completed")});
    let peru = host(VARIABLES).then(KEYS, 200, &jwks()).then("GetItem", 200, &item);
    assert_eq!(show(&peru, &bearer("ana", "appointments:staff:PE")).await.status, StatusCode::OK);
    assert_eq!((&peru.lines()[0]["audit"], &peru.lines()[0]["actor"]), (&json!("staff_read"), &json!("ana")));

    let chile = host(VARIABLES).then(KEYS, 200, &jwks()).then("GetItem", 200, &item);
    assert_eq!(show(&chile, &bearer("ana", "appointments:staff:CL")).await.status, StatusCode::NOT_FOUND);
    // A cancellation of what is not theirs writes nothing.
    let chile = host(VARIABLES).then(KEYS, 200, &jwks()).then("GetItem", 200, &item);
    let authorization = bearer("ana", "appointments:staff:CL");
    let path = format!("/appointments/00123/{ID}");
    let response =
        call_at(SystemTime::now(), &chile, Method::DELETE, &path, &[("authorization", &authorization)], None).await;
    assert_eq!(response.status, StatusCode::NOT_FOUND);
    assert_eq!(chile.operations(), [KEYS, "GetItem"]);
}
