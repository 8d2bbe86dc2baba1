//! The README's curl sessions against the running system. The test has its own implementation of the options of curl that they use.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use http::{Method, Request, Version};
use local_stack::http::Http;
use regex::{Captures, Regex, escape};
use serde_json::Value;
use tests::{SAMPLE_DAYS, own_stack_with_slots, workspace};

use crate::application::PATIENCE;
use crate::openapi::DOCUMENT;

/// One line to type, and what it prints.
struct Step {
    command: String,
    output: String,
}

/// The steps of every `console` block: a line that begins with `$ ` is typed (with those that its `\` continues), and
/// what follows it is printed.
fn steps(markdown: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut inside, mut continued) = (false, false);
    for line in markdown.lines() {
        match (inside, line) {
            (false, "```console") => inside = true,
            (true, "```") => inside = false,
            (true, line) if line.starts_with("$ ") => {
                continued = line.ends_with('\\');
                steps.push(Step { command: line[2..].to_owned(), output: String::new() });
            }
            (true, line) => {
                let step = steps.last_mut().expect("a console block begins with a command");
                let text = if continued { &mut step.command } else { &mut step.output };
                if continued {
                    text.push('\n');
                }
                text.push_str(line);
                if !continued {
                    text.push('\n');
                }
                continued = continued && line.ends_with('\\');
            }
            (false, _) => {}
        }
    }
    steps
}

/// What differs each time: an id (which is remembered), an instant, a date, a length, a cursor, a local time and its offset, a
/// request's id.
fn changing() -> Regex {
    Regex::new(concat!(
        r"(?P<id>[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})",
        r"|(?P<instant>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)",
        r"|(?P<date>\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT)",
        r"|(?P<length>content-length: \d+)",
        r#"|(?P<cursor>"nextCursor":"[\w-]+")"#,
        r"|(?P<local>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d)",
        r#"|(?P<offset>"utcOffset":"[+-]\d\d:\d\d")"#,
        r"|(?P<request>urn:medical-appointments:request:[0-9a-f]{16})",
    ))
    .unwrap()
}

