//! Tokens of staff, who may act for whomever a booking names.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use local_stack::tokens::{Algorithm, Authentication, Grant, TokenIssuer};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::json;

/// How long the token of a run is valid.
const LIFETIME: Duration = Duration::from_secs(3600);

/// How a token is signed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TokenKind {
    /// As the local issuer signs.
    Local(Algorithm),
    /// By RSA with 2048 bits, for which `ring` makes no keys.
    Rs256,
}

/// A token, and the variables of the application that let it in.
pub(crate) fn mint(kind: TokenKind) -> Result<(String, Vec<(&'static str, String)>)> {
    let issuer = TokenIssuer::generate()?;
    let mut variables = Authentication::Jwt(&issuer).variables();
    let token = match kind {
        TokenKind::Local(algorithm) => {
            issuer.mint(algorithm, &Grant { insured_id: None, staff: true, lifetime: LIFETIME })?
        }
        TokenKind::Rs256 => {
            let (token, key_set) = by_rsa()?;
            variables.insert("jwt_keys", key_set);
            token
        }
    };
    Ok((token, variables.into_iter().collect()))
}

fn by_rsa() -> Result<(String, String)> {
    let refused = |error| anyhow!("the RSA key of the tests is refused: {error}");
    let key =
        RsaKeyPair::from_pkcs8(include_bytes!("../../../tests/data/rsa-1-for-tests-only.pk8")).map_err(refused)?;
    let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(key.public());
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let jwk = json!({
        "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "bench", "n": encode(&public.n), "e": encode(&public.e),
    });
    let now = SystemTime::UNIX_EPOCH.elapsed().context("the clock is before 1970")?;
    let header = json!({"alg": "RS256", "typ": "at+jwt", "kid": "bench"});
    let claims = json!({
        "iss": TokenIssuer::ISSUER, "aud": TokenIssuer::AUDIENCE, "sub": "staff", "scope": TokenIssuer::STAFF_SCOPE,
        "iat": now.as_secs(), "exp": (now + LIFETIME).as_secs(),
    });
    let signed = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| anyhow!("the system gives no random bytes"))?;
    Ok((format!("{signed}.{}", encode(&signature)), json!({"keys": [jwk]}).to_string()))
}
