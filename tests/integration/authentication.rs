//! Who may call intake, and for whom: the shipped component with tokens of an issuer, sound and unsound ones.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use local_stack::http::Http;
use local_stack::tokens::{Algorithm, Authentication, Grant, TokenIssuer};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use serde_json::{Value, json};
use tests::lines_that_name;
use tokio::net::TcpListener;

use crate::components::{BOOKING, Double, EVENT_ID, ID, JSON, call, host_with, row, variables_with};
use crate::served::{Lines, Served};

const MINE: &str = "/appointments/00123";
const HOUR: Duration = Duration::from_secs(3600);

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// Intake with an issuer's keys, or with other values of its variables, and every line that it logs.
async fn intake(double: &Double, variables: &[(&str, &str)]) -> (Served, Lines) {
    let host = host_with(&double.url, &double.url, variables).await;
    let lines = host.lines();
    (host, lines)
}

async fn intake_of(double: &Double, issuer: &TokenIssuer) -> (Served, Lines) {
    let variables = Authentication::Jwt(issuer).variables();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    intake(double, &variables).await
}

/// An issuer that signs with RSA, as most identity providers do.
struct RsaIssuer(RsaKeyPair);

impl RsaIssuer {
    const KEY_ID: &str = "rsa";

    fn first() -> Self {
        Self(RsaKeyPair::from_pkcs8(include_bytes!("../data/rsa-1-for-tests-only.pk8")).unwrap())
    }

    fn second() -> Self {
        Self(RsaKeyPair::from_pkcs8(include_bytes!("../data/rsa-2-for-tests-only.pk8")).unwrap())
    }

    fn third() -> Self {
        Self(RsaKeyPair::from_pkcs8(include_bytes!("../data/rsa-3-for-tests-only.pk8")).unwrap())
    }

    fn jwk(&self) -> Value {
        let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(self.0.public());
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "RSA", "use": "sig", "kid": Self::KEY_ID, "n": part(&public.n), "e": part(&public.e)})
    }

    /// A token whose header names one algorithm, signed with the padding of another.
    fn sign(&self, named: &str, padding: &'static dyn RsaEncoding, header: Value, claims: &Value) -> String {
        let mut head = json!({"alg": named, "typ": "JWT", "kid": Self::KEY_ID});
        for (name, value) in header.as_object().unwrap() {
            head[name] = value.clone();
        }
        let unsigned = encode(&head, claims, b"");
        let mut signature = vec![0; self.0.public().modulus_len()];
        let message = unsigned.trim_end_matches('.');
        self.0.sign(padding, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
        encode(&head, claims, &signature)
    }

    fn mint(&self, claims: &Value) -> String {
        self.sign("RS256", &RSA_PKCS1_SHA256, json!({}), claims)
    }
}

/// What an issuer publishes, and how often it was asked.
struct Publisher {
    url: String,
    document: Arc<Mutex<(u16, String)>>,
    asked: Arc<Mutex<usize>>,
}

impl Publisher {
    const PATH: &str = "/.well-known/jwks.json";

    async fn start(document: &Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let document = Arc::new(Mutex::new((200, document.to_string())));
        let asked = Arc::new(Mutex::new(0));
        let (published, counted) = (Arc::clone(&document), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (published, counted) = (Arc::clone(&published), Arc::clone(&counted));
                let service = service_fn(move |request: http::Request<Incoming>| {
                    assert_eq!((request.method(), request.uri().path()), (&Method::GET, Self::PATH));
                    *counted.lock().unwrap() += 1;
                    let (status, body) = published.lock().unwrap().clone();
                    let response = http::Response::builder().status(status).body(Full::<Bytes>::from(body)).unwrap();
                    async move { Ok::<_, std::convert::Infallible>(response) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), service),
                );
            }
        });
        Self { url, document, asked }
    }

    fn publish(&self, status: u16, document: &str) {
        *self.document.lock().unwrap() = (status, document.to_owned());
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }

    /// The variables of an intake that fetches its keys here.
    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("authentication", "jwt".to_owned()),
            ("jwt_issuer", TokenIssuer::ISSUER.to_owned()),
            ("jwt_audience", TokenIssuer::AUDIENCE.to_owned()),
            ("jwt_jwks_origin", self.url.clone()),
            ("jwt_jwks_path", Self::PATH.to_owned()),
        ]
    }
}

