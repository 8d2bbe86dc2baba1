//! The embedded host: what it refuses, what it gives components, and what a failing component cannot do.
//!
//! The component is `tests/fixtures/edge-fixture`, whose behaviour the path chooses.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use edge_host::{
    CodeOrigin, EdgeHost, EdgeHostBuilder, Error, Executor, LogSink, Manifest, Message, MessageAction, RunningHost,
    WasmEngine, compile_ahead,
};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tests::component;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::raw_double::{OK_RESPONSE, RawDouble};

const HEAD: &str = "spin_manifest_version = 2\n[application]\nname = 'fixture'\n";

/// The manifest of an application that serves everything with the fixture. `component` is the rest of its table.
fn fixture_manifest(component_table: &str) -> Manifest {
    let source = component("edge-fixture");
    let text = format!(
        "{HEAD}[[trigger.http]]\nroute = '/...'\ncomponent = 'fixture'\n\
         [component.fixture]\nsource = '{}'\n{component_table}",
        source.display()
    );
    Manifest::parse(&text, "spin.toml").unwrap()
}

fn cache_folder() -> PathBuf {
    tests::target_folder().join("edge-host-cache")
}

fn fixture(component_table: &str) -> EdgeHostBuilder {
    EdgeHost::builder(fixture_manifest(component_table)).cache_folder(cache_folder())
}

/// A sink that keeps every line as a console would show it.
fn recording_log() -> (LogSink, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = lines.clone();
    (Arc::new(move |line| kept.lock().unwrap().push(line.to_string())), lines)
}

struct TextResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

async fn send(addr: SocketAddr, request: Request<Full<Bytes>>) -> hyper::Result<TextResponse> {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(TextResponse { status: head.status, headers: head.headers, body: String::from_utf8(body.to_vec()).unwrap() })
}

async fn get(host: &RunningHost, path: &str) -> TextResponse {
    let request = Request::get(path).header("host", host.addr().to_string());
    send(host.addr(), request.body(Full::default()).unwrap()).await.unwrap()
}

async fn get_text(host: &RunningHost, path: &str) -> String {
    let response = get(host, path).await;
    assert_eq!(response.status, StatusCode::OK, "{path}: {}", response.body);
    response.body
}

// --- the manifest -----------------------------------------------------------------------------------------------------

#[test]
fn a_manifest_that_asks_for_more_is_refused_by_name() {
    let trigger = "[[trigger.http]]\nroute = '/...'\ncomponent = 'a'\n";
    let with_component = |rest: &str| format!("{HEAD}{trigger}[component.a]\nsource = 'a.wasm'\n{rest}");
    for (manifest, expected) in [
        ("spin_manifest_version = 1".to_owned(), vec!["`spin_manifest_version` is 1"]),
        (String::new(), vec!["`spin_manifest_version` is missing"]),
        (format!("{HEAD}[application.trigger.http]\nbase = '/'"), vec!["[application]", "`trigger`"]),
        (format!("{HEAD}targets = ['spin-up:3']"), vec!["[application]", "`targets`"]),
        (format!("{HEAD}colour = 'red'"), vec!["[application]", "unknown key `colour`", "`description`"]),
        (format!("{HEAD}[extra]\na = 1"), vec!["the manifest", "unknown key `extra`"]),
        (format!("{HEAD}[variables]\na = {{ requierd = true }}"), vec!["[variables] a", "`requierd`"]),
        (format!("{HEAD}[variables]\na = {{}}"), vec!["[variables]", "`a`", "`required = true` or has a `default`"]),
        (format!("{HEAD}[variables]\nA = {{ default = '' }}"), vec!["[variables]", "`A`", "lower_snake_case"]),
        (format!("{HEAD}[[trigger.sqs]]\nqueue_url = 'q'\ncomponent = 'a'"), vec!["`trigger.sqs`"]),
        (format!("{HEAD}[[trigger.redis]]\nchannel = 'c'"), vec!["`trigger.redis`"]),
        (
            with_component("[[trigger.http]]\nroute = { private = false }\ncomponent = 'a'"),
            vec!["[[trigger.http]] of a private route", "`route.private`", "`{ private = true }` or a path"],
        ),
        (
            with_component("[[trigger.http]]\nroute = { private = true, path = '/' }\ncomponent = 'a'"),
            vec!["[[trigger.http]] route", "unknown key `path`", "`private`"],
        ),
        (
            format!("{HEAD}[[trigger.http]]\nroute = '/a'\ncomponent = 'a'\nexecutor = {{ type = 'wagi' }}"),
            vec!["route \"/a\"", "`executor`"],
        ),
        (format!("{HEAD}{trigger}"), vec!["route \"/...\"", "there is no [component.a]"]),
        (with_component(trigger), vec!["another trigger has the same route"]),
        (
            with_component("[[trigger.http]]\nroute = '/.well-known/spin/info'\ncomponent = 'a'"),
            vec!["/.well-known/spin", "Spin's own"],
        ),
        (with_component("files = ['a']"), vec!["[component.a]", "`files`"]),
        (
            with_component("key_value_stores = ['default', 'other']"),
            vec!["[component.a]", "`key_value_stores`", "`other`"],
        ),
        (with_component("sqlite_databases = ['default']"), vec!["[component.a]", "`sqlite_databases`"]),
        (with_component("ai_models = ['llama']"), vec!["[component.a]", "`ai_models`"]),
        (with_component("[component.a.dependencies]\n'a:b' = '1'"), vec!["[component.a]", "`dependencies`"]),
        (with_component("[component.a.tool.x]\na = 'b'"), vec!["[component.a]", "`tool`"]),
        (with_component("enviroment = {}"), vec!["[component.a]", "unknown key `enviroment`", "`environment`"]),
        (with_component("[component.a.build]\ncommand = 'x'\nwatched = []"), vec!["[component.a] build", "`watched`"]),
        (with_component("[component.a.variables]\nBig = 'x'"), vec!["[component.a.variables]", "`Big`"]),
        (
            format!("{HEAD}{trigger}[component.a]\nsource = {{ url = 'https://a', digest = 'sha256:0' }}"),
            vec!["[component.a]", "`source.digest`"],
        ),
        (
            format!("{HEAD}[[trigger.http]]\nroute = '/'\ncomponent = {{ source = 'a', files = ['a'] }}"),
            vec!["inline component", "route \"/\"", "`files`"],
        ),
    ] {
        let refused = Manifest::parse(&manifest, "app/spin.toml").expect_err(&manifest).to_string();
        for part in expected.into_iter().chain(["app/spin.toml"]) {
            assert!(refused.contains(part), "{part:?} is not in {refused:?} for\n{manifest}");
        }
    }
}

