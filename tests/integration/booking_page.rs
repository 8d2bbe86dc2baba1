//! A page of another origin in a real browser: what the CORS protocol lets it do, which only a browser can tell.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use local_stack::tokens::{Algorithm, Authentication, Grant, TokenIssuer};
use serde::Deserialize;
use serde_json::{Value, json};
use tests::{Browser, stack};
use tokio::net::TcpListener;

use crate::components::host_with;

const PAGE: &str = include_str!("../data/booking-page.html");

/// Serves the page under every path, and on every name of the loopback interface: each name is an origin.
async fn serve_page() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let service = service_fn(async |_| {
                let page = http::Response::builder().header(CONTENT_TYPE, "text/html");
                page.body(Full::<Bytes>::from(PAGE))
            });
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), service);
            tokio::spawn(connection);
        }
    });
    address
}

/// What the page saw of a response, or why it saw none.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Seen {
    Response { status: u16, headers: BTreeMap<String, String>, body: String },
    Refused { error: String },
}

impl Seen {
    fn response(self) -> (u16, BTreeMap<String, String>, Value) {
        match self {
            Self::Response { status, headers, body } => {
                (status, headers, serde_json::from_str(&body).unwrap_or(Value::Null))
            }
            Self::Refused { error } => panic!("the browser refuses: {error}"),
        }
    }
}

/// A call of the API by a page.
struct Page<'a> {
    browser: &'a Browser,
    api: String,
    authorization: String,
}

impl Page<'_> {
    async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Seen {
        let own = [("authorization", self.authorization.as_str()), ("accept-language", "en")];
        let headers: BTreeMap<&str, &str> = own.into_iter().chain(headers.iter().copied()).collect();
        let arguments = vec![
            json!(method),
            json!(format!("{}{path}", self.api)),
            json!(headers),
            body.map_or(Value::Null, |body| json!(body.to_string())),
        ];
        let script = "const [method, url, headers, body, done] = arguments;
                      call(method, url, headers, body ?? undefined).then(done);";
        serde_json::from_value(self.browser.page().execute_async(script, arguments).await.unwrap()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_listed_origin_books_follows_and_cancels_and_no_other_page_can() {
    let stack = stack().await;
    let services = stack.services();
    let site = serve_page().await;
    let (listed, unlisted) = (format!("http://127.0.0.1:{}", site.port()), format!("http://localhost:{}", site.port()));
    let issuer = TokenIssuer::generate().unwrap();
    let mut variables = services.variables().unwrap();
    variables.extend(Authentication::Jwt(&issuer).variables());
    variables.insert("cors_allowed_origins", format!("https://clinic.example, {listed}"));
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let emulator = services.emulator_url();
    let host = host_with(&emulator, &emulator, &variables).await;
    let lines = host.lines();
    let logged = |method: &str| {
        let method = format!("\"method\":\"{method}\"");
        lines.lock().unwrap().iter().filter(|line| line.contains(&method)).count()
    };
    let grant = Grant { insured_id: Some("31415"), staff: false, lifetime: Duration::from_secs(600) };
    let token = issuer.mint(Algorithm::Es256, &grant).unwrap();
    let browser = Browser::start("booking-page").await;
    let page = Page { browser: &browser, api: host.url(), authorization: format!("Bearer {token}") };
    let booking = json!({"insuredId": "31415", "scheduleId": 3_141_592, "countryISO": "PE"});
    let json_body = ("content-type", "application/json");
    let key = ("idempotency-key", "a page's own key");

    browser.page().goto(&listed).await.unwrap();
    let (status, headers, body) =
        page.call("POST", "/appointments", &[json_body, key], Some(&booking)).await.response();
    assert_eq!((status, body["status"].as_str()), (202, Some("pending")), "{body}");
    assert_eq!(logged("OPTIONS"), 1, "the browser asked first: {:?}", lines.lock().unwrap());
    let location = headers["location"].clone();
    assert!(location.starts_with("/appointments/31415/"), "{headers:?}");
    assert_eq!(headers["retry-after"], "1");
    assert!(!headers.contains_key("idempotency-replayed"), "{headers:?}");
    // The response has it; that this page does not see it shows that what it sees was exposed.
    assert!(!headers.contains_key("x-content-type-options"), "{headers:?}");

    let preferred = [json_body, key, ("prefer", "wait=10")];
    let (status, headers, body) = page.call("POST", "/appointments", &preferred, Some(&booking)).await.response();
    assert!([201, 202].contains(&status), "{status} {body}");
    assert_eq!((headers["location"].as_str(), headers["idempotency-replayed"].as_str()), (location.as_str(), "true"));
    assert_eq!(headers["preference-applied"], "wait=10");

    let started = Instant::now();
    let etag = loop {
        let (status, headers, body) = page.call("GET", &location, &[], None).await.response();
        assert_eq!(status, 200, "{body}");
        if body["status"] == "completed" {
            break headers["etag"].clone();
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{body}");
    };
    let (status, headers, _) = page.call("GET", &location, &[("if-none-match", &etag)], None).await.response();
    assert_eq!((status, &headers["etag"]), (304, &etag));

    let wrong = json!({"insuredId": "1"});
    let (status, _, problem) = page.call("POST", "/appointments", &[json_body], Some(&wrong)).await.response();
    assert_eq!((status, problem["code"].as_str()), (400, Some("invalid_body")), "{problem}");
    let anonymous = Page { browser: &browser, api: host.url(), authorization: String::new() };
    let (status, headers, _) = anonymous.call("GET", &location, &[], None).await.response();
    assert_eq!(status, 401);
    assert!(headers["www-authenticate"].starts_with("Bearer realm="), "{headers:?}");

    let (status, _, body) = page.call("DELETE", &location, &[("prefer", "wait=10")], None).await.response();
    assert!([200, 202].contains(&status), "{status} {body}");

    // The same page on an origin that is not listed: what needs a preflight is never sent, the rest is never seen.
    browser.page().goto(&unlisted).await.unwrap();
    let sent = ["GET", "POST", "DELETE"].map(logged);
    let asked = logged("OPTIONS");
    let another = json!({"insuredId": "31415", "scheduleId": 2_718_281, "countryISO": "PE"});
    for (method, path, body) in
        [("POST", "/appointments", Some(&another)), ("GET", location.as_str(), None), ("DELETE", &location, None)]
    {
        let headers: &[_] = if body.is_some() { &[json_body] } else { &[] };
        let seen = page.call(method, path, headers, body).await;
        assert!(matches!(&seen, Seen::Refused { error } if error == "TypeError"), "{method}: {seen:?}");
    }
    assert_eq!(["GET", "POST", "DELETE"].map(logged), sent, "{:?}", lines.lock().unwrap());
    assert!(logged("OPTIONS") >= asked + 3, "each was asked for: {:?}", lines.lock().unwrap());
    let script = "const done = arguments[1]; call('GET', arguments[0]).then(done);";
    let health = vec![json!(format!("{}/health", host.url()))];
    let seen: Seen = serde_json::from_value(browser.page().execute_async(script, health).await.unwrap()).unwrap();
    assert!(matches!(&seen, Seen::Refused { error } if error == "TypeError"), "{seen:?}");
    assert_eq!(logged("GET"), sent[0] + 1, "it has its response, which is kept from the page");
}
