//! Verifies a JSON Web Token (RFC 7519) of the configured issuer, as RFC 8725 asks: which algorithm is right follows from the
//! issuer's key, never from the token alone; nothing of a token counts before its signature is checked.
//!
//! `jsonwebtoken` reads tokens and checks their claims; `signatures` gives it the algorithms. The rules here are those that
//! the library leaves to its caller. `docs/adr/0062-tokens-by-jsonwebtoken.md` says why it is these.

use std::time::SystemTime;

use appointment::InsuredId;
use edge_component::{Host, Variables};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header};
use serde_json::{Map, Value};

use crate::context::RequestContext;
use crate::error::{RequestError, unauthenticated};
use crate::issuer::{self, IssuerKey};
use crate::settings::{
    JWT_AUDIENCE, JWT_INSURED_ID_CLAIM, JWT_ISSUER, JWT_MAX_LIFETIME_SECONDS, JWT_STAFF_CLAIM, JWT_TYPE,
};
use crate::signatures;

/// The longest token, in bytes. Those of the usual issuers are shorter than 4 KiB.
const MAX_BYTES: usize = 8 * 1024;

/// How many keys are tried for a token that names none: each costs the verification of a signature.
const MAX_TRIES: usize = 4;

/// How far apart the clocks of issuer and host may be.
const CLOCK_SKEW_SECONDS: u64 = 60;

/// What a valid token says of its holder.
pub(crate) struct Claims {
    /// The person, where it names one.
    pub(crate) insured_id: Option<InsuredId>,
    /// What its holder may do, by the claim of staff.
    pub(crate) rights: Vec<String>,
    /// The holder, as the issuer knows it.
    pub(crate) subject: Option<String>,
}

/// What a valid token says. `exp` and `iss` must be there and right, the audience too, and `nbf` and `iat` right where they are
/// there.
pub(crate) async fn verify<H: Host>(token: &str, context: &mut RequestContext<H>) -> Result<Claims, RequestError> {
    if !has_form(token) {
        return Err(malformed());
    }
    let header = decode_header(token).map_err(|error| match error.kind() {
        ErrorKind::Json(_) if names_no_algorithm_of_ours(token) => no_such_key(),
        _ => malformed(),
    })?;
    check_header(&header, &context.variables)?;
    let validation = validation(header.alg, &context.variables)?;
    let audience = JWT_AUDIENCE.required_text(&context.variables)?;
    let keys = issuer::keys(header.alg, header.kid.as_deref(), context).await?;
    signatures::install();
    let mut refusal = no_such_key();
    for IssuerKey { key, damaged } in keys.into_iter().take(MAX_TRIES) {
        match decode::<Map<String, Value>>(token, &key, &validation) {
            Ok(data) => return claims(&data.claims, &audience, context.arrived, &context.variables),
            Err(error) => match error.kind() {
                ErrorKind::InvalidSignature => refusal = unauthenticated("the signature is wrong"),
                ErrorKind::InvalidEcdsaKey | ErrorKind::InvalidEddsaKey | ErrorKind::InvalidRsaKey(_) => {
                    refusal = damaged.into();
                }
                kind => return Err(refused(kind)),
            },
        }
    }
    Err(refusal)
}

fn malformed() -> RequestError {
    unauthenticated("the token is malformed")
}

fn no_such_key() -> RequestError {
    unauthenticated("the issuer has no such key for this algorithm")
}

/// Whether a text is three parts of base64url that are not too long: what costs next to nothing to see.
fn has_form(token: &str) -> bool {
    token.len() <= MAX_BYTES
        && token.bytes().filter(|byte| *byte == b'.').count() == 2
        && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && !token.starts_with('.')
}

/// Whether a header that the library cannot read has an `alg` that it does not know, such as `none`.
fn names_no_algorithm_of_ours(token: &str) -> bool {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    let header = token.split('.').next().and_then(|header| URL_SAFE_NO_PAD.decode(header).ok());
    let header = header.and_then(|header| serde_json::from_slice::<Map<String, Value>>(&header).ok());
    header.is_some_and(|header| header.get("alg").is_some_and(Value::is_string))
}

