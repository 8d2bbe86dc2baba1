//! A server without an HTTP library, which sees how the bytes of a request arrive.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// The response in most tests.
pub(crate) const OK_RESPONSE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";

/// A server that reads once from each request, keeps what it read, and sends a fixed response.
pub(crate) struct RawDouble {
    pub(crate) addr: SocketAddr,
    pub(crate) reads: Arc<Mutex<Vec<String>>>,
    pub(crate) connections: Arc<Mutex<usize>>,
}

impl RawDouble {
    /// It closes a connection after `requests_per_connection` responses.
    pub(crate) async fn start(response: &'static str, requests_per_connection: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (reads, connections): (Arc<Mutex<Vec<String>>>, Arc<Mutex<usize>>) = Default::default();
        let (kept_reads, counted) = (reads.clone(), connections.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                *counted.lock().unwrap() += 1;
                let reads = kept_reads.clone();
                tokio::spawn(async move {
                    for _ in 0..requests_per_connection {
                        let mut buffer = vec![0; 64 * 1024];
                        match stream.read(&mut buffer).await {
                            Ok(size) if size > 0 => {
                                reads.lock().unwrap().push(String::from_utf8_lossy(&buffer[..size]).into_owned());
                                stream.write_all(response.as_bytes()).await.unwrap();
                            }
                            _ => return,
                        }
                    }
                    // The peer knows of it at once, also if a program that another test starts has the connection still.
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { addr, reads, connections }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }
}
