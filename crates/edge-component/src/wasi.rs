//! The host of production: WASI 0.2 and Spin's interfaces.

mod body;
mod host;
mod serve;

pub use body::IncomingBody;
pub use host::WasiHost;
pub use serve::serve;