/// All keys of two issuers in one document.
fn key_set(issuer: &TokenIssuer, rsa: &RsaIssuer) -> Value {
    let mut keys = issuer.key_set();
    keys["keys"].as_array_mut().unwrap().push(rsa.jwk());
    keys
}

/// Intakes that know the keys from a variable, and from what the issuer publishes.
async fn intakes_of(double: &Double, keys: &Value) -> [(Served, Lines); 2] {
    let publisher = Publisher::start(keys).await;
    let published = publisher.variables();
    let published: Vec<_> = published.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let keys = keys.to_string();
    let mut given = published[..3].to_vec();
    given.push(("jwt_keys", &keys));
    [intake(double, &given).await, intake(double, &published).await]
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
    let rsa = RsaIssuer::first();
    let double = Double::start(&[("Query", 200, r#"{"Items":[],"Count":0}"#.to_owned())]).await;
    let intakes = intakes_of(&double, &key_set(&issuer, &rsa)).await;
    let signed = |header: Value, changes: Value| issuer.sign(Algorithm::Es256, &header, &claims(changes)).unwrap();
    let es256 = |changes: Value| signed(header(Algorithm::Es256, json!({})), changes);
    let cases = [
        ("RS256", rsa.mint(&claims(json!({}))), "insured_person"),
        ("PS256", rsa.sign("PS256", &RSA_PSS_SHA256, json!({}), &claims(json!({}))), "insured_person"),
        ("ES256", issuer.mint(Algorithm::Es256, &grant(Some("00123"), false)).unwrap(), "insured_person"),
        ("EdDSA", issuer.mint(Algorithm::EdDsa, &grant(Some("00123"), false)).unwrap(), "insured_person"),
        ("staff", issuer.mint(Algorithm::Es256, &grant(None, true)).unwrap(), "staff"),
        ("another person, staff", issuer.mint(Algorithm::EdDsa, &grant(Some("99999"), true)).unwrap(), "staff"),
        ("one of several scopes", es256(json!({"sub": "x", "scope": "openid appointments:staff email"})), "staff"),
        ("one of several audiences", es256(json!({"aud": ["others", TokenIssuer::AUDIENCE]})), "insured_person"),
        ("no audience but a client", es256(json!({"aud": null, "client_id": TokenIssuer::AUDIENCE})), "insured_person"),
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
    for ((name, token, role), (host, lines)) in cases.iter().flat_map(|case| intakes.iter().map(move |one| (case, one)))
    {
        lines.lock().unwrap().clear();
        let authorization = format!("Bearer {token}");
        let (status, _, body) = call(host, Method::GET, MINE, &[("authorization", &authorization)], "").await;
        assert_eq!(status, StatusCode::OK, "{name}: {body}");
        let headers = [("authorization", authorization.as_str()), JSON];
        let (status, _, body) = call(host, Method::POST, "/appointments", &headers, BOOKING).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{name}: {body}");
        let lines = lines.lock().unwrap().join("\n");
        assert!(lines.contains(&format!(r#""authentication":"jwt","caller":"{role}""#)), "{name}: {lines}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsound_token_is_refused_before_anything_is_done() {
    let (issuer, stranger) = (TokenIssuer::generate().unwrap(), TokenIssuer::generate().unwrap());
    let (rsa, strange_rsa) = (RsaIssuer::first(), RsaIssuer::second());
    let double = Double::start(&[]).await;
    let mut keys = key_set(&issuer, &rsa);
    let mut rs256_alone = rsa.jwk();
    rs256_alone["kid"] = json!("rs256-alone");
    rs256_alone["alg"] = json!("RS256");
    let second_rsa = RsaIssuer::third();
    let mut other_key = second_rsa.jwk();
    other_key["kid"] = json!("another");
    keys["keys"].as_array_mut().unwrap().extend([rs256_alone, other_key]);
    let intakes = intakes_of(&double, &keys).await;
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
    let none = |name: &str| encode(&header(Algorithm::Es256, json!({"alg": name})), &claims(json!({})), b"");
    // The classic confusion: the public key, which everybody knows, as the secret of a symmetric algorithm.
    let confused = {
        let header = header(Algorithm::Es256, json!({"alg": "HS256"}));
        let unsigned = encode(&header, &claims(json!({})), b"");
        let secret = hmac::Key::new(hmac::HMAC_SHA256, issuer.key_set().to_string().as_bytes());
        let tag = hmac::sign(&secret, unsigned.trim_end_matches('.').as_bytes());
        encode(&header, &claims(json!({})), tag.as_ref())
    };
    let rsa_confused = {
        let header = json!({"alg": "HS256", "typ": "JWT", "kid": RsaIssuer::KEY_ID});
        let unsigned = encode(&header, &claims(json!({})), b"");
        let secret = hmac::Key::new(hmac::HMAC_SHA256, rsa.jwk()["n"].as_str().unwrap().as_bytes());
        encode(&header, &claims(json!({})), hmac::sign(&secret, unsigned.trim_end_matches('.').as_bytes()).as_ref())
    };
    let right = claims(json!({}));
    let kid = |kid: &str| rsa.sign("RS256", &RSA_PKCS1_SHA256, json!({"kid": kid}), &right);
    let other_kid = json!({"kid": Algorithm::EdDsa.key_id()});
    let cases: Vec<(&str, String, &str)> = vec![
        ("expired", es256(json!({"exp": now() - 90})), "the token has expired"),
        ("never expires", es256(json!({"exp": null})), "the token never expires"),
        ("expires at a word", es256(json!({"exp": "tomorrow"})), "the token never expires"),
        ("valid for two days", es256(json!({"exp": now() + 172_800})), "the token is valid for too long"),
        (
            "valid for two days, most of them past",
            es256(json!({"iat": now() - 169_200, "exp": now() + 3600})),
            "the token is valid for too long",
        ),
        ("issued in the future", es256(json!({"iat": now() + 90, "exp": now() + 180})), "the token is not valid yet"),
        ("a list of issuers", es256(json!({"iss": [TokenIssuer::ISSUER]})), "the token is from another issuer"),
        ("too long", es256(json!({"x": "x".repeat(8 * 1024)})), "the token is malformed"),
        ("RSA key as a secret", rsa_confused, "the issuer has no such key for this algorithm"),
        (
            "RSA key, other hash",
            rsa.sign("RS512", &RSA_PKCS1_SHA512, json!({}), &right),
            "the issuer has no such key for this algorithm",
        ),
        ("one padding as the other", rsa.sign("PS256", &RSA_PKCS1_SHA256, json!({}), &right), "the signature is wrong"),
        ("the other as the one", rsa.sign("RS256", &RSA_PSS_SHA256, json!({}), &right), "the signature is wrong"),
        (
            "a key that is for RS256 alone",
            rsa.sign("PS256", &RSA_PSS_SHA256, json!({"kid": "rs256-alone"}), &right),
            "the issuer has no such key for this algorithm",
        ),
        ("a stranger's RSA key", strange_rsa.mint(&right), "the signature is wrong"),
        (
            "a key that the token brings",
            strange_rsa.sign("RS256", &RSA_PKCS1_SHA256, json!({"jwk": strange_rsa.jwk()}), &right),
            "the signature is wrong",
        ),
        (
            "a place where the token says its key is",
            strange_rsa.sign("RS256", &RSA_PKCS1_SHA256, json!({"jku": "http://127.0.0.1:1/jwks.json"}), &right),
            "the signature is wrong",
        ),
        (
            "a certificate's place",
            strange_rsa.sign("RS256", &RSA_PKCS1_SHA256, json!({"x5u": "http://127.0.0.1:1/chain.pem"}), &right),
            "the signature is wrong",
        ),
        ("a kid that is a path", kid("../../dev/null"), "the issuer has no such key for this algorithm"),
        ("a kid that is SQL", kid("x' UNION SELECT 'key' --"), "the issuer has no such key for this algorithm"),
        ("a kid that is empty", kid(""), "the issuer has no such key for this algorithm"),
        ("a kid in other letters", kid("RSA"), "the issuer has no such key for this algorithm"),
        (
            "an RSA key for ES256",
            rsa.sign("ES256", &RSA_PKCS1_SHA256, json!({}), &right),
            "the issuer has no such key for this algorithm",
        ),
        ("not yet", es256(json!({"nbf": now() + 90})), "the token is not valid yet"),
        ("another issuer", es256(json!({"iss": "https://other.test"})), "the token is from another issuer"),
        ("no issuer", es256(json!({"iss": null})), "the token is from another issuer"),
        ("another audience", es256(json!({"aud": "others"})), "the token is for another audience"),
        ("no audience", es256(json!({"aud": null})), "the token is for another audience"),
        ("an audience that is no text", es256(json!({"aud": 5})), "the token is for another audience"),
        ("a list without it", es256(json!({"aud": ["others", 5, []]})), "the token is for another audience"),
        ("another client", es256(json!({"aud": null, "client_id": "others"})), "the token is for another audience"),
        (
            "the client, beside another audience",
            es256(json!({"aud": "others", "client_id": TokenIssuer::AUDIENCE})),
            "the token is for another audience",
        ),
        (
            "the client, beside an audience that is no text",
            es256(json!({"aud": {}, "client_id": TokenIssuer::AUDIENCE})),
            "the token is for another audience",
        ),
        ("algorithm none", none("none"), "the issuer has no such key for this algorithm"),
        ("algorithm None", none("None"), "the issuer has no such key for this algorithm"),
        ("algorithm NONE", none("NONE"), "the issuer has no such key for this algorithm"),
        ("no algorithm", encode(&json!({"typ": "JWT"}), &right, b""), "the token is malformed"),
        // What broken verifiers of ECDSA take for any message (CVE-2022-21449).
        (
            "a signature of zeros",
            encode(&header(Algorithm::Es256, json!({})), &right, &[0; 64]),
            "the signature is wrong",
        ),
        (
            "swapped keys of one algorithm",
            second_rsa.sign("RS256", &RSA_PKCS1_SHA256, json!({"kid": RsaIssuer::KEY_ID}), &right),
            "the signature is wrong",
        ),
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
    for ((name, token, description), (host, _)) in
        cases.iter().flat_map(|case| intakes.iter().map(move |one| (case, one)))
    {
        let authorization = format!("Bearer {token}");
        for (method, path, body) in [(Method::GET, MINE, ""), (Method::POST, "/appointments", BOOKING)] {
            let headers = [("authorization", authorization.as_str()), JSON, ("accept-language", "en")];
            let (status, headers, problem) = call(host, method, path, &headers, body).await;
            assert_eq!((status, &problem["code"]), (StatusCode::UNAUTHORIZED, &json!("unauthorized")), "{name}");
            let challenge = headers["www-authenticate"].to_str().unwrap();
            let expected =
                format!("Bearer realm=\"appointments\", error=\"invalid_token\", error_description=\"{description}\"");
            assert_eq!(challenge, expected, "{name}");
        }
    }
    assert!(double.operations().is_empty());
    for ((name, token, description), (_, lines)) in
        cases.iter().flat_map(|case| intakes.iter().map(move |one| (case, one)))
    {
        let lines = lines.lock().unwrap().join("\n");
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
            let (status, response_headers, _) = call(&host, method, &path, headers, BOOKING).await;
            assert_eq!(
                (status, response_headers["www-authenticate"].to_str().unwrap()),
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
            let (status, response_headers, problem) = call(&host, method, &path, &headers, body).await;
            assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("forbidden")), "{name}: {path}");
            assert_eq!(problem["detail"], "You may not manage this person's appointments.");
            assert!(response_headers["www-authenticate"].to_str().unwrap().contains("error=\"insufficient_scope\""));
        }
    }
    assert!(double.operations().is_empty());
    let lines = lines.lock().unwrap().join("\n");
    for person in ["00123", "00124"] {
        assert_eq!(lines_that_name(&lines, person), Vec::<&str>::new(), "the log holds a person's code");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_claims_and_the_type_can_be_configured() {
    let issuer = TokenIssuer::generate().unwrap();
    let double = Double::start(&[("Query", 200, r#"{"Items":[],"Count":0}"#.to_owned())]).await;
    let keys = issuer.key_set().to_string();
    let base = [
        ("authentication", "jwt"),
        ("jwt_issuer", TokenIssuer::ISSUER),
        ("jwt_audience", TokenIssuer::AUDIENCE),
        ("jwt_keys", keys.as_str()),
        ("jwt_insured_id_claim", "custom:insured_id"),
        ("jwt_max_lifetime_seconds", "7200"),
    ];
    let person = json!({"sub": "a-uuid", "custom:insured_id": "00123"});
    let roles = json!({"sub": "x", "realm_access": {"roles": ["offline", "desk"]}});
    let groups = json!({"sub": "x", "https://clinic.example/groups": ["desk"]});
    let longer = json!({"custom:insured_id": "00123", "exp": now() + 9000});
    let cases = [
        ("scope", "desk", "", json!({}), person.clone(), 200),
        ("scope", "desk", "", json!({}), json!({"sub": "00123"}), 403),
        ("scope", "desk", "", json!({}), json!({"scope": "appointments:staff"}), 403),
        ("scope", "desk", "", json!({}), json!({"scope": "openid desk"}), 200),
        ("/realm_access/roles", "desk", "", json!({}), roles.clone(), 200),
        ("/realm_access/others", "desk", "", json!({}), roles, 403),
        ("https://clinic.example/groups", "desk", "", json!({}), groups, 200),
        ("scope", "desk", "", json!({}), longer, 401),
        ("scope", "desk", "at+jwt", json!({"typ": "JWT"}), person.clone(), 401),
        ("scope", "desk", "at+jwt", json!({"typ": null}), person.clone(), 401),
        ("scope", "desk", "at+jwt", json!({"typ": "application/AT+jwt"}), person, 200),
    ];
    for (claim, value, typ, head, changes, expected) in cases {
        let own = [("jwt_staff_claim", claim), ("jwt_staff_value", value), ("jwt_type", typ)];
        let (host, _) = intake(&double, &[&base[..], &own].concat()).await;
        let token = issuer.sign(Algorithm::Es256, &header(Algorithm::Es256, head), &claims(changes.clone())).unwrap();
        let authorization = format!("Bearer {token}");
        let (status, _, _) = call(&host, Method::GET, MINE, &[("authorization", &authorization)], "").await;
        assert_eq!(status.as_u16(), expected, "{claim} {typ} {changes}");
    }
}

/// Staff of one country: what belongs to the other is not there for them.
#[tokio::test(flavor = "multi_thread")]
async fn staff_of_a_country_see_and_change_what_is_theirs() {
    let issuer = TokenIssuer::generate().unwrap();
    let in_country = |country: &str| {
        let mut row = row("completed", EVENT_ID);
        row["countryISO"]["S"] = json!(country);
        row
    };
    let page = json!({"Items": [in_country("CL"), in_country("PE")], "Count": 2}).to_string();
    let one = |country: &str| json!({"Item": in_country(country)}).to_string();
    for (right, country, theirs) in [
        ("appointments:staff:PE", "PE", true),
        ("appointments:staff:PE", "CL", false),
        ("appointments:staff:PE appointments:staff:CL", "CL", true),
        ("appointments:staff", "CL", true),
    ] {
        let updated = json!({"Attributes": in_country(country)}).to_string();
        let script = [("Query", 200, page.clone()), ("GetItem", 200, one(country)), ("UpdateItem", 200, updated)];
        let double = Double::start(&script).await;
        let (host, _) = intake_of(&double, &issuer).await;
        let named = json!({"sub": "desk", "scope": right});
        let token = issuer.sign(Algorithm::EdDsa, &header(Algorithm::EdDsa, json!({})), &claims(named)).unwrap();
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str()), JSON];
        let (_, _, list) = call(&host, Method::GET, MINE, &headers, "").await;
        let listed: Vec<&str> =
            list["appointments"].as_array().unwrap().iter().map(|one| one["countryISO"].as_str().unwrap()).collect();
        assert_eq!(listed.contains(&country), theirs, "{right}: {listed:?}");
        let path = format!("{MINE}/{ID}");
        let (status, _, _) = call(&host, Method::GET, &path, &headers, "").await;
        assert_eq!(status.as_u16(), if theirs { 200 } else { 404 }, "{right} {country}");
        let (status, _, _) = call(&host, Method::DELETE, &path, &headers, "").await;
        assert_eq!(status.as_u16(), if theirs { 202 } else { 404 }, "{right} {country}");
        assert_eq!(double.operations().iter().any(|operation| operation == "UpdateItem"), theirs, "{right} {country}");
        let booking = BOOKING.replace("PE", country);
        let (status, _, _) = call(&host, Method::POST, "/appointments", &headers, &booking).await;
        assert_eq!(status.as_u16(), if theirs { 202 } else { 403 }, "{right} {country}");
    }
}

/// The life of the issuer's keys, by a clock that the test puts forward.
#[tokio::test(flavor = "multi_thread")]
async fn published_keys_are_kept_refreshed_and_outlive_a_silent_issuer() {
    let (issuer, rsa) = (TokenIssuer::generate().unwrap(), RsaIssuer::first());
    let publisher = Publisher::start(&issuer.key_set()).await;
    let double = Double::start(&[("Query", 200, r#"{"Items":[],"Count":0}"#.to_owned())]).await;
    let clock = Arc::new(AtomicU64::new(0));
    let variables = publisher.variables();
    let mut variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    variables.push(("jwt_max_lifetime_seconds", "1000000"));
    let host = Served::embedded(variables_with(&double.url, &double.url, &variables), Arc::clone(&clock)).await;
    let lines = host.lines();
    let long = claims(json!({"exp": now() + 900_000}));
    let old = issuer.sign(Algorithm::Es256, &header(Algorithm::Es256, json!({})), &long).unwrap();
    let new = rsa.mint(&long);
    let rotated = json!({"keys": [issuer.key_set()["keys"][0], rsa.jwk()]}).to_string();
    let ask = async |token: &str, after: u64| {
        clock.fetch_add(after, Ordering::Relaxed);
        let authorization = format!("Bearer {token}");
        let (status, headers, _) = call(&host, Method::GET, MINE, &[("authorization", &authorization)], "").await;
        assert_eq!(headers.contains_key("retry-after"), status == StatusCode::SERVICE_UNAVAILABLE);
        (status.as_u16(), publisher.asked())
    };
    assert_eq!(ask(&old, 0).await, (200, 1), "asked for the first time");
    assert_eq!(ask(&old, 0).await, (200, 1), "kept for the next instance");
    assert_eq!(ask(&old, 290).await, (200, 1), "fresh for five minutes");
    assert_eq!(ask(&old, 11).await, (200, 2), "and then asked again");
    publisher.publish(200, &rotated);
    assert_eq!(ask(&new, 50).await, (401, 2), "an unknown key, asked a moment ago");
    assert_eq!(ask(&new, 11).await, (200, 3), "an unknown key is asked for at once, after a minute");
    assert_eq!(ask("a.b.c", 100).await, (401, 3), "what has no form asks nobody");
    for (after, (status, document)) in
        [(400, (500, "down")), (61, (200, "<html>")), (61, (200, r#"{"keys":[]}"#)), (61, (302, &*rotated))]
    {
        publisher.publish(status, document);
        lines.lock().unwrap().clear();
        let before = publisher.asked();
        assert_eq!(ask(&new, after).await, (200, before + 1), "{status}: the kept keys go on");
        assert!(lines.lock().unwrap().join("\n").contains("the issuer does not give its keys"), "{status}");
        assert_eq!(ask(&old, 30).await, (200, before + 1), "{status}: and nobody is asked for a minute");
    }
    let asked = publisher.asked();
    assert_eq!(ask(&new, 80_000).await, (200, asked + 1), "within a day");
    assert_eq!(ask(&new, 7_000).await, (503, asked + 2), "longer than a day");
    assert_eq!(ask(&new, 0).await, (503, asked + 2), "asked a moment ago");
    assert_eq!(ask(&new, 6).await, (503, asked + 3), "asked again soon");
    publisher.publish(200, &rotated);
    assert_eq!(ask(&new, 6).await, (200, asked + 4), "the issuer is back");
    publisher.publish(500, "down");
    clock.store(0, Ordering::Relaxed);
    assert_eq!(ask(&new, 0).await, (503, asked + 5), "a clock that was put back makes kept keys old");
}

/// Which of several keys signed a token that names none, is found by trying.
#[tokio::test(flavor = "multi_thread")]
async fn all_keys_that_fit_are_tried_where_a_token_names_none() {
    let (issuer, first, second) = (TokenIssuer::generate().unwrap(), RsaIssuer::first(), RsaIssuer::second());
    let double = Double::start(&[("Query", 200, r#"{"Items":[],"Count":0}"#.to_owned())]).await;
    let mut keys = key_set(&issuer, &first);
    keys["keys"].as_array_mut().unwrap().push(second.jwk());
    for (host, _) in &intakes_of(&double, &keys).await {
        for issuer in [&first, &second] {
            let token = issuer.sign("RS256", &RSA_PKCS1_SHA256, json!({"kid": null}), &claims(json!({})));
            let authorization = format!("Bearer {token}");
            let (status, _, body) = call(host, Method::GET, MINE, &[("authorization", &authorization)], "").await;
            assert_eq!(status, StatusCode::OK, "{body}");
        }
    }
}

/// One line says who did what to whom, and no line says a person's code.
#[tokio::test(flavor = "multi_thread")]
async fn writes_what_staff_read_and_refusals_are_audited() {
    const KEY: &str = "a key of the auditors";
    let issuer = TokenIssuer::generate().unwrap();
    let double = Double::start(&[("Query", 200, r#"{"Items":[],"Count":0}"#.to_owned())]).await;
    let variables = Authentication::Jwt(&issuer).variables();
    let mut variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    variables.push(("audit_key", KEY));
    let (host, lines) = intake(&double, &variables).await;
    let hash = |person: &str| -> String {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes()), person.as_bytes());
        tag.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let token = |changes: Value| {
        let token = issuer.sign(Algorithm::EdDsa, &header(Algorithm::EdDsa, json!({})), &claims(changes)).unwrap();
        format!("Bearer {token}")
    };
    let person = token(json!({}));
    let staff = token(json!({"sub": "desk-7", "scope": "appointments:staff"}));
    let other = token(json!({"sub": "00124"}));
    let (own, others) = (hash("00123"), hash("00124"));
    /// Who asks, what for, and what the line has to say of it.
    type Case<'a> = (&'a str, Method, &'a str, Option<(&'a str, Option<&'a str>, &'a str)>);
    let cases: [Case; 6] = [
        (&person, Method::POST, "/appointments", Some(("write", Some(&own), &own))),
        (&staff, Method::POST, "/appointments", Some(("write", Some("desk-7"), &own))),
        (&staff, Method::GET, MINE, Some(("staff_read", Some("desk-7"), &own))),
        (&other, Method::GET, MINE, Some(("refusal", Some(&others), &own))),
        ("Bearer a.b.c", Method::GET, MINE, Some(("refusal", None, &own))),
        (&person, Method::GET, MINE, None),
    ];
    for (authorization, method, path, expected) in cases {
        lines.lock().unwrap().clear();
        let headers = [("authorization", authorization), JSON];
        let (status, _, body) = call(&host, method.clone(), path, &headers, BOOKING).await;
        let lines = lines.lock().unwrap().join("\n");
        assert!(!lines.contains("00123") && !lines.contains("00124"), "{lines}");
        let Some((what, actor, person)) = expected else {
            assert!(!lines.contains("\"audit\""), "{lines}");
            continue;
        };
        let line: Value = lines
            .lines()
            .find_map(|line| {
                serde_json::from_str(&line[line.find('{')?..]).ok().filter(|line: &Value| !line["audit"].is_null())
            })
            .unwrap_or_else(|| panic!("{method} {path}: {lines}"));
        let said = (line["audit"].as_str(), line["actor"].as_str(), line["person"].as_str());
        assert_eq!(said, (Some(what), actor, Some(person)), "{method} {path}");
        assert_eq!(line["status"], status.as_u16());
        assert_eq!(line["appointment_id"].is_string(), status == StatusCode::ACCEPTED, "{line}");
        if what == "refusal" {
            let instance = body["instance"].as_str().unwrap();
            assert!(instance.ends_with(line["request_id"].as_str().unwrap()), "support finds the line: {line}");
        }
    }
}

/// The queries of `docs/privacy.md` ask for fields that lines have, and for nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn the_queries_of_the_privacy_page_name_fields_of_the_audit_lines() {
    let issuer = TokenIssuer::generate().unwrap();
    let double = Double::start(&[("Query", 200, r#"{"Items":[],"Count":0}"#.to_owned())]).await;
    let variables = Authentication::Jwt(&issuer).variables();
    let mut variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    variables.push(("audit_key", "a key of the auditors"));
    let (host, lines) = intake(&double, &variables).await;
    let staff = issuer.mint(Algorithm::EdDsa, &grant(None, true)).unwrap();
    for (token, method, path) in
        [(staff.as_str(), Method::POST, "/appointments"), (&staff, Method::GET, MINE), ("a.b.c", Method::GET, MINE)]
    {
        let authorization = format!("Bearer {token}");
        call(&host, method, path, &[("authorization", &authorization), JSON], BOOKING).await;
    }
    // An example's value is no field, and what `stats` computes is not in the lines.
    let mut known: BTreeSet<String> = ["reads", "people", "timestamp"].map(str::to_owned).into();
    for line in lines.lock().unwrap().iter() {
        let line: Value = serde_json::from_str(&line[line.find('{').unwrap()..]).unwrap();
        known.extend(line.as_object().unwrap().keys().cloned());
    }
    let words = "fields filter sort desc limit stats count count_distinct as by and bin 5m 1000 ispresent";
    known.extend(words.split(' ').map(str::to_owned));
    let page = std::fs::read_to_string(tests::workspace().join("docs/privacy.md")).unwrap();
    let (_, audit) = page.split_once("## Who did what").unwrap();
    let queries: Vec<&str> = audit.split("```").skip(1).step_by(2).filter(|block| block.starts_with('\n')).collect();
    assert!(queries.len() >= 5, "{queries:?}");
    for query in queries {
        let outside_of_quotes: String = query.split('"').step_by(2).collect();
        let named = outside_of_quotes.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        for name in named.filter(|name| !name.is_empty()) {
            assert!(known.contains(name), "`{name}` is no field: {query}");
        }
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
        ("jwt_keys", &rsa_alone, "no key for RS256, PS256, ES256 (P-256) or EdDSA (Ed25519)"),
        ("jwt_keys", &encryption_alone, "no key for RS256, PS256, ES256 (P-256) or EdDSA (Ed25519)"),
        ("jwt_keys", &off_the_curve, "a key in it is damaged"),
        ("jwt_max_lifetime_seconds", "a day", "invalid digit"),
        ("jwt_staff_claim", "", "empty"),
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
