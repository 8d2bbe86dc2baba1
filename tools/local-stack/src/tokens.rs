//! An issuer of bearer tokens for local use: it takes the place of a clinic's identity provider.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::error::{KeyRejected, Unspecified};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

/// How the application learns who calls intake.
#[derive(Clone, Copy)]
pub enum Authentication<'a> {
    /// It does not: anybody acts for anybody.
    None,
    /// By tokens of an issuer.
    Jwt(&'a TokenIssuer),
}

impl Authentication<'_> {
    /// The values of `spin.toml`'s variables that say so, by name.
    #[must_use]
    pub fn variables(self) -> BTreeMap<&'static str, String> {
        match self {
            Self::None => BTreeMap::from([("authentication", "none".to_owned())]),
            Self::Jwt(issuer) => BTreeMap::from([
                ("authentication", "jwt".to_owned()),
                ("jwt_issuer", TokenIssuer::ISSUER.to_owned()),
                ("jwt_audience", TokenIssuer::AUDIENCE.to_owned()),
                ("jwt_keys", issuer.key_set().to_string()),
            ]),
        }
    }
}

/// An issuer with one key for each algorithm that intake accepts.
pub struct TokenIssuer {
    es256: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
    random: SystemRandom,
}

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

/// What a token allows.
pub struct Grant<'a> {
    /// The insured person who holds it, by the five digits.
    pub insured_id: Option<&'a str>,
    /// Whether it lets its holder act for others.
    pub staff: bool,
    /// How long it is valid from now on.
    pub lifetime: Duration,
}

impl Algorithm {
    /// Its name in a token's header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The `kid` of the issuer's key for it.
    #[must_use]
    pub const fn key_id(self) -> &'static str {
        match self {
            Self::Es256 => "local-es256",
            Self::EdDsa => "local-ed25519",
        }
    }
}

impl TokenIssuer {
    /// The `iss` of its tokens.
    pub const ISSUER: &'static str = "https://issuer.test/local-stack";
    /// The `aud` of its tokens.
    pub const AUDIENCE: &'static str = "appointments";
    /// The scope of staff, as `spin.toml` has it by default.
    pub const STAFF_SCOPE: &'static str = "appointments:staff";

    /// The issuer of this repository's local stacks. Its keys are made when it is first asked for, and lie under `target`.
    ///
    /// # Errors
    /// When the keys can neither be read nor made.
    pub fn of_repository(root: &Path) -> Result<Self> {
        let folder = root.join("target").join("local-stack").join("token-issuer");
        let random = SystemRandom::new();
        let es256 = stored(&folder.join("es256.pk8"), || {
            Ok(EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)?.as_ref().to_vec())
        })?;
        let ed25519 =
            stored(&folder.join("ed25519.pk8"), || Ok(Ed25519KeyPair::generate_pkcs8(&random)?.as_ref().to_vec()))?;
        Self::from_pkcs8(&es256, &ed25519, random)
            .map_err(|error| anyhow!("a key in {} is damaged ({error}): remove that folder", folder.display()))
    }

    /// An issuer with its own keys, which end with it.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn generate() -> Result<Self> {
        let random = SystemRandom::new();
        let es256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(no_random_bytes)?;
        let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).map_err(no_random_bytes)?;
        Self::from_pkcs8(es256.as_ref(), ed25519.as_ref(), random)
            .map_err(|error| anyhow!("a key that was just made is refused: {error}"))
    }

    fn from_pkcs8(es256: &[u8], ed25519: &[u8], random: SystemRandom) -> Result<Self, KeyRejected> {
        Ok(Self {
            es256: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, es256, &random)?,
            ed25519: Ed25519KeyPair::from_pkcs8(ed25519)?,
            random,
        })
    }

    /// Its public keys as a JWKS document (RFC 7517).
    #[must_use]
    pub fn key_set(&self) -> Value {
        // An uncompressed point: 0x04, then x and y of 32 bytes each (SEC 1, section 2.3.3).
        let (x, y) = self.es256.public_key().as_ref().split_at(33);
        let x = x.strip_prefix(&[0x04]).unwrap_or(x);
        let coordinate = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"keys": [
            {
                "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": Algorithm::Es256.key_id(),
                "x": coordinate(x), "y": coordinate(y),
            },
            {
                "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": Algorithm::EdDsa.key_id(),
                "x": coordinate(self.ed25519.public_key().as_ref()),
            },
        ]})
    }

    /// A token that intake accepts.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn mint(&self, algorithm: Algorithm, grant: &Grant<'_>) -> Result<String> {
        let now = SystemTime::UNIX_EPOCH.elapsed().context("the clock is before 1970")?;
        let mut claims = json!({
            "iss": Self::ISSUER,
            "aud": Self::AUDIENCE,
            "sub": grant.insured_id.unwrap_or("staff"),
            "iat": now.as_secs(),
            "exp": (now + grant.lifetime).as_secs(),
        });
        if let (true, Some(claims)) = (grant.staff, claims.as_object_mut()) {
            claims.insert("scope".to_owned(), Self::STAFF_SCOPE.into());
        }
        let header = json!({"alg": algorithm.name(), "typ": "at+jwt", "kid": algorithm.key_id()});
        self.sign(algorithm, &header, &claims)
    }

    /// Signs any header and any claims, be they sound or not.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn sign(&self, algorithm: Algorithm, header: &Value, claims: &Value) -> Result<String> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = match algorithm {
            Algorithm::Es256 => {
                let signature = self.es256.sign(&self.random, signed.as_bytes());
                URL_SAFE_NO_PAD.encode(signature.map_err(no_random_bytes)?)
            }
            Algorithm::EdDsa => URL_SAFE_NO_PAD.encode(self.ed25519.sign(signed.as_bytes())),
        };
        Ok(format!("{signed}.{signature}"))
    }
}

/// `ring` gives no reason, and there is only this one.
fn no_random_bytes(_: Unspecified) -> anyhow::Error {
    anyhow!("the system gives no random bytes")
}

/// A file's content. It is made if it is missing, whole or not at all, and only its owner may read it.
fn stored(file: &Path, make: impl FnOnce() -> Result<Vec<u8>, Unspecified>) -> Result<Vec<u8>> {
    match fs::read(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        read => return read.with_context(|| format!("cannot read {}", file.display())),
    }
    let content = make().map_err(no_random_bytes)?;
    let write = || -> std::io::Result<()> {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let unfinished = file.with_extension(std::process::id().to_string());
        fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?
            .write_all(&content)?;
        // Another process may have been faster; its file is kept then.
        let linked = fs::hard_link(&unfinished, file);
        fs::remove_file(&unfinished)?;
        linked.or_else(|error| if error.kind() == ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
    };
    write().with_context(|| format!("cannot make {}", file.display()))?;
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}
