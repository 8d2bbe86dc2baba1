//! The signer against AWS's published Signature Version 4 vectors, and what the client signs of its own requests.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use aws_http::{Client, Credentials, Endpoint, JsonVersion, Retry, Signer, Terms, Transport, TransportError};
use bytes::Bytes;
use serde::Deserialize;

/// `data/sigv4-vectors.json`, which names its sources.
#[derive(Deserialize)]
struct Suite {
    access_key_id: String,
    secret_access_key: String,
    region: String,
    service: String,
    unix_seconds: u64,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    service: Option<String>,
    session_token: Option<String>,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
    canonical_request: String,
    authorization: String,
}

impl Vector {
    /// The vector as a request. What HTTP sends percent-encoded (a vector has `ሴ` in its query) is encoded here.
    fn request(&self) -> http::Request<String> {
        let target: String = self.target.bytes().fold(String::new(), |mut target, byte| {
            if byte.is_ascii() {
                target.push(char::from(byte));
            } else {
                target.push_str(&format!("%{byte:02X}"));
            }
            target
        });
        let host = self.headers.iter().find(|(name, _)| name == "Host").map(|(_, value)| value).unwrap();
        let mut request = http::Request::builder().method(self.method.as_str()).uri(format!("https://{host}{target}"));
        for (name, value) in self.headers.iter().filter(|(name, _)| name != "Host") {
            request = request.header(name, value);
        }
        request.body(self.body.clone()).unwrap()
    }
}

fn suite() -> Suite {
    serde_json::from_str(include_str!("../data/sigv4-vectors.json")).unwrap()
}

impl Suite {
    fn authorization(&self, vector: &Vector, secret: &str) -> String {
        let credentials = Credentials::from_keys(&self.access_key_id, secret, vector.session_token.clone());
        let mut request = vector.request();
        let service = vector.service.as_ref().unwrap_or(&self.service);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(self.unix_seconds);
        Signer::new(&self.region, credentials).sign(&mut request, service, time).unwrap();
        let token = request.headers().get("x-amz-security-token").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(token, vector.session_token, "{}: the session token is sent", vector.name);
        request.headers()["authorization"].to_str().unwrap().to_owned()
    }
}

#[test]
fn the_published_vectors_are_signed_as_published() {
    let suite = suite();
    assert!(suite.vectors.len() >= 25, "the suite is there");
    let wrong: Vec<String> = suite
        .vectors
        .iter()
        .filter_map(|vector| {
            let actual = suite.authorization(vector, &suite.secret_access_key);
            (actual != vector.authorization).then(|| {
                format!(
                    "{}\n  expected {}\n  actual   {actual}\n  its canonical request is\n{}",
                    vector.name, vector.authorization, vector.canonical_request
                )
            })
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn another_secret_gives_another_signature() {
    let suite = suite();
    for vector in &suite.vectors {
        assert_ne!(suite.authorization(vector, "another secret"), vector.authorization, "{}", vector.name);
    }
}

#[test]
fn what_no_header_can_carry_is_an_error_that_shows_nothing_of_it() {
    for (key, token) in [("AKID\nEXAMPLE", None), ("AKIDEXAMPLE", Some("token\nsecret".to_owned()))] {
        let mut request = http::Request::builder().uri("https://sns.us-east-1.amazonaws.com/").body("").unwrap();
        let error = Signer::new("us-east-1", Credentials::from_keys(key, "secret", token))
            .sign(&mut request, "sns", SystemTime::UNIX_EPOCH)
            .unwrap_err();
        assert!(!format!("{error} {error:?}").contains('\n'), "{error}");
    }
}

/// Keeps the request, and responds with `{}`.
#[derive(Default)]
struct Recorder(Mutex<Vec<http::Request<Bytes>>>);

impl Transport for Recorder {
    async fn send(&self, request: http::Request<Bytes>, _: Terms) -> Result<http::Response<Bytes>, TransportError> {
        self.0.lock().unwrap().push(request);
        Ok(http::Response::new(Bytes::from_static(b"{}")))
    }

    async fn sleep(&self, _: Duration) {
        std::future::pending().await
    }
}

#[tokio::test]
async fn the_client_signs_exactly_what_is_sent_of_the_headers_that_matter() {
    let recorder = Recorder::default();
    let credentials = Credentials::from_keys("AKIDEXAMPLE", "secret", Some("session".to_owned()));
    let client = Client::new(&recorder, "us-east-1", credentials)
        .with_date(SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160));
    let endpoint: Endpoint = "http://LocalHost:80".parse().unwrap();
    let _: serde_json::Value = client
        .json(endpoint.service("dynamodb"), JsonVersion::V1_0, "DynamoDB_20120810.GetItem", &(), Retry::Safe)
        .await
        .unwrap();

    let request = recorder.0.lock().unwrap().pop().unwrap();
    assert_eq!(request.uri(), "http://localhost/", "as Host will be sent: lower case, no default port");
    let mut names: Vec<_> = request.headers().keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["authorization", "content-type", "x-amz-date", "x-amz-security-token", "x-amz-target"]);
    assert_eq!(request.headers()["x-amz-date"], "20150830T123600Z");
    assert_eq!(request.headers()["content-type"], "application/x-amz-json-1.0");
    let authorization = request.headers()["authorization"].to_str().unwrap();
    assert!(
        authorization.starts_with(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/dynamodb/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature="
        ),
        "{authorization}"
    );
}

/// The examples of S3's own documentation, which signs the path as it is sent, and the body's hash in a header:
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.
#[test]
fn s3_is_signed_as_its_documentation_shows() {
    let credentials = Credentials::from_keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None);
    let signer = Signer::new("us-east-1", credentials);
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600);
    let table = [
        (
            http::Request::get("https://examplebucket.s3.amazonaws.com/test.txt").header("range", "bytes=0-9"),
            "",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            http::Request::put("https://examplebucket.s3.amazonaws.com/test%24file.text")
                .header("date", "Fri, 24 May 2013 00:00:00 GMT")
                .header("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            "Welcome to Amazon S3.",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
    ];
    for (request, body, signature) in table {
        let mut request = request.body(body).unwrap();
        signer.sign(&mut request, "s3", time).unwrap();
        let authorization = request.headers()["authorization"].to_str().unwrap();
        assert!(authorization.ends_with(&format!("Signature={signature}")), "{authorization}");
    }
}
