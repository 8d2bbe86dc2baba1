//! The whole system on one machine: the real components and workers, a real PostgreSQL, and an emulator of AWS.
//!
//! [`LocalStack::start`] composes the parts, [`Services::start`] all but the application; each is usable by itself. It serves
//! `cargo xtask up` and `demo`, and the pipeline tests, which start instances of their own on free ports.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`setup`], [`tools`] | what the machine needs: the Wasm target, the emulator, PostgreSQL; the tests' tools |
//! | [`artifacts`] | builds and packs the components, the functions and the embedded host |
//! | [`database`] | the countries' databases, as the functions are told of them |
//! | [`archive`] | writes zips that depend on their content alone |
//! | [`ministack`], [`postgres`] | the two servers, as child processes |
//! | [`emulator`] | the emulator as others reach it: clients, and an account for `operator` |
//! | [`mod@provision`] | creates the backplane and the functions in the emulator from `infra/backplane.json` |
//! | `schedule` | invokes the republishing function, and each importer, more often than the emulator's rules do |
//! | [`catalogue`], [`sample`] | imports slots by the countries' programs; four weeks of slots for each country |
//! | [`tokens`] | an issuer of bearer tokens |
//! | [`application`] | the Spin application at the edge, under `spin up` or in the embedded host |
//! | [`running`] | what another program needs to know of a stack that runs |
//! | [`observation`], [`fault`] | what a stack that runs holds; breaks a hop of it, and heals it |
//! | [`process`] | child processes that never outlive their program |
//!
//! Nothing outlives the program that started it: dropping a value stops what it owns, and on Linux the kernel stops
//! the children of a program that was killed.

pub mod application;
pub mod archive;
pub mod artifacts;
pub mod catalogue;
pub mod chromium;
pub mod command;
pub mod database;
pub mod emulator;
pub mod fault;
mod folders;
mod function_logs;
pub mod http;
mod journal;
pub mod ministack;
pub mod observation;
pub mod postgres;
pub mod process;
pub mod progress;
pub mod provision;
pub mod running;
pub mod sample;
mod schedule;
mod services;
pub mod setup;
mod stack;
pub mod tokens;
pub mod tools;

pub use folders::{Leftovers, TESTS, logs_of_port, remove_leftovers_of_tests};
pub use services::{Options, Ports, Services, telemetry};
pub use stack::{ApplicationOptions, Endpoints, LocalStack, STEPS};
