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
mod backlog;
mod backplane;
mod booking_page;
mod cancellation;
mod chaos;
mod chaos_checker;
mod clients;
mod cognito;
mod components;
mod confirmation;
mod console;
mod contract;
mod cors;
mod decide_plans;
mod deploy;
mod domain;
mod edge_host;
mod failures;
mod fault_proxy;
mod faults;
mod faulty;
mod host_calls;
mod idempotency;
mod lambda_host;
mod modules;
mod openapi;
mod operator;
mod page_in_browser;
mod page_over_http;
mod page_sign_in;
mod pipeline;
mod race;
mod raw_double;
mod rds;
mod readme;
mod readme_es;
mod reconcile;
mod served;
mod settings;
mod signing;
mod slots_api;
mod slots_decide;
mod slots_import;
mod slots_model;
mod slots_stack;
mod slots_table;
mod slots_zones;
mod slow_aws;
mod states;
mod texts;
mod traces;
mod truth;
mod up;
mod waiting;
mod worker_database;
mod worker_decisions;
mod worker_events;
mod worker_fixture;
mod worker_messages;
mod worker_settings;
mod worker_versions;
