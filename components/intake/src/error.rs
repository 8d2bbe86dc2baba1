//! Why a request ends in a problem.

use backplane::StoreError;
use edge_component::{Problem, ProblemCode, SettingError};

/// A request that ends in a problem, and what the log says of it.
pub(crate) struct RequestError {
    pub(crate) problem: Problem,
    /// Boxed without spare capacity: a `Result` with this error stays small.
    pub(crate) error: Option<Box<str>>,
}

impl From<Problem> for RequestError {
    fn from(problem: Problem) -> Self {
        Self { problem, error: None }
    }
}

impl From<SettingError> for RequestError {
    fn from(error: SettingError) -> Self {
        Self { problem: Problem::new(ProblemCode::Internal), error: Some(error.to_string().into()) }
    }
}

impl From<StoreError> for RequestError {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            // A refusal (no permission, no table) is for the operator, yet heals without the client changing anything.
            StoreError::Call(_) => ProblemCode::TemporarilyUnavailable,
            StoreError::InvalidItem(_) => ProblemCode::Internal,
        };
        Self { problem: Problem::new(code), error: Some(error.to_string().into()) }
    }
}

/// What a 401 without an error says (RFC 6750, section 3).
pub(crate) const CHALLENGE: &str = "Bearer realm=\"appointments\"";

/// Refuses a token. The description goes to the caller and to the log, so it holds nothing of the token.
pub(crate) fn unauthenticated(description: &'static str) -> RequestError {
    refused(ProblemCode::Unauthorized, "invalid_token", description)
}

/// Refuses what the token's holder may not do.
pub(crate) fn forbidden(description: &'static str) -> RequestError {
    refused(ProblemCode::Forbidden, "insufficient_scope", description)
}

fn refused(code: ProblemCode, error: &str, description: &'static str) -> RequestError {
    let challenge = format!("{CHALLENGE}, error=\"{error}\", error_description=\"{description}\"");
    RequestError { problem: Problem::new(code).with_challenge(challenge), error: Some(description.into()) }
}

/// The issuer cannot be asked, and there is no key of it: nobody can be told from anybody.
pub(crate) fn unavailable(reason: String) -> RequestError {
    RequestError { problem: Problem::new(ProblemCode::TemporarilyUnavailable), error: Some(reason.into()) }
}
