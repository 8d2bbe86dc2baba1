//! Says what is being done, and how long it took.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// How wide a line is at most, where its words allow it.
const WIDTH: usize = 80;

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

    /// Tells more about the step that is going on, on its own line.
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
            let text = line(label, self.noisy, detail, &format!("{seconds:.1} s"));
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }
}

/// The line of a step that is over; two where one would be wider than a terminal.
fn line(label: &str, label_is_printed: bool, detail: &str, took: &str) -> String {
    let text = match (label_is_printed, detail) {
        (true, "") => format!("      … {took}"),
        (true, detail) => format!("      {detail} … {took}"),
        (false, "") => format!("{label} … {took}"),
        (false, detail) => format!("{label}: {detail} … {took}"),
    };
    if text.chars().count() <= WIDTH || label_is_printed || detail.is_empty() {
        return text;
    }
    format!("{label} … {took}\n      {detail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_once_and_its_line_fits_a_terminal() {
        assert_eq!(
            line("[1/3] PostgreSQL", false, "the machine's", "0.1 s"),
            "[1/3] PostgreSQL: the machine's … 0.1 s"
        );
        assert_eq!(line("[2/3] building", true, "", "9.0 s"), "      … 9.0 s");
        let long = "x".repeat(70);
        assert_eq!(line("[3/3] a browser", false, &long, "0.0 s"), format!("[3/3] a browser … 0.0 s\n      {long}"));
    }
}