#[tokio::test]
async fn hosts_and_templates_that_mean_nothing_stop_the_start() {
    for (table, expected) in [
        (
            "allowed_outbound_hosts = ['redis://localhost']",
            "allowed_outbound_hosts`: \"redis://localhost\": the scheme",
        ),
        ("allowed_outbound_hosts = ['{{ nowhere }}']", "`{{ nowhere }}` names a variable"),
        ("allowed_outbound_hosts = ['{{ empty }}']", "\"{{ empty }}\", which is \"\""),
        ("allowed_outbound_hosts = ['{{ token }}']", "\"{{ token }}\" is no entry"),
        ("variables = { a = '{{ nowhere }}' }", "variables.a"),
    ] {
        let variables = "[variables]\nempty = { default = '' }\ntoken = { default = 'secret-value', secret = true }\n";
        let text = format!(
            "{HEAD}{variables}[[trigger.http]]\nroute = '/'\ncomponent = 'a'\n[component.a]\nsource = 'a.wasm'\n{table}"
        );
        let refused = EdgeHost::builder(Manifest::parse(&text, "spin.toml").unwrap())
            .cache_folder(cache_folder())
            .start()
            .await
            .unwrap_err();
        let message = refused.to_string();
        assert!(message.contains("[component.a]") && message.contains(expected), "{expected:?} is not in {message:?}");
        assert!(!format!("{message}{refused:?}").contains("secret-value"), "{message}");
    }
}

#[tokio::test]
async fn the_start_names_every_missing_variable_and_what_sets_it() {
    let text =
        format!("{HEAD}[variables]\nfirst_key = {{ required = true, secret = true }}\nsecond = {{ required = true }}");
    let builder =
        |text: &str| EdgeHost::builder(Manifest::parse(text, "spin.toml").unwrap()).cache_folder(cache_folder());
    let missing = builder(&text).start().await.unwrap_err().to_string();
    for part in ["`first_key`", "SPIN_VARIABLE_FIRST_KEY", "`second`", "SPIN_VARIABLE_SECOND"] {
        assert!(missing.contains(part), "{missing}");
    }
    let undeclared = builder(HEAD).variable("third", "x").start().await.unwrap_err().to_string();
    assert!(undeclared.contains("`third`"), "{undeclared}");
}

