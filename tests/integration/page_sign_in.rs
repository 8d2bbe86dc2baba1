//! Signing in on the page: by OpenID Connect at a provider of the test's own, and with a pasted token.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, LOCATION};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use local_stack::tokens::{Algorithm, Authentication, Grant, TokenIssuer};
use local_stack::tools::OpenApiTools;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tests::{Browser, View, workspace};
use tokio::net::TcpListener;

use crate::components::{Double, EVENT_ID, row, variables_with};
use crate::openapi::set_up;
use crate::page_in_browser::kept_command;
use crate::served::Served;

/// An OpenID provider: it knows one public client, and signs everybody in as one person without asking.
struct Provider {
    address: SocketAddr,
    person: &'static str,
    issuer: Arc<TokenIssuer>,
    seen: Arc<Mutex<Seen>>,
}

/// What it was asked for.
#[derive(Default)]
struct Seen {
    /// The challenge and the redirect URI of each code that is good for one token.
    codes: HashMap<String, (String, String)>,
    authorizations: Vec<HashMap<String, String>>,
    /// The tokens that it gave.
    tokens: Vec<String>,
}

impl Provider {
    async fn start(person: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let issuer = Arc::new(TokenIssuer::generate().unwrap());
        let seen = Arc::<Mutex<Seen>>::default();
        let (kept_issuer, kept_seen) = (Arc::clone(&issuer), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (issuer, seen) = (Arc::clone(&kept_issuer), Arc::clone(&kept_seen));
                let service = service_fn(move |request| {
                    let (issuer, seen) = (Arc::clone(&issuer), Arc::clone(&seen));
                    async move { Ok::<_, std::convert::Infallible>(respond(address, person, &issuer, &seen, request).await) }
                });
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), service);
                tokio::spawn(connection);
            }
        });
        Self { address, person, issuer, seen }
    }

    /// A token of the person that has ended.
    fn ended_token(&self) -> String {
        access_token(&self.issuer, &self.url(), self.person, UNIX_EPOCH.elapsed().unwrap().as_secs() - 3600)
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// An access token for ten minutes.
fn access_token(issuer: &TokenIssuer, url: &str, person: &str, from: u64) -> String {
    let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": Algorithm::Es256.key_id()});
    let claims = json!({"iss": url, "aud": "appointments", "sub": person, "iat": from, "exp": from + 600});
    issuer.sign(Algorithm::Es256, &header, &claims).unwrap()
}

async fn respond(
    address: SocketAddr,
    person: &str,
    issuer: &TokenIssuer,
    seen: &Mutex<Seen>,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let url = format!("http://{address}");
    let json = |status: u16, body: serde_json::Value| {
        let response = Response::builder().status(status).header(CONTENT_TYPE, "application/json");
        response.header(ACCESS_CONTROL_ALLOW_ORIGIN, "*").body(body.to_string().into()).unwrap()
    };
    let form = |text: &[u8]| form_urlencoded::parse(text).into_owned().collect::<HashMap<String, String>>();
    match request.uri().path() {
        "/.well-known/openid-configuration" => json(
            200,
            json!({
                "issuer": url, "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
                "response_types_supported": ["code"], "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"], "code_challenge_methods_supported": ["S256"],
            }),
        ),
        "/authorize" => {
            let asked = form(request.uri().query().unwrap_or_default().as_bytes());
            let code = format!("{:032x}", fastrand::u128(..));
            let target = format!("{}?code={code}&state={}", asked["redirect_uri"], asked["state"]);
            let mut seen = seen.lock().unwrap();
            seen.codes.insert(code, (asked["code_challenge"].clone(), asked["redirect_uri"].clone()));
            seen.authorizations.push(asked);
            Response::builder().status(302).header(LOCATION, target).body(Full::default()).unwrap()
        }
        "/token" => {
            let asked = form(&request.into_body().collect().await.unwrap().to_bytes());
            let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&asked["code_verifier"]));
            let granted = seen.lock().unwrap().codes.remove(&asked["code"]);
            let expected = Some((challenge, asked["redirect_uri"].clone()));
            if granted != expected
                || asked["client_id"] != "booking-page"
                || asked["grant_type"] != "authorization_code"
            {
                return json(400, json!({"error": "invalid_grant"}));
            }
            let now = UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
            let token = access_token(issuer, &url, person, now);
            let identity = json!({"iss": url, "aud": "booking-page", "sub": "somebody", "iat": now, "exp": now + 600});
            let identity =
                issuer.sign(Algorithm::Es256, &json!({"alg": "ES256", "kid": Algorithm::Es256.key_id()}), &identity);
            seen.lock().unwrap().tokens.push(token.clone());
            json(
                200,
                json!({"access_token": token, "token_type": "Bearer", "expires_in": 600, "id_token": identity.unwrap()}),
            )
        }
        _ => json(404, json!({})),
    }
}

