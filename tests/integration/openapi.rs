//! `docs/openapi.yaml` against the code, and the running system against `docs/openapi.yaml`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use appointment::{Country, FieldErrorCode, Reason, Status};
use edge_component::ProblemCode;
use http::Method;
use local_stack::progress::Progress;
use local_stack::setup;
use local_stack::tokens::{Algorithm, Authentication, Grant, TokenIssuer};
use local_stack::tools::{OpenApiTools, SCHEMATHESIS};
use serde::Serialize;
use serde_json::{Value, json};
use tests::{scratch_folder, stack, workspace};

use crate::components::{Double, host, host_with};

const FILE: &str = "docs/openapi.yaml";

pub(crate) static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let text = std::fs::read_to_string(workspace().join(FILE)).unwrap();
    serde_saphyr::from_str(&text).unwrap()
});

/// What a `$ref` points to; a value without one is its own.
fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => resolved(DOCUMENT.pointer(reference.strip_prefix('#').unwrap()).unwrap()),
        None => value,
    }
}

/// The responses of an operation by their status.
fn responses(operation: &'static Value) -> impl Iterator<Item = (u16, &'static Value)> {
    operation["responses"].as_object().unwrap().iter().map(|(status, body)| (status.parse().unwrap(), resolved(body)))
}

/// The problem codes that a response may have.
fn codes(response: &'static Value) -> BTreeSet<&'static str> {
    let schema = &response["content"]["application/problem+json"]["schema"];
    schema["allOf"][1]["properties"]["code"]["enum"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|code| code.as_str().unwrap())
        .collect()
}

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// Every operation, by its path and method.
fn operations() -> BTreeMap<(&'static str, &'static str), &'static Value> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let in_path = |(path, item): (&'static String, &'static Value)| {
        METHODS.into_iter().filter_map(move |method| Some(((path.as_str(), method), item.get(method)?)))
    };
    paths.iter().flat_map(in_path).collect()
}

/// The path of the document that a request's path is one of. The document says in words that `/appointment…` is `/appointments…`.
fn template_of(path: &str) -> Option<&'static str> {
    let path = path.split('?').next().unwrap();
    let segments = path.split('/').map(|segment| if segment == "appointment" { "appointments" } else { segment });
    let segments: Vec<&str> = segments.collect();
    let fits = |template: &&String| {
        let parts: Vec<&str> = template.split('/').collect();
        let one = |(part, segment): (&&str, &&str)| part == segment || (part.starts_with('{') && !segment.is_empty());
        parts.len() == segments.len() && parts.iter().zip(&segments).all(one)
    };
    DOCUMENT["paths"].as_object().unwrap().keys().find(fits).map(String::as_str)
}

/// Checks that the document describes such a response for a path with parameters.
pub(crate) fn check_promised(method: &Method, path: &str, status: u16, code: Option<&str>) {
    let Some(template) = template_of(path) else { return };
    // What the document says of each path in words: HEAD is GET, and any method may be refused or OPTIONS.
    let method = if method == Method::HEAD { "get".to_owned() } else { method.as_str().to_lowercase() };
    let Some(operation) = operations().get(&(template, method.as_str())).copied() else {
        assert!([204, 405].contains(&status), "{status} of {method} {path} is not promised");
        return;
    };
    let (_, response) = responses(operation)
        .find(|(promised, _)| *promised == status)
        .unwrap_or_else(|| panic!("{status} of {method} {path} is not promised"));
    if let Some(code) = code {
        assert!(codes(response).contains(code), "{code} with {status} of {method} {path} is not promised");
    }
}

#[test]
fn it_has_the_problem_codes_of_the_code_each_with_its_status() {
    let in_code: BTreeSet<_> = ProblemCode::ALL.iter().map(|code| (code.as_str(), code.status().as_u16())).collect();
    let mut documented = BTreeSet::new();
    for ((path, method), operation) in operations() {
        for (status, response) in responses(operation) {
            assert_eq!(codes(response).is_empty(), status < 400, "{method} {path}: each problem has its codes");
            documented.extend(codes(response).into_iter().map(|code| (code, status)));
        }
    }
    assert_eq!(documented, in_code);
}

