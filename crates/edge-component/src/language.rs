/// A language of the texts that people read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// Spanish, the language of both countries.
    #[default]
    Spanish,
    /// Spanish in the words of Chile, where a medical appointment is «una hora» (docs/adr/0100).
    ChileanSpanish,
    /// English.
    English,
}

impl Language {
    /// The language that an `Accept-Language` prefers (RFC 9110, section 12.5.4): English only where it is ranked above
    /// Spanish; Chile's words where `es-CL` is ranked above other Spanish; without a preference, Spanish.
    #[must_use]
    pub fn preferred(accept_language: Option<&str>) -> Self {
        let header = accept_language.unwrap_or_default();
        let (spanish, english) = (best(header, "es"), best(header, "en"));
        let any = ranges(header).filter(|(tag, _)| *tag == "*").last().map_or(0, |(_, weight)| weight);
        let weight = |best: Option<(&str, u32)>| best.map_or(any, |(_, weight)| weight);
        match spanish {
            _ if weight(english) > weight(spanish) => Self::English,
            Some((tag, 1..)) if tag.eq_ignore_ascii_case("es-CL") => Self::ChileanSpanish,
            _ => Self::Spanish,
        }
    }

    /// The language tag of `Content-Language` (RFC 5646).
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Spanish => "es",
            Self::ChileanSpanish => "es-CL",
            Self::English => "en",
        }
    }
}

/// The range of a language, by any of its regions, that a header ranks highest, and of equal ones the first: of
/// `es-CL,es;q=0.9` it is `es-CL` with 1000.
fn best<'a>(header: &'a str, language: &str) -> Option<(&'a str, u32)> {
    let is_of = |tag: &str| tag.split('-').next().unwrap_or_default().eq_ignore_ascii_case(language);
    ranges(header).filter(|(tag, _)| is_of(tag)).reduce(|best, other| if other.1 > best.1 { other } else { best })
}

/// The language ranges of a header, each with its quality in thousandths: `en;q=0.5` is 500.
fn ranges(header: &str) -> impl Iterator<Item = (&str, u32)> {
    header.split(',').map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let tag = parts.next().unwrap_or_default();
        let weight = parts
            .find_map(|parameter| parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q=")))
            .map_or(1000, thousandths);
        (tag, weight)
    })
}

/// A `qvalue` (RFC 9110, section 12.4.2) in thousandths; anything else counts as zero.
fn thousandths(qvalue: &str) -> u32 {
    match qvalue.parse::<f32>() {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1000 after the check")]
        Ok(value) if (0.0..=1.0).contains(&value) => (value * 1000.0) as u32,
        _ => 0,
    }
}
