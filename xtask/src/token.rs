//! `cargo xtask token`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use appointment::InsuredId;
use clap::{Args, ValueEnum};
use local_stack::tokens::{Algorithm, Grant, TokenIssuer};

#[derive(Args)]
pub(crate) struct Token {
    /// The insured person whom the token is for: five digits.
    #[arg(required_unless_present = "staff")]
    insured_id: Option<InsuredId>,
    /// Let the holder act for every insured person, as staff do.
    #[arg(long)]
    staff: bool,
    /// How the token is signed.
    #[arg(long, value_enum, default_value = "es256")]
    algorithm: AlgorithmChoice,
    /// How many minutes the token is valid.
    #[arg(long, default_value_t = 60)]
    minutes: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum AlgorithmChoice {
    /// ECDSA on P-256.
    Es256,
    /// Ed25519.
    Eddsa,
}

pub(crate) fn run(root: &Path, token: &Token) -> Result<ExitCode> {
    let algorithm = match token.algorithm {
        AlgorithmChoice::Es256 => Algorithm::Es256,
        AlgorithmChoice::Eddsa => Algorithm::EdDsa,
    };
    let grant = Grant {
        insured_id: token.insured_id.as_ref().map(InsuredId::as_str),
        staff: token.staff,
        lifetime: Duration::from_secs(60 * u64::from(token.minutes)),
    };
    println!("{}", TokenIssuer::of_repository(root)?.mint(algorithm, &grant)?);
    Ok(ExitCode::SUCCESS)
}
