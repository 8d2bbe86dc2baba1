//! Reads the logs of an instance, again and again: each line of JSON is a [`LogLine`], which tells [`Span`]s.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::mem;
use std::path::{Path, PathBuf};

pub use spans::{Level, LogLine, Span};

/// Reads the files `*.log` of a folder again and again, each time what is new.
#[derive(Debug)]
pub struct LogFolder {
    folder: PathBuf,
    files: BTreeMap<PathBuf, Place>,
    /// What was read and not handed out yet.
    lines: Vec<LogLine>,
}

/// How far a file has been read.
#[derive(Debug, Default)]
struct Place {
    /// Tells the file from another one that has taken its name.
    file: u64,
    offset: u64,
    /// The beginning of a line whose end was not there yet.
    half: Vec<u8>,
}

impl LogFolder {
    /// The logs in a folder, which need not be there yet.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), files: BTreeMap::new(), lines: Vec::new() }
    }

    /// The lines that were written since the last call, in the order of their time; at first all of them. A file that was replaced
    /// or cut off is read from its beginning. Lines of another form are left out.
    ///
    /// # Errors
    ///
    /// A file cannot be read. What was read of others comes with the next call.
    pub fn read(&mut self) -> io::Result<Vec<LogLine>> {
        for path in logs(&self.folder)? {
            let place = self.files.entry(path.clone()).or_default();
            place.read(&path, &mut self.lines)?;
        }
        let mut lines = mem::take(&mut self.lines);
        lines.sort_by_key(|line: &LogLine| line.timestamp);
        Ok(lines)
    }
}

fn logs(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("log")) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

impl Place {
    fn read(&mut self, path: &Path, lines: &mut Vec<LogLine>) -> io::Result<()> {
        let mut log = match File::open(path) {
            Ok(log) => log,
            // Gone since the folder was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let metadata = log.metadata()?;
        let file = identity(&metadata);
        if file != self.file || metadata.len() < self.offset {
            *self = Self { file, ..Self::default() };
        }
        log.seek(SeekFrom::Start(self.offset))?;
        let mut new = Vec::new();
        let read = log.read_to_end(&mut new)?;
        self.offset += u64::try_from(read).unwrap_or_default();
        self.half.append(&mut new);
        let whole = self.half.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let rest = self.half.split_off(whole);
        let text = String::from_utf8_lossy(&self.half);
        lines.extend(text.lines().filter_map(LogLine::parse));
        self.half = rest;
        Ok(())
    }
}

#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn identity(_: &fs::Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_folder_is_read_on_where_it_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("logs");
        let mut reader = LogFolder::new(&logs);
        assert_eq!(reader.read().unwrap(), []);

        fs::create_dir(&logs).unwrap();
        let line = |second: u32, message: &str| {
            format!(
                r#"{{"timestamp":"2026-11-28T03:41:{second:02}Z","level":"INFO","service":"s","message":"{message}"}}"#
            )
        };
        let messages = |reader: &mut LogFolder| -> Vec<String> {
            reader.read().unwrap().into_iter().map(|line| line.message).collect()
        };
        let application = logs.join("application.log");
        fs::write(&application, format!("starting\n{}\n{}", line(2, "second"), &line(3, "third")[..30])).unwrap();
        fs::write(logs.join("workers.log"), line(1, "first") + "\n").unwrap();
        fs::write(logs.join("notes.txt"), line(1, "no log") + "\n").unwrap();
        assert_eq!(messages(&mut reader), ["first", "second"]);
        assert_eq!(reader.read().unwrap(), []);

        let mut log = File::options().append(true).open(&application).unwrap();
        writeln!(log, "{}\n{}", &line(3, "third")[30..], line(4, "fourth")).unwrap();
        assert_eq!(messages(&mut reader), ["third", "fourth"]);

        // Cut off, and begun anew.
        fs::write(&application, line(5, "fifth") + "\n").unwrap();
        assert_eq!(messages(&mut reader), ["fifth"]);
        // Replaced by another file, which is longer.
        let replacement = logs.join("replacement");
        fs::write(&replacement, format!("{}\n{}\n", line(6, "sixth"), line(7, "seventh"))).unwrap();
        fs::rename(&replacement, &application).unwrap();
        assert_eq!(messages(&mut reader), ["sixth", "seventh"]);
    }
}