#[tokio::test]
async fn one_component_alone_needs_only_its_own_variables_and_source() {
    let text = format!(
        "{HEAD}[variables]\nhere = {{ required = true }}\nthere = {{ required = true }}\n\
         [[trigger.http]]\nroute = '/here/...'\ncomponent = 'here'\n\
         [[trigger.http]]\nroute = '/there/...'\ncomponent = 'there'\n\
         [component.here]\nsource = '{}'\nvariables = {{ name = '{{{{ here }}}}' }}\n\
         [component.there]\nsource = 'missing.wasm'\nvariables = {{ name = '{{{{ there }}}}' }}\n",
        component("edge-fixture").display()
    );
    let only = |name: &str| Manifest::parse(&text, "spin.toml").unwrap().only(&[name]);
    let host = EdgeHost::builder(only("here").unwrap()).cache_folder(cache_folder());
    let host = host.variable("here", "of this one").start().await.unwrap();
    assert_eq!(host.component_for("/there"), None);
    assert_eq!(host.routes(), [("/here/...".to_owned(), "here".to_owned())]);

    let missing = EdgeHost::builder(only("here").unwrap()).cache_folder(cache_folder()).start().await.unwrap_err();
    assert!(missing.to_string().contains("`here`") && !missing.to_string().contains("`there`"), "{missing}");
    let unknown = only("nowhere").unwrap_err().to_string();
    assert!(unknown.contains("no component `nowhere`; it has `here`, `there`"), "{unknown}");
}

/// An application with only the fixture, called in process. Its route is private.
fn in_process(code: impl FnOnce(EdgeHostBuilder) -> EdgeHostBuilder) -> Executor {
    let text = format!(
        "{HEAD}[[trigger.http]]\nroute = {{ private = true }}\ncomponent = 'fixture'\n\
         [component.fixture]\nsource = '{}'\n",
        component("edge-fixture").display()
    );
    let builder = EdgeHost::builder(Manifest::parse(&text, "spin.toml").unwrap()).instances(2);
    Executor::new(Arc::new(code(builder).load().unwrap()))
}

async fn call(executor: &Executor, path: &str) -> (u16, String) {
    let request = Request::post(format!("http://fixture.spin.internal{path}")).body(Bytes::from("a body")).unwrap();
    let response = executor.call("fixture", request, Duration::from_secs(2)).await.unwrap();
    (response.status().as_u16(), String::from_utf8(response.into_body().to_vec()).unwrap())
}

