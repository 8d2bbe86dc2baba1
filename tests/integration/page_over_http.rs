//! The page on which people book, as HTTP: what is cached, compressed and allowed, on the embedded host and through the Lambda host.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use local_stack::http::Http;
use serde_json::{Value, json};
use tests::{stack, workspace};

use crate::application::EntryPoint;
use crate::components::variables_with;
use crate::served::Served;

/// What everything that the page consists of may take over the wire.
const WEIGHT_LIMIT: usize = 100_000;

async fn page(variables: &[(&str, &str)]) -> Served {
    // Nothing of what is asked for here calls AWS.
    let nowhere = "http://127.0.0.1:1";
    Served::with_page(variables_with(nowhere, nowhere, variables)).await
}

async fn ask(host: &Served, method: Method, path: &str, headers: &[(&str, &str)]) -> Response<Bytes> {
    let mut request = Request::builder().method(method).uri(format!("{}{path}", host.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Http::default().send(request.body(Bytes::new()).unwrap()).await.unwrap()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// The paths of the assets that a document names.
fn assets(document: &str) -> Vec<String> {
    let found = document.split('"').filter(|text| text.starts_with("/assets/"));
    found.map(str::to_owned).collect()
}

fn protected(headers: &HeaderMap) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("strict-transport-security", "max-age=31536000"),
    ] {
        assert_eq!(header(headers, name), value);
    }
    assert!(header(headers, "permissions-policy").contains("geolocation=()"));
    let policy = header(headers, "content-security-policy");
    assert!(policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("data:"), "{policy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_compressed_validated_and_within_its_weight() {
    let host = page(&[]).await;
    let document = ask(&host, Method::GET, "/", &[]).await;
    assert_eq!(document.status(), StatusCode::OK);
    let text = String::from_utf8(document.body().to_vec()).unwrap();
    assert!(!text.contains("<style") && !text.contains(" style=") && !text.contains("{assets}"), "{text}");
    let names = assets(&text);
    let sources = std::fs::read_dir(workspace().join("components/booking-page/page")).unwrap();
    let sources: Vec<String> = sources.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), sources.len() - 1, "the document names each file once: {names:?} {sources:?}");
    let folder = names.first().unwrap().rsplit_once('/').unwrap().0;

    let mut weight = BTreeMap::from([("", 0), ("gzip", 0), ("br", 0)]);
    let library = format!("{folder}/oauth4webapi.js");
    for path in ["/"].into_iter().chain(names.iter().map(String::as_str)).chain([library.as_str()]) {
        let mut tags = Vec::new();
        for (accepted, encoding) in [
            ("", ""),
            ("gzip, deflate", "gzip"),
            ("gzip, deflate, br, zstd", "br"),
            ("br;q=0, gzip;q=0.5", "gzip"),
            ("identity", ""),
        ] {
            let response = ask(&host, Method::GET, path, &[("accept-encoding", accepted)]).await;
            let headers = response.headers();
            assert_eq!((response.status(), header(headers, "content-encoding")), (StatusCode::OK, encoding), "{path}");
            assert_eq!(header(headers, "vary"), "accept-encoding");
            assert_eq!(header(headers, "content-length"), response.body().len().to_string());
            let lifetime = if path == "/" { "no-cache" } else { "public, max-age=31536000, immutable" };
            assert_eq!(header(headers, "cache-control"), lifetime, "{path}");
            protected(headers);
            *weight.get_mut(encoding).unwrap() += response.body().len();
            let tag = header(headers, "etag").to_owned();
            assert!(tag.starts_with('"') && tag.len() > 16, "strong: {tag}");

            for (given, status) in [
                (tag.clone(), 304),
                (format!("\"other\", W/{tag}"), 304),
                ("*".to_owned(), 304),
                ("\"other\"".to_owned(), 200),
            ] {
                let again =
                    ask(&host, Method::GET, path, &[("accept-encoding", accepted), ("if-none-match", &given)]).await;
                assert_eq!(again.status(), status, "{path} {given}");
                assert_eq!(header(again.headers(), "etag"), tag);
                assert_eq!(again.body().is_empty(), status == 304);
                assert_eq!(again.headers().contains_key("content-length"), status == 200);
                protected(again.headers());
            }
            tags.push((encoding, tag));
        }
        tags.sort();
        tags.dedup();
        assert_eq!(tags.len(), 3, "{path}: one entity tag for each encoding: {tags:?}");
    }
    // gzip and no encoding were asked for twice.
    println!("bytes of everything: {} br, {} gzip, {} plain", weight["br"], weight["gzip"] / 2, weight[""] / 2);
    assert!(weight["br"] < WEIGHT_LIMIT && weight["gzip"] / 2 < WEIGHT_LIMIT, "{weight:?}");

    // What the modules name is there too.
    for path in names.iter().filter(|path| path.ends_with(".js")) {
        let module = ask(&host, Method::GET, path, &[]).await;
        let module = String::from_utf8(module.body().to_vec()).unwrap();
        for imported in module.split("\"./").skip(1).filter_map(|rest| rest.split_once('"')).map(|(name, _)| name) {
            let response = ask(&host, Method::GET, &format!("{folder}/{imported}"), &[]).await;
            assert_eq!(response.status(), 200, "{path} imports {imported}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_has_its_paths_and_the_api_all_others() {
    let host = page(&[]).await;
    let document = ask(&host, Method::GET, "/", &[]).await;
    let asset = assets(&String::from_utf8_lossy(document.body())).first().unwrap().clone();
    for path in ["/", "/?code=1&state=2", "/config.json", &asset] {
        let head = ask(&host, Method::HEAD, path, &[]).await;
        assert_eq!((head.status(), head.body().len()), (StatusCode::OK, 0), "{path}");
        assert!(header(head.headers(), "content-length").parse::<usize>().unwrap() > 0);
        let options = ask(&host, Method::OPTIONS, path, &[]).await;
        assert_eq!((options.status().as_u16(), header(options.headers(), "allow")), (204, "GET, HEAD, OPTIONS"));
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let refused = ask(&host, method, path, &[]).await;
            assert_eq!((refused.status().as_u16(), header(refused.headers(), "allow")), (405, "GET, HEAD, OPTIONS"));
            protected(refused.headers());
        }
    }
    let older = asset.replacen("/assets/", "/assets/0", 1);
    for (path, language, title) in [(older.as_str(), "en", "Not found"), ("/assets/x/page.js", "es", "No encontrado")] {
        let missing = ask(&host, Method::GET, path, &[("accept-language", language)]).await;
        let problem: Value = serde_json::from_slice(missing.body()).unwrap();
        assert_eq!((missing.status().as_u16(), problem["title"].as_str()), (404, Some(title)), "{path}");
        assert_eq!(header(missing.headers(), "cache-control"), "no-store");
    }
    // The page's wildcard and exact routes hide nothing of the API, which responds to paths that are neither's.
    for (path, status) in [
        ("/health", 200),
        ("/openapi.yaml", 200),
        ("/slots", 400),
        ("/appointments", 405),
        ("/appointments/1", 400),
        ("/appointment/1", 400),
        ("/catalog/XX", 400),
        ("/assets", 404),
        ("/assets/x", 404),
        ("/assets/x/y/z", 404),
        ("/config.json/x", 404),
        ("/index.html", 404),
    ] {
        let response = ask(&host, Method::GET, path, &[]).await;
        assert_eq!(response.status(), status, "{path}");
        assert!(!response.headers().contains_key("referrer-policy"), "{path} is the API's");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_say_how_people_sign_in_and_where_the_page_connects() {
    let jwt = ("authentication", "jwt");
    let issuer = ("jwt_issuer", "https://issuer.example/realms/clinic");
    let client = ("oidc_client_id", "booking-page");
    let token_origin = ("oidc_token_origin", "https://login.example:8443");
    let audience = ("oidc_audience", "https://citas.example");
    let open_id = json!({"issuer": issuer.1, "clientId": "booking-page", "scope": "openid"});
    let with_audience =
        json!({"issuer": issuer.1, "clientId": "booking-page", "scope": "openid", "audience": audience.1});
    let mut tags = Vec::new();
    for (variables, authentication, open_id, connect) in [
        (vec![], "none", Value::Null, "connect-src 'self'"),
        // Without authentication nobody signs in.
        (vec![issuer, client], "none", Value::Null, "connect-src 'self'"),
        (vec![jwt, issuer], "jwt", Value::Null, "connect-src 'self'"),
        (vec![jwt, issuer, client], "jwt", open_id.clone(), "connect-src 'self' https://issuer.example"),
        (vec![jwt, issuer, client, audience], "jwt", with_audience, "connect-src 'self' https://issuer.example"),
        (
            vec![jwt, issuer, client, token_origin],
            "jwt",
            open_id,
            "connect-src 'self' https://issuer.example https://login.example:8443",
        ),
    ] {
        let host = page(&variables).await;
        let response = ask(&host, Method::GET, "/config.json", &[("accept-encoding", "br")]).await;
        assert_eq!(
            (header(response.headers(), "content-type"), header(response.headers(), "cache-control")),
            ("application/json", "no-cache")
        );
        let configuration: Value = serde_json::from_slice(response.body()).unwrap();
        let expected = json!({"authentication": authentication, "countries": ["PE", "CL"], "insuredIdClaim": "sub", "openId": open_id});
        assert_eq!(configuration, expected);
        let tag = header(response.headers(), "etag").to_owned();
        let again = ask(&host, Method::GET, "/config.json", &[("if-none-match", &tag)]).await;
        assert_eq!(again.status(), 304);
        let document = ask(&host, Method::GET, "/", &[]).await;
        let policy = header(document.headers(), "content-security-policy");
        assert!(policy.ends_with(connect), "{policy}");
        assert!(policy.contains("script-src 'self';") && policy.contains("style-src 'self';"), "{policy}");
        tags.push(header(document.headers(), "etag").to_owned());
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 3, "the document has another entity tag with another policy: {tags:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_without_its_form_is_named_and_nothing_is_served_by_it() {
    let jwt = ("authentication", "jwt");
    let client = ("oidc_client_id", "page");
    let issuer = ("jwt_issuer", "https://issuer.example");
    for (variables, named) in [
        (vec![("authentication", "maybe")], "authentication"),
        (vec![jwt, client], "jwt_issuer"),
        (vec![jwt, client, ("jwt_issuer", "issuer.example")], "jwt_issuer"),
        (vec![jwt, client, ("jwt_issuer", "https://a.example; script-src *")], "jwt_issuer"),
        (vec![jwt, client, issuer, ("oidc_token_origin", "*")], "oidc_token_origin"),
        (vec![jwt, client, issuer, ("oidc_scope", "")], "oidc_scope"),
        (vec![("jwt_issuer", "x\nauthentication=none")], "jwt_issuer"),
    ] {
        let host = page(&variables).await;
        for path in ["/", "/config.json"] {
            let response = ask(&host, Method::GET, path, &[("accept-language", "en")]).await;
            let problem: Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(
                (response.status().as_u16(), problem["code"].as_str()),
                (500, Some("internal")),
                "{variables:?}"
            );
            assert!(problem["instance"].as_str().unwrap().starts_with("urn:medical-appointments:request:"));
        }
        let lines = host.lines();
        let lines = lines.lock().unwrap().join("\n");
        assert!(
            lines.contains("booking-page") && lines.contains(&format!("the variable '{named}' is invalid")),
            "{lines}"
        );
        assert!(lines.contains("ERROR") && !lines.contains("script-src"), "{lines}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_the_same_at_the_edge_and_through_api_gateway() {
    let stack = &*stack().await;
    let get = async |entry_point: EntryPoint, path: &str, headers: &[(&str, &str)]| {
        let mut request = entry_point.request(stack, path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let limit = std::time::Duration::from_secs(60);
        Http::default().send_within(request.body(Bytes::new()).unwrap(), limit).await.unwrap()
    };
    let compressed = [("accept-encoding", "br")];
    let (edge, gateway) =
        (get(EntryPoint::Edge, "/", &compressed).await, get(EntryPoint::ApiGateway, "/", &compressed).await);
    assert_eq!(edge.body(), gateway.body(), "{gateway:?}");
    for name in [
        "etag",
        "content-encoding",
        "content-type",
        "cache-control",
        "content-security-policy",
        "vary",
        "content-length",
    ] {
        assert_eq!(header(edge.headers(), name), header(gateway.headers(), name), "{name}");
    }
    assert_eq!(header(edge.headers(), "content-encoding"), "br");
    let plain = get(EntryPoint::ApiGateway, "/", &[]).await;
    for path in assets(&String::from_utf8_lossy(plain.body())).iter().map(String::as_str).chain(["/config.json"]) {
        let (edge, gateway) =
            (get(EntryPoint::Edge, path, &compressed).await, get(EntryPoint::ApiGateway, path, &compressed).await);
        assert_eq!((edge.status(), edge.body()), (gateway.status(), gateway.body()), "{path}");
        let tag = header(gateway.headers(), "etag").to_owned();
        assert_eq!(header(edge.headers(), "etag"), tag, "{path}");
        let known = get(EntryPoint::ApiGateway, path, &[compressed[0], ("if-none-match", &tag)]).await;
        assert_eq!((known.status().as_u16(), known.body().len()), (304, 0), "{path}");
    }
    assert_eq!(get(EntryPoint::ApiGateway, "/health", &[]).await.status(), 200);
}
