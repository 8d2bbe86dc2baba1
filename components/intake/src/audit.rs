//! Who did what: what the log line of a write, of what staff read and of a refusal says beside the rest of it.
//!
//! A log line holds no code of a person (`docs/privacy.md`). Instead it has a keyed hash of it: whoever has the key can ask for
//! a person's lines, and nobody can tell the person from the line by trying the hundred thousand codes that there are.

use appointment::InsuredId;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::StatusCode;
use sha2::Sha256;

/// Who acts, and for whom, as far as it is known.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    /// The holder of the token, as the issuer knows it.
    pub(crate) actor: Option<String>,
    /// The person whose appointments are concerned.
    pub(crate) person: Option<InsuredId>,
}

/// What a line says.
pub(crate) struct Audited {
    pub(crate) what: &'static str,
    pub(crate) actor: Option<String>,
    pub(crate) person: Option<String>,
}

impl Audit {
    /// What the line of a request says, `None` where nobody will ask. `key` is read only then.
    pub(crate) fn of(
        &self,
        key: impl FnOnce() -> Option<String>,
        writes: bool,
        role: Option<&str>,
        status: StatusCode,
    ) -> Option<Audited> {
        let what = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "refusal",
            _ if writes => "write",
            _ if role == Some("staff") => "staff_read",
            _ => return None,
        };
        // Without a key, no line says anything of a person.
        let key = key();
        let hashed = |person: InsuredId| key.as_deref().and_then(|key| hash(key, person.as_str()));
        // Insured people are known to their issuer by their code, in many places.
        let actor = self.actor.as_ref().and_then(|actor| match actor.parse::<InsuredId>() {
            Ok(person) => hashed(person),
            Err(_) => Some(actor.chars().take(128).collect()),
        });
        Some(Audited { what, actor, person: self.person.and_then(hashed) })
    }
}

/// The first 16 bytes of HMAC-SHA-256, in hexadecimal: `printf %s 00123 | openssl dgst -sha256 -hmac KEY | cut -c-32`.
fn hash(key: &str, text: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).ok()?;
    mac.update(text.as_bytes());
    Some(mac.finalize().into_bytes().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_person_is_told_by_a_keyed_hash_or_not_at_all() {
        let audit = Audit { actor: Some("00123".to_owned()), person: Some("00123".parse().unwrap()) };
        let told = |key: Option<&str>| audit.of(|| key.map(str::to_owned), true, None, StatusCode::ACCEPTED).unwrap();
        let with_key = told(Some("key"));
        // printf %s 00123 | openssl dgst -sha256 -hmac key | cut -c-32
        assert_eq!((with_key.what, with_key.person.as_deref()), ("write", Some("c44d1aede615eb30f25467246a59817d")));
        assert_eq!(with_key.actor, with_key.person);
        let without = told(None);
        assert_eq!((without.actor, without.person), (None, None));
    }

    #[test]
    fn only_what_somebody_will_ask_about_is_audited() {
        let of = |writes, role, status| Audit::default().of(|| None, writes, role, status).map(|audited| audited.what);
        assert_eq!(of(false, None, StatusCode::OK), None);
        assert_eq!(of(false, Some("insured_person"), StatusCode::OK), None);
        assert_eq!(of(false, Some("staff"), StatusCode::OK), Some("staff_read"));
        assert_eq!(of(true, Some("staff"), StatusCode::FORBIDDEN), Some("refusal"));
    }
}
