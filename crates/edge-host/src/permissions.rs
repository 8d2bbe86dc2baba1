//! What a component may use.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::key_value::KeyValueStore;
use crate::logs::LogSink;
use crate::outbound_hosts::AllowedHosts;
use crate::variables::Value;

/// What a component may use, the same for each of its instances.
pub(crate) struct Permissions {
    /// The component's name in the manifest.
    pub(crate) name: Arc<str>,
    pub(crate) variables: HashMap<String, Value>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) allowed_hosts: AllowedHosts,
    /// Where the manifest gives it to the component.
    pub(crate) key_value: Option<KeyValueStore>,
    /// By how many seconds the wall clock runs ahead.
    pub(crate) clock_ahead: Option<Arc<AtomicU64>>,
    pub(crate) log: LogSink,
}
