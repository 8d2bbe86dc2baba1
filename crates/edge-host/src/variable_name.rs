//! What Spin calls a variable, and the environment.

/// The environment variable that sets the Spin variable `name`.
pub(crate) fn environment_name(name: &str) -> String {
    format!("SPIN_VARIABLE_{}", name.to_ascii_uppercase())
}

/// Spin's rule for a variable's name: `lower_snake_case`, starting with a letter, no double or trailing underscore.
pub(crate) fn is_valid_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|each| each.is_ascii_lowercase() || each.is_ascii_digit() || each == '_')
        && !name.contains("__")
        && !name.ends_with('_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_spins_rule() {
        for name in ["a", "a1", "aws_region", "a_1"] {
            assert!(is_valid_name(name), "{name}");
        }
        for name in ["", "A", "1a", "_a", "a_", "a__b", "a-b", "ä"] {
            assert!(!is_valid_name(name), "{name}");
        }
    }
}
