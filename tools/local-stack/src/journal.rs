//! The log of a part that this program plays itself: one JSON object a line.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::time::SystemTime;

use anyhow::{Context, Result};
use appointment::Timestamp;
use serde_json::{Map, Value, json};

/// A log file of one service.
#[derive(Debug)]
pub(crate) struct Journal {
    service: &'static str,
    file: Mutex<File>,
}

impl Journal {
    pub(crate) fn open(service: &'static str, path: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(path);
        let file = file.with_context(|| format!("cannot write the log of the {service}, {}", path.display()))?;
        Ok(Self { service, file: Mutex::new(file) })
    }

    /// Notes what happened, and to what, as a separate field.
    pub(crate) fn note(&self, level: &str, message: &str, what: Option<(&str, &str)>) {
        let mut line = Map::new();
        let now = Timestamp::from(SystemTime::now()).to_string();
        line.extend(
            [("timestamp", now.as_str()), ("level", level), ("service", self.service), ("message", message)]
                .map(member),
        );
        line.extend(what.map(member));
        if let Ok(mut file) = self.file.lock() {
            // A log that cannot be written stops nothing.
            let _ = writeln!(file, "{}", json!(line));
        }
    }
}

fn member((name, value): (&str, &str)) -> (String, Value) {
    (name.to_owned(), Value::from(value))
}
