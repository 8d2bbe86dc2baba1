//! Zip files that depend on nothing but their content: no time, no owner, the entries in the order in which they are given.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, DateTime};

/// A file in a zip.
pub struct Entry<'a> {
    /// Its path inside.
    pub path: &'a str,
    /// Its content.
    pub content: &'a [u8],
    /// Whether it may be executed.
    pub executable: bool,
}

/// Writes a zip, compressed at `level` from 1 (fast) to 9 (small). It appears when it is whole.
///
/// # Errors
/// When the file cannot be written.
pub fn write(file: &Path, level: i64, entries: &[Entry<'_>]) -> Result<()> {
    let folder = file.parent().context("a zip lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    // Under a name of our own until then: another process may do this at the same time.
    let unfinished = file.with_extension(format!("{}.unfinished", std::process::id()));
    let output = File::create(&unfinished).with_context(|| format!("cannot write {}", unfinished.display()))?;
    let mut zip = ZipWriter::new(BufWriter::new(output));
    for entry in entries {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(level))
            .last_modified_time(DateTime::default())
            .unix_permissions(if entry.executable { 0o755 } else { 0o644 });
        zip.start_file(entry.path, options)?;
        zip.write_all(entry.content)?;
    }
    zip.finish()?.flush()?;
    fs::rename(&unfinished, file).with_context(|| format!("cannot write {}", file.display()))
}