/// Nothing of anybody's is in AWS.
async fn empty() -> Double {
    Double::start(&[("Query", 200, r#"{"Items":[],"Count":0}"#.to_owned())]).await
}

/// What the browser keeps: nothing of it is secret.
async fn stored(view: &View<'_>) -> String {
    let script = "return JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie])";
    view.run(script, vec![]).await.as_str().unwrap().to_owned()
}

/// Intake and the page; people sign in at the provider.
async fn served(provider: &Provider, aws: &Double, others: &[(&str, &str)]) -> Served {
    let mut variables = Authentication::Jwt(&provider.issuer).variables();
    variables.extend([("jwt_issuer", provider.url()), ("oidc_client_id", "booking-page".to_owned())]);
    let variables: Vec<_> =
        variables.iter().map(|(name, value)| (*name, value.as_str())).chain(others.iter().copied()).collect();
    Served::with_page(variables_with(&aws.url, &aws.url, &variables)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_at_the_provider_and_the_token_stays_in_memory() {
    let (provider, aws) = (Provider::start("77001").await, empty().await);
    let host = served(&provider, &aws, &[("oidc_audience", "https://citas.example")]).await;
    let browser = Browser::start_in("page-sign-in", "en").await;
    let view = View(&browser);
    browser.page().goto(&format!("{}/#appointments", host.url())).await.unwrap();
    view.heading("Sign in").await;
    view.check("sign-in").await;
    view.click("main .primary").await;

    // Back on the same view, with the person of the token.
    view.heading("My appointments").await;
    assert!(view.text().await.contains("Insured person 77001"), "{}", view.text().await);
    assert_eq!(browser.page().current_url().await.unwrap().as_str(), format!("{}/#appointments", host.url()));
    let kept = stored(&view).await;
    assert_eq!(kept, r#"[{"insuredId":"77001"},{},""]"#);
    {
        let seen = provider.seen.lock().unwrap();
        let [asked] = &seen.authorizations[..] else { panic!("{} authorizations", seen.authorizations.len()) };
        assert_eq!((asked["response_type"].as_str(), asked["code_challenge_method"].as_str()), ("code", "S256"));
        assert_eq!((asked["client_id"].as_str(), asked["scope"].as_str()), ("booking-page", "openid"));
        assert_eq!(asked["audience"], "https://citas.example");
        assert!(asked["state"].len() > 20 && seen.tokens.len() == 1);
    }
    let lines = host.lines();
    assert!(lines.lock().unwrap().iter().any(|line| line.contains(r#""caller":"insured""#) || line.contains("jwt")));

    // A reload forgets the token; the page does not accept a redirect that the provider did not make.
    browser.page().goto(&format!("{}/?code=stolen&state=other", host.url())).await.unwrap();
    view.heading("Sign in").await;
    view.click("main .primary").await;
    view.heading("Book an appointment").await;
    view.click("#tools .quiet:nth-of-type(2)").await;
    view.heading("Sign in").await;
    assert_eq!(stored(&view).await, r#"[{},{},""]"#);
    // With a state that was never sent the code is not redeemed.
    let tokens = provider.seen.lock().unwrap().tokens.len();
    let started = json!({"verifier": "v".repeat(43), "state": "expected", "hash": ""}).to_string();
    let _ = view.run("sessionStorage['signing-in'] = arguments[0]", vec![json!(started)]).await;
    browser.page().goto(&format!("{}/?code=stolen&state=forged", host.url())).await.unwrap();
    let _ = view.until("[role=alert]", |text| text.contains("Signing in did not work")).await;
    assert_eq!(provider.seen.lock().unwrap().tokens.len(), tokens);
    assert_eq!(stored(&view).await, r#"[{},{},""]"#);
}

/// The token ends before the API has the booking, or while its outcome is awaited: who signs in again goes on with the same one.
#[tokio::test(flavor = "multi_thread")]
async fn a_booking_goes_on_after_signing_in_again() {
    let provider = Provider::start("00123").await;
    let aws = Double::start(&[("GetItem", 200, json!({"Item": row("completed", EVENT_ID)}).to_string())]).await;
    // A host without waiting responds with `202` at once.
    let host = served(&provider, &aws, &[("wait_limit_seconds", "0")]).await;
    let browser = Browser::start_in("page-signed-out", "en").await;
    let view = View(&browser);
    browser.page().goto(&host.url()).await.unwrap();
    view.heading("Sign in").await;
    view.click("main .primary").await;
    view.heading("Book an appointment").await;
    // A command of this tab, with which the page goes on as it does after a reload.
    let begin = async |key: &str, ends: &str| {
        let command = kept_command(key);
        let script = format!(
            "const [command, ended, done] = arguments;
             const path = performance.getEntriesByType('resource').find(({{ name }}) => name.endsWith('/api.js')).name;
             import(path).then(({{ caller }}) => {{
               sessionStorage.command = command;
               {ends}
               dispatchEvent(new Event('hashchange'));
               done();
             }});"
        );
        let _ = view.run_until_done(&script, vec![json!(command.to_string()), json!(provider.ended_token())]).await;
    };
    let written = || -> Vec<&str> {
        let sent = aws.sent.lock().unwrap();
        let bodies = sent.iter().filter(|sent| sent.operation == "TransactWriteItems").map(|sent| &sent.body);
        let key =
            |body: &String| ["first", "second"].into_iter().find(|key| body.contains(&format!("idempotency#{key}")));
        bodies.map(|body| key(body).unwrap()).collect()
    };
    let kept = async || view.run("return JSON.parse(sessionStorage.command ?? 'null')?.key ?? null", vec![]).await;

    begin("first", "caller.token = ended;").await;
    let _ = view.until("[role=alert]", |text| text.contains("Your session has ended. Sign in again to go on.")).await;
    view.heading("Sign in").await;
    view.check("session-ended").await;
    assert_eq!((written(), kept().await), (vec![], json!("first")), "nothing was booked, and the key is kept");
    view.click("main .primary").await;
    view.heading("Your appointment is confirmed").await;
    assert_eq!((written(), kept().await), (vec!["first"], Value::Null));

    let after_the_booking = "const real = window.fetch;
        window.fetch = async (path, options) => {
          const response = await real(path, options);
          if (options.method === 'POST') caller.token = ended;
          return response;
        };";
    begin("second", after_the_booking).await;
    let _ = view.until("[role=alert]", |text| text.contains("Your session has ended.")).await;
    assert_eq!((written(), kept().await), (vec!["first", "second"], json!("second")), "the API has it");
    view.click("main .primary").await;
    view.heading("Your appointment is confirmed").await;
    assert_eq!((written(), kept().await), (vec!["first", "second", "second"], Value::Null), "under the same key");
    assert_eq!(provider.seen.lock().unwrap().tokens.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pasted_token_works_until_it_ends() {
    let (issuer, aws) = (TokenIssuer::generate().unwrap(), empty().await);
    let variables = Authentication::Jwt(&issuer).variables();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let host = Served::with_page(variables_with(&aws.url, &aws.url, &variables)).await;
    let browser = Browser::start_in("page-token", "es-PE").await;
    let view = View(&browser);
    browser.page().goto(&format!("{}/#appointments", host.url())).await.unwrap();
    view.heading("Inicie sesión").await;
    view.type_into("#token", "no token").await;
    view.click("main .primary").await;
    let _ = view.until("[role=alert]", |text| text.contains("tres partes")).await;
    view.check("token").await;
    let paste = async |token: &str| {
        let _ = view.run("document.getElementById('token').value = arguments[0]", vec![json!(token)]).await;
        view.click("main .primary").await;
    };
    let grant = Grant { insured_id: Some("77002"), staff: false, lifetime: Duration::from_secs(600) };
    paste(&issuer.mint(Algorithm::EdDsa, &grant).unwrap()).await;
    view.heading("Mis citas").await;
    let _ = view.until("main", |text| text.contains("Todavía no tiene citas.")).await;
    view.check("no-appointments").await;
    assert_eq!(stored(&view).await, r#"[{"insuredId":"77002"},{},""]"#);

    // A token that has ended: the API says so, and the page asks for another one.
    browser.page().refresh().await.unwrap();
    view.heading("Inicie sesión").await;
    let past = SystemTime::now() - Duration::from_secs(3600);
    let past = past.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": Algorithm::Es256.key_id()});
    let claims = json!({
        "iss": TokenIssuer::ISSUER, "aud": TokenIssuer::AUDIENCE, "sub": "77002", "iat": past, "exp": past + 60,
    });
    paste(&issuer.sign(Algorithm::Es256, &header, &claims).unwrap()).await;
    let _ = view.until("[role=alert]", |text| text.contains("Su sesión terminó.")).await;
    view.heading("Inicie sesión").await;
    // Staff say for whom they act.
    let staff = Grant { insured_id: None, staff: true, lifetime: Duration::from_secs(600) };
    let _ = view.run("sessionStorage.clear()", vec![]).await;
    paste(&issuer.mint(Algorithm::Es256, &staff).unwrap()).await;
    view.heading("¿Para quién es la cita?").await;
    view.type_into("#insured-id", "77003").await;
    view.click("main .primary").await;
    view.heading("Mis citas").await;
    // A country whose slots are not imported has no catalogue.
    view.click("nav a[href='#book']").await;
    view.choose("#country", "CL").await;
    let _ = view.until("[role=alert]", |text| text.contains("no publica horarios en línea")).await;
    view.check("no-catalogue").await;
    // axe-core finds what is there to be found.
    let script = "const image = document.createElement('img');
                  image.src = '/none.png';
                  document.querySelector('main').append(image);
                  document.querySelector('#country').labels[0].remove();
                  document.querySelector('h1').style.color = '#ddd';";
    let _ = view.run(script, vec![]).await;
    let (violations, _) = view.judged().await;
    for rule in ["image-alt", "select-name", "color-contrast"] {
        assert!(violations.iter().any(|found| found.starts_with(rule)), "{rule}: {violations:#?}");
    }
}

#[test]
fn the_vendored_library_is_the_pinned_one() {
    set_up();
    let package = OpenApiTools::modules(&workspace()).join("oauth4webapi");
    let vendored = workspace().join("components/booking-page/vendor/oauth4webapi");
    for (file, pinned) in [("index.js", "build/index.js"), ("LICENSE", "LICENSE.md")] {
        let read = |path: std::path::PathBuf| std::fs::read_to_string(&path).unwrap();
        assert!(
            read(vendored.join(file)) == read(package.join(pinned)),
            "{file} is not that of the package: copy {pinned}"
        );
    }
}
