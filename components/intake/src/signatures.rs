//! The signature algorithms of tokens, of RustCrypto's current generation, as `jsonwebtoken` takes them: the library's own
//! choice is a generation older, twice as large, and takes the first 32 bytes of an Ed25519 key that is shorter.

use ed25519_dalek::VerifyingKey as Ed25519Key;
use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{Error as SignatureError, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use p256::ecdsa::VerifyingKey as P256Key;
use p256::ecdsa::signature::Verifier as _;
use rsa::{BoxedUint, Pkcs1v15Sign, Pss, PublicKey as RsaKey};
use sha2::{Digest, Sha256};

/// The sizes of an RSA key's modulus that are accepted, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: verifier,
    // For JWKs made from private keys, of which there are none here.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes these the algorithms of the library.
pub(crate) fn install() {
    // An error says that they are already.
    let _ = PROVIDER.install_default();
}

/// A public key, ready to be used.
enum Key {
    Es256(P256Key),
    EdDsa(Ed25519Key),
    Rs256(RsaKey),
    Ps256(RsaKey),
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let invalid_rsa_key = |_| ErrorKind::InvalidRsaKey(String::new());
    let key = match (algorithm, key.family(), key.kind()) {
        (Algorithm::ES256, AlgorithmFamily::Ec, DecodingKeyKind::SecretOrDer(point)) => {
            Key::Es256(P256Key::from_sec1_bytes(point).map_err(|_| ErrorKind::InvalidEcdsaKey)?)
        }
        (Algorithm::EdDSA, AlgorithmFamily::Ed, DecodingKeyKind::SecretOrDer(point)) => {
            let point = point.as_slice().try_into().map_err(|_| ErrorKind::InvalidEddsaKey)?;
            Key::EdDsa(Ed25519Key::from_bytes(point).map_err(|_| ErrorKind::InvalidEddsaKey)?)
        }
        (Algorithm::RS256 | Algorithm::PS256, AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            let (n, e) = (BoxedUint::from_be_slice_vartime(n), BoxedUint::from_be_slice_vartime(e));
            let key = RsaKey::new_with_size_limits(n, e, RSA_BITS).map_err(invalid_rsa_key)?;
            if *algorithm == Algorithm::RS256 { Key::Rs256(key) } else { Key::Ps256(key) }
        }
        _ => return Err(ErrorKind::InvalidAlgorithm.into()),
    };
    Ok(Box::new(key))
}

impl Verifier<Vec<u8>> for Key {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        let right = match self {
            Self::Es256(key) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Self::EdDsa(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            Self::Rs256(key) => key.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message), signature).is_ok(),
            // The salt is as long as the hash (RFC 7518, section 3.5).
            Self::Ps256(key) => key.verify(Pss::<Sha256>::new(), &Sha256::digest(message), signature).is_ok(),
        };
        if right { Ok(()) } else { Err(SignatureError::new()) }
    }
}

impl JwtVerifier for Key {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Es256(_) => Algorithm::ES256,
            Self::EdDsa(_) => Algorithm::EdDSA,
            Self::Rs256(_) => Algorithm::RS256,
            Self::Ps256(_) => Algorithm::PS256,
        }
    }
}
