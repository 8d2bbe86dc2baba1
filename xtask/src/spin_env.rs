//! `cargo xtask spin-env`: what intake needs at the edge: an environment file from Terraform's outputs, and a manifest with the public
//! components only.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use tempfile::NamedTempFile;
use toml::Table;

/// The output of `infra/` that holds the variables of an edge deployment.
const OUTPUT: &str = "edge_environment";

#[derive(Args)]
pub(crate) struct SpinEnv {
    /// The file with the variables to write; one that exists is replaced.
    #[arg(long, value_name = "FILE", default_value = "spin.env")]
    output: PathBuf,
    /// Where `terraform output -json` was written; `-` is the standard input.
    #[arg(value_name = "JSON", default_value = "-")]
    input: PathBuf,
}

pub(crate) fn run(root: &Path, options: &SpinEnv) -> Result<ExitCode> {
    let SpinEnv { output, input } = options;
    let outputs = read(input)?;
    let path = root.join("spin.toml");
    let manifest = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let edge = edge_manifest(&manifest).context("spin.toml")?;
    let variables = variables(&outputs, &edge)?;
    write(output, &variables)?;
    println!("{}: {} variables, readable by you alone.", output.display(), variables.len());
    // Beside spin.toml, because its paths are relative.
    let path = root.join("spin.edge.toml");
    std::fs::write(&path, edge.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{}: the public components of spin.toml; give it to spin as --from.", path.display());
    Ok(ExitCode::SUCCESS)
}

fn read(input: &Path) -> Result<String> {
    if input == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read the standard input")?;
        ensure!(
            !text.trim().is_empty(),
            "nothing on the standard input: pipe `terraform output -json` into this command"
        );
        return Ok(text);
    }
    std::fs::read_to_string(input).with_context(|| format!("cannot read {}", input.display()))
}

/// The manifest without its private routes, the components that only those reach, and the variables that only these use.
fn edge_manifest(manifest: &str) -> Result<Table> {
    let mut manifest: Table = toml::from_str(manifest)?;
    let triggers = manifest
        .get_mut("trigger")
        .and_then(|trigger| trigger.get_mut("http"))
        .and_then(toml::Value::as_array_mut)
        .context("there is no [[trigger.http]]")?;
    triggers.retain(|trigger| trigger.get("route").is_some_and(toml::Value::is_str));
    let public: BTreeSet<String> = triggers
        .iter()
        .filter_map(|trigger| trigger.get("component").and_then(toml::Value::as_str).map(ToOwned::to_owned))
        .collect();
    let components =
        manifest.get_mut("component").and_then(toml::Value::as_table_mut).context("there is no [component]")?;
    components.retain(|name, _| public.contains(name));
    let components = toml::to_string(components)?;
    if let Some(variables) = manifest.get_mut("variables").and_then(toml::Value::as_table_mut) {
        variables.retain(|name, _| components.contains(&format!("{{{{ {name} }}}}")));
    }
    Ok(manifest)
}

/// `SPIN_VARIABLE_…` by name, from what `terraform output -json` prints. Errors name a variable, never its value.
fn variables(outputs: &str, edge: &Table) -> Result<BTreeMap<String, String>> {
    /// `{"<name>": {"sensitive": true, "type": […], "value": …}}`.
    #[derive(Deserialize)]
    struct Output {
        value: Value,
    }
    // Without serde's message, which may quote a value.
    let outputs: BTreeMap<String, Output> = serde_json::from_str(outputs)
        .ok()
        .context("this is not what `terraform output -json` prints (an object with a `value` for each output)")?;
    let values = outputs
        .get(OUTPUT)
        .and_then(|output| output.value.as_object())
        .with_context(|| format!("there is no output `{OUTPUT}`: give the outputs of infra/ or of infra/examples/*"))?;
    ensure!(
        !values.is_empty(),
        "the output `{OUTPUT}` is empty: give infra/ edge_access_keys = [\"first\"], and apply it"
    );

    let declared = edge.get("variables").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    let mut variables = BTreeMap::new();
    for (name, value) in values {
        ensure!(declared.contains_key(name), "`{name}` is no variable of the public components of spin.toml");
        match value {
            Value::String(text) if text.contains(['\n', '\r', '\0']) => {
                bail!("`{name}` has more than one line, which an environment file cannot hold")
            }
            Value::String(text) => {
                variables.insert(environment_name(name), text.clone());
            }
            _ => bail!("`{name}` is no string, as every Spin variable is"),
        }
    }
    let missing: Vec<&str> = declared
        .iter()
        .filter(|(name, declaration)| {
            declaration.get("required").and_then(toml::Value::as_bool) == Some(true) && !values.contains_key(*name)
        })
        .map(|(name, _)| name.as_str())
        .collect();
    ensure!(missing.is_empty(), "the output `{OUTPUT}` lacks {}, which spin.toml requires", missing.join(", "));
    Ok(variables)
}

