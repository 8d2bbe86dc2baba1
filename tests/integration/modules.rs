//! Modules of a crate use each other one way. If two need each other, neither can be read, moved or tested alone.

use std::collections::BTreeSet;
use std::path::Path;

use tests::module_uses::{circles, uses};
use tests::workspace;

/// The circles among the modules of a crate, each module by its path below `src`.
fn circles_in(source: &Path) -> BTreeSet<Vec<String>> {
    let uses = uses(source).unwrap();
    circles(&uses).into_iter().map(|circle| circle.iter().map(|module| module.join("/")).collect()).collect()
}

#[test]
fn modules_use_each_other_one_way() {
    let root = workspace();
    let mut found = BTreeSet::new();
    let mut looked_at = 0;
    for group in
        ["", "components", "crates", "native-workers", "tests/fixtures", "tools", "tools/bench", "tools/bench/peers"]
    {
        for entry in std::fs::read_dir(root.join(group)).unwrap() {
            let source = entry.unwrap().path().join("src");
            if !source.is_dir() {
                continue;
            }
            looked_at += 1;
            let folder = source.parent().unwrap().strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            found.extend(circles_in(&source).into_iter().map(|circle| (folder.clone(), circle)));
        }
    }
    assert!(looked_at >= 22, "{looked_at} crates");
    assert!(found.is_empty(), "circles of modules: {found:#?}");
}

/// A case's name, its files with their content, and the circles in them.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a [&'a str]]);

/// Each way in which a circle can be written is found, and what only looks like one is not.
#[test]
fn a_circle_is_found_wherever_it_is() {
    let cases: &[Case] = &[
        (
            "one way",
            &[
                ("lib.rs", "mod a;\nmod b;\nfn root() { a::f() }"),
                ("a.rs", "use crate::b::g;"),
                ("b.rs", "pub fn g() {}"),
            ],
            &[],
        ),
        (
            "between files of the crate",
            &[("lib.rs", ""), ("a.rs", "use crate::b;"), ("b.rs", "fn g() { crate::a::f() }")],
            &[&["a", "b"]],
        ),
        (
            "inside a folder",
            &[
                ("lib.rs", ""),
                ("a.rs", "mod b;\nmod c;"),
                ("a/b.rs", "use super::c::g;"),
                ("a/c.rs", "use super::b::f;"),
            ],
            &[&["a/b", "a/c"]],
        ),
        (
            "between a module and one below it",
            &[("lib.rs", ""), ("a.rs", "mod b;\npub struct S;\nfn f() { b::g() }"), ("a/b.rs", "use super::S;")],
            &[&["a", "a/b"]],
        ),
        (
            "through a third",
            &[
                ("lib.rs", ""),
                ("a.rs", "use crate::b;"),
                ("b.rs", "use crate::c;"),
                ("c.rs", "use crate::{a, d};"),
                ("d.rs", ""),
            ],
            &[&["a", "b", "c"]],
        ),
        (
            "by names that the root re-exports",
            &[("lib.rs", "pub use a::A;\npub use b::B;"), ("a.rs", "use crate::B;"), ("b.rs", "use crate::{A, C};")],
            &[&["a", "b"]],
        ),
        (
            "in a macro's tokens and in an inline module",
            &[
                ("lib.rs", ""),
                ("a.rs", "fn f() { println!(\"{}\", crate::b::G) }"),
                ("b.rs", "mod tests { use super::super::a::f; }"),
            ],
            &[&["a", "b"]],
        ),
        (
            "visibility, an inline module's parent and other crates",
            &[
                ("lib.rs", ""),
                ("a.rs", "mod b;\nfn f() { b::g() }"),
                ("a/b.rs", "pub(super) fn g() {}\nmod tests { use super::*; }\nuse ::a::x;"),
            ],
            &[],
        ),
    ];
    for (name, files, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in *files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let expected: BTreeSet<Vec<String>> =
            expected.iter().map(|circle| circle.iter().map(|&module| module.to_owned()).collect()).collect();
        assert_eq!(circles_in(folder.path()), expected, "{name}");
    }
}
