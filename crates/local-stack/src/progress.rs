//! Says what is being done, and how long it took.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// Numbered steps on standard error, each in one line, or nothing at all.
#[derive(Debug)]
pub struct Progress {
    total: Option<u32>,
    begun: AtomicU32,
}

/// A step that has begun. Dropped without [`Step::done`], it failed.
#[derive(Debug)]
pub struct Step {
    label: Option<String>,
    /// Whether its label was printed when it began.
    noisy: bool,
    started: Instant,
}

impl Progress {
    /// For people who wait: `[3/7] …`.
    #[must_use]
    pub const fn steps(total: u32) -> Self {
        Self { total: Some(total), begun: AtomicU32::new(0) }
    }

    /// For tests.
    #[must_use]
    pub const fn silent() -> Self {
        Self { total: None, begun: AtomicU32::new(0) }
    }

    /// Begins the next step, which is soon over and prints nothing itself.
    pub fn step(&self, what: &str) -> Step {
        self.begin(what, false)
    }

    /// Begins the next step, during which other programs print.
    pub fn noisy_step(&self, what: &str) -> Step {
        self.begin(what, true)
    }

    /// Tells more about the step that is going on, in a line of its own.
    pub fn note(&self, text: &str) {
        if self.total.is_some() {
            let _ = writeln!(std::io::stderr().lock(), "      {text}");
        }
    }

    fn begin(&self, what: &str, noisy: bool) -> Step {
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let label = self.total.map(|total| format!("[{number}/{total}] {what}"));
        let mut output = std::io::stderr().lock();
        // A progress line that cannot be written is no reason to stop.
        let _ = match &label {
            Some(label) if noisy => writeln!(output, "{label} …"),
            _ => Ok(()),
        };
        Step { label, noisy, started: Instant::now() }
    }
}

impl Step {
    /// The step is over; `detail` may say what came out.
    pub fn done(self, detail: &str) {
        if let Some(label) = &self.label {
            let seconds = self.started.elapsed().as_secs_f64();
            let label = if self.noisy { "     " } else { label };
            let separator = if detail.is_empty() || self.noisy { "" } else { ":" };
            let space = if detail.is_empty() { "" } else { " " };
            let _ = writeln!(std::io::stderr().lock(), "{label}{separator}{space}{detail} … {seconds:.1} s");
        }
    }
}
