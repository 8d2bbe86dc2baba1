//! Spin's key-value store, in memory: it lives as long as the host, and its entries are shared by all instances.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

mod bindings {
    // Spin 2's and later's own text of the interface.
    wasmtime::component::bindgen!({
        inline: "
            package fermyon:spin@2.0.0;

            interface key-value {
                resource store {
                    open: static func(label: string) -> result<store, error>;
                    get: func(key: string) -> result<option<list<u8>>, error>;
                    set: func(key: string, value: list<u8>) -> result<_, error>;
                    delete: func(key: string) -> result<_, error>;
                    exists: func(key: string) -> result<bool, error>;
                    get-keys: func() -> result<list<string>, error>;
                }

                variant error {
                    store-table-full,
                    no-such-store,
                    access-denied,
                    other(string),
                }
            }

            world host {
                import key-value;
            }
        ",
        world: "host",
        imports: { default: tracing | trappable },
        with: { "fermyon:spin/key-value.store": super::OpenStore },
    });
}

use bindings::fermyon::spin::key_value::{self, Error};

/// The interface's name, without its version.
pub(crate) const INTERFACE: &str = "fermyon:spin/key-value";

/// The only store that there is without a runtime configuration of Spin.
pub(crate) const DEFAULT_STORE: &str = "default";

/// How much the keys and values of a store may have together, in bytes.
const MAX_BYTES: usize = 16 << 20;

/// The entries of a store.
#[derive(Default)]
struct Entries {
    values: HashMap<String, Vec<u8>>,
    bytes: usize,
}

/// A store. Cloning it is cheap and shares the entries.
#[derive(Clone, Default)]
pub(crate) struct KeyValueStore(Arc<Mutex<Entries>>);

/// A store that an instance has opened.
#[expect(unreachable_pub, reason = "the generated bindings export it from their module")]
pub struct OpenStore(KeyValueStore);

impl KeyValueStore {
    /// The lock is held for no longer than `access`, which does not wait.
    fn with<T>(&self, access: impl FnOnce(&mut Entries) -> T) -> T {
        access(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Entries {
    fn set(&mut self, key: String, value: Vec<u8>) -> Result<(), Error> {
        let before = self.values.get(&key).map_or(0, |before| key.len() + before.len());
        let bytes = self.bytes - before + key.len() + value.len();
        if bytes > MAX_BYTES {
            return Err(Error::Other(format!("the store is full: it holds at most {} MiB", MAX_BYTES >> 20)));
        }
        self.bytes = bytes;
        self.values.insert(key, value);
        Ok(())
    }

    fn delete(&mut self, key: &str) {
        if let Some(value) = self.values.remove(key) {
            self.bytes -= key.len() + value.len();
        }
    }
}

/// One instance's view of the store.
pub(crate) struct KeyValueView<'a> {
    /// Where the manifest gives it to the component.
    pub(crate) store: Option<&'a KeyValueStore>,
    pub(crate) table: &'a mut ResourceTable,
}

/// Marks the interface's functions as ones that get a [`KeyValueView`].
struct KeyValue;

impl HasData for KeyValue {
    type Data<'a> = KeyValueView<'a>;
}

/// Gives components the interface.
pub(crate) fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> KeyValueView<'_>,
) -> wasmtime::Result<()> {
    key_value::add_to_linker::<_, KeyValue>(linker, view)
}

impl key_value::Host for KeyValueView<'_> {}

impl key_value::HostStore for KeyValueView<'_> {
    fn open(&mut self, label: String) -> wasmtime::Result<Result<Resource<OpenStore>, Error>> {
        let Some(store) = self.store else { return Ok(Err(Error::AccessDenied)) };
        if label != DEFAULT_STORE {
            return Ok(Err(Error::AccessDenied));
        }
        Ok(self.table.push(OpenStore(store.clone())).map_err(|_| Error::StoreTableFull))
    }

    fn get(&mut self, store: Resource<OpenStore>, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        Ok(Ok(self.table.get(&store)?.0.with(|entries| entries.values.get(&key).cloned())))
    }

    fn set(&mut self, store: Resource<OpenStore>, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), Error>> {
        Ok(self.table.get(&store)?.0.with(|entries| entries.set(key, value)))
    }

    fn delete(&mut self, store: Resource<OpenStore>, key: String) -> wasmtime::Result<Result<(), Error>> {
        self.table.get(&store)?.0.with(|entries| entries.delete(&key));
        Ok(Ok(()))
    }

    fn exists(&mut self, store: Resource<OpenStore>, key: String) -> wasmtime::Result<Result<bool, Error>> {
        Ok(Ok(self.table.get(&store)?.0.with(|entries| entries.values.contains_key(&key))))
    }

    fn get_keys(&mut self, store: Resource<OpenStore>) -> wasmtime::Result<Result<Vec<String>, Error>> {
        Ok(Ok(self.table.get(&store)?.0.with(|entries| entries.values.keys().cloned().collect())))
    }

    fn drop(&mut self, store: Resource<OpenStore>) -> wasmtime::Result<()> {
        self.table.delete(store)?;
        Ok(())
    }
}