#[tokio::test]
async fn a_private_route_is_called_by_name_and_has_no_path() {
    let executor = in_process(|builder| builder.cache_folder(cache_folder()));
    let (status, echo) = call(&executor, "/echo/a?b=c").await;
    assert_eq!(status, 200);
    for part in ["POST\n/echo/a?b=c\n", "spin-path-info: /echo/a\n", "spin-raw-component-route: /...\n", "\na body"] {
        assert!(echo.contains(part), "{part:?} is not in {echo}");
    }
    assert!(executor.call("another", Request::default(), Duration::from_secs(1)).await.is_none());

    let public = Request::get("http://a.test/echo/a").body(Bytes::new()).unwrap();
    let refused = executor.handle_http(public, "192.0.2.1:0".parse().unwrap(), Duration::from_secs(1)).await;
    assert_eq!(refused.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_call_in_process_ends_with_its_instance() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink: LogSink = Arc::new({
        let lines = lines.clone();
        move |line| lines.lock().unwrap().push(line.to_string())
    });
    let executor = in_process(|builder| builder.cache_folder(cache_folder()).log(sink));
    call(&executor, "/print/words").await;
    // A line without its break leaves when the instance is gone.
    assert_eq!(lines.lock().unwrap().last().unwrap(), "[fixture] unfinished words");
    for (path, expected) in [("/trap", 500), ("/nothing", 500), ("/cut-off", 500), ("/loop", 500), ("/echo", 200)] {
        assert_eq!(call(&executor, path).await.0, expected, "{path}");
    }
}

#[tokio::test]
async fn each_message_has_an_instance_of_its_own() {
    let executor = in_process(|builder| builder.cache_folder(cache_folder()));
    let handle = async |body: &str| {
        let message = Message { id: Some("1".to_owned()), message_attributes: Vec::new(), body: Some(body.to_owned()) };
        executor.handle_message("fixture", message, Duration::from_secs(2)).await
    };
    assert!(matches!(handle("delete").await, Ok(MessageAction::Delete)));
    assert!(matches!(handle("leave").await, Ok(MessageAction::Leave)));
    for (body, expected) in [("error", "as asked"), ("trap", "unreachable"), ("loop", "longer than 2s")] {
        let failure = handle(body).await.unwrap_err().to_string();
        assert!(failure.contains(expected), "{body}: {failure}");
    }
    let nobody = Message { id: None, message_attributes: Vec::new(), body: None };
    let failure = executor.handle_message("another", nobody, Duration::from_secs(1)).await.unwrap_err();
    assert!(failure.to_string().contains("no component `another`"), "{failure}");
}

#[tokio::test]
#[expect(unsafe_code, reason = "the test compiles what it loads")]
async fn what_was_compiled_ahead_runs_without_a_compiler() {
    let folder = tempfile::tempdir().unwrap();
    let code = compile_ahead(&std::fs::read(component("edge-fixture")).unwrap(), &here()).unwrap();
    std::fs::write(folder.path().join("fixture.cwasm"), code).unwrap();
    let engine = WasmEngine::without_compiler(2).unwrap();
    // SAFETY: the file was made above, and nobody changes it.
    let executor = in_process(|builder| unsafe { builder.compiled_ahead(folder.path(), engine) });
    assert_eq!(executor.application().loaded()[0].origin, CodeOrigin::Ahead);
    assert_eq!(call(&executor, "/health").await.0, 200);

    let refused = compile_ahead(b"no component", &here()).unwrap_err();
    assert!(!refused.is_empty());
    assert!(compile_ahead(b"", "sparc-unknown-linux-gnu").is_err());
}

/// This machine's target.
fn here() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

#[test]
fn code_for_another_machine_is_refused() {
    let other = if cfg!(target_arch = "x86_64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };
    let code = compile_ahead(&wat::parse_str("(component)").unwrap(), other).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.cwasm"), code).unwrap();
    let manifest = Manifest::parse(&format!("{HEAD}[component.a]\nsource = 'a.wasm'"), "spin.toml").unwrap();
    let builder = EdgeHost::builder(manifest);
    // SAFETY: the file was made above, and nobody changes it.
    #[expect(unsafe_code, reason = "the test compiles what it loads")]
    let builder = unsafe { builder.compiled_ahead(folder.path(), WasmEngine::without_compiler(1).unwrap()) };
    let Err(refused) = builder.load() else { panic!("foreign code was loaded") };
    assert!(refused.to_string().contains("compiled for architecture"), "{refused}");
}

#[tokio::test]
async fn a_component_that_is_not_built_or_not_for_this_host_is_refused_by_name() {
    let folder = tests::target_folder().join("edge-host-tests");
    std::fs::create_dir_all(&folder).unwrap();
    let start = async |wat: Option<&str>| {
        let source = folder.join(format!("{}.wasm", std::process::id()));
        let source = match wat {
            Some(wat) => {
                std::fs::write(&source, wat::parse_str(wat).unwrap()).unwrap();
                source
            }
            None => folder.join("missing.wasm"),
        };
        let text = format!(
            "{HEAD}[[trigger.http]]\nroute = '/'\ncomponent = 'a'\n\
             [component.a]\nsource = '{}'\n[component.a.build]\ncommand = 'make a'",
            source.display()
        );
        let manifest = Manifest::parse(&text, "spin.toml").unwrap();
        EdgeHost::builder(manifest).engine(WasmEngine::new(None).unwrap()).start().await.unwrap_err()
    };

    let missing = start(None).await;
    assert!(matches!(missing, Error::ReadComponent { .. }), "{missing}");
    assert!(missing.to_string().contains("`a`") && missing.to_string().contains("`make a`"), "{missing}");

    let no_component = start(Some("(module)")).await;
    assert!(matches!(no_component, Error::Compile { .. }), "{no_component}");

    let functions = r#"(component
        (import "wasi:filesystem/preopens@0.2.0" (instance (export "get-directories" (func))))
        (import "wasi:sockets/network@0.2.0" (instance (export "network" (type (sub resource)))))
        (import "wasi:io/poll@0.2.6" (instance)))"#;
    match start(Some(functions)).await {
        Error::UnsupportedImports { component, interfaces } => {
            assert_eq!(component, "a");
            assert_eq!(interfaces, ["wasi:filesystem/preopens@0.2.0", "wasi:sockets/network@0.2.0"]);
        }
        other => panic!("{other}"),
    }

    // Importing types is allowed. A component that handles no requests is refused.
    let types = r#"(component (import "fermyon:spin-sqs/sqs-types@2.0.0" (instance
        (type $d (enum "delete" "leave")) (export "action" (type (eq $d))))))"#;
    let no_handler = start(Some(types)).await;
    assert!(matches!(no_handler, Error::Link { .. }), "{no_handler}");
    assert!(no_handler.to_string().contains("wasi:http/incoming-handler"), "{no_handler}");
}