/// Refuses what is no access token (RFC 8725, section 3.11), and what asks for an extension: none is known here.
fn check_header(header: &Header, variables: &Variables<impl Host>) -> Result<(), RequestError> {
    let wanted = JWT_TYPE.text(variables)?;
    let found = header.typ.as_deref().unwrap_or_default();
    let found = found.strip_prefix("application/").unwrap_or(found);
    let is = |name: &str| found.eq_ignore_ascii_case(name);
    let right = if wanted.is_empty() { found.is_empty() || is("JWT") || is("at+jwt") } else { is(&wanted) };
    if !right {
        return Err(unauthenticated("the token is of another type"));
    }
    match header.crit {
        Some(_) => Err(unauthenticated("the token asks for an extension that is not known")),
        None => Ok(()),
    }
}

/// What the library checks of the claims.
fn validation(algorithm: Algorithm, variables: &Variables<impl Host>) -> Result<Validation, RequestError> {
    let mut validation = Validation::new(algorithm);
    validation.leeway = CLOCK_SKEW_SECONDS;
    validation.validate_nbf = true;
    // `is_for` does.
    validation.validate_aud = false;
    validation.set_required_spec_claims(&["exp", "iss"]);
    validation.set_issuer(&[JWT_ISSUER.required_text(variables)?]);
    Ok(validation)
}

fn refused(kind: &ErrorKind) -> RequestError {
    unauthenticated(match kind {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidIssuer => "the token is from another issuer",
        ErrorKind::MissingRequiredClaim(claim) if claim == "exp" => "the token never expires",
        ErrorKind::MissingRequiredClaim(_) => "the token is from another issuer",
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => "the issuer has no such key for this algorithm",
        _ => "the token is malformed",
    })
}

/// Checks of a token whose signature is right what the library does not, and takes from it what matters here.
fn claims(
    claims: &Map<String, Value>,
    audience: &str,
    now: SystemTime,
    variables: &Variables<impl Host>,
) -> Result<Claims, RequestError> {
    if !is_for(claims, audience) {
        return Err(unauthenticated("the token is for another audience"));
    }
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    // RFC 7519 makes it one string, of which some libraries accept a list.
    if text("iss").is_none() {
        return Err(unauthenticated("the token is from another issuer"));
    }
    let number = |name: &str| claims.get(name).and_then(Value::as_f64);
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let (skew, longest) = (CLOCK_SKEW_SECONDS as f64, f64::from(JWT_MAX_LIFETIME_SECONDS.parse::<u32>(variables)?));
    if number("iat").is_some_and(|issued| issued > now + skew) {
        return Err(unauthenticated("the token is not valid yet"));
    }
    let issued = number("iat").unwrap_or(now).min(now);
    if number("exp").is_none_or(|expires| expires - issued > longest + skew) {
        return Err(unauthenticated("the token is valid for too long"));
    }
    let insured_id = text(&JWT_INSURED_ID_CLAIM.required_text(variables)?).and_then(|text| text.parse().ok());
    let staff_claim = JWT_STAFF_CLAIM.required_text(variables)?;
    let staff = match staff_claim.strip_prefix('/') {
        Some(path) => path.split('/').try_fold(None, |found: Option<&Value>, name| {
            found.map_or_else(|| claims.get(name), |value| value.get(name)).map(Some)
        }),
        None => claims.get(&staff_claim).map(Some),
    };
    let rights = match staff.flatten() {
        Some(Value::String(list)) => list.split(' ').map(str::to_owned).collect(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    Ok(Claims { insured_id, rights, subject: text("sub").map(str::to_owned) })
}

/// Whether a token is for this service: by `aud`, or, where it has none, by `client_id`, which is what access tokens of Amazon
/// Cognito have in its place (the authorizers of API Gateway judge alike).
fn is_for(claims: &Map<String, Value>, audience: &str) -> bool {
    let names = |value: &Value| value.as_str() == Some(audience);
    match claims.get("aud") {
        Some(Value::Array(list)) => list.iter().any(names),
        Some(one) => names(one),
        None => claims.get("client_id").is_some_and(names),
    }
}
