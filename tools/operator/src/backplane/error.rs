use std::path::PathBuf;

/// The path of the file inside the repository.
pub const FILE: &str = "infra/backplane.json";

/// Why `infra/backplane.json` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackplaneError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// Where it was expected.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not what this type describes.
    #[error("{FILE}: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The `local` block names something that is no duration.
    #[error("{FILE}: local.durations_seconds: {0}; only a duration of `durations_seconds` can be overridden")]
    NoDuration(serde_json::Error),
    /// A principal has the statements of one that does not exist, or that has another's itself.
    #[error("{FILE}: principals.{0}.statements_of names a principal that has no statements, or has others' too")]
    NoStatements(String),
}
