//! The issuer's public keys: those of a variable, and those that the issuer publishes (RFC 7517), which the key-value store
//! keeps for the instances to come.

use std::time::{Duration, SystemTime};

use aws_http::{Terms, Transport};
use bytes::Bytes;
use edge_component::{Host, KeyValueStore as _, Level, Setting, SettingError};
use http::{StatusCode, Uri};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::context::RequestContext;
use crate::error::{RequestError, unavailable};
use crate::settings::{JWT_JWKS_ORIGIN, JWT_JWKS_PATH, JWT_KEYS};

/// How long fetched keys are used without asking, in seconds.
const FRESH_SECONDS: u64 = 5 * 60;

/// How long they are used while the issuer does not respond.
const USABLE_SECONDS: u64 = 24 * 60 * 60;

/// The least between two questions, where there are keys that can be used.
const PAUSE_SECONDS: u64 = 60;

/// The least time between two fetches while there are no keys, after one that failed.
const RETRY_SECONDS: u64 = 5;

/// The longest document of the issuer, in bytes.
const MAX_DOCUMENT_BYTES: usize = 128 * 1024;

/// How long the issuer may take to give it.
const LIMIT: Duration = Duration::from_secs(2);

/// A key that may have signed a token.
pub(crate) struct IssuerKey {
    pub(crate) key: DecodingKey,
    /// What to say where it turns out to be no key of its kind.
    pub(crate) damaged: SettingError,
}

/// The issuer's document as the store keeps it, with instants of the wall clock in seconds: an instance's own clock ends with
/// it.
#[derive(Default, Serialize, Deserialize)]
struct StoredDocument {
    /// When the issuer gave the document; 0 where it never did.
    fetched: u64,
    /// When the issuer was asked last.
    asked: u64,
    document: String,
}

/// The keys that fit a token: of its algorithm, and of its name where it names one.
pub(crate) async fn keys<H: Host>(
    algorithm: Algorithm,
    key_id: Option<&str>,
    context: &mut RequestContext<H>,
) -> Result<Vec<IssuerKey>, RequestError> {
    let fits = |jwk: &Jwk| serves(jwk, algorithm) && (key_id.is_none() || key_id == jwk.common.key_id.as_deref());
    let decoding = |setting: Setting, jwk: &Jwk| {
        let key = DecodingKey::from_jwk(jwk).ok()?;
        Some(IssuerKey { key, damaged: setting.invalid("a key in it is damaged") })
    };
    let document = JWT_KEYS.text(&context.variables)?;
    let path = JWT_JWKS_PATH.text(&context.variables)?;
    let own = match document.as_str() {
        "" if path.is_empty() => {
            return Err(JWT_KEYS
                .invalid("it is empty, and so is `jwt_jwks_path`: one of them has to give the keys")
                .into());
        }
        "" => Vec::new(),
        document => usable_keys(document).map_err(|reason| JWT_KEYS.invalid(&reason))?,
    };
    let mut found: Vec<IssuerKey> =
        own.iter().filter(|jwk| fits(jwk)).filter_map(|jwk| decoding(JWT_KEYS, jwk)).collect();
    if found.is_empty() && !path.is_empty() {
        let published = published_keys(&path, fits, context).await?;
        found = published.iter().filter(|jwk| fits(jwk)).filter_map(|jwk| decoding(JWT_JWKS_PATH, jwk)).collect();
    }
    Ok(found)
}

/// Whether a key may be used for an algorithm: by its type, and by what it says that it is for.
fn serves(jwk: &Jwk, algorithm: Algorithm) -> bool {
    let by_type = match (&jwk.algorithm, algorithm) {
        // From 2048 to 4096 bits: smaller moduli are broken, larger ones cost too much.
        (AlgorithmParameters::RSA(key), Algorithm::RS256 | Algorithm::PS256) => (342..=683).contains(&key.n.len()),
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => key.curve == EllipticCurve::P256,
        (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDSA) => key.curve == EllipticCurve::Ed25519,
        _ => false,
    };
    let common = &jwk.common;
    let stated = common.key_algorithm.is_none_or(|stated| Algorithm::try_from(stated).is_ok_and(|a| a == algorithm));
    let to_sign = common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    by_type && stated && to_sign
}

