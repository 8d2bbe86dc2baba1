//! Clients that are generated from `docs/openapi.yaml`, checked by their compilers and run against the system: who uses them
//! gets every status, reason and problem code, and no field is lost on the way.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use appointment::Timestamp;
use backplane::AppointmentsTable;
use edge_component::ProblemCode;
use local_stack::tokens::{Algorithm, Authentication, Grant, TokenIssuer};
use local_stack::tools::{OPENAPI_PYTHON_CLIENT, OpenApiTools};
use serde_json::{Value, json};
use tests::{scratch_folder, stack, workspace};

use crate::components::{Double, host_with};
use crate::openapi::{set_up, text_of};
use crate::slots_table::booked;
use crate::states::client;

/// The folder of a client's sources.
fn sources(language: &str) -> PathBuf {
    workspace().join("tests/contract").join(language)
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Runs a program to its end; what it printed last.
fn successful(mut command: Command, what: &str) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(output.status.success(), "{what}: {}", text_of(&output));
    String::from_utf8(output.stdout).unwrap().lines().last().unwrap_or_default().to_owned()
}

/// Starts the API three times, sound and with two kinds of faults, and lets a client's program use them.
async fn run(person: &str, rival: &str, slot: u64, program: impl FnOnce(&str) -> Command + Send + 'static) {
    let stack = stack().await;
    let services = stack.services();
    let issuer = TokenIssuer::generate().unwrap();
    let mut variables = services.variables().unwrap();
    variables.extend(Authentication::Jwt(&issuer).variables());
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let emulator = services.emulator_url();
    let sound = host_with(&emulator, &emulator, &variables).await;
    let double = Double::start(&[("Query", 500, r#"{"__type":"InternalServerError"}"#.to_owned())]).await;
    let unavailable = host_with(&double.url, &double.url, &[]).await;
    let broken = host_with(&double.url, &double.url, &[("authentication", "who knows")]).await;
    let token = |insured_id, staff| {
        issuer.mint(Algorithm::Es256, &Grant { insured_id, staff, lifetime: Duration::from_secs(600) }).unwrap()
    };
    let client = client(services);
    let table = AppointmentsTable::new(&client, services.endpoint(), &services.backplane().table.name);
    let begun = booked(&table, Timestamp::from(SystemTime::now())).await;
    let settings = json!({
        "api": sound.url(), "unavailable": unavailable.url(), "broken": broken.url(),
        "staff": token(None, true), "other": token(Some("99999"), false),
        "person": person, "rival": rival, "slot": slot,
        "begun": {"insuredId": begun.insured_id, "appointmentId": begun.appointment_id},
    });
    let command = program(&settings.to_string());
    let printed = tokio::task::spawn_blocking(|| successful(command, "the client's program")).await.unwrap();
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(
        (&printed["booked"], &printed["rejected"], &printed["cancelled"]),
        (&json!("completed"), &json!("slot_taken"), &json!("cancelled"))
    );
    let read: BTreeSet<&str> = printed["codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap()).collect();
    assert_eq!(read, ProblemCode::ALL.iter().map(|code| code.as_str()).collect(), "each problem was read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_typescript_client_does_everything() {
    let folder = scratch_folder("typescript");
    let built = folder.clone();
    let build = move || {
        set_up();
        copy(&sources("typescript"), &built);
        let _ = fs::remove_file(built.join("node_modules"));
        symlink(OpenApiTools::modules(&workspace()).canonicalize().unwrap(), built.join("node_modules")).unwrap();
        let mut generate = OpenApiTools::command(&workspace(), "openapi-typescript").unwrap();
        generate.arg(workspace().join("docs/openapi.yaml")).arg("--output").arg(built.join("schema.d.ts"));
        successful(generate, "openapi-typescript");
        let mut compile = OpenApiTools::command(&workspace(), "tsc").unwrap();
        compile.arg("--project").arg(&built);
        successful(compile, "tsc");
    };
    tokio::task::spawn_blocking(build).await.unwrap();
    run("16180", "16181", 1_618_033, move |settings| {
        let mut node = OpenApiTools::node(&workspace()).unwrap();
        node.arg(folder.join("compiled/program.mjs")).arg(settings);
        node
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_python_client_does_everything() {
    let folder = scratch_folder("python");
    let built = folder.clone();
    let build = move || {
        set_up();
        copy(&sources("python"), &built);
        let mut generate = Command::new(OPENAPI_PYTHON_CLIENT.program(&workspace()));
        // A warning says that something of the description is left out.
        generate.args(["generate", "--fail-on-warning", "--overwrite", "--meta", "none", "--config"]);
        generate.arg(built.join("generator.yaml")).arg("--path").arg(workspace().join("docs/openapi.yaml"));
        generate.arg("--output-path").arg(built.join("appointments_client"));
        successful(generate, "openapi-python-client");
        let mut check = Command::new(OPENAPI_PYTHON_CLIENT.beside(&workspace(), "mypy"));
        check.args(["--strict", "--follow-imports=silent", "program.py"]).current_dir(&built);
        successful(check, "mypy");
    };
    tokio::task::spawn_blocking(build).await.unwrap();
    run("16182", "16183", 1_618_034, move |settings| {
        let mut python = Command::new(OPENAPI_PYTHON_CLIENT.beside(&workspace(), "python"));
        python.arg("program.py").arg(settings).current_dir(folder);
        python
    })
    .await;
}
