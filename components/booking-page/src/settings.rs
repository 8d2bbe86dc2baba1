use appointment::Country;
use edge_component::{Host, Setting, SettingError, Variables, settings};
use http::Uri;
use serde::Serialize;

settings! {
    AUTHENTICATION = "authentication";
    JWT_ISSUER = "jwt_issuer";
    JWT_INSURED_ID_CLAIM = "jwt_insured_id_claim";
    OIDC_AUDIENCE = "oidc_audience";
    OIDC_CLIENT_ID = "oidc_client_id";
    OIDC_SCOPE = "oidc_scope";
    OIDC_TOKEN_ORIGIN = "oidc_token_origin";
}

/// What `/config.json` tells the page. It holds no secret.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Configuration {
    authentication: Authentication,
    /// ISO 3166-1 alpha-2 codes.
    countries: [&'static str; Country::ALL.len()],
    /// The claim of an access token that holds the five digits of the insured person.
    insured_id_claim: String,
    /// How people sign in; without it they paste a token.
    open_id: Option<OpenId>,
}

/// How the API knows who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Authentication {
    None,
    Jwt,
}

/// The page as a client of an OpenID provider.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OpenId {
    issuer: String,
    client_id: String,
    scope: String,
    /// The parameter `audience` of the authorization request. An issuer such as Auth0 issues a JWT for this API only with it; others
    /// know the API by the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    audience: Option<String>,
    /// The origins that the page connects to, for its content security policy.
    #[serde(skip)]
    origins: Vec<String>,
}

impl Configuration {
    /// Reads the settings.
    ///
    /// # Errors
    ///
    /// When a setting cannot be read or does not have its form.
    pub(crate) fn read(variables: &Variables<impl Host>) -> Result<Self, SettingError> {
        let authentication = match AUTHENTICATION.text(variables)?.as_str() {
            "none" => Authentication::None,
            "jwt" => Authentication::Jwt,
            _ => return Err(AUTHENTICATION.invalid("it must be `jwt`, or `none` for local use")),
        };
        let client_id = OIDC_CLIENT_ID.optional_text(variables)?;
        let open_id = match client_id.filter(|_| authentication == Authentication::Jwt) {
            Some(client_id) => Some(OpenId::read(client_id, variables)?),
            None => None,
        };
        Ok(Self {
            authentication,
            countries: Country::ALL.map(Country::code),
            insured_id_claim: JWT_INSURED_ID_CLAIM.text(variables)?,
            open_id,
        })
    }

    /// The origins, besides the page's own, that it connects to.
    pub(crate) fn origins(&self) -> &[String] {
        self.open_id.as_ref().map_or(&[], |open_id| &open_id.origins)
    }
}

impl OpenId {
    fn read(client_id: String, variables: &Variables<impl Host>) -> Result<Self, SettingError> {
        let issuer = JWT_ISSUER.required_text(variables)?;
        let mut origins = vec![origin(&issuer, JWT_ISSUER)?];
        if let Some(other) = OIDC_TOKEN_ORIGIN.optional_text(variables)? {
            let other = origin(&other, OIDC_TOKEN_ORIGIN)?;
            if !origins.contains(&other) {
                origins.push(other);
            }
        }
        let (scope, audience) = (OIDC_SCOPE.required_text(variables)?, OIDC_AUDIENCE.optional_text(variables)?);
        Ok(Self { issuer, client_id, scope, audience, origins })
    }
}

/// The origin of a URL.
fn origin(url: &str, setting: Setting) -> Result<String, SettingError> {
    let parsed = url.parse::<Uri>().ok();
    let origin = parsed.and_then(|uri| Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?)));
    let origin = origin.filter(|origin| origin.starts_with("http") && !origin.contains(['@', ';', ',', '\'']));
    origin.ok_or_else(|| setting.invalid("it must be a URL such as https://issuer.example, where people sign in"))
}
