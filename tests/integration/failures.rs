//! `docs/failures.md` names a test for each fault, and each of them exists.

use std::collections::BTreeSet;

use regex::Regex;
use tests::workspace;

/// Every test of this program, as `module::name`.
fn tests_of_this_program() -> BTreeSet<String> {
    let test = Regex::new(r"#\[(?:tokio::)?test[^\]]*\]\n(?:#\[[^\n]*\]\n)*(?:async )?fn (\w+)").unwrap();
    let folder = std::fs::read_dir(workspace().join("tests/integration")).unwrap();
    folder
        .map(|entry| entry.unwrap().path())
        .flat_map(|file| {
            let module = file.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&file).unwrap();
            test.captures_iter(&text).map(|found| format!("{module}::{}", &found[1])).collect::<Vec<_>>()
        })
        .collect()
}

/// The texts in backquotes that have the form `module::name`.
fn named(text: &str) -> Vec<String> {
    let name = Regex::new("`([a-z_]+::[a-z0-9_]+)`").unwrap();
    name.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

#[test]
fn each_fault_names_a_test_that_exists() {
    let tests = tests_of_this_program();
    assert!(tests.len() > 150, "{} tests found", tests.len());
    let page = std::fs::read_to_string(workspace().join("docs/failures.md")).unwrap();
    let faults =
        page.lines().skip_while(|line| !line.starts_with("| fault |")).skip(2).take_while(|line| !line.is_empty());
    let mut rows = 0;
    for row in faults {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [_, _, shown_by, _] = cells[..] else { panic!("not four cells: {row}") };
        assert!(!named(shown_by).is_empty(), "no test shows this: {row}");
        rows += 1;
    }
    assert!(rows > 40, "{rows} faults found");
    for name in named(&page) {
        assert!(tests.contains(&name), "docs/failures.md names {name}, which does not exist");
    }
}

/// The decisions name tests too; other paths in them are the code's.
#[test]
fn the_tests_that_decisions_name_exist() {
    let tests = tests_of_this_program();
    let modules: BTreeSet<&str> = tests.iter().filter_map(|test| test.split("::").next()).collect();
    for entry in std::fs::read_dir(workspace().join("docs/adr")).unwrap() {
        let file = entry.unwrap().path();
        for name in named(&std::fs::read_to_string(&file).unwrap()) {
            let (module, function) = name.split_once("::").unwrap();
            let meant = modules.contains(module) && function.contains('_');
            assert!(!meant || tests.contains(&name), "{} names {name}, which does not exist", file.display());
        }
    }
}