/// The keys of a document that serve any algorithm; the others are ignored (RFC 7517, section 5).
///
/// # Errors
///
/// What is wrong with a document without any.
fn usable_keys(document: &str) -> Result<Vec<Jwk>, String> {
    #[derive(Deserialize)]
    struct Document {
        keys: Vec<Value>,
    }
    let document: Document = serde_json::from_str(document)
        .map_err(|_| "it is no JWKS document, which has the form {\"keys\": [...]}".to_owned())?;
    let algorithms = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];
    let keys: Vec<Jwk> = document
        .keys
        .into_iter()
        .filter_map(|key| serde_json::from_value::<Jwk>(key).ok())
        .filter(|jwk| algorithms.iter().any(|algorithm| serves(jwk, *algorithm)))
        .collect();
    match keys.is_empty() {
        true => Err("it has no key for RS256, PS256, ES256 (P-256) or EdDSA (Ed25519)".to_owned()),
        false => Ok(keys),
    }
}

/// The keys that the issuer publishes: those that were kept as long as they are fresh and one of them fits, else those that
/// it gives now.
async fn published_keys<H: Host>(
    path: &str,
    fits: impl Fn(&Jwk) -> bool,
    context: &mut RequestContext<H>,
) -> Result<Vec<Jwk>, RequestError> {
    let url: Uri = format!("{}{path}", JWT_JWKS_ORIGIN.required_text(&context.variables)?)
        .parse()
        .map_err(|_| JWT_JWKS_PATH.invalid("with `jwt_jwks_origin` before it, it is no URL"))?;
    let store = context
        .host
        .open_store()
        .map_err(|error| unavailable(format!("the key-value store `default` cannot be opened: {error}")))?;
    // Other settings have other keys.
    let name = format!("jwks {url}");
    let kept = store.get(&name).ok().flatten();
    let kept: StoredDocument = kept.and_then(|kept| serde_json::from_slice(&kept).ok()).unwrap_or_default();
    let now = context.arrived.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    // What lies in the future was written before the clock was put right: it counts as long past.
    let since = |instant: u64| now.checked_sub(instant).unwrap_or(u64::MAX);
    let usable = if since(kept.fetched) <= USABLE_SECONDS { usable_keys(&kept.document).ok() } else { None };
    match &usable {
        Some(keys) if since(kept.fetched) <= FRESH_SECONDS && keys.iter().any(&fits) => {
            return Ok(usable.unwrap_or_default());
        }
        Some(_) if since(kept.asked) < PAUSE_SECONDS => return Ok(usable.unwrap_or_default()),
        None if since(kept.asked) < RETRY_SECONDS => {
            return Err(unavailable("the issuer did not give its keys a moment ago".to_owned()));
        }
        Some(_) | None => {}
    }
    let keep = |kept: &StoredDocument| {
        // If it cannot be kept, the next instance asks again.
        let _ = serde_json::to_vec(kept).map(|kept| store.set(&name, &kept));
    };
    let kept = StoredDocument { asked: now, ..kept };
    if usable.is_some() {
        // Others use the kept keys meanwhile.
        keep(&kept);
    }
    match fetch(&url, context.host.transport()).await {
        Ok((document, keys)) => {
            keep(&StoredDocument { fetched: now, asked: now, document });
            Ok(keys)
        }
        Err(reason) => {
            keep(&kept);
            let reason = format!("the issuer does not give its keys: {reason}");
            let Some(keys) = usable else { return Err(unavailable(reason)) };
            context.level = Some(Level::Warn);
            context.error = Some(reason);
            Ok(keys)
        }
    }
}

/// Asks the issuer for its document.
async fn fetch(url: &Uri, transport: impl Transport) -> Result<(String, Vec<Jwk>), String> {
    let request = http::Request::get(url).header(http::header::ACCEPT, "application/json");
    let request = request.body(Bytes::new()).map_err(|error| error.to_string())?;
    let response = transport.send(request, Terms::within(LIMIT)).await.map_err(|error| error.to_string())?;
    if response.status() != StatusCode::OK {
        return Err(format!("it responds with status {}", response.status().as_u16()));
    }
    if response.body().len() > MAX_DOCUMENT_BYTES {
        return Err(format!("its document is longer than {MAX_DOCUMENT_BYTES} bytes"));
    }
    let document = String::from_utf8(response.into_body().into()).map_err(|_| "its document is no text".to_owned())?;
    let keys = usable_keys(&document)?;
    Ok((document, keys))
}
