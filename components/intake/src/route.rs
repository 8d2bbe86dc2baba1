use appointment::InsuredId;
use edge_component::{InvalidMember, Problem, ProblemCode};
use http::Method;

/// What a request asks for.
pub(crate) enum Route {
    /// `GET /health`
    Health,
    /// `POST /appointments`
    Book,
    /// `GET /appointments/{insuredId}`
    List(InsuredId),
}

impl Route {
    /// The template of the path, for the log: a path holds an insured id.
    pub(crate) const fn template(&self) -> &'static str {
        match self {
            Self::Health => "/health",
            Self::Book => "/appointments",
            Self::List(_) => "/appointments/{insuredId}",
        }
    }

    /// Finds the route of a method and a path; `/appointment` is the same as `/appointments`.
    pub(crate) fn find(method: &Method, path: &str) -> Result<Self, Problem> {
        if path == "/health" {
            return match *method {
                Method::GET | Method::HEAD => Ok(Self::Health),
                _ => Err(Problem::method_not_allowed("GET, HEAD")),
            };
        }
        let rest = path
            .strip_prefix("/appointments")
            .or_else(|| path.strip_prefix("/appointment"))
            .ok_or(Problem::new(ProblemCode::NotFound))?;
        if rest.is_empty() {
            return match *method {
                Method::POST => Ok(Self::Book),
                _ => Err(Problem::method_not_allowed("POST")),
            };
        }
        let insured = rest
            .strip_prefix('/')
            .filter(|insured| !insured.is_empty() && !insured.contains('/'))
            .ok_or(Problem::new(ProblemCode::NotFound))?;
        if *method != Method::GET && *method != Method::HEAD {
            return Err(Problem::method_not_allowed("GET, HEAD"));
        }
        insured.parse().map(Self::List).map_err(|_| {
            Problem::new(ProblemCode::InvalidParameter).with_errors(vec![InvalidMember {
                field: "insuredId".to_owned(),
                code: appointment::FieldErrorCode::InvalidFormat,
            }])
        })
    }
}
