/// A language in which people are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// Spanish, the language of both countries.
    #[default]
    Spanish,
    /// English.
    English,
}

impl Language {
    /// The language that an `Accept-Language` prefers (RFC 9110, section 12.5.4): English only where it is ranked above
    /// Spanish; without a preference, Spanish.
    #[must_use]
    pub fn preferred(accept_language: Option<&str>) -> Self {
        let header = accept_language.unwrap_or_default();
        if quality(header, "en") > quality(header, "es") { Self::English } else { Self::Spanish }
    }

    /// The language tag of `Content-Language` (RFC 5646).
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Spanish => "es",
            Self::English => "en",
        }
    }
}

/// The quality, in thousandths, that a header gives to a language, by any of its regions: `en;q=0.5` is 500. A range that
/// names the language counts before `*`.
fn quality(header: &str, language: &str) -> u32 {
    let mut named: Option<u32> = None;
    let mut any = 0;
    for range in header.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let tag = parts.next().unwrap_or_default();
        let weight = parts
            .find_map(|parameter| parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q=")))
            .map_or(1000, thousandths);
        let primary = tag.split('-').next().unwrap_or_default();
        if primary.eq_ignore_ascii_case(language) {
            named = Some(named.unwrap_or_default().max(weight));
        } else if tag == "*" {
            any = weight;
        }
    }
    named.unwrap_or(any)
}

/// A `qvalue` (RFC 9110, section 12.4.2) in thousandths; anything else counts as zero.
fn thousandths(qvalue: &str) -> u32 {
    match qvalue.parse::<f32>() {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1000 after the check")]
        Ok(value) if (0.0..=1.0).contains(&value) => (value * 1000.0) as u32,
        _ => 0,
    }
}