#[tokio::test]
async fn routes_match_as_in_spin() {
    let source = component("edge-fixture");
    let mut text = HEAD.to_owned();
    for (index, route) in
        ["/", "/health", "/users/...", "/users/:id", "/users/me", "/a/:first/b/:second"].iter().enumerate()
    {
        text += &format!("[[trigger.http]]\nroute = '{route}'\ncomponent = 'c{index}'\n");
    }
    for index in 0..6 {
        text += &format!("[component.c{index}]\nsource = '{}'\n", source.display());
    }
    let manifest = Manifest::parse(&text, "spin.toml").unwrap();
    let host = EdgeHost::builder(manifest).cache_folder(cache_folder()).start().await.unwrap();
    for (path, expected) in [
        ("/", Some("c0")),
        ("/health", Some("c1")),
        ("/health/", Some("c1")),
        ("/health/more", None),
        ("/other", None),
        ("/users", Some("c2")),
        ("/users/", Some("c2")),
        ("/users/1/2", Some("c2")),
        ("/users/1", Some("c3")),
        ("/users/me", Some("c4")),
        ("/a/1/b/2", Some("c5")),
        ("/a/1/b", None),
    ] {
        assert_eq!(host.component_for(path), expected, "{path}");
    }
    assert_eq!(get(&host, "/other").await.status, StatusCode::NOT_FOUND);
}

