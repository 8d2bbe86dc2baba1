//! The little of XML that the Query protocol's answers need.

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::Event;

/// The text of the first element with this local name, if the document holds one and is well-formed up to it.
pub(crate) fn first_text(document: &str, element: &str) -> Option<String> {
    let mut reader = Reader::from_str(document);
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) if start.local_name().as_ref() == element => {
                let end = start.to_end().into_owned();
                let text = reader.read_text(end.name()).ok()?;
                return Some(unescape(text.xml10_content().trim()).ok()?.into_owned());
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::first_text;

    #[test]
    fn the_first_element_of_a_name_is_found_and_unescaped() {
        let cases = [
            ("<a><Code>Throttling</Code></a>", Some("Throttling")),
            ("<a xmlns=\"u\"><e><Code> x &amp; y </Code></e><Code>second</Code></a>", Some("x & y")),
            ("<n:a><n:Code>prefixed</n:Code></n:a>", Some("prefixed")),
            ("<a><Code/></a>", None),
            ("<a><Code>cut", None),
            ("not XML at all", None),
            ("", None),
        ];
        for (document, expected) in cases {
            assert_eq!(first_text(document, "Code").as_deref(), expected, "{document}");
        }
    }
}
