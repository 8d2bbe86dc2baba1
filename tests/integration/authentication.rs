//! Who may call intake, and for whom: the shipped component with tokens of an issuer, sound and unsound ones.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use edge_host::RunningHost;
use http::{Method, StatusCode};
use local_stack::http::Http;
use local_stack::tokens::{Algorithm, Authentication, Grant, TokenIssuer};
use ring::hmac;
use serde_json::{Value, json};

use crate::components::{BOOKING, Double, JSON, call, host_builder};

const MINE: &str = "/appointments/00123";
const HOUR: Duration = Duration::from_secs(3600);

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// Intake with an issuer's keys, or with other values of its variables, and every line that it logs.
async fn intake(double: &Double, variables: &[(&str, &str)]) -> (RunningHost, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    let builder = host_builder(&double.url, &double.url, variables);
    let host = builder.log(Arc::new(move |line| kept.lock().unwrap().push(line.to_string()))).start().await.unwrap();
    (host, lines)
}

async fn intake_of(double: &Double, issuer: &TokenIssuer) -> (RunningHost, Arc<Mutex<Vec<String>>>) {
    let variables = Authentication::Jwt(issuer).variables();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    intake(double, &variables).await
}

fn grant(insured_id: Option<&str>, staff: bool) -> Grant<'_> {
    Grant { insured_id, staff, lifetime: HOUR }
}

/// The claims of a sound token with some replaced; null removes one.
fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": TokenIssuer::ISSUER, "aud": TokenIssuer::AUDIENCE, "sub": "00123", "iat": now(), "exp": now() + 3600,
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn header(algorithm: Algorithm, changes: Value) -> Value {
    let mut header = json!({"alg": algorithm.name(), "typ": "JWT", "kid": algorithm.key_id()});
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => header.as_object_mut().unwrap().remove(name),
            value => header.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    header
}

