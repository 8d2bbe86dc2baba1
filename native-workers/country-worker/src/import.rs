//! Imports of slots: a file of any size, streamed into the database, and applied there in chunks under `decide`'s locks.

use std::io;

use appointment::{Country, TraceContext};
use csv_core::ReadRecordResult;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgCopyIn};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

use crate::event_bus::AnnouncementBus;
use crate::import_line::{FIELDS, LineReader, Refusal, RefusalCode, StagedSlot};
use crate::outbox::{self, Drained};

/// How many slots are locked and applied at once.
const CHUNK: i32 = 500;

/// The longest line.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// The refused lines that a report names.
const MAX_REFUSALS: usize = 1000;

/// What is sent to the database at once.
const COPY_BYTES: usize = 64 * 1024;

/// Where an import comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name, such as that of a file. Imports of one name wait for each other.
    pub name: String,
    /// Of its content. An import that was interrupted goes on where it was when the same content comes again under its name.
    pub fingerprint: String,
    /// Whether an import that is done is not done again: for a source that may be announced more than once.
    pub once: bool,
}

/// What became of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The name of its source.
    pub name: String,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// When it ended, RFC 3339.
    pub finished_at: Option<String>,
    /// Lines, a header and empty ones left out.
    pub lines: u64,
    /// Lines that are so now: those that changed something, and those that were so before.
    pub accepted: u64,
    /// Lines that changed their slot.
    pub changed: u64,
    /// Lines that said what was so already.
    pub unchanged: u64,
    /// Lines that were refused.
    pub refused: u64,
    /// Bookings that were cancelled because their slot was withdrawn.
    pub cancelled_appointments: u64,
    /// The refused lines, the first thousand in their order.
    pub refusals: Vec<RefusedLine>,
}

/// A line that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedLine {
    /// Its number, from 1.
    pub line: u64,
    /// Why.
    pub code: RefusalCode,
    /// The field that is wrong.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub field: Option<String>,
    /// What is wrong, and what to do.
    #[serde(default)]
    pub message: String,
}

/// Why an import came to no end. It may be done again, and goes on where it was.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The source could not be read. Nothing was changed.
    #[error("the source cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// The header of CSV names no or other columns, or one twice. Nothing was changed.
    #[error("the first line has to be JSON, or to name the columns {columns}: {0}", columns = FIELDS.join(","))]
    Header(String),
    /// The database failed.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// This version does not know what the database returned.
    #[error("the database returned a report of another version: {0}")]
    Report(#[from] serde_json::Error),
}

/// Imports slots of `country` from NDJSON or CSV (which of them, the first line tells), and sends what changed to `bus`, chunk by
/// chunk. What the bus does not take stays in the outbox.
///
/// `connection` serves nothing else, and is best without a statement timeout. Until it ends, other imports of
/// the same name wait.
///
/// # Errors
/// See [`ImportError`]. A refused line is not an error: the report names it.
pub async fn import(
    connection: &mut PgConnection,
    country: Country,
    bus: &impl AnnouncementBus,
    source: &Source,
    reader: impl AsyncBufRead + Unpin,
    traceparent: TraceContext,
) -> Result<(Report, Drained), ImportError> {
    let begun = sqlx::query("SELECT import_id, state FROM public.import_begin($1, $2, $3, $4)")
        .bind(&source.name)
        .bind(&source.fingerprint)
        .bind(source.once)
        .bind(traceparent.to_string())
        .fetch_one(&mut *connection)
        .await?;
    let (import, state): (i64, String) = (begun.try_get("import_id")?, begun.try_get("state")?);
    if state == "staging" {
        stage(connection, import, reader).await?;
    }
    tracing::info!(country = country.code(), import_id = import, state, "import of slots");
    let mut drained = Drained::default();
    loop {
        let applied: i64 = sqlx::query_scalar("SELECT public.import_apply($1, $2)")
            .bind(import)
            .bind(CHUNK)
            .fetch_one(&mut *connection)
            .await?;
        if applied == 0 {
            break;
        }
        drained.sent += outbox::drain(connection, country, bus).await?.sent;
    }
    let report: String =
        sqlx::query_scalar("SELECT public.import_report($1)::text").bind(import).fetch_one(&mut *connection).await?;
    let mut report: Report = serde_json::from_str(&report)?;
    for refused in &mut report.refusals {
        refused.message = refused.code.message().to_owned();
    }
    let last = outbox::drain(connection, country, bus).await?;
    Ok((report, Drained { sent: drained.sent + last.sent, left: last.left }))
}

/// Streams the lines into the staging table, all of them or none.
async fn stage(
    connection: &mut PgConnection,
    import: i64,
    reader: impl AsyncBufRead + Unpin,
) -> Result<(), ImportError> {
    let mut lines = Lines::new(reader);
    let mut copy = connection
        .copy_in_raw(
            "COPY public.staged_slots (import_id, schedule_id, line, specialty, center, practitioner, starts_at, ends_at,
                 time_zone, utc_offset_minutes, state)
             FROM STDIN (FORMAT csv)",
        )
        .await?;
    let staged = match copy_lines(&mut copy, import, &mut lines).await {
        Ok(staged) => staged,
        Err(error) => {
            copy.abort("the import was given up").await?;
            return Err(error);
        }
    };
    copy.finish().await?;
    sqlx::query("SELECT public.import_staged($1, $2, $3, $4::text::jsonb)")
        .bind(import)
        .bind(staged.lines.cast_signed())
        .bind(staged.refused.cast_signed())
        .bind(Value::Array(staged.refusals).to_string())
        .execute(connection)
        .await?;
    Ok(())
}