/// What is written beside a `$ref` is lost in most generated clients.
#[test]
fn no_reference_has_siblings() {
    fn siblings(value: &Value, at: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                if fields.contains_key("$ref") && fields.len() > 1 {
                    found.push(at.to_owned());
                }
                fields.iter().for_each(|(name, value)| siblings(value, &format!("{at}/{name}"), found));
            }
            Value::Array(values) => {
                values.iter().enumerate().for_each(|(index, value)| siblings(value, &format!("{at}/{index}"), found));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    siblings(&DOCUMENT, "", &mut found);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn it_has_the_values_of_the_code() {
    fn values<T: Serialize>(all: &[T]) -> Value {
        json!(all)
    }
    let schemas = &DOCUMENT["components"]["schemas"];
    let field_codes = &schemas["Problem"]["properties"]["errors"]["items"]["properties"]["code"]["enum"];
    for (documented, in_code) in [
        (&schemas["Status"]["enum"], values(&Status::known().collect::<Vec<_>>())),
        (&schemas["Reason"]["enum"], values(&Reason::known().collect::<Vec<_>>())),
        (&schemas["Country"]["enum"], values(&Country::ALL)),
        (field_codes, values(FieldErrorCode::ALL)),
        (&schemas["ScheduleId"]["maximum"], json!(appointment::ScheduleId::MAX)),
        (&DOCUMENT["info"]["version"], json!(env!("CARGO_PKG_VERSION"))),
    ] {
        assert_eq!(*documented, in_code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_served_as_it_is_in_the_repository() {
    let double = Double::start(&[]).await;
    let host = host(&double).await;
    let response = local_stack::http::Http::default().get(&format!("{}/openapi.yaml", host.url())).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/yaml");
    assert_eq!(response.headers()["content-length"], response.body().len().to_string());
    assert!(*response.body() == std::fs::read(workspace().join(FILE)).unwrap());
    assert!(double.operations().is_empty());
}

/// Installs what the tests of the description run, and returns when it is there.
pub(crate) fn set_up() {
    setup::run_for_tests(&workspace(), &Progress::silent()).unwrap();
}

#[test]
fn the_linters_find_nothing() {
    set_up();
    let folder = workspace().join("tests/contract");
    let spectral = |file: &std::path::Path| {
        let mut spectral = OpenApiTools::command(&workspace(), "spectral").unwrap();
        spectral.args(["lint", "--fail-severity", "hint", "--ruleset"]).arg(folder.join("spectral.yaml")).arg(file);
        spectral.output().unwrap()
    };
    let redocly = |file: &std::path::Path| {
        let mut redocly = OpenApiTools::command(&workspace(), "redocly").unwrap();
        // Every finding of this rule set fails, a warning too.
        redocly.args(["lint", "--extends", "recommended-strict"]).arg(file);
        redocly.env("REDOCLY_TELEMETRY", "off").env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true").current_dir(&folder);
        redocly.output().unwrap()
    };
    let file = workspace().join(FILE);
    // They find what is there to be found: an example that is not of its schema, and a reference that leads nowhere.
    let text = std::fs::read_to_string(&file).unwrap();
    let broken = text.replacen("insuredId: '00123'", "insuredId: '123'", 1);
    let broken = broken.replacen("#/components/schemas/Reason'", "#/components/schemas/Cause'", 1);
    let broken_file = scratch_folder("linter").join("openapi.yaml");
    std::fs::write(&broken_file, broken).unwrap();
    type Lint<'a> = &'a dyn Fn(&std::path::Path) -> std::process::Output;
    let linters: [(Lint, &str); 2] = [(&spectral, "oas3-valid-media-example"), (&redocly, "no-unresolved-refs")];
    for (lint, finding) in linters {
        let output = lint(&file);
        assert!(output.status.success(), "{}", text_of(&output));
        let output = lint(&broken_file);
        assert!(!output.status.success() && text_of(&output).contains(finding), "{}", text_of(&output));
    }
}

/// What a program said.
pub(crate) fn text_of(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Requests made from the document, good and bad, one after another and in sequences that the links tell of; with a token
/// of staff, and without one if that has to be refused.
#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing() {
    let stack = stack().await;
    let services = stack.services();
    let issuer = TokenIssuer::generate().unwrap();
    let grant = Grant { insured_id: None, staff: true, lifetime: Duration::from_secs(3600) };
    let token = issuer.mint(Algorithm::EdDsa, &grant).unwrap();
    // The stack's own application asks for no tokens; this one does, before the same table, topic and functions.
    let mut variables = services.variables().unwrap();
    variables.extend(Authentication::Jwt(&issuer).variables());
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let emulator = services.emulator_url();
    let host = host_with(&emulator, &emulator, &variables).await;

    let folder = scratch_folder("schemathesis");
    let report = folder.join("report.har");
    let url = host.url();
    let output = tokio::task::spawn_blocking(move || {
        set_up();
        Command::new(SCHEMATHESIS.program(&workspace()))
            .arg("--config-file")
            .arg(workspace().join("tests/contract/schemathesis.toml"))
            .args(["run", &format!("{url}/openapi.yaml"), "--report", "har", "--report-har-path"])
            .arg(&report)
            .args(std::env::var("SCHEMATHESIS_EXAMPLES").iter().flat_map(|number| ["--max-examples", number]))
            .env("STAFF_TOKEN", token)
            .current_dir(&folder)
            .output()
            .map(|output| (output, report))
    });
    let (output, report) = output.await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    let mut statuses: BTreeMap<u64, usize> = BTreeMap::new();
    for entry in report["log"]["entries"].as_array().unwrap() {
        if entry["request"]["method"] == "POST" && entry["request"]["url"].as_str().unwrap().ends_with("/appointments")
        {
            *statuses.entry(entry["response"]["status"].as_u64().unwrap()).or_default() += 1;
        }
    }
    println!("POST /appointments by status: {statuses:?}");
    // A check repeats requests without their token: the responses with 401 are those, not the generated ones.
    assert!(statuses.remove(&401).is_some(), "requests are repeated without a token");
    let all: usize = statuses.values().sum();
    let accepted: usize = statuses.range(200..300).map(|(_, number)| number).sum();
    // What covers the schema's borders is refused, and as much in the short form as in the long one.
    assert!(accepted * 3 >= all, "more than two thirds of the bookings were refused: {statuses:?}");
}
