//! The manifests in `deploy/` give the application's variables, and every place that names the version names the same one.

use std::collections::BTreeSet;

use tests::workspace;

fn read(path: &str) -> String {
    std::fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The variables of `spin.toml`, as the environment names them; those that are required.
fn variables() -> (BTreeSet<String>, BTreeSet<String>) {
    let manifest = read("spin.toml");
    let (_, declarations) = manifest.split_once("[variables]\n").unwrap();
    let declarations = declarations.split_once("\n[").unwrap().0;
    let mut all = BTreeSet::new();
    let mut required = BTreeSet::new();
    for line in declarations.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, declaration)) = line.split_once(" = {") else { continue };
        let name = format!("SPIN_VARIABLE_{}", name.to_ascii_uppercase());
        if declaration.contains("required = true") {
            required.insert(name.clone());
        }
        all.insert(name);
    }
    assert!(required.len() >= 4, "{required:?}");
    (all, required)
}

/// Spin asks for every variable without a default, whichever component uses it. At the edge only the public components run
/// (`--component-id intake`), so intake has to use all of them.
#[test]
fn the_edge_needs_no_variable_of_the_component_that_it_does_not_run() {
    let manifest: toml::Table = read("spin.toml").parse().unwrap();
    let of_intake = manifest["component"]["intake"].to_string();
    let (_, required) = variables();
    for name in required {
        let name = name.strip_prefix("SPIN_VARIABLE_").unwrap().to_ascii_lowercase();
        assert!(of_intake.contains(&format!("{{{{ {name} }}}}")), "{name} is required, and intake does not use it");
    }
    let private = manifest["trigger"]["http"].as_array().unwrap().iter();
    let of_confirmation: Vec<_> =
        private.filter(|trigger| trigger["component"].as_str() == Some("confirmation")).collect();
    assert!(of_confirmation.iter().all(|trigger| trigger["route"]["private"].as_bool() == Some(true)));
    assert_eq!(of_confirmation.len(), 1);
}

/// The variables that the public components use in `spin.toml`, as the environment names them.
fn variables_at_the_edge() -> BTreeSet<String> {
    let manifest: toml::Table = read("spin.toml").parse().unwrap();
    let used = |component: &str| -> Vec<String> {
        let variables = manifest["component"][component]["variables"].to_string();
        let templates = variables.split("{{ ").skip(1).map(|rest| rest.split_once(" }}").unwrap().0);
        templates.map(|name| format!("SPIN_VARIABLE_{}", name.to_ascii_uppercase())).collect()
    };
    [used("intake"), used("booking-page")].concat().into_iter().collect()
}

#[test]
fn the_spin_app_gives_every_variable_of_the_public_components() {
    let (all, required) = variables();
    let manifest = read("deploy/spinkube/spinapp.yaml");
    let values = |key: &str| -> Vec<String> {
        let lines = manifest.lines().filter_map(|line| line.trim().strip_prefix(key));
        lines.map(|value| value.trim().to_owned()).collect()
    };
    let given = values("- name:").iter().map(|name| format!("SPIN_VARIABLE_{}", name.to_ascii_uppercase())).collect();
    // Each comes from the key of the same name, as `cargo xtask spin-env` writes it.
    assert_eq!(values("key:").into_iter().collect::<BTreeSet<_>>(), given);
    assert_eq!(given, variables_at_the_edge());
    assert!(required.is_subset(&given), "{:?}", required.difference(&given));
    // A tag may name another image tomorrow.
    let [image] = values("image:").try_into().unwrap();
    assert!(image.rsplit_once("@sha256:").is_some_and(|(_, digest)| digest.len() == 64), "{image}");
    // The Secret may lack a variable that has a default, and no other.
    let optional = all.intersection(&given).filter(|name| !required.contains(*name)).count();
    assert_eq!(values("optional:"), vec!["true"; optional]);
}

/// The places that name the version, each with `{}` instead of it.
const VERSIONS: [(&str, &str); 6] = [
    ("Cargo.toml", "\n[workspace.package]\nversion = \"{}\"\n"),
    ("spin.toml", "\nversion = \"{}\"\n"),
    ("docs/openapi.yaml", "\n  version: {}\n"),
    ("docs/openapi.yaml", "{status: ok, version: {}}"),
    ("docs/deploy.md", "/appointments:{} "),
    ("README.md", r#"{"status":"ok","version":"{}"}"#),
];

#[test]
fn every_place_names_the_same_version() {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    let releasing = read("RELEASING.md");
    for (file, place) in VERSIONS {
        let place = place.replace("{}", VERSION);
        assert!(read(file).contains(&place), "{file} has not {place:?}");
        assert!(releasing.contains(&format!("`{file}`")), "RELEASING.md leaves out {file}");
    }
    // Translations show the same response.
    for file in std::fs::read_dir(workspace()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        if name.starts_with("README.") && name.ends_with(".md") {
            let text = read(&name);
            let mut shown = text.split(r#""version":""#).skip(1);
            assert!(shown.all(|rest| rest.starts_with(&format!("{VERSION}\""))), "{name} shows another version");
        }
    }
    // The newest release of the changelog, with the day in UTC.
    let changelog = read("CHANGELOG.md");
    let mut sections = changelog.lines().filter_map(|line| line.strip_prefix("## "));
    assert_eq!(sections.next(), Some("Unreleased"));
    let (number, date) = sections.next().unwrap().split_once(" - ").unwrap();
    assert_eq!(number, VERSION);
    let date: Vec<_> = date.split('-').map(|part| (part.len(), part.parse::<u16>().is_ok())).collect();
    assert_eq!(date, [(4, true), (2, true), (2, true)], "the newest section's date is not like 2026-11-28");
}
