//! Modules of a crate use each other one way. If two need each other, neither can be read, moved or tested alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use regex::Regex;
use tests::workspace;

/// Which modules of a crate each of its modules names by `crate::`, in its code. Folders count as the module that owns them.
fn uses(source: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let (path, group) = (Regex::new(r"\bcrate::([a-z_]+)\b").unwrap(), Regex::new(r"\bcrate::\{([^;]*)\}").unwrap());
    let name = Regex::new(r"(?:^|[{,])\s*([a-z_]+)\b").unwrap();
    let mut files = Vec::new();
    let mut folders = vec![source.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        let own = file.strip_prefix(source).unwrap().components().next().unwrap();
        let own = Path::new(&own).file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let code: String =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        let named = uses.entry(own).or_default();
        named.extend(path.captures_iter(&code).map(|found| found[1].to_owned()));
        for group in group.captures_iter(&code) {
            named.extend(name.captures_iter(&group[1]).map(|found| found[1].to_owned()));
        }
    }
    // The root declares every module, and its re-exports are not paths through it.
    uses.retain(|module, _| !["lib", "main"].contains(&module.as_str()));
    let modules: BTreeSet<String> = uses.keys().cloned().collect();
    for (module, named) in &mut uses {
        named.retain(|other| other != module && modules.contains(other));
    }
    uses
}

/// Everything that a module needs, by itself or through others.
fn reached(uses: &BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<String> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(module) = open.pop() {
        open.extend(uses[&module].iter().filter(|next| reached.insert((*next).clone())).cloned());
    }
    reached
}

/// The modules of a crate that need themselves, by groups that need each other.
fn circles(source: &Path) -> BTreeSet<Vec<String>> {
    let uses = uses(source);
    let needs: BTreeMap<&String, BTreeSet<String>> =
        uses.keys().map(|module| (module, reached(&uses, module))).collect();
    let circle = |module: &&String| needs[*module].contains(*module);
    uses.keys()
        .filter(circle)
        .map(|module| needs[module].iter().filter(|other| needs[other].contains(module)).cloned().collect())
        .collect()
}

#[test]
fn modules_use_each_other_one_way() {
    let root = workspace();
    let mut found = BTreeSet::new();
    let mut looked_at = 0;
    for group in ["", "components", "crates", "native-workers", "tools", "tools/bench", "tools/bench/peers"] {
        for entry in std::fs::read_dir(root.join(group)).unwrap() {
            let source = entry.unwrap().path().join("src");
            if !source.is_dir() || source.starts_with(root.join("tests")) {
                continue;
            }
            looked_at += 1;
            let folder = source.parent().unwrap().strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            found.extend(circles(&source).into_iter().map(|circle| (folder.clone(), circle)));
        }
    }
    assert!(looked_at >= 20, "{looked_at} crates");
    assert!(found.is_empty(), "circles of modules: {found:#?}");
}
