//! The figures of every part.

use serde::{Deserialize, Serialize};

use crate::cold_start::ColdStart;
use crate::drain::Drain;
use crate::end_to_end::EndToEnd;
use crate::function_start::FunctionStart;
use crate::growth::Growth;
use crate::host_calls::Counted;
use crate::intake::Intake;
use crate::machine::Measured;
use crate::slots::Slots;
use crate::workers::Workers;

/// The figures, part by part: perhaps each of a different run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    /// Whether they only show that the benchmark works.
    pub(crate) quick: bool,
    pub(crate) intake: Option<Measured<Intake>>,
    pub(crate) host_calls: Option<Measured<Vec<Counted>>>,
    pub(crate) cold_start: Option<Measured<ColdStart>>,
    pub(crate) function_start: Option<Measured<FunctionStart>>,
    pub(crate) workers: Option<Measured<Workers>>,
    pub(crate) end_to_end: Option<Measured<EndToEnd>>,
    pub(crate) growth: Option<Measured<Growth>>,
    pub(crate) slots: Option<Measured<Slots>>,
    pub(crate) drain: Option<Measured<Drain>>,
}

pub(crate) fn kibibytes(bytes: u64) -> f64 {
    bytes as f64 / 1024.0
}