/// Whether the output is the one in the README, except for what changes; remembers the ids in it.
fn fits(shown: &str, output: &str, ids: &mut HashMap<String, String>) -> bool {
    let mut pattern = String::from("^");
    let mut new = Vec::new();
    let mut end = 0;
    for found in changing().captures_iter(shown) {
        let whole = found.get(0).unwrap();
        pattern.push_str(&escape(&shown[end..whole.start()]));
        end = whole.end();
        let is = |name| Captures::name(&found, name).is_some();
        if is("id") {
            match ids.get(whole.as_str()) {
                Some(id) => pattern.push_str(id),
                None => {
                    pattern.push_str("([0-9a-f-]{36})");
                    new.push(whole.as_str().to_owned());
                }
            }
        } else if is("instant") {
            pattern.push_str(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z");
        } else if is("date") {
            pattern.push_str(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT");
        } else if is("length") {
            pattern.push_str(r"content-length: \d+");
        } else if is("local") {
            pattern.push_str(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d");
        } else if is("offset") {
            pattern.push_str(r#""utcOffset":"[+-]\d\d:\d\d""#);
        } else if is("request") {
            pattern.push_str("urn:medical-appointments:request:[0-9a-f]{16}");
        } else {
            pattern.push_str(r#""nextCursor":"[\w-]+""#);
        }
    }
    pattern.push_str(&escape(&shown[end..]));
    pattern.push('$');
    let Some(captures) = Regex::new(&pattern).unwrap().captures(output) else { return false };
    // The same new id may be in one output twice, and has to be the same there too.
    for (shown, found) in new.into_iter().zip(captures.iter().skip(1)) {
        let found = found.unwrap().as_str();
        if ids.entry(shown).or_insert_with(|| found.to_owned()) != found {
            return false;
        }
    }
    true
}

/// The options of curl that the README uses; another one fails the test by name.
#[derive(Parser)]
struct Curl {
    url: String,
    #[arg(short = 'i')]
    with_headers: bool,
    #[arg(short = 'I')]
    head: bool,
    #[arg(short = 'X')]
    method: Option<Method>,
    #[arg(short = 'H')]
    headers: Vec<String>,
    #[arg(short = 'd')]
    data: Option<String>,
}

impl Curl {
    /// Sends the request, and returns what curl prints of the response.
    async fn run(&self) -> String {
        let implied = if self.head { Method::HEAD } else { self.data.as_ref().map_or(Method::GET, |_| Method::POST) };
        let mut request = Request::builder().method(self.method.clone().unwrap_or(implied)).uri(&self.url);
        for header in &self.headers {
            let (name, value) = header.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        let body = Bytes::from(self.data.clone().unwrap_or_default());
        let response = Http::default().send(request.body(body).unwrap()).await.unwrap();
        let mut printed = String::new();
        if self.with_headers || self.head {
            assert_eq!(response.version(), Version::HTTP_11);
            writeln!(printed, "HTTP/1.1 {}", response.status()).unwrap();
            for (name, value) in response.headers() {
                writeln!(printed, "{name}: {}", value.to_str().unwrap()).unwrap();
            }
            printed.push('\n');
        }
        printed.push_str(std::str::from_utf8(response.body()).unwrap());
        if printed.ends_with('\n') { printed } else { printed + "\n" }
    }
}

fn readme() -> String {
    std::fs::read_to_string(workspace().join("README.md")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_curl_sessions_print_what_the_readme_shows() {
    // Its own, with the slots that the sessions name.
    let stack = own_stack_with_slots("readme", SAMPLE_DAYS).await;
    let steps = steps(&readme());
    assert!(steps.len() >= 10, "the README has a session for every route");
    let url = stack.url();
    let mut ids: HashMap<String, String> = HashMap::new();
    for Step { command, output: shown } in &steps {
        let mut typed: String = command.replace("http://127.0.0.1:3000", &url);
        for (shown, found) in &ids {
            typed = typed.replace(shown, found);
        }
        let curl = Curl::try_parse_from(shell_words::split(&typed).unwrap()).unwrap();
        // A read may be repeated until the country has decided.
        let reads = curl.data.is_none() && curl.method != Some(Method::DELETE);
        let started = Instant::now();
        loop {
            let printed = curl.run().await;
            if fits(shown, &printed, &mut ids) {
                break;
            }
            // A `503` of a busy machine may be repeated, as the response says. If the booking had been stored all the same, its slot
            // would be taken, and the test would fail.
            let again = reads || printed.contains("\"temporarily_unavailable\"");
            assert!(again && started.elapsed() < PATIENCE, "{typed}\nprints\n{printed}\nand the README shows\n{shown}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Every route has a session, and bodies are the examples of `docs/openapi.yaml`.
#[test]
fn the_sessions_go_over_every_route_with_the_documented_examples() {
    let steps = steps(&readme());
    let typed: Vec<&str> = steps.iter().map(|step| step.command.as_str()).collect();
    let examples =
        &DOCUMENT["paths"]["/appointments"]["post"]["requestBody"]["content"]["application/json"]["examples"];
    let example: Value = examples["peru"]["value"].clone();
    let bodies: Vec<Value> = typed
        .iter()
        .filter_map(|typed| serde_json::from_str(typed.split("-d '").nth(1)?.split('\'').next()?).ok())
        .collect();
    assert!(bodies.contains(&example), "{bodies:?}");
    for (route, pattern) in [
        ("POST /appointments", r"/appointments -H[^$]*-d "),
        ("GET /appointments/{insuredId}", r"^curl '?http://127.0.0.1:3000/appointments/\d{5}(\?\S*)?'?$"),
        ("GET, one", r"^curl http://127.0.0.1:3000/appointments/\d{5}/[0-9a-f-]{36}$"),
        ("Prefer", r"-H 'prefer: wait=5'"),
        ("GET /slots", r"/slots\?countryISO="),
        ("GET /slots/{countryISO}/{scheduleId}", r"^curl http://127.0.0.1:3000/slots/PE/\d+$"),
        ("GET /catalog/{countryISO}", r"/catalog/PE$"),
        ("POST, a move", r"/appointments/\d{5}/[0-9a-f-]{36}/move "),
        ("DELETE", r"-X DELETE http://127.0.0.1:3000/appointments/\d{5}/[0-9a-f-]{36}$"),
        ("OPTIONS", r"-X OPTIONS "),
        ("HEAD", r"curl -I "),
        ("the singular form", r"/appointment/\d{5}"),
        ("GET /health", r"/health$"),
        ("GET /openapi.yaml", r"/openapi.yaml"),
    ] {
        let pattern = Regex::new(pattern).unwrap();
        assert!(typed.iter().any(|typed| pattern.is_match(typed)), "no session for {route}");
    }
}
