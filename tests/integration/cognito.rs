//! Tokens of a real OpenID provider: the emulator's Cognito issues them (RS256, by keys that it publishes), as Amazon's does.

use std::collections::BTreeMap;

use http::Method;
use operator::aws::Aws;
use serde_json::{Value, json};
use tests::stack;

use crate::components::{JSON, call, host_with};
use crate::served::Served;

const PASSWORD: &str = "Correct-horse-1";

/// The group whose members act for others in Peru.
const STAFF: &str = "appointments:staff:PE";

/// A user pool with one client.
struct Pool {
    aws: Aws,
    id: String,
    client: String,
}

/// What a sign-in gives.
struct Tokens {
    id: String,
    access: String,
    refresh: String,
}

impl Pool {
    async fn create(aws: Aws, name: &str) -> Self {
        let text =
            |response: &Value, pointer: &str| response.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
        let schema = json!([{"Name": "insured_id", "AttributeDataType": "String", "Mutable": false}]);
        let pool = aws.cognito("CreateUserPool", &json!({"PoolName": name, "Schema": schema})).await.unwrap();
        let id = text(&pool, "/UserPool/Id");
        let flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"];
        let client = json!({"UserPoolId": id, "ClientName": "front end", "ExplicitAuthFlows": flows});
        let client = text(&aws.cognito("CreateUserPoolClient", &client).await.unwrap(), "/UserPoolClient/ClientId");
        Self { aws, id, client }
    }

    /// Creates a user, an insured person or staff, and signs in.
    async fn sign_in(&self, user: &str, insured_id: Option<&str>) -> Tokens {
        let Self { aws, id: pool, client } = self;
        let attributes: Vec<_> =
            insured_id.iter().map(|code| json!({"Name": "custom:insured_id", "Value": code})).collect();
        let create =
            json!({"UserPoolId": pool, "Username": user, "UserAttributes": attributes, "MessageAction": "SUPPRESS"});
        aws.cognito("AdminCreateUser", &create).await.unwrap();
        let password = json!({"UserPoolId": pool, "Username": user, "Password": PASSWORD, "Permanent": true});
        aws.cognito("AdminSetUserPassword", &password).await.unwrap();
        if insured_id.is_none() {
            aws.cognito("CreateGroup", &json!({"UserPoolId": pool, "GroupName": STAFF})).await.unwrap();
            let member = json!({"UserPoolId": pool, "Username": user, "GroupName": STAFF});
            aws.cognito("AdminAddUserToGroup", &member).await.unwrap();
        }
        let sign_in = json!({
            "ClientId": client, "AuthFlow": "USER_PASSWORD_AUTH",
            "AuthParameters": {"USERNAME": user, "PASSWORD": PASSWORD},
        });
        let response = aws.cognito("InitiateAuth", &sign_in).await.unwrap();
        let token = |name: &str| response["AuthenticationResult"][name].as_str().unwrap().to_owned();
        Tokens { id: token("IdToken"), access: token("AccessToken"), refresh: token("RefreshToken") }
    }

    /// An intake that takes this pool's tokens, and finds a person's code in `claim`.
    async fn intake(&self, claim: &str) -> Served {
        let stack = stack().await;
        let services = stack.services();
        let emulator = services.emulator_url();
        let mut variables: BTreeMap<&str, String> = services.variables().unwrap();
        variables.extend([
            ("authentication", "jwt".to_owned()),
            ("jwt_issuer", format!("https://cognito-idp.us-east-1.amazonaws.com/{}", self.id)),
            ("jwt_audience", self.client.clone()),
            // Amazon's origin is the issuer's; the emulator publishes the keys under the same path.
            ("jwt_jwks_origin", emulator.clone()),
            ("jwt_jwks_path", format!("/{}/.well-known/jwks.json", self.id)),
            ("jwt_insured_id_claim", claim.to_owned()),
            ("jwt_staff_claim", "cognito:groups".to_owned()),
        ]);
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        host_with(&emulator, &emulator, &variables).await
    }
}

async fn ask(host: &Served, method: Method, path: &str, token: &str, body: &str) -> (u16, Value) {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str()), JSON, ("prefer", "wait=10")];
    let (status, _, body) = call(host, method, path, &headers, body).await;
    (status.as_u16(), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_cognito_are_taken() {
    let stack = stack().await;
    let aws = stack.services().aws();
    let pool = Pool::create(aws.clone(), "insured people").await;
    // An ID token has the user's attributes and names the client as `aud`; an access token has the user's name, and `client_id`.
    let person = pool.sign_in("27182", Some("27182")).await;
    let staff = pool.sign_in("desk", None).await;
    let (by_attribute, by_name) = (pool.intake("custom:insured_id").await, pool.intake("username").await);
    let mine = "/appointments/27182";
    for (host, token, slot) in [(&by_attribute, &person.id, 2_718_281), (&by_name, &person.access, 2_718_282)] {
        let booking = json!({"insuredId": "27182", "scheduleId": slot, "countryISO": "PE"}).to_string();
        let (status, body) = ask(host, Method::POST, "/appointments", token, &booking).await;
        assert!([201, 202].contains(&status), "{status} {body}");
        let (status, body) = ask(host, Method::GET, mine, token, "").await;
        assert_eq!((status, &body["appointments"][0]["scheduleId"]), (200, &json!(slot)), "{body}");
        assert_eq!(ask(host, Method::GET, "/appointments/27183", token, "").await.0, 403, "for nobody else");
        for token in [&staff.id, &staff.access] {
            assert_eq!(ask(host, Method::GET, mine, token, "").await.0, 200, "staff");
            let elsewhere = booking.replace("PE", "CL");
            assert_eq!(ask(host, Method::POST, "/appointments", token, &elsewhere).await.0, 403, "not of this country");
        }
    }

    let other_client = Pool { client: "another client".to_owned(), aws: aws.clone(), id: pool.id.clone() };
    let for_others = other_client.intake("custom:insured_id").await;
    let stranger = Pool::create(aws, "others").await.sign_in("27182", Some("27182")).await;
    let (head, signature) = person.id.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{head}.{flipped}{}", &signature[1..]);
    for (name, host, token) in [
        ("of another pool", &by_attribute, &stranger.id),
        ("of another pool", &by_name, &stranger.access),
        ("with another signature", &by_attribute, &forged),
        ("for another client", &for_others, &person.id),
        ("for another client", &for_others, &person.access),
    ] {
        assert_eq!(ask(host, Method::GET, mine, token, "").await.0, 401, "{name}");
    }
    // It names nobody.
    for host in [&by_attribute, &by_name] {
        assert!([401, 403].contains(&ask(host, Method::GET, mine, &person.refresh, "").await.0), "a refresh token");
    }
}
