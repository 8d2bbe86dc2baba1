//! `cargo xtask spin-env`: Terraform's outputs as the environment of the Spin application.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use tempfile::NamedTempFile;

#[derive(Args)]
pub(crate) struct SpinEnv {
    /// The file to write; one that exists is replaced.
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
    let environment = Environment::new(&outputs, &manifest)?;
    environment.write(output)?;
    println!("{}: {} variables, readable by you alone.", output.display(), environment.variables.len());
    if !environment.missing.is_empty() {
        println!("The application also needs {}, which these outputs do not give.", environment.missing.join(", "));
    }
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

/// The environment that the outputs make.
struct Environment {
    /// `SPIN_VARIABLE_…` by name.
    variables: BTreeMap<String, String>,
    /// Variables that `spin.toml` requires and no output gives, by the names of the environment.
    missing: Vec<String>,
}

impl Environment {
    /// From what `terraform output -json` prints and from the text of `spin.toml`. Errors name an output, never its value.
    fn new(outputs: &str, manifest: &str) -> Result<Self> {
        /// `{"<name>": {"sensitive": false, "type": "string", "value": …}}`.
        #[derive(Deserialize)]
        struct Output {
            value: Value,
        }
        #[derive(Deserialize)]
        struct Manifest {
            variables: BTreeMap<String, Declaration>,
        }
        #[derive(Deserialize)]
        struct Declaration {
            #[serde(default)]
            required: bool,
        }
        // Without serde's own words, which may quote a value.
        let outputs: BTreeMap<String, Output> = serde_json::from_str(outputs)
            .ok()
            .context("this is not what `terraform output -json` prints (an object with a `value` for each output)")?;
        let Manifest { variables: declared } = toml::from_str(manifest).context("spin.toml")?;

        let mut variables = BTreeMap::new();
        for (name, Output { value }) in outputs {
            ensure!(
                declared.contains_key(&name),
                "the output `{name}` is no variable of spin.toml: give the outputs of infra/ or of infra/examples/*"
            );
            match value {
                Value::Null => {}
                Value::String(text) if text.contains(['\n', '\r', '\0']) => {
                    bail!("the output `{name}` has more than one line, which an environment file cannot hold")
                }
                Value::String(text) => {
                    variables.insert(environment_name(&name), text);
                }
                _ => bail!("the output `{name}` is no string, as every Spin variable is"),
            }
        }
        ensure!(!variables.is_empty(), "there is no output with a value: has `terraform apply` run in this folder?");
        let required = declared.iter().filter(|(_, declaration)| declaration.required);
        let missing =
            required.map(|(name, _)| environment_name(name)).filter(|name| !variables.contains_key(name)).collect();
        Ok(Self { variables, missing })
    }

    /// One `NAME=value` a line, as it is, without quotes: the form of `docker run --env-file`, of
    /// `kubectl create secret generic --from-env-file` and of ECS's `environmentFiles`.
    fn write(&self, path: &Path) -> Result<()> {
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let cannot = || format!("cannot write {}", path.display());
        // A temporary file has the mode 0600 from its first byte on, and replaces the earlier one at once.
        let mut file = NamedTempFile::new_in(folder).with_context(cannot)?;
        for (name, value) in &self.variables {
            writeln!(file, "{name}={value}").with_context(cannot)?;
        }
        file.persist(path).with_context(cannot)?;
        Ok(())
    }
}

/// As Spin's environment provider names a variable.
fn environment_name(variable: &str) -> String {
    format!("SPIN_VARIABLE_{}", variable.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::json;

    use super::*;

    const MANIFEST: &str = "[variables]\naws_region = { default = 'us-east-1' }\n\
         intake_secret_access_key = { required = true, secret = true }\nintake_access_key_id = { required = true }\n";

    fn output(value: &Value) -> Value {
        json!({"sensitive": false, "type": "string", "value": value})
    }

    #[test]
    fn outputs_become_variables_that_only_their_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let (input, file) = (folder.path().join("outputs.json"), folder.path().join("spin.env"));
        let root = folder.path();
        fs::write(root.join("spin.toml"), MANIFEST).unwrap();
        let outputs = json!({
            "aws_region": output(&json!("sa-east-1")),
            "intake_secret_access_key": output(&json!("a$b'c\"d#e=f\\")),
            "intake_access_key_id": output(&Value::Null),
        });
        fs::write(&input, outputs.to_string()).unwrap();
        // An earlier file that others may read does not hand its mode down.
        fs::write(&file, "SPIN_VARIABLE_OLD=1\n").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();

        run(root, &SpinEnv { output: file.clone(), input }).unwrap();
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            "SPIN_VARIABLE_AWS_REGION=sa-east-1\nSPIN_VARIABLE_INTAKE_SECRET_ACCESS_KEY=a$b'c\"d#e=f\\\n"
        );
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_missing_is_named() {
        let outputs = json!({"aws_region": output(&json!("sa-east-1"))}).to_string();
        let environment = Environment::new(&outputs, MANIFEST).unwrap();
        assert_eq!(
            environment.missing,
            ["SPIN_VARIABLE_INTAKE_ACCESS_KEY_ID", "SPIN_VARIABLE_INTAKE_SECRET_ACCESS_KEY"]
        );
    }

    #[test]
    fn the_real_manifest_is_read() {
        let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../spin.toml")).unwrap();
        let outputs = json!({"intake_access_key_id": output(&json!("key"))}).to_string();
        let environment = Environment::new(&outputs, &manifest).unwrap();
        assert!(environment.missing.contains(&"SPIN_VARIABLE_APPOINTMENTS_TOPIC_ARN".to_owned()));
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_its_value() {
        for (outputs, expected) in [
            ("secret-value".to_owned(), "terraform output -json"),
            (json!({"intake_secret_access_key": "secret-value"}).to_string(), "terraform output -json"),
            (json!({"other": output(&json!("secret-value"))}).to_string(), "`other` is no variable of spin.toml"),
            (
                json!({"intake_secret_access_key": output(&json!("secret-value\nSECOND=1"))}).to_string(),
                "`intake_secret_access_key` has more than one line",
            ),
            (
                json!({"intake_secret_access_key": output(&json!(["secret-value"]))}).to_string(),
                "`intake_secret_access_key` is no string",
            ),
            (json!({}).to_string(), "terraform apply"),
        ] {
            let refused = format!("{:#}", Environment::new(&outputs, MANIFEST).err().unwrap());
            assert!(refused.contains(expected) && !refused.contains("secret-value"), "{refused}");
        }
    }
}
