use std::mem::ManuallyDrop;

use ::wasi::cli::stdout::get_stdout;
use ::wasi::random::random::get_random_bytes;
use aws_http::wasi::{WRITE_BYTES, WasiTransport};
use spin_sdk::key_value::Store;
use spin_sdk::variables;

use crate::{Host, KeyValueStore};

/// The host that runs the component.
#[derive(Clone, Copy, Debug)]
pub struct WasiHost;

impl Host for WasiHost {
    type Transport = WasiTransport;
    type Store = Store;

    fn transport(self) -> WasiTransport {
        WasiTransport
    }

    fn variable(self, name: &str) -> Result<String, &'static str> {
        variables::get(name).map_err(|error| match error {
            variables::Error::InvalidName(_) => "the name is invalid",
            variables::Error::Undefined(_) => "it is not defined",
            variables::Error::Provider(_) => "its provider failed",
            variables::Error::Other(_) => "the host failed",
        })
    }

    fn fill_random(self, bytes: &mut [u8]) {
        // The host returns exactly as many bytes as it is asked for (wasi:random/random).
        let random = get_random_bytes(bytes.len() as u64);
        for (byte, random) in bytes.iter_mut().zip(random) {
            *byte = random;
        }
    }

    fn open_store(self) -> Result<Store, String> {
        Store::open_default().map_err(|error| error.to_string())
    }

    fn log(self, line: &str) {
        // Past the standard library, which asks more of the host; and the stream is left to the host.
        let output = ManuallyDrop::new(get_stdout());
        for piece in line.as_bytes().chunks(WRITE_BYTES) {
            if output.blocking_write_and_flush(piece).is_err() {
                break;
            }
        }
    }
}

impl KeyValueStore for Store {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        Self::get(self, key).map_err(|error| error.to_string())
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), String> {
        Self::set(self, key, value).map_err(|error| error.to_string())
    }

    fn delete(&self, key: &str) -> Result<(), String> {
        Self::delete(self, key).map_err(|error| error.to_string())
    }
}
