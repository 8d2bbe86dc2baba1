//! What a component has of its host. `wasi` has the one that production uses; a test brings its own, and runs an endpoint natively.

use aws_http::Transport;

/// The host of one instance, as far as the components use it.
///
/// It is a parameter of what runs on it, so nothing is looked up while a component runs.
pub trait Host: Copy {
    /// Carries requests to other services.
    type Transport: Transport + Clone;

    /// A key-value store.
    type Store: KeyValueStore;

    /// What carries requests to other services.
    fn transport(self) -> Self::Transport;

    /// The value of one of the component's variables.
    ///
    /// # Errors
    ///
    /// Why the variable has no value.
    fn variable(self, name: &str) -> Result<String, &'static str>;

    /// Fills the bytes by a cryptographically secure generator.
    fn fill_random(self, bytes: &mut [u8]);

    /// The key-value store `default`, which the instances of a host share.
    ///
    /// # Errors
    ///
    /// What the host says.
    fn open_store(self) -> Result<Self::Store, String>;

    /// Writes a line of the log, which ends with a line feed. Without a log there is nobody to tell, so it never fails.
    fn log(self, line: &str);
}

/// A store of bytes by keys, without transactions.
pub trait KeyValueStore {
    /// The value of a key, `None` if it has none.
    ///
    /// # Errors
    ///
    /// What the host says.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, String>;

    /// Gives a key a value.
    ///
    /// # Errors
    ///
    /// What the host says.
    fn set(&self, key: &str, value: &[u8]) -> Result<(), String>;

    /// Removes a key; one without a value is no error.
    ///
    /// # Errors
    ///
    /// What the host says.
    fn delete(&self, key: &str) -> Result<(), String>;
}
