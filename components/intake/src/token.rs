//! Verifies a JSON Web Token (RFC 7519) of the configured issuer, as RFC 8725 asks: which algorithm is right follows from the
//! issuer's key, never from the token; nothing of a token counts before its signature is checked.
//!
//! The signatures are those of `p256` and `ed25519-dalek`; `docs/adr/0020-bearer-tokens.md` says why no JWT library is used.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use edge_component::{Setting, SettingError};
use p256::ecdsa::signature::Verifier as _;
use p256::elliptic_curve::point::AffineCoordinates as _;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Value};

use crate::api::Failure;
use crate::auth::{Claims, unauthenticated};

/// The issuer's public keys: its JWKS document (RFC 7517).
const KEYS: Setting = Setting("jwt_keys");

/// How far apart the clocks of issuer and host may be.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// What a valid token says. `exp`, `iss` and `aud` must be there and right, and `nbf` right where it is there.
pub(crate) fn verify(token: &str) -> Result<Claims, Failure> {
    let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
    let (header, payload) = signed.split_once('.').ok_or_else(malformed)?;
    let header: Header = json(header)?;
    header.check()?;
    let key = issuer_key(&header)?;
    if !key.verifies(signed.as_bytes(), &base64(signature)?) {
        return Err(unauthenticated("the signature is wrong"));
    }
    let claims: Map<String, Value> = json(payload)?;
    check_claims(&claims)?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let insured_id = text(&Setting("jwt_insured_id_claim").required_text()?).parse().ok();
    Ok(Claims { insured_id, scope: text("scope").to_owned() })
}

fn malformed() -> Failure {
    unauthenticated("the token is malformed")
}

fn base64(text: &str) -> Result<Vec<u8>, Failure> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed())
}

fn json<T: DeserializeOwned>(encoded: &str) -> Result<T, Failure> {
    serde_json::from_slice(&base64(encoded)?).map_err(|_| malformed())
}

/// The part of a token's header that matters here (RFC 7515, section 4.1).
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<IgnoredAny>,
}

impl Header {
    /// Refuses what is no access token (RFC 8725, section 3.11), and what asks for an extension: none is known here.
    fn check(&self) -> Result<(), Failure> {
        let typ = self.typ.as_deref().unwrap_or("JWT");
        let typ = typ.strip_prefix("application/").unwrap_or(typ);
        if !typ.eq_ignore_ascii_case("JWT") && !typ.eq_ignore_ascii_case("at+jwt") {
            return Err(unauthenticated("the token is of another type"));
        }
        match self.crit {
            Some(_) => Err(unauthenticated("the token asks for an extension that is not known")),
            None => Ok(()),
        }
    }
}

/// A signature algorithm that is accepted; each has one type of key, so that no key serves another algorithm.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    /// ECDSA on P-256 with SHA-256 (RFC 7518, section 3.4).
    Es256,
    /// Ed25519 (RFC 8037; RFC 9864 names it `Ed25519`).
    EdDsa,
}

impl Algorithm {
    fn named(name: &str) -> Option<Self> {
        match name {
            "ES256" => Some(Self::Es256),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// A public key of the issuer (RFC 7517, section 4; RFC 7518, section 6.2; RFC 8037, section 2).
#[derive(Deserialize)]
struct Jwk {
    kty: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

/// A key, ready to be used.
enum Key {
    Es256(p256::ecdsa::VerifyingKey),
    Ed25519(ed25519_dalek::VerifyingKey),
}

/// The issuer's key that a token names; without a name, its first key for the token's algorithm.
fn issuer_key(header: &Header) -> Result<Key, Failure> {
    let document: JwkSet = serde_json::from_str(&KEYS.required_text()?)
        .map_err(|_| KEYS.invalid("it is no JWKS document, which has the form {\"keys\": [...]}"))?;
    // Keys that are for something else are ignored (RFC 7517, section 5).
    let usable: Vec<(Jwk, Algorithm)> =
        document.keys.into_iter().filter_map(|jwk| jwk.algorithm().map(|algorithm| (jwk, algorithm))).collect();
    if usable.is_empty() {
        return Err(KEYS.invalid("it has no key for ES256 (P-256) or EdDSA (Ed25519)").into());
    }
    let algorithm = Algorithm::named(&header.alg);
    let wanted = |jwk: &Jwk| header.kid.is_none() || header.kid == jwk.kid;
    match usable.iter().find(|(jwk, own)| algorithm == Some(*own) && wanted(jwk)) {
        Some((jwk, algorithm)) => Ok(jwk.key(*algorithm)?),
        None => Err(unauthenticated("the issuer has no such key for this algorithm")),
    }
}

impl Jwk {
    /// The algorithm that the key is for, `None` where that is not accepted.
    fn algorithm(&self) -> Option<Algorithm> {
        let algorithm = match (self.kty.as_deref()?, self.crv.as_deref()?) {
            ("EC", "P-256") => Algorithm::Es256,
            ("OKP", "Ed25519") => Algorithm::EdDsa,
            _ => return None,
        };
        let stated = self.alg.as_deref().is_none_or(|name| Algorithm::named(name) == Some(algorithm));
        let to_sign = self.r#use.as_deref().is_none_or(|purpose| purpose == "sig");
        (stated && to_sign).then_some(algorithm)
    }

    fn key(&self, algorithm: Algorithm) -> Result<Key, SettingError> {
        let coordinate = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
        let key = match algorithm {
            Algorithm::Es256 => coordinate(&self.x).zip(coordinate(&self.y)).and_then(|(x, y)| {
                let (x, y): ([u8; 32], [u8; 32]) = (x.try_into().ok()?, y.try_into().ok()?);
                let point = p256::AffinePoint::from_coordinates(&x.into(), &y.into()).into_option()?;
                p256::ecdsa::VerifyingKey::from_affine(point).ok().map(Key::Es256)
            }),
            Algorithm::EdDsa => coordinate(&self.x)
                .and_then(|x| ed25519_dalek::VerifyingKey::from_bytes(&x.try_into().ok()?).ok().map(Key::Ed25519)),
        };
        key.ok_or_else(|| KEYS.invalid("a key in it is no point of its curve"))
    }
}

impl Key {
    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Es256(key) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
        }
    }
}

/// Checks the claims of RFC 7519, section 4.1, of a token whose signature is right.
fn check_claims(claims: &Map<String, Value>) -> Result<(), Failure> {
    let date = |name: &str| claims.get(name).map(|date| date.as_f64().ok_or_else(malformed)).transpose();
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let expires = date("exp")?.ok_or_else(|| unauthenticated("the token never expires"))?;
    if expires <= now.saturating_sub(CLOCK_SKEW).as_secs_f64() {
        return Err(unauthenticated("the token has expired"));
    }
    if date("nbf")?.is_some_and(|begins| begins > (now + CLOCK_SKEW).as_secs_f64()) {
        return Err(unauthenticated("the token is not valid yet"));
    }
    let names = |name: &str, expected: &str| match claims.get(name) {
        Some(Value::String(only)) => only == expected,
        Some(Value::Array(several)) => several.iter().any(|one| one == expected),
        _ => false,
    };
    if !names("iss", &Setting("jwt_issuer").required_text()?) {
        return Err(unauthenticated("the token is from another issuer"));
    }
    if !names("aud", &Setting("jwt_audience").required_text()?) {
        return Err(unauthenticated("the token is for another audience"));
    }
    Ok(())
}
