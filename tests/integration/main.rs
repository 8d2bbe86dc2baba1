//! Every test of the repository that crosses a crate, in one binary.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets what it does not expect fails by panicking"
)]

mod application;
mod authentication;
mod aws_http;
mod backplane;
mod cancellation;
mod chaos;
mod components;
mod confirmation;
mod contract;
mod cors;
mod deploy;
mod domain;
mod edge_host;
mod fault_proxy;
mod faults;
mod faulty;
mod host_calls;
mod idempotency;
mod lambda_host;
mod openapi;
mod operator;
mod pipeline;
mod race;
mod raw_double;
mod rds;
mod readme;
mod reconcile;
mod served;
mod settings;
mod signing;
mod states;
mod texts;
mod truth;
mod waiting;
mod workers;