/// One `NAME=value` a line, as it is, without quotes: the form of `kubectl create secret generic --from-env-file` and of
/// `docker run --env-file`.
fn write(path: &Path, variables: &BTreeMap<String, String>) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let cannot = || format!("cannot write {}", path.display());
    // A temporary file has the mode 0600 from its first byte on, and replaces the earlier one at once.
    let mut file = NamedTempFile::new_in(folder).with_context(cannot)?;
    for (name, value) in variables {
        writeln!(file, "{name}={value}").with_context(cannot)?;
    }
    file.persist(path).with_context(cannot)?;
    Ok(())
}

/// As Spin's environment provider names a variable.
fn environment_name(variable: &str) -> String {
    format!("SPIN_VARIABLE_{}", variable.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::json;

    use super::*;

    const MANIFEST: &str = r#"
        [variables]
        aws_region = { default = "us-east-1" }
        intake_access_key_id = { required = true }
        confirmation_access_key_id = { required = true }
        [[trigger.http]]
        route = "/appointments/..."
        component = "intake"
        [[trigger.http]]
        route = { private = true }
        component = "confirmation"
        [component.intake]
        source = "intake.wasm"
        [component.intake.variables]
        region = "{{ aws_region }}"
        access_key_id = "{{ intake_access_key_id }}"
        [component.confirmation]
        source = "confirmation.wasm"
        [component.confirmation.variables]
        region = "{{ aws_region }}"
        access_key_id = "{{ confirmation_access_key_id }}"
    "#;

    fn outputs(environment: &Value) -> String {
        json!({
            "api_endpoint": {"sensitive": false, "type": "string", "value": "https://example.org"},
            OUTPUT: {"sensitive": true, "type": ["map", "string"], "value": environment},
        })
        .to_string()
    }

    #[test]
    fn the_edge_gets_its_variables_which_only_their_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let (input, file) = (folder.path().join("outputs.json"), folder.path().join("spin.env"));
        let root = folder.path();
        fs::write(root.join("spin.toml"), MANIFEST).unwrap();
        fs::write(&input, outputs(&json!({"aws_region": "sa-east-1", "intake_access_key_id": "a$b'c\"d#e=f\\"})))
            .unwrap();
        // The mode of an earlier file does not matter.
        fs::write(&file, "SPIN_VARIABLE_OLD=1\n").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();

        run(root, &SpinEnv { output: file.clone(), input }).unwrap();
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            "SPIN_VARIABLE_AWS_REGION=sa-east-1\nSPIN_VARIABLE_INTAKE_ACCESS_KEY_ID=a$b'c\"d#e=f\\\n"
        );
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let edge: Table = toml::from_str(&fs::read_to_string(root.join("spin.edge.toml")).unwrap()).unwrap();
        assert_eq!(edge["component"].as_table().unwrap().keys().collect::<Vec<_>>(), ["intake"]);
    }

    #[test]
    fn the_real_manifest_has_public_components_alone() {
        let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../spin.toml")).unwrap();
        let edge = edge_manifest(&manifest).unwrap();
        assert_eq!(edge["component"].as_table().unwrap().keys().collect::<Vec<_>>(), ["booking-page", "intake"]);
        let variables = edge["variables"].as_table().unwrap();
        assert!(variables.contains_key("intake_access_key_id"));
        assert!(variables.keys().all(|name| !name.starts_with("confirmation")));
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_its_value() {
        let edge = edge_manifest(MANIFEST).unwrap();
        for (given, expected) in [
            ("secret-value".to_owned(), "terraform output -json"),
            (json!({"edge_environment": "secret-value"}).to_string(), "terraform output -json"),
            (json!({"other": {"value": "secret-value"}}).to_string(), "there is no output `edge_environment`"),
            (outputs(&json!({})), "edge_access_keys"),
            (outputs(&json!({"other": "secret-value"})), "`other` is no variable"),
            (outputs(&json!({"confirmation_access_key_id": "secret-value"})), "is no variable"),
            (outputs(&json!({"intake_access_key_id": "secret-value\nSECOND=1"})), "has more than one line"),
            (outputs(&json!({"intake_access_key_id": ["secret-value"]})), "is no string"),
            (outputs(&json!({"aws_region": "secret-value"})), "lacks intake_access_key_id"),
        ] {
            let refused = format!("{:#}", variables(&given, &edge).err().unwrap());
            assert!(refused.contains(expected) && !refused.contains("secret-value"), "{refused}");
        }
    }
}