#[derive(Default)]
struct Staged {
    lines: u64,
    refused: u64,
    refusals: Vec<Value>,
}

async fn copy_lines<R: AsyncBufRead + Unpin>(
    copy: &mut PgCopyIn<&mut PgConnection>,
    import: i64,
    lines: &mut Lines<R>,
) -> Result<Staged, ImportError> {
    let mut staged = Staged::default();
    let mut rows = String::with_capacity(COPY_BYTES + MAX_LINE_BYTES);
    while let Some((number, slot)) = lines.next().await? {
        staged.lines += 1;
        match slot {
            Ok(slot) => {
                write_row(&mut rows, import, number, &slot);
                if rows.len() >= COPY_BYTES {
                    copy.send(rows.as_bytes()).await?;
                    rows.clear();
                }
            }
            Err(Refusal { code, field }) => {
                staged.refused += 1;
                if staged.refusals.len() < MAX_REFUSALS {
                    staged.refusals.push(serde_json::json!({ "line": number, "code": code, "field": field }));
                }
            }
        }
    }
    copy.send(rows.as_bytes()).await?;
    Ok(staged)
}

/// A row of PostgreSQL's CSV. Names hold no line breaks, and need only their quotes doubled.
fn write_row(rows: &mut String, import: i64, line: u64, slot: &StagedSlot) {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let fields = [
        import.to_string(),
        slot.schedule_id.to_string(),
        line.to_string(),
        quoted(&slot.specialty),
        quoted(&slot.center),
        quoted(&slot.practitioner),
        slot.starts_at.to_string(),
        slot.ends_at.to_string(),
        quoted(&slot.time_zone),
        slot.utc_offset.minutes().to_string(),
        if slot.withdrawn { "withdrawn" } else { "open" }.to_owned(),
    ];
    rows.push_str(&fields.join(","));
    rows.push('\n');
}

/// The lines of a source.
struct Lines<R> {
    reader: R,
    number: u64,
    format: Option<Format>,
    slots: LineReader,
}

enum Format {
    Json,
    /// With the columns, in their order.
    Csv(Vec<&'static str>),
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    fn new(reader: R) -> Self {
        Self { reader, number: 0, format: None, slots: LineReader::default() }
    }

    /// The next line that is not empty, with its number, as a slot.
    async fn next(&mut self) -> Result<Option<(u64, Result<StagedSlot, Refusal>)>, ImportError> {
        while let Some(line) = self.line().await.map_err(ImportError::Unreadable)? {
            let Some(line) = line else {
                if self.format.is_none() {
                    return Err(ImportError::Header("the first line is longer than 16 KiB".to_owned()));
                }
                return Ok(Some((self.number, Err(RefusalCode::LineTooLong.into()))));
            };
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let slot = match &self.format {
                None if line.starts_with(b"{") => {
                    self.format = Some(Format::Json);
                    self.slots.json(line)
                }
                None => {
                    self.format = Some(Format::Csv(columns(line).map_err(ImportError::Header)?));
                    continue;
                }
                Some(Format::Json) => self.slots.json(line),
                Some(Format::Csv(columns)) => match record(line) {
                    Some(record) => self.slots.csv(columns, record.iter().map(Vec::as_slice)),
                    None => Err(RefusalCode::NotCsv.into()),
                },
            };
            return Ok(Some((self.number, slot)));
        }
        Ok(None)
    }

    /// The next line; nothing in place of one that is too long.
    async fn line(&mut self) -> io::Result<Option<Option<Vec<u8>>>> {
        let mut line = Vec::new();
        let (mut read_any, mut too_long) = (false, false);
        loop {
            let available = self.reader.fill_buf().await?;
            if available.is_empty() {
                break;
            }
            if !read_any {
                self.number += 1;
                read_any = true;
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
            too_long |= line.len() + part.len() > MAX_LINE_BYTES;
            if !too_long {
                line.extend_from_slice(part);
            }
            let consumed = end.map_or(available.len(), |end| end + 1);
            self.reader.consume(consumed);
            if end.is_some() {
                break;
            }
        }
        if !read_any {
            return Ok(None);
        }
        // As Excel begins a file.
        if self.number == 1 && line.starts_with("\u{feff}".as_bytes()) {
            line.drain(.."\u{feff}".len());
        }
        Ok(Some((!too_long).then_some(line)))
    }
}

/// The columns that a header names.
fn columns(line: &[u8]) -> Result<Vec<&'static str>, String> {
    let mut columns = Vec::new();
    for field in record(line).ok_or("it is no CSV")? {
        let name = String::from_utf8_lossy(&field);
        let known = FIELDS.into_iter().find(|known| *known == name.trim());
        let column =
            known.ok_or_else(|| format!("{:?} is no column", name.trim().chars().take(40).collect::<String>()))?;
        if columns.contains(&column) {
            return Err(format!("{column} is named twice"));
        }
        columns.push(column);
    }
    Ok(columns)
}

/// The fields of a record that is one line; nothing where its quotes do not end.
fn record(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut input = line.to_vec();
    input.push(b'\n');
    let (mut bytes, mut ends) = (vec![0; input.len()], vec![0; input.len()]);
    let (result, _, _, count) = csv_core::Reader::new().read_record(&input, &mut bytes, &mut ends);
    if !matches!(result, ReadRecordResult::Record) {
        return None;
    }
    let mut start = 0;
    let fields = ends.get(..count)?.iter().map(|end| {
        let field = bytes.get(start..*end)?.to_vec();
        start = *end;
        Some(field)
    });
    fields.collect()
}
