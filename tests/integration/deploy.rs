//! `deploy/`: what the manifests name is what the application, the launcher and the backplane have.

use std::collections::BTreeSet;

use local_stack::backplane::{Backplane, PrincipalKind};
use serde_json::Value;
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
    assert!(required.len() >= 6, "{required:?}");
    (all, required)
}

#[test]
fn the_spin_app_gives_every_variable_that_is_required() {
    let (all, required) = variables();
    let manifest = read("deploy/spinkube/spinapp.yaml");
    let values = |key: &str| -> Vec<String> {
        let lines = manifest.lines().filter_map(|line| line.trim().strip_prefix(key));
        lines.map(|value| value.trim().to_owned()).collect()
    };
    let given = values("- name:").iter().map(|name| format!("SPIN_VARIABLE_{}", name.to_ascii_uppercase())).collect();
    // Each is taken from the key of the same name, as `cargo xtask spin-env` writes it.
    assert_eq!(values("key:").into_iter().collect::<BTreeSet<_>>(), given);
    assert!(given.is_subset(&all), "{:?}", given.difference(&all));
    assert!(required.is_subset(&given), "{:?}", required.difference(&given));
    // What has a default may be missing in the Secret; what is required may not.
    let optional = all.intersection(&given).filter(|name| !required.contains(*name)).count();
    assert_eq!(values("optional:"), vec!["true"; optional]);
}

#[test]
fn the_task_gives_every_variable_that_the_launcher_does_not() {
    let (all, required) = variables();
    let backplane = Backplane::load(&workspace()).unwrap();
    let task: Value = serde_json::from_str(&read("deploy/ecs/task-definition.json")).unwrap();
    let container = &task["containerDefinitions"][0];
    let names = |list: &Value| -> BTreeSet<String> {
        list.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
    };
    let environment = names(&container["environment"]);
    let given: BTreeSet<String> = environment.union(&names(&container["secrets"])).cloned().collect();
    let own: BTreeSet<String> = given.iter().filter(|name| name.starts_with("SPIN_VARIABLE_")).cloned().collect();
    assert!(own.is_subset(&all), "{:?}", own.difference(&all));
    assert!(
        environment.iter().all(|name| !name.contains("KEY")),
        "a secret comes from Secrets Manager: {environment:?}"
    );

    let components: Vec<(&String, &String)> = backplane
        .principals
        .iter()
        .filter(|(_, principal)| principal.kind == PrincipalKind::Component)
        .map(|(component, principal)| (component, &principal.name))
        .collect();
    let launched: BTreeSet<String> = components
        .iter()
        .flat_map(|(component, _)| {
            ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"]
                .map(|name| format!("SPIN_VARIABLE_{}_{name}", component.to_ascii_uppercase()))
        })
        .collect();
    assert!(launched.is_subset(&all) && launched.is_disjoint(&own));
    let missing: Vec<&String> =
        required.iter().filter(|name| !own.contains(*name) && !launched.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");

    // The roles are those that infra/ creates.
    let roles =
        container["environment"].as_array().unwrap().iter().find(|entry| entry["name"] == "LAUNCHER_ROLES").unwrap();
    let mut named: Vec<&str> = roles["value"].as_str().unwrap().split(',').collect();
    let mut expected: Vec<String> = components
        .iter()
        .map(|(component, name)| format!("{component}=arn:aws:iam::${{ACCOUNT}}:role/{name}"))
        .collect();
    named.sort_unstable();
    expected.sort_unstable();
    assert_eq!(named, expected);
    let host = &backplane.principals.get("host").unwrap().name;
    assert_eq!(task["taskRoleArn"].as_str().unwrap(), format!("arn:aws:iam::${{ACCOUNT}}:role/{host}"));
    let topic = format!("arn:aws:sns:${{AWS_REGION}}:${{ACCOUNT}}:{}", backplane.topic.name);
    let given_topic = container["environment"].as_array().unwrap().iter().find(|entry| entry["value"] == topic);
    assert!(given_topic.is_some_and(|entry| entry["name"] == "SPIN_VARIABLE_APPOINTMENTS_TOPIC_ARN"));
}

#[test]
fn the_image_holds_what_the_manifest_serves() {
    let dockerfile = read("deploy/Dockerfile");
    let manifest = read("spin.toml");
    for source in manifest.lines().filter_map(|line| line.strip_prefix("source = ")) {
        let source = source.trim_matches('"');
        assert!(dockerfile.contains(&format!("/work/{source}")), "{source} is not copied");
    }
    assert!(dockerfile.contains("USER spin") && !dockerfile.contains("RUST_LOG="), "no root, no paths in the log");
}