// --- what a component gets ----------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_component_sees_the_request_and_how_it_was_reached() {
    let source = component("edge-fixture");
    let text = format!(
        "{HEAD}[[trigger.http]]\nroute = '/echo/:id/...'\ncomponent = 'a'\n[component.a]\nsource = '{}'",
        source.display()
    );
    let manifest = Manifest::parse(&text, "spin.toml").unwrap();
    let host = EdgeHost::builder(manifest).cache_folder(cache_folder()).start().await.unwrap();
    let request = Request::post("/echo/7/rest?q=1")
        .header("host", "clinic.example")
        .header("x-own", "kept")
        .header("spin-client-addr", "forged")
        .header("spin-path-match-other", "forged")
        .body(Full::from("content"))
        .unwrap();
    let echo = send(host.addr(), request).await.unwrap().body;
    for line in [
        "POST",
        "/echo/7/rest?q=1",
        "x-own: kept",
        "content",
        "spin-full-url: http://clinic.example/echo/7/rest?q=1",
        "spin-path-info: /rest",
        "spin-path-match-id: 7",
        "spin-matched-route: /echo/:id/...",
        "spin-component-route: /echo/:id",
    ] {
        assert!(echo.lines().any(|each| each == line), "{line:?} is not in\n{echo}");
    }
    assert!(!echo.contains("forged"), "{echo}");
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_share_the_store_that_the_manifest_gives_them() {
    let host = fixture("key_value_stores = ['default']").start().await.unwrap();
    assert_eq!(get_text(&host, "/key-value/default").await, r#"1 (true, true) None ["visits"]"#);
    assert_eq!(get_text(&host, "/key-value/default").await, r#"2 (true, true) None ["visits"]"#);
    assert_eq!(get_text(&host, "/key-value/another").await, "Error::AccessDenied");
    let other_host = fixture("key_value_stores = ['default']").start().await.unwrap();
    assert_eq!(get_text(&other_host, "/key-value/default").await, r#"1 (true, true) None ["visits"]"#);
    let without = fixture("").start().await.unwrap();
    assert_eq!(get_text(&without, "/key-value/default").await, "Error::AccessDenied");
}

#[tokio::test]
async fn a_component_sees_its_own_variables_and_environment_and_no_more() {
    let source = component("edge-fixture");
    let text = format!(
        "{HEAD}[variables]\nregion = {{ default = 'us-east-1' }}\nkey = {{ required = true, secret = true }}\n\
         [[trigger.http]]\nroute = '/...'\ncomponent = 'a'\n\
         [component.a]\nsource = '{}'\nenvironment = {{ MODE = 'test' }}\n\
         [component.a.variables]\nplace = 'in {{{{ region }}}}'\napi_key = '{{{{ key }}}}'",
        source.display()
    );
    let builder = EdgeHost::builder(Manifest::parse(&text, "spin.toml").unwrap())
        .cache_folder(cache_folder())
        .variable("key", "secret-value");
    assert!(!format!("{builder:?}").contains("secret-value"));
    let (log, lines) = recording_log();
    let host = builder.log(log).start().await.unwrap();
    assert!(!format!("{host:?}").contains("secret-value"));

    for (name, expected) in [
        ("place", "in us-east-1"),
        ("api_key", "secret-value"),
        ("region", "Error::Undefined(\"no variable `region` for this component\")"),
        ("Not-A-Name", "Error::InvalidName(\"Not-A-Name\")"),
    ] {
        assert_eq!(get_text(&host, &format!("/variable/{name}")).await, expected);
    }
    assert_eq!(get_text(&host, "/environment").await, "MODE=test\n");
    assert!(lines.lock().unwrap().iter().all(|line| !line.contains("secret-value")));
}

#[tokio::test]
async fn output_arrives_in_whole_lines_with_the_components_name() {
    let (log, lines) = recording_log();
    let host = fixture("").log(log).start().await.unwrap();
    let print = async |host: &RunningHost, number: i32| get(host, &format!("/print/n{number}")).await;
    let requests = (0..40).map(|number| print(&host, number));
    futures::future::join_all(requests).await;
    assert_eq!(host.shutdown().await, 0);
    let lines = lines.lock().unwrap();
    for number in 0..40 {
        for expected in [format!("[fixture] n{number}-n{number}"), format!("[fixture] unfinished n{number}")] {
            assert_eq!(lines.iter().filter(|line| **line == expected).count(), 1, "{expected:?} in {lines:#?}");
        }
    }
}

// --- outbound requests --------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_call_to_a_host_that_is_not_allowed_opens_no_connection() {
    let allowed = RawDouble::start(OK_RESPONSE, usize::MAX).await;
    let spy = RawDouble::start(OK_RESPONSE, usize::MAX).await;
    let (log, lines) = recording_log();
    let table = format!("allowed_outbound_hosts = ['http://{}']", allowed.addr);
    let host = fixture(&table).log(log).start().await.unwrap();

    assert_eq!(get_text(&host, &format!("/call?{}", allowed.url("/"))).await, "200 fine");
    for url in [
        spy.url("/"),
        format!("http://localhost:{}/", allowed.addr.port()),
        format!("https://{}/", allowed.addr),
        format!("http://{}@{}/", allowed.addr, spy.addr),
    ] {
        let refused = get(&host, &format!("/call?{url}")).await;
        assert_eq!(refused.status, StatusCode::BAD_GATEWAY, "{url}");
        assert!(refused.body.contains("HttpRequest"), "{url}: {}", refused.body);
    }
    assert_eq!(*spy.connections.lock().unwrap(), 0);
    let lines = lines.lock().unwrap();
    let entry = format!("\"host\":\"http://{}\"", spy.addr);
    assert!(lines.iter().any(|line| line.contains(&entry) && line.contains("\"component\":\"fixture\"")), "{lines:#?}");
}

#[tokio::test]
async fn a_request_and_a_response_arrive_in_one_read_over_a_kept_connection() {
    let upstream = RawDouble::start(OK_RESPONSE, usize::MAX).await;
    let table = format!("allowed_outbound_hosts = ['http://{}']", upstream.addr);
    let host = fixture(&table).threads(1.try_into().unwrap()).start().await.unwrap();

    let mut client = TcpStream::connect(host.addr()).await.unwrap();
    for _ in 0..20 {
        let request = format!("GET /call?{} HTTP/1.1\r\nhost: a\r\n\r\n", upstream.url("/path"));
        client.write_all(request.as_bytes()).await.unwrap();
        let mut buffer = vec![0; 64 * 1024];
        let size = client.read(&mut buffer).await.unwrap();
        let response = String::from_utf8_lossy(&buffer[..size]);
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("\r\n\r\n200 fine"), "{response}");
        assert!(response.contains("content-length: 8\r\n"), "{response}");
    }
    let reads = upstream.reads.lock().unwrap();
    assert_eq!(reads.len(), 20);
    for read in &*reads {
        assert!(read.starts_with("POST /path HTTP/1.1\r\n") && read.ends_with("\r\n\r\nthe request's body"), "{read}");
        assert!(read.contains(&format!("host: {}\r\n", upstream.addr)), "{read}");
    }
    assert_eq!(*upstream.connections.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_while_idle_is_no_error() {
    let upstream = RawDouble::start(OK_RESPONSE, 1).await;
    let table = format!("allowed_outbound_hosts = ['http://{}']", upstream.addr);
    let host = fixture(&table).threads(1.try_into().unwrap()).start().await.unwrap();
    for _ in 0..20 {
        assert_eq!(get_text(&host, &format!("/call?{}", upstream.url("/"))).await, "200 fine");
        // The server's close arrives before the next request leaves, as it does after any idle time.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(*upstream.connections.lock().unwrap(), 20);
}

#[tokio::test]
async fn calls_end_with_what_happened_to_them() {
    let silent = RawDouble::start("", usize::MAX).await;
    let stalling = RawDouble::start("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", usize::MAX).await;
    let nonsense = RawDouble::start("nonsense\r\n\r\n", usize::MAX).await;
    let breaking = RawDouble::start("HTTP/1.1 200 OK\r\n", 1).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let host = fixture("allowed_outbound_hosts = ['*://127.0.0.1:*', 'http://name.invalid']").start().await.unwrap();
    for (url, status, expected) in [
        (silent.url("/"), 502, "ConnectionReadTimeout"),
        (stalling.url("/"), 200, "200 half (broken off)"),
        (nonsense.url("/"), 502, "HttpProtocolError"),
        (breaking.url("/"), 502, "ConnectionTerminated"),
        (format!("http://{closed}/"), 502, "ConnectionRefused"),
        ("http://name.invalid/".to_owned(), 502, "DnsError"),
        (format!("https://{}/", silent.addr), 502, "ConnectionTimeout"),
        (format!("https://{}/", nonsense.addr), 502, "TlsProtocolError"),
    ] {
        let response = get(&host, &format!("/call?{url}")).await;
        assert_eq!(response.status.as_u16(), status, "{url}: {}", response.body);
        assert!(response.body.contains(expected), "{url}: {}", response.body);
    }
}

#[tokio::test]
async fn tls_reaches_only_servers_that_are_trusted() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = certified.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let mut buffer = vec![0; 64 * 1024];
                assert!(stream.read(&mut buffer).await.unwrap() > 0);
                stream.write_all(OK_RESPONSE.as_bytes()).await.unwrap();
            }
        }
    });

    let call = format!("/call?https://localhost:{port}/");
    let table = "allowed_outbound_hosts = ['https://localhost:*']";
    let trusting = fixture(table).trust_root(certificate).start().await.unwrap();
    assert_eq!(get_text(&trusting, &call).await, "200 fine");
    let ordinary = fixture(table).start().await.unwrap();
    assert!(get(&ordinary, &call).await.body.contains("TlsCertificateError"));
}

