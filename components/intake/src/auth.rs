//! Who asks, and whose appointments they may touch.
//!
//! The variable `authentication` says how that is known. With `jwt` a request carries a bearer token (RFC 6750) of the
//! configured issuer; its caller is the insured person whom the token names, or staff, who act for others. With `none`
//! anybody acts for anybody, which is for local use only. Each log line says which of the two it is.

use appointment::InsuredId;
use edge_component::{Problem, ProblemCode, Setting};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::api::Failure;
#[cfg(feature = "authentication")]
use crate::token;

const MODE: Setting = Setting("authentication");

/// Who asks.
pub(crate) enum Caller {
    /// Anybody: nothing is checked.
    Anybody,
    /// Who holds a valid token.
    Bearer(Claims),
}

/// What a valid token says of its holder.
pub(crate) struct Claims {
    /// The person, where it names one.
    pub(crate) insured_id: Option<InsuredId>,
    /// What it was given for, separated by spaces (RFC 8693, section 4.2).
    pub(crate) scope: String,
}

impl Caller {
    /// Finds out who asks. Nothing but the head of the request is looked at.
    pub(crate) fn identify(headers: &HeaderMap) -> Result<Self, Failure> {
        match MODE.text()?.as_str() {
            "none" => Ok(Self::Anybody),
            "jwt" => token::verify(bearer_token(headers)?).map(Self::Bearer),
            _ => Err(MODE.invalid("it must be `jwt`, or `none` for local use").into()),
        }
    }

    /// What the log says of the mode.
    pub(crate) const fn authentication(&self) -> &'static str {
        match self {
            Self::Anybody => "none",
            Self::Bearer(_) => "jwt",
        }
    }

    /// Lets the caller act for a person, or refuses it. Gives the role in which the caller acts, for the log, where there
    /// are roles.
    pub(crate) fn act_for(&self, person: InsuredId) -> Result<Option<&'static str>, Failure> {
        match self {
            Self::Anybody => Ok(None),
            Self::Bearer(claims) if claims.insured_id == Some(person) => Ok(Some("insured_person")),
            Self::Bearer(claims) => {
                let staff = Setting("jwt_staff_scope").required_text()?;
                if claims.scope.split(' ').any(|scope| scope == staff) {
                    return Ok(Some("staff"));
                }
                let description = "the token is not for this insured person";
                Err(refused(ProblemCode::Forbidden, "insufficient_scope", description))
            }
        }
    }
}

/// The token of `Authorization: Bearer <token>` (RFC 6750, section 2.1).
fn bearer_token(headers: &HeaderMap) -> Result<&str, Failure> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (first, second) = (values.next(), values.next());
    let Some(value) = first else {
        // Who sends nothing is told no error (RFC 6750, section 3.1).
        return Err(Problem::new(ProblemCode::Unauthorized).with_challenge(CHALLENGE.to_owned()).into());
    };
    let token = value.to_str().ok().filter(|_| second.is_none()).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim_start_matches(' '))
    });
    token.ok_or_else(|| unauthenticated("there must be one Authorization header, with a bearer token"))
}

const CHALLENGE: &str = "Bearer realm=\"appointments\"";

/// Refuses a token. The description goes to the caller and to the log, so it holds nothing of the token.
pub(crate) fn unauthenticated(description: &'static str) -> Failure {
    refused(ProblemCode::Unauthorized, "invalid_token", description)
}

fn refused(code: ProblemCode, error: &str, description: &'static str) -> Failure {
    let challenge = format!("{CHALLENGE}, error=\"{error}\", error_description=\"{description}\"");
    Failure { problem: Problem::new(code).with_challenge(challenge), error: Some(description.to_owned()) }
}

#[cfg(not(feature = "authentication"))]
mod token {
    use super::{Claims, Failure, MODE};

    pub(super) fn verify(_token: &str) -> Result<Claims, Failure> {
        Err(MODE
            .invalid("this intake was built without its feature `authentication`, so that it must be `none`")
            .into())
    }
}
