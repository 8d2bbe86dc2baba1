//! The appointment system of Chile: a Lambda function for its queue. See `country-worker`.

use std::process::ExitCode;

use appointment::Country;

fn main() -> ExitCode {
    country_worker::run(Country::Chile)
}