fn encode(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_token_lets_its_person_in_and_staff_for_everybody() {
    let issuer = TokenIssuer::generate().unwrap();
    let double = Double::start(&[("Query", 200, r#"{"Items":[],"Count":0}"#.to_owned())]).await;
    let (host, lines) = intake_of(&double, &issuer).await;
    let signed = |header: Value, changes: Value| issuer.sign(Algorithm::Es256, &header, &claims(changes)).unwrap();
    let es256 = |changes: Value| signed(header(Algorithm::Es256, json!({})), changes);
    let cases = [
        ("ES256", issuer.mint(Algorithm::Es256, &grant(Some("00123"), false)).unwrap(), "insured_person"),
        ("EdDSA", issuer.mint(Algorithm::EdDsa, &grant(Some("00123"), false)).unwrap(), "insured_person"),
        ("staff", issuer.mint(Algorithm::Es256, &grant(None, true)).unwrap(), "staff"),
        ("another person, staff", issuer.mint(Algorithm::EdDsa, &grant(Some("99999"), true)).unwrap(), "staff"),
        ("one of several scopes", es256(json!({"sub": "x", "scope": "openid appointments:staff email"})), "staff"),
        ("one of several audiences", es256(json!({"aud": ["others", TokenIssuer::AUDIENCE]})), "insured_person"),
        ("just begun, clocks apart", es256(json!({"nbf": now() + 30})), "insured_person"),
        ("just ended, clocks apart", es256(json!({"exp": now() - 30})), "insured_person"),
        ("without kid", signed(header(Algorithm::Es256, json!({"kid": null})), json!({})), "insured_person"),
        ("without typ", signed(header(Algorithm::Es256, json!({"typ": null})), json!({})), "insured_person"),
        (
            "access token",
            signed(header(Algorithm::Es256, json!({"typ": "application/at+JWT"})), json!({})),
            "insured_person",
        ),
    ];
    for (name, token, role) in cases {
        lines.lock().unwrap().clear();
        let authorization = format!("Bearer {token}");
        let (status, _, body) = call(&host, Method::GET, MINE, &[("authorization", &authorization)], "").await;
        assert_eq!(status, StatusCode::OK, "{name}: {body}");
        let headers = [("authorization", authorization.as_str()), JSON];
        let (status, _, body) = call(&host, Method::POST, "/appointments", &headers, BOOKING).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{name}: {body}");
        let lines = lines.lock().unwrap().join("\n");
        assert!(lines.contains(&format!(r#""authentication":"jwt","caller":"{role}""#)), "{name}: {lines}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsound_token_is_refused_before_anything_is_done() {
    let (issuer, stranger) = (TokenIssuer::generate().unwrap(), TokenIssuer::generate().unwrap());
    let double = Double::start(&[]).await;
    let (host, lines) = intake_of(&double, &issuer).await;
    let sign = |algorithm: Algorithm, changes: Value, claimed: Value| {
        issuer.sign(algorithm, &header(algorithm, changes), &claims(claimed)).unwrap()
    };
    let es256 = |claimed: Value| sign(Algorithm::Es256, json!({}), claimed);
    let good = es256(json!({}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let changed = format!(
        "{}.{signature}",
        signed.replace(
            signed.split('.').next_back().unwrap(),
            &URL_SAFE_NO_PAD.encode(claims(json!({"sub": "00124"})).to_string())
        )
    );
    let none = encode(&header(Algorithm::Es256, json!({"alg": "none"})), &claims(json!({})), b"");
    // The classic confusion: the public key, which everybody knows, as the secret of a symmetric algorithm.
    let confused = {
        let header = header(Algorithm::Es256, json!({"alg": "HS256"}));
        let unsigned = encode(&header, &claims(json!({})), b"");
        let secret = hmac::Key::new(hmac::HMAC_SHA256, issuer.key_set().to_string().as_bytes());
        let tag = hmac::sign(&secret, unsigned.trim_end_matches('.').as_bytes());
        encode(&header, &claims(json!({})), tag.as_ref())
    };
    let other_kid = json!({"kid": Algorithm::EdDsa.key_id()});
    let cases: Vec<(&str, String, &str)> = vec![
        ("expired", es256(json!({"exp": now() - 90})), "the token has expired"),
        ("never expires", es256(json!({"exp": null})), "the token never expires"),
        ("expires at a word", es256(json!({"exp": "tomorrow"})), "the token is malformed"),
        ("not yet", es256(json!({"nbf": now() + 90})), "the token is not valid yet"),
        ("another issuer", es256(json!({"iss": "https://other.test"})), "the token is from another issuer"),
        ("no issuer", es256(json!({"iss": null})), "the token is from another issuer"),
        ("another audience", es256(json!({"aud": "others"})), "the token is for another audience"),
        ("no audience", es256(json!({"aud": null})), "the token is for another audience"),
        ("algorithm none", none, "the issuer has no such key for this algorithm"),
        ("public key as a secret", confused, "the issuer has no such key for this algorithm"),
        (
            "key of another algorithm",
            sign(Algorithm::Es256, other_kid, json!({})),
            "the issuer has no such key for this algorithm",
        ),
        (
            "unknown key",
            sign(Algorithm::Es256, json!({"kid": "x"}), json!({})),
            "the issuer has no such key for this algorithm",
        ),
        (
            "a stranger's key",
            stranger.mint(Algorithm::Es256, &grant(Some("00123"), true)).unwrap(),
            "the signature is wrong",
        ),
        (
            "a stranger's Ed25519 key",
            stranger.mint(Algorithm::EdDsa, &grant(Some("00123"), true)).unwrap(),
            "the signature is wrong",
        ),
        ("changed claims", changed, "the signature is wrong"),
        ("no signature", format!("{signed}."), "the signature is wrong"),
        (
            "an unknown extension",
            sign(Algorithm::Es256, json!({"crit": ["exp"]}), json!({})),
            "the token asks for an extension that is not known",
        ),
        (
            "another type",
            sign(Algorithm::Es256, json!({"typ": "logout+jwt"}), json!({})),
            "the token is of another type",
        ),
        ("two parts", signed.to_owned(), "the token is malformed"),
        ("no JSON", "YQ.YQ.YQ".to_owned(), "the token is malformed"),
        ("no base64url", format!("{good}="), "the token is malformed"),
    ];
    for (name, token, description) in &cases {
        let authorization = format!("Bearer {token}");
        for (method, path, body) in [(Method::GET, MINE, ""), (Method::POST, "/appointments", BOOKING)] {
            let headers = [("authorization", authorization.as_str()), JSON, ("accept-language", "en")];
            let (status, headers, problem) = call(&host, method, path, &headers, body).await;
            assert_eq!((status, &problem["code"]), (StatusCode::UNAUTHORIZED, &json!("unauthorized")), "{name}");
            let challenge = headers["www-authenticate"].to_str().unwrap();
            let expected =
                format!("Bearer realm=\"appointments\", error=\"invalid_token\", error_description=\"{description}\"");
            assert_eq!(challenge, expected, "{name}");
        }
    }
    assert!(double.operations().is_empty());
    let lines = lines.lock().unwrap().join("\n");
    for (name, token, description) in &cases {
        assert!(lines.contains(description), "the log does not say: {description}");
        for part in token.split('.').filter(|part| part.len() > 8) {
            assert!(!lines.contains(part), "{name}: the log holds a part of the token");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_one_bearer_token_nobody_is_let_in() {
    let issuer = TokenIssuer::generate().unwrap();
    let double = Double::start(&[]).await;
    let (host, _) = intake_of(&double, &issuer).await;
    let good = format!("Bearer {}", issuer.mint(Algorithm::Es256, &grant(Some("00123"), false)).unwrap());
    let invalid = "Bearer realm=\"appointments\", error=\"invalid_token\", error_description=\"there must be one Authorization header, with a bearer token\"";
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[], "Bearer realm=\"appointments\""),
        (&[("authorization", "Basic dXNlcjpwYXNz")], invalid),
        (&[("authorization", "Bearer")], invalid),
        (&[("authorization", good.trim_start_matches("Bearer "))], invalid),
        (&[("authorization", &good), ("authorization", &good)], invalid),
    ];
    let id = "01890f3e-6b7c-7cc2-98c4-dc0c0c07398f";
    for (headers, challenge) in cases {
        for (method, path) in [
            (Method::POST, "/appointments".to_owned()),
            (Method::POST, "/appointment".to_owned()),
            (Method::GET, MINE.to_owned()),
            (Method::GET, format!("{MINE}/{id}")),
            (Method::DELETE, format!("{MINE}/{id}")),
        ] {
            let (status, answered, _) = call(&host, method, &path, headers, BOOKING).await;
            assert_eq!(
                (status, answered["www-authenticate"].to_str().unwrap()),
                (StatusCode::UNAUTHORIZED, challenge),
                "{path}"
            );
        }
    }
    for (method, path, expected) in [(Method::GET, "/health", 200), (Method::OPTIONS, MINE, 204)] {
        let (status, _, _) = call(&host, method, path, &[], "").await;
        assert_eq!(status.as_u16(), expected, "{path} is open");
    }
    assert!(double.operations().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_acts_for_somebody_else() {
    let issuer = TokenIssuer::generate().unwrap();
    let double = Double::start(&[]).await;
    let (host, lines) = intake_of(&double, &issuer).await;
    let id = "01890f3e-6b7c-7cc2-98c4-dc0c0c07398f";
    let es256 =
        |changes: Value| issuer.sign(Algorithm::Es256, &header(Algorithm::Es256, json!({})), &claims(changes)).unwrap();
    let tokens = [
        ("another person", es256(json!({"sub": "00124"}))),
        ("nobody", es256(json!({"sub": null}))),
        ("a number", es256(json!({"sub": 123}))),
        ("no insured person", es256(json!({"sub": "staff"}))),
        ("a scope that only begins like it", es256(json!({"sub": "x", "scope": "appointments:staffing"}))),
    ];
    for (name, token) in &tokens {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str()), JSON, ("accept-language", "en")];
        for (method, path, body) in [
            (Method::POST, "/appointments".to_owned(), BOOKING),
            (Method::GET, MINE.to_owned(), ""),
            (Method::GET, format!("/appointment/00123/{id}"), ""),
            (Method::DELETE, format!("{MINE}/{id}"), ""),
        ] {
            let (status, answered, problem) = call(&host, method, &path, &headers, body).await;
            assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("forbidden")), "{name}: {path}");
            assert_eq!(problem["detail"], "You may not manage this person's appointments.");
            assert!(answered["www-authenticate"].to_str().unwrap().contains("error=\"insufficient_scope\""));
        }
    }
    assert!(double.operations().is_empty());
    let lines = lines.lock().unwrap().join("\n");
    assert!(!lines.contains("00123") && !lines.contains("00124"), "the log holds a person's code");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_claim_and_the_scope_can_be_configured() {
    let issuer = TokenIssuer::generate().unwrap();
    let double = Double::start(&[("Query", 200, r#"{"Items":[],"Count":0}"#.to_owned())]).await;
    let keys = issuer.key_set().to_string();
    let variables = [
        ("authentication", "jwt"),
        ("jwt_issuer", TokenIssuer::ISSUER),
        ("jwt_audience", TokenIssuer::AUDIENCE),
        ("jwt_keys", keys.as_str()),
        ("jwt_insured_id_claim", "custom:insured_id"),
        ("jwt_staff_scope", "desk"),
    ];
    let (host, _) = intake(&double, &variables).await;
    let cases = [
        (json!({"sub": "a-uuid", "custom:insured_id": "00123"}), 200),
        (json!({"sub": "00123"}), 403),
        (json!({"sub": "00123", "scope": "appointments:staff"}), 403),
        (json!({"sub": "a-uuid", "scope": "desk"}), 200),
    ];
    for (changes, expected) in cases {
        let token =
            issuer.sign(Algorithm::Es256, &header(Algorithm::Es256, json!({})), &claims(changes.clone())).unwrap();
        let authorization = format!("Bearer {token}");
        let (status, _, _) = call(&host, Method::GET, MINE, &[("authorization", &authorization)], "").await;
        assert_eq!(status.as_u16(), expected, "{changes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_is_wrong_is_named_in_the_log_and_lets_nobody_in() {
    let issuer = TokenIssuer::generate().unwrap();
    let keys = issuer.key_set().to_string();
    let rsa_alone = json!({"keys": [{"kty": "RSA", "kid": "local-es256", "n": "AQAB", "e": "AQAB"}]}).to_string();
    let encryption_alone = {
        let mut keys = issuer.key_set();
        keys["keys"].as_array_mut().unwrap().iter_mut().for_each(|key| key["use"] = json!("enc"));
        keys.to_string()
    };
    let off_the_curve =
        keys.replace(issuer.key_set()["keys"][0]["y"].as_str().unwrap(), &URL_SAFE_NO_PAD.encode([1; 32]));
    let cases = [
        ("authentication", "JWT", "`jwt`, or `none`"),
        ("authentication", "", "`jwt`, or `none`"),
        ("jwt_issuer", "", "empty"),
        ("jwt_audience", "", "empty"),
        ("jwt_keys", "", "empty"),
        ("jwt_keys", "-----BEGIN PUBLIC KEY-----", "no JWKS document"),
        ("jwt_keys", &rsa_alone, "no key for ES256 (P-256) or EdDSA (Ed25519)"),
        ("jwt_keys", &encryption_alone, "no key for ES256 (P-256) or EdDSA (Ed25519)"),
        ("jwt_keys", &off_the_curve, "no point of its curve"),
        ("jwt_insured_id_claim", "", "empty"),
    ];
    let token = issuer.mint(Algorithm::Es256, &grant(Some("00123"), false)).unwrap();
    for (name, value, reason) in cases {
        let double = Double::start(&[]).await;
        let sound = Authentication::Jwt(&issuer).variables();
        let mut variables: Vec<_> = sound.iter().map(|(name, value)| (*name, value.as_str())).collect();
        variables.push((name, value));
        let (host, lines) = intake(&double, &variables).await;
        let authorization = format!("Bearer {token}");
        let (status, _, problem) = call(&host, Method::GET, MINE, &[("authorization", &authorization)], "").await;
        assert_eq!((status.as_u16(), problem["code"].as_str()), (500, Some("internal")), "{name}={value}");
        let lines = lines.lock().unwrap().join("\n");
        assert!(lines.contains(&format!("the variable '{name}'")) && lines.contains(reason), "{name}={value}: {lines}");
        assert!(double.operations().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_authentication_the_log_says_so() {
    let double = Double::start(&[]).await;
    let (host, lines) = intake(&double, &[("authentication", "none")]).await;
    let (status, _, _) = call(&host, Method::POST, "/appointments", &[JSON], BOOKING).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert!(lines.lock().unwrap().iter().any(|line| line.contains(r#""authentication":"none""#)));

    let manifest = std::fs::read_to_string(tests::workspace().join("spin.toml")).unwrap();
    assert!(manifest.contains("\nauthentication = { required = true }\n"), "it is chosen explicitly");
}

#[tokio::test]
async fn a_booking_with_a_token_completes() {
    let issuer = TokenIssuer::of_repository(&tests::workspace()).unwrap();
    let stack = tests::stack_with_authentication(issuer).await;
    let http = Http::default();
    let token = TokenIssuer::of_repository(&tests::workspace())
        .unwrap()
        .mint(Algorithm::EdDsa, &grant(Some("00123"), false))
        .unwrap();
    let ask = async |request: http::request::Builder, body: &str| {
        let request =
            request.header("authorization", format!("Bearer {token}")).header("content-type", "application/json");
        http.send_within(request.body(Bytes::from(body.to_owned())).unwrap(), Duration::from_secs(60)).await.unwrap()
    };
    let accepted = ask(http::Request::post(format!("{}/appointments", stack.url())), BOOKING).await;
    assert_eq!(accepted.status(), StatusCode::ACCEPTED, "{}", String::from_utf8_lossy(accepted.body()));
    let started = std::time::Instant::now();
    loop {
        let list = ask(http::Request::get(format!("{}{MINE}", stack.url())), "").await;
        let list: Value = serde_json::from_slice(list.body()).unwrap();
        if list["appointments"][0]["status"] == "completed" {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{list}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let other = ask(http::Request::get(format!("{}/appointments/00124", stack.url())), "").await;
    assert_eq!(other.status(), StatusCode::FORBIDDEN);
    let anonymous = http.get(&format!("{}{MINE}", stack.url())).await.unwrap();
    assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED);
}
