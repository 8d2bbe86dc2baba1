//! README.es.md is README.md in Spanish: the same sections, blocks, commands and links. Only the prose differs.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use regex::Regex;
use tests::workspace;

/// The part of a section that a translation does not change.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Section {
    /// `None` before the first heading.
    level: Option<HeadingLevel>,
    /// Paragraphs, rows of tables and the like, in order.
    blocks: Vec<&'static str>,
    /// Fenced code, each with what it says it is.
    fenced: Vec<String>,
    /// Inline code, sorted: a sentence may have it in another order.
    code: Vec<String>,
    /// The targets of links and images, sorted; a heading of the same file by its number.
    targets: Vec<String>,
}

/// The sections of a README that links to the `other` one, each with the anchor of its heading.
fn sections(markdown: &str, other: &str) -> Vec<(String, Section)> {
    let attribute = Regex::new(r#"\b(?:src|href|width)="[^"]*""#).unwrap();
    let mut all = vec![(String::new(), Section::default())];
    let (mut in_heading, mut in_fence) = (false, false);
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        if let Event::Start(Tag::Heading { level, .. }) = event {
            all.push((String::new(), Section { level: Some(level), ..Section::default() }));
        }
        let (heading, section) = all.last_mut().unwrap();
        match event {
            Event::Start(Tag::Heading { .. }) => in_heading = true,
            Event::End(TagEnd::Heading(_)) => in_heading = false,
            Event::Start(Tag::CodeBlock(kind)) => {
                let CodeBlockKind::Fenced(language) = kind else { panic!("code without a fence in {heading}") };
                section.blocks.push("fenced code");
                section.fenced.push(format!("{language}\n"));
                in_fence = true;
            }
            Event::End(TagEnd::CodeBlock) => in_fence = false,
            Event::Start(Tag::Paragraph) => section.blocks.push("paragraph"),
            Event::Start(Tag::TableHead | Tag::TableRow) => section.blocks.push("row"),
            Event::Start(Tag::Item) => section.blocks.push("item"),
            Event::Start(Tag::HtmlBlock) => section.blocks.push("HTML"),
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                section.targets.push(dest_url.into_string());
            }
            Event::Html(text) | Event::InlineHtml(text) => {
                section.targets.extend(attribute.find_iter(&text).map(|found| found.as_str().to_owned()));
            }
            Event::Code(code) => {
                if in_heading {
                    heading.push_str(&code);
                }
                section.code.push(code.into_string());
            }
            Event::Text(text) if in_heading => heading.push_str(&text),
            Event::Text(text) if in_fence => section.fenced.last_mut().unwrap().push_str(&text),
            _ => {}
        }
    }
    let anchors: Vec<String> = all.iter().map(|(heading, _)| anchor(heading)).collect();
    for (heading, section) in &mut all {
        *heading = anchor(heading);
        for target in &mut section.targets {
            if target == other {
                "the other language".clone_into(target);
            } else if let Some(wanted) = target.strip_prefix('#') {
                *target = match anchors.iter().position(|anchor| anchor == wanted) {
                    Some(number) => format!("heading {number}"),
                    None => format!("{target}, which is no heading of what {other} links to"),
                };
            }
        }
        section.code.sort();
        section.targets.sort();
    }
    all
}

/// The anchor that GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    kept.chars()
        .filter(|one| one.is_alphanumeric() || " -_".contains(*one))
        .map(|one| if one == ' ' { '-' } else { one })
        .collect()
}

/// The differences between the Spanish README and the English one, section by section.
fn differences(english: &str, spanish: &str) -> Vec<String> {
    let (english, spanish) = (sections(english, "README.es.md"), sections(spanish, "README.md"));
    let levels = |sections: &[(String, Section)]| sections.iter().map(|(_, section)| section.level).collect::<Vec<_>>();
    if levels(&english) != levels(&spanish) {
        let headings =
            |sections: &[(String, Section)]| sections.iter().map(|(heading, _)| heading.clone()).collect::<Vec<_>>();
        return vec![format!("other headings: {:?} and {:?}", headings(&english), headings(&spanish))];
    }
    let pairs = english.iter().zip(&spanish).filter(|((_, english), (_, spanish))| english != spanish);
    pairs
        .map(|((_, english), (heading, spanish))| format!("#{heading} has {spanish:#?} in place of {english:#?}"))
        .collect()
}

fn readme(name: &str) -> String {
    std::fs::read_to_string(workspace().join(name)).unwrap()
}

#[test]
fn the_spanish_readme_is_the_english_one() {
    let differences = differences(&readme("README.md"), &readme("README.es.md"));
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// What a translation that was forgotten would look like.
#[test]
fn a_heading_a_command_a_link_or_a_paragraph_of_its_own_is_noticed() {
    let (english, spanish) = (readme("README.md"), readme("README.es.md"));
    for (there, instead) in [
        ("\n## La espera\n", "\n"),
        ("\n## La espera\n", "\n### La espera\n"),
        ("cargo xtask demo    #", "cargo xtask demos   #"),
        ("```sh\ncargo xtask up --auth jwt", "```text\ncargo xtask up --auth jwt"),
        ("](docs/restore.md)", "](docs/deploy.md)"),
        ("](#trazas)", "](#la-espera)"),
        ("](#trazas)", "](#traces)"),
        ("docs/images/console.png", "docs/images/consola.png"),
        ("`--no-console`", "`--console`"),
        ("| un puerto ocupado | `cargo xtask up --port N` |\n", ""),
        ("\nEl camino de una reserva:\n", ""),
        ("[English](README.md) · Español", "Español"),
    ] {
        let changed = spanish.replacen(there, instead, 1);
        assert_ne!(changed, spanish, "{there:?} is not in README.es.md");
        let found = differences(&english, &changed);
        assert!(!found.is_empty(), "{instead:?} in place of {there:?} is not noticed");
    }
}
