//! What a batch of the worker costs on the wire, counted: of the database by a relay between the two, of EventBridge by the stand-in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use country_worker::EventBridge;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::batches::{Rows, worker};
use crate::subjects::{Rules, StandIn};

/// What a batch costs on the wire, counted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Calls {
    pub(crate) batch: usize,
    /// How often the worker waits for the database, once the connection is open and the statement prepared.
    pub(crate) sql_round_trips: usize,
    pub(crate) put_events: u64,
}

/// Counts what a batch asks: of the database by a relay between the two, of EventBridge by the stand-in.
pub(crate) async fn count(
    url: &str,
    stand_in: &StandIn,
    bus: &EventBridge,
    batch: usize,
    rows: &mut Rows,
) -> Result<Calls> {
    let server = url.split('@').nth(1).and_then(|rest| rest.split('/').next()).context("a URL with a host")?.to_owned();
    let relay = TcpListener::bind("127.0.0.1:0").await?;
    let through_relay = url.replace(&server, &relay.local_addr()?.to_string());
    let round_trips = Arc::new(AtomicUsize::new(0));
    let relaying = tokio::spawn(relay_one(relay, server, round_trips.clone()));
    let worker = worker(through_relay.parse()?, bus.clone())?;
    let mut counted = Vec::new();
    for _ in 0..4 {
        stand_in.set(Rules { delay_ms: 0, verify_every: 1, unsigned: false }).await?;
        let before = round_trips.load(Ordering::SeqCst);
        for event in rows.batches(1, batch)? {
            worker.process(event).await?;
        }
        let seen = stand_in.seen().await?;
        seen.require_no_refusal()?;
        counted.push((round_trips.load(Ordering::SeqCst) - before, seen.calls("PutEvents")));
    }
    relaying.abort();
    // The first batch also connects and prepares the statement.
    let (sql_round_trips, put_events) = counted.into_iter().skip(1).max().context("no batch was counted")?;
    Ok(Calls { batch, sql_round_trips, put_events })
}

/// Relays one connection, and counts how often the client begins to speak after it has heard a response.
async fn relay_one(listener: TcpListener, server: String, round_trips: Arc<AtomicUsize>) -> std::io::Result<()> {
    let (mut client, _) = listener.accept().await?;
    let mut server = TcpStream::connect(server).await?;
    let (mut question, mut response) = (vec![0; 65536], vec![0; 65536]);
    let mut asking = false;
    loop {
        tokio::select! {
            read = client.read(&mut question) => {
                let length = read?;
                if length == 0 { return Ok(()) }
                if !std::mem::replace(&mut asking, true) {
                    round_trips.fetch_add(1, Ordering::SeqCst);
                }
                server.write_all(question.get(..length).unwrap_or_default()).await?;
            }
            read = server.read(&mut response) => {
                let length = read?;
                if length == 0 { return Ok(()) }
                asking = false;
                client.write_all(response.get(..length).unwrap_or_default()).await?;
            }
        }
    }
}