// --- components that fail -----------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_component_that_fails_gives_500_and_harms_no_other_request() {
    let (log, lines) = recording_log();
    // One thread, which the failing and the well-behaved request share.
    let host = fixture("")
        .threads(1.try_into().unwrap())
        .request_timeout(Duration::from_secs(2))
        .log(log)
        .start()
        .await
        .unwrap();
    let served = AtomicU32::new(0);
    let failing = async {
        let mut failures = Vec::new();
        for (path, reason) in [
            ("/trap", "unreachable"),
            ("/late-trap", "unreachable"),
            ("/exit", "it exited with status 1"),
            ("/nothing", "it returned without a response"),
            ("/memory/200", "more than 128 MiB of memory"),
            ("/loop", "it took longer than 2s"),
            ("/sleep/5000", "it took longer than 2s"),
        ] {
            let before = served.load(Ordering::Relaxed);
            failures.push((path, reason, get(&host, path).await));
            if path == "/loop" {
                // It holds the thread for a second, and is interrupted every 10 ms for the others.
                let meanwhile = served.load(Ordering::Relaxed) - before;
                assert!(meanwhile >= 5, "{meanwhile} requests were served beside a component that computes");
            }
        }
        failures
    };
    let well_behaved = async {
        loop {
            assert!(get_text(&host, "/echo").await.starts_with("GET\n/echo\n"));
            served.fetch_add(1, Ordering::Relaxed);
        }
    };
    let failures = tokio::select! {
        failures = failing => failures,
        () = well_behaved => unreachable!("it serves for ever"),
    };
    for (path, reason, response) in failures {
        // If an epoch ends between a complete response and the trap after it, the response is sent.
        if path != "/late-trap" || response.status != StatusCode::OK {
            assert_eq!(response.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
            assert_eq!(response.headers["content-type"], "application/problem+json", "{path}");
        }
        let lines = lines.lock().unwrap();
        let found = lines.iter().any(|line| line.contains("\"level\":\"ERROR\"") && line.contains(reason));
        assert!(found, "{path}: {reason:?} is not in {lines:#?}");
    }
    assert_eq!(get_text(&host, "/memory/100").await, (100 << 20).to_string());
}

