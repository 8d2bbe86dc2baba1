//! Every test of the repository that crosses a crate, in one binary.
