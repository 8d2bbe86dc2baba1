use appointment::{AppointmentId, FieldErrorCode, InsuredId};
use edge_component::{InvalidMember, Problem, ProblemCode};
use http::Method;

/// What a path names. Of the paths of appointments, the singular form `/appointment…` names the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    /// Whether the component runs.
    Health,
    /// The description of this API.
    Description,
    /// All appointments, to which one is added.
    Appointments,
    /// A person's appointments.
    Person,
    /// One appointment.
    Appointment,
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `GET /health`
    Health,
    /// `GET /openapi.yaml`
    Describe,
    /// `POST /appointments`
    Book,
    /// `GET /appointments/{insuredId}`
    List(InsuredId),
    /// `GET /appointments/{insuredId}/{appointmentId}`
    Read(InsuredId, AppointmentId),
    /// `DELETE /appointments/{insuredId}/{appointmentId}`
    Cancel(InsuredId, AppointmentId),
    /// `OPTIONS` of a resource
    Options(Resource),
}

impl Route {
    /// Whether it tells nothing of anybody, so that it does not matter who asks.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self, Self::Health | Self::Describe | Self::Options(_))
    }

    /// Whether it changes anything.
    pub(crate) const fn writes(&self) -> bool {
        matches!(self, Self::Book | Self::Cancel(..))
    }

    /// The person whose appointments the path is about.
    pub(crate) const fn insured_id(&self) -> Option<InsuredId> {
        match self {
            Self::Health | Self::Describe | Self::Book | Self::Options(_) => None,
            Self::List(insured_id) | Self::Read(insured_id, _) | Self::Cancel(insured_id, _) => Some(*insured_id),
        }
    }
}

/// The parts of a path that tell one person or appointment from another, as the path writes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Identifiers<'a> {
    insured: &'a str,
    appointment: &'a str,
}

impl Resource {
    /// Every resource, to be compared with `docs/openapi.yaml`.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 5] =
        [Self::Health, Self::Description, Self::Appointments, Self::Person, Self::Appointment];

    /// The template of its path, for the log: a path holds an insured id.
    pub(crate) const fn template(self) -> &'static str {
        match self {
            Self::Health => "/health",
            Self::Description => "/openapi.yaml",
            Self::Appointments => "/appointments",
            Self::Person => "/appointments/{insuredId}",
            Self::Appointment => "/appointments/{insuredId}/{appointmentId}",
        }
    }

    /// The methods that it knows, as the header `Allow` lists them.
    pub(crate) const fn allow(self) -> &'static str {
        match self {
            Self::Health | Self::Description | Self::Person => "GET, HEAD, OPTIONS",
            Self::Appointments => "POST, OPTIONS",
            Self::Appointment => "GET, HEAD, DELETE, OPTIONS",
        }
    }

    /// Finds what a path names.
    pub(crate) fn find(path: &str) -> Option<(Self, Identifiers<'_>)> {
        for fixed in [Self::Health, Self::Description] {
            if path == fixed.template() {
                return Some((fixed, Identifiers::default()));
            }
        }
        let rest = path.strip_prefix("/appointments").or_else(|| path.strip_prefix("/appointment"))?;
        if rest.is_empty() {
            return Some((Self::Appointments, Identifiers::default()));
        }
        let mut segments = rest.strip_prefix('/')?.split('/');
        match (segments.next(), segments.next(), segments.next()) {
            (Some(insured), None, None) if !insured.is_empty() => {
                Some((Self::Person, Identifiers { insured, appointment: "" }))
            }
            (Some(insured), Some(appointment), None) if !insured.is_empty() && !appointment.is_empty() => {
                Some((Self::Appointment, Identifiers { insured, appointment }))
            }
            _ => None,
        }
    }

    /// What a method asks of it.
    ///
    /// # Errors
    ///
    /// 405 for a method that it does not know, 400 that names every identifier that does not have its form.
    pub(crate) fn route(self, method: &Method, identifiers: Identifiers<'_>) -> Result<Route, Problem> {
        let reads = *method == Method::GET || *method == Method::HEAD;
        match self {
            _ if *method == Method::OPTIONS => Ok(Route::Options(self)),
            Self::Health if reads => Ok(Route::Health),
            Self::Description if reads => Ok(Route::Describe),
            Self::Appointments if *method == Method::POST => Ok(Route::Book),
            Self::Person if reads => match identifiers.insured.parse() {
                Ok(insured) => Ok(Route::List(insured)),
                Err(_) => Err(invalid_identifiers(&["insuredId"])),
            },
            Self::Appointment if reads || *method == Method::DELETE => {
                let insured = identifiers.insured.parse::<InsuredId>();
                match (insured, identifiers.appointment.parse::<AppointmentId>()) {
                    (Ok(insured), Ok(appointment)) if reads => Ok(Route::Read(insured, appointment)),
                    (Ok(insured), Ok(appointment)) => Ok(Route::Cancel(insured, appointment)),
                    (Err(_), Ok(_)) => Err(invalid_identifiers(&["insuredId"])),
                    (Ok(_), Err(_)) => Err(invalid_identifiers(&["appointmentId"])),
                    (Err(_), Err(_)) => Err(invalid_identifiers(&["insuredId", "appointmentId"])),
                }
            }
            _ => Err(Problem::method_not_allowed(self.allow())),
        }
    }
}

fn invalid_identifiers(fields: &[&str]) -> Problem {
    let fault = |field: &&str| InvalidMember { field: (*field).to_owned(), code: FieldErrorCode::InvalidFormat };
    Problem::new(ProblemCode::InvalidParameter).with_errors(fields.iter().map(fault).collect())
}