#[tokio::test]
async fn a_failure_is_logged_with_the_requests_trace() {
    let (log, lines) = recording_log();
    let host = fixture("").log(log).start().await.unwrap();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let request = Request::get("/trap")
        .header("host", "a")
        .header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"))
        .body(Full::default())
        .unwrap();
    assert_eq!(send(host.addr(), request).await.unwrap().status, StatusCode::INTERNAL_SERVER_ERROR);
    let lines = lines.lock().unwrap();
    let failure = lines.iter().find(|line| line.contains("failed to serve")).unwrap();
    let failure: serde_json::Value = serde_json::from_str(failure).unwrap();
    assert_eq!(failure["trace_id"], trace);
    assert_eq!(failure["component"], "fixture");
    assert_eq!(failure["level"], "ERROR");
    assert_eq!(failure["service"], "edge-host");
    assert!(failure["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn a_response_that_ends_early_is_seen_to_be_incomplete() {
    let host = fixture("").start().await.unwrap();
    let request = Request::get("/cut-off").header("host", "a").body(Full::default()).unwrap();
    assert!(send(host.addr(), request).await.is_err());
}

#[tokio::test]
async fn a_response_to_a_body_that_was_not_read_still_arrives() {
    let host = fixture("").start().await.unwrap();
    let request = Request::post("/refuse").header("host", "a").body(Full::from(vec![b'x'; 1 << 20])).unwrap();
    let refused = send(host.addr(), request).await.unwrap();
    assert_eq!((refused.status, refused.body.as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "refused"));
}

#[tokio::test]
async fn requests_beyond_the_instances_wait_and_are_then_turned_away() {
    let host = fixture("").instances(1).start().await.unwrap();
    let (first, second) = tokio::join!(get(&host, "/sleep/300"), get(&host, "/sleep/300"));
    assert_eq!((first.status, second.status), (StatusCode::OK, StatusCode::OK));

    // Either may be the first.
    let (one, other) = tokio::join!(get(&host, "/sleep/3000"), get(&host, "/sleep/3000"));
    let (served, turned_away) = if one.status == StatusCode::OK { (one, other) } else { (other, one) };
    assert_eq!((served.status, turned_away.status), (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(turned_away.headers["retry-after"], "1");
}

// --- start and stop -----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn the_second_start_compiles_nothing() {
    let folder = tests::target_folder().join(format!("edge-host-tests/cache-{}", std::process::id()));
    let mut origins = Vec::new();
    // Each engine represents another process: they share only the folder.
    for _ in 0..2 {
        let engine = WasmEngine::new(Some(&folder)).unwrap();
        let host = fixture("").engine(engine.clone()).start().await.unwrap();
        origins.push(host.components()[0].origin);
        assert!(get_text(&host, "/echo").await.starts_with("GET"));
        let again = fixture("").engine(engine).start().await.unwrap();
        assert_eq!(again.components()[0].origin, CodeOrigin::Process);
    }
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(origins, [CodeOrigin::Compiled, CodeOrigin::DiskCache]);
}

#[tokio::test]
async fn a_port_that_is_taken_is_a_clear_error() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = taken.local_addr().unwrap();
    let refused = fixture("").listen(addr).start().await.unwrap_err().to_string();
    assert!(refused.contains(&addr.to_string()) && refused.contains("--listen"), "{refused}");
    let first = fixture("").start().await.unwrap();
    assert!(fixture("").listen(first.addr()).start().await.is_err(), "another host of the same kind takes it neither");
}

#[tokio::test]
async fn shutdown_lets_requests_in_flight_finish_and_takes_no_more() {
    let silent = RawDouble::start("", usize::MAX).await;
    let host = fixture("allowed_outbound_hosts = ['http://127.0.0.1:*']").start().await.unwrap();
    let addr = host.addr();
    // A second connection, which idles, must not keep the host from stopping.
    let mut idle = TcpStream::connect(addr).await.unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(idle.read(&mut [0; 1024]).await.unwrap() > 0);
    // It is in flight once the server that it calls has its call, which ends by its time.
    let call = format!("/call?{}", silent.url("/"));
    let in_flight = tokio::spawn(send(addr, Request::get(call).header("host", "a").body(Full::default()).unwrap()));
    while silent.reads.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let started = Instant::now();
    assert_eq!(host.shutdown().await, 0);
    assert!(started.elapsed() < Duration::from_secs(5));
    let response = in_flight.await.unwrap().unwrap();
    assert_eq!(response.status, StatusCode::BAD_GATEWAY);
    assert!(response.body.contains("ConnectionReadTimeout"), "{}", response.body);
    idle.read_to_end(&mut Vec::new()).await.expect("the idle connection is closed");
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn a_host_that_is_dropped_stops() {
    let addr = fixture("").start().await.unwrap().addr();
    let started = Instant::now();
    while TcpStream::connect(addr).await.is_ok() {
        assert!(started.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
