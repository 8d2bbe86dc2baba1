//! `dynalite`, a store that executes the operations of DynamoDB. It keeps its items in LevelDB by their keys, walks a partition as
//! DynamoDB does, and tells the capacity of each operation by DynamoDB's rules. A new table is filled by `load.js`.

use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_http::native::NativeTransport;
use aws_http::{Client, Credentials, Endpoint, Terms, Transport, TransportError};
use bytes::Bytes;
use local_stack::process::{Process, free_port};
use local_stack::progress::Progress;
use local_stack::tools::{DYNALITE, node_program};
use serde_json::Value;

use crate::programs::Programs;
use crate::subjects::launch;

const REGION: &str = "us-east-1";

/// After how many loaded items the progress is shown.
const SHOWN_EVERY: usize = 250_000;

/// `dynalite` with one table, which it keeps in a folder.
pub(crate) struct Store {
    process: Process,
    pub(crate) client: Client<Metered>,
    pub(crate) endpoint: Endpoint,
    cost: Arc<Mutex<Cost>>,
    /// The table's, as `infra/backplane.json` has it.
    pub(crate) name: String,
}

impl Store {
    /// Starts the store with a table that has these items. They are only asked for where the folder has no such table yet.
    pub(crate) async fn open(
        programs: &Programs,
        folder: PathBuf,
        definition: Value,
        items: impl ExactSizeIterator<Item = Result<Value>>,
        progress: &Progress,
    ) -> Result<Self> {
        let (node, dynalite) = (node_program(&programs.root), DYNALITE.place(&programs.root));
        let name = definition.get("TableName").and_then(Value::as_str).context("a table without a name")?.to_owned();
        let (loaded, store) = (folder.join("loaded"), folder.join("items"));
        if !is_loaded(&loaded, &definition) {
            if folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
            fs::create_dir_all(&folder)?;
            load(&node, &dynalite, &store, &definition, items, progress)?;
            fs::write(&loaded, definition.to_string())?;
        }
        let port = free_port()?;
        let endpoint: Endpoint = format!("http://127.0.0.1:{port}").parse()?;
        let program = dynalite.join("node_modules/dynalite/cli.js").to_string_lossy().into_owned();
        let (path, port) = (store.to_string_lossy().into_owned(), port.to_string());
        let arguments = [program.as_str(), "--port", &port, "--path", &path, "--host", "127.0.0.1"];
        let mut process = launch(programs, "dynalite", &node, arguments.map(str::to_owned).to_vec(), Vec::new())?;
        let address = format!("127.0.0.1:{port}");
        let listens = async || tokio::net::TcpStream::connect(&address).await.is_ok();
        process.until_ready(Duration::from_secs(60), listens).await?;

        let cost = Arc::new(Mutex::new(Cost::default()));
        let transport = Metered { transport: NativeTransport::new(), cost: cost.clone() };
        let limit = Duration::from_secs(60);
        let client = Client::new(transport, REGION, Credentials::from_keys("bench", "bench", None))
            .with_deadline(limit)
            .with_attempt_limit(limit)
            .with_verbatim_rejections();
        Ok(Self { process, client, endpoint, cost, name })
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// What the operations since the last call cost.
    pub(crate) fn cost(&self) -> Cost {
        std::mem::take(&mut *self.cost.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Fills a new store by `load.js`.
fn load(
    node: &Path,
    dynalite: &Path,
    store: &Path,
    definition: &Value,
    items: impl ExactSizeIterator<Item = Result<Value>>,
    progress: &Progress,
) -> Result<()> {
    let mut script = Command::new(node);
    script.arg("load.js").arg(store).current_dir(dynalite).stdin(Stdio::piped());
    let mut script = script.spawn().context("cannot run load.js")?;
    let mut lines = BufWriter::new(script.stdin.take().context("load.js without an input")?);
    let count = items.len();
    let write = || -> Result<()> {
        writeln!(lines, "{definition}")?;
        for (number, item) in items.enumerate() {
            if number.is_multiple_of(SHOWN_EVERY) {
                progress.note(&format!("loading: {number} of {count} items"));
            }
            writeln!(lines, "{}", item?)?;
        }
        Ok(lines.flush()?)
    };
    let written = write();
    // The end of its input, after which it ends.
    drop(lines);
    let status = script.wait()?;
    ensure!(status.success(), "load.js: {status}");
    written
}

/// Whether a table was loaded whole, with the definition that it has to have.
fn is_loaded(loaded: &Path, definition: &Value) -> bool {
    let found = fs::read(loaded).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    found.as_ref() == Some(definition)
}

/// What the operations since the last look cost: the items of the one that read the most in vain, the most units.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) items_read: u64,
    pub(crate) items_returned: u64,
    pub(crate) capacity_units: f64,
}

/// Asks the store for the capacity of each operation, and notes it. The body is changed after it was signed, which this
/// store does not verify.
#[derive(Clone)]
pub(crate) struct Metered {
    transport: NativeTransport,
    cost: Arc<Mutex<Cost>>,
}

impl Transport for Metered {
    async fn send(
        &self,
        mut request: http::Request<Bytes>,
        terms: Terms,
    ) -> Result<http::Response<Bytes>, TransportError> {
        if let Ok(Value::Object(mut input)) = serde_json::from_slice(request.body()) {
            input.insert("ReturnConsumedCapacity".to_owned(), "TOTAL".into());
            *request.body_mut() = Value::Object(input).to_string().into();
        }
        let response = self.transport.send(request, terms).await?;
        if let Ok(output) = serde_json::from_slice::<Value>(response.body())
            && let Some(units) = output.pointer("/ConsumedCapacity/CapacityUnits").and_then(Value::as_f64)
        {
            let count = |field: &str| output.get(field).and_then(Value::as_u64);
            let mut cost = self.cost.lock().unwrap_or_else(PoisonError::into_inner);
            // A write looks at the one item that it writes.
            let (read, returned) = (count("ScannedCount").unwrap_or(1), count("Count").unwrap_or(1));
            let by_waste = |read: u64, returned: u64| (read.saturating_sub(returned), read);
            if by_waste(read, returned) > by_waste(cost.items_read, cost.items_returned) {
                (cost.items_read, cost.items_returned) = (read, returned);
            }
            cost.capacity_units = cost.capacity_units.max(units);
        }
        Ok(response)
    }

    async fn sleep(&self, duration: Duration) {
        self.transport.sleep(duration).await;
    }
}
