use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// A file of the page.
pub(crate) struct Asset {
    /// As the document and the other files name it.
    pub(crate) name: &'static str,
    pub(crate) media_type: &'static str,
    /// Identifies its content.
    pub(crate) hash: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
    brotli: &'static [u8],
}

/// How a body is encoded (RFC 9110, section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Plain,
    Gzip,
    Brotli,
}

impl Encoding {
    /// The encoding with the shortest bodies that the client accepts.
    pub(crate) fn preferred(headers: &HeaderMap) -> Self {
        let accepts = |coding: &str| {
            let lists = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|list| list.to_str().ok());
            let mut ranges = lists.flat_map(|list| list.split(','));
            ranges.any(|range| {
                let mut parts = range.split(';').map(str::trim);
                let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(coding));
                let refused = parts.filter_map(|part| part.strip_prefix("q=")).any(|weight| weight.parse() == Ok(0.0));
                named && !refused
            })
        };
        if accepts("br") {
            Self::Brotli
        } else if accepts("gzip") {
            Self::Gzip
        } else {
            Self::Plain
        }
    }

    /// Its `Content-Encoding`.
    pub(crate) const fn name(self) -> Option<HeaderValue> {
        match self {
            Self::Plain => None,
            Self::Gzip => Some(HeaderValue::from_static("gzip")),
            Self::Brotli => Some(HeaderValue::from_static("br")),
        }
    }

    /// The end of an entity tag. Each encoding needs its own, because a strong tag identifies the bytes that are sent.
    pub(crate) const fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip => "-gzip",
            Self::Brotli => "-br",
        }
    }
}

impl Asset {
    /// The asset of a name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        ASSETS.iter().find(|asset| asset.name == name)
    }

    pub(crate) const fn body(&self, encoding: Encoding) -> &'static [u8] {
        match encoding {
            Encoding::Plain => self.plain,
            Encoding::Gzip => self.gzip,
            Encoding::Brotli => self.brotli,
        }
    }
}
