//! One module per endpoint, each with the function that handles it. They use no module of each other.

pub(crate) mod book;
pub(crate) mod cancel;
pub(crate) mod catalog;
pub(crate) mod health;
pub(crate) mod list;
pub(crate) mod moves;
pub(crate) mod openapi;
pub(crate) mod options;
pub(crate) mod show;
pub(crate) mod slot;
pub(crate) mod slots;
