//! The small part of XML that responses of the Query protocol need: a parser would be a twentieth of a component's code.

/// The text of the first element with this local name, if it contains only text.
pub(crate) fn first_text(document: &str, element: &str) -> Option<String> {
    let mut rest = document;
    loop {
        let (_, tag) = rest.split_once('<')?;
        if let Some(comment) = tag.strip_prefix("!--") {
            rest = comment.split_once("-->")?.1;
            continue;
        }
        let (tag, content) = tag.split_once('>')?;
        rest = content;
        let name = tag.split_whitespace().next().unwrap_or_default();
        if name.rsplit(':').next() == Some(element) && !tag.ends_with('/') {
            let (text, end) = content.split_once('<')?;
            return if end.starts_with('/') { unescaped(text.trim()) } else { None };
        }
    }
}

/// A text with its entities resolved (XML 1.0, sections 4.1 and 4.6), `None` where one is unknown.
fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('&');
    let mut unescaped = parts.next()?.to_owned();
    for part in parts {
        let (entity, rest) = part.split_once(';')?;
        unescaped.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let number = entity.strip_prefix('#')?;
                let code = match number.strip_prefix('x') {
                    Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
                    None => number.parse(),
                };
                char::from_u32(code.ok()?)?
            }
        });
        unescaped.push_str(rest);
    }
    Some(unescaped)
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
            ("<?xml version=\"1.0\"?><!-- <Code>no</Code> --><a><Code>yes</Code></a>", Some("yes")),
            ("<a><Code>&#225;&#x41;&lt;&gt;&quot;&apos;</Code></a>", Some("áA<>\"'")),
            ("<a><Code>&unknown;</Code></a>", None),
            ("<a><Code><b>nested</b></Code></a>", None),
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
