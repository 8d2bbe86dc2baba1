//! Who asks, and whose appointments they may touch.
//!
//! The variable `authentication` says how that is known. With `jwt` a request carries a bearer token (RFC 6750) of the
//! configured issuer; its caller is the insured person whom the token names, or staff, who act for others. With `none`
//! anybody acts for anybody, which is for local use only. Each log line says which of the two it is.

use appointment::{AppointmentId, Country, InsuredId, StoredCountry};
use aws_http::Transport;
use backplane::{AppointmentsTable, StoredAppointment};
use edge_component::{Host, Problem, ProblemCode, Variables};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::context::RequestContext;
use crate::error::{CHALLENGE, RequestError, forbidden, unauthenticated};
use crate::settings::{AUTHENTICATION, JWT_STAFF_VALUE};
use crate::token::{self, Claims};

/// Who asks.
pub(crate) enum Caller {
    /// Anybody: nothing is checked.
    Anybody,
    /// Who holds a valid token.
    Bearer(Claims),
}

/// In which role a caller acts for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nobody asks for roles.
    Anybody,
    /// The person.
    InsuredPerson,
    /// Staff, with what belongs to these countries.
    Staff(Vec<Country>),
}

impl Role {
    /// Its name in the log, where there are roles.
    pub(crate) const fn name(&self) -> Option<&'static str> {
        match self {
            Self::Anybody => None,
            Self::InsuredPerson => Some("insured_person"),
            Self::Staff(_) => Some("staff"),
        }
    }

    /// Whether what belongs to this country is the caller's business. To whom it is not, it is not there.
    pub(crate) fn covers(&self, country: StoredCountry) -> bool {
        match (self, country) {
            (Self::Anybody | Self::InsuredPerson, _) => true,
            (Self::Staff(countries), StoredCountry::Known(country)) => countries.contains(&country),
            // Whose staff may see it only a later version knows.
            (Self::Staff(_), StoredCountry::Unknown(_)) => false,
        }
    }

    /// Whether there are countries that are not the caller's business.
    pub(crate) fn is_bounded(&self) -> bool {
        Country::ALL.into_iter().any(|country| !self.covers(country.into()))
    }

    /// A person's appointment. One in a country that this role does not cover is not found.
    pub(crate) async fn find(
        &self,
        table: &AppointmentsTable<'_, impl Transport>,
        insured_id: InsuredId,
        appointment_id: AppointmentId,
    ) -> Result<StoredAppointment, RequestError> {
        let stored = table.get(&insured_id, appointment_id).await?;
        let stored = stored.filter(|stored| self.covers(stored.appointment.country));
        Ok(stored.ok_or(Problem::new(ProblemCode::AppointmentNotFound))?)
    }
}

impl Caller {
    /// Finds out who asks. Nothing but the head of the request is looked at.
    pub(crate) async fn identify<H: Host>(
        headers: &HeaderMap,
        context: &mut RequestContext<H>,
    ) -> Result<Self, RequestError> {
        match AUTHENTICATION.text(&context.variables)?.as_str() {
            "none" => Ok(Self::Anybody),
            "jwt" => token::verify(bearer_token(headers)?, context).await.map(Self::Bearer),
            _ => Err(AUTHENTICATION.invalid("it must be `jwt`, or `none` for local use").into()),
        }
    }

    /// What the log says of the mode.
    pub(crate) const fn authentication(&self) -> &'static str {
        match self {
            Self::Anybody => "none",
            Self::Bearer(_) => "jwt",
        }
    }

    /// The holder of the token, as the issuer knows it.
    pub(crate) fn subject(&self) -> Option<&str> {
        match self {
            Self::Anybody => None,
            Self::Bearer(claims) => claims.subject.as_deref(),
        }
    }

    /// Lets the caller act for a person, or refuses it.
    pub(crate) fn act_for(&self, person: InsuredId, variables: &Variables<impl Host>) -> Result<Role, RequestError> {
        let claims = match self {
            Self::Anybody => return Ok(Role::Anybody),
            Self::Bearer(claims) if claims.insured_id == Some(person) => return Ok(Role::InsuredPerson),
            Self::Bearer(claims) => claims,
        };
        let staff = JWT_STAFF_VALUE.required_text(variables)?;
        let holds = |country: &Country| {
            claims.rights.iter().any(|right| {
                right
                    .strip_prefix(&staff)
                    .is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':') == Some(country.code()))
            })
        };
        let countries: Vec<Country> = Country::ALL.into_iter().filter(holds).collect();
        if countries.is_empty() {
            return Err(forbidden("the token is not for this insured person"));
        }
        Ok(Role::Staff(countries))
    }
}

/// The token of `Authorization: Bearer <token>` (RFC 6750, section 2.1).
fn bearer_token(headers: &HeaderMap) -> Result<&str, RequestError> {
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
