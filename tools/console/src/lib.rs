//! Shows what a local stack does, in the browser and in the terminal.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`spans`] | reads the logs of an instance into spans |
//! | [`timeline`] | one trace: its hops as bars, and how much of a booking's time they explain |
//! | [`history`] | the bookings and errors that the logs tell of |
//! | [`watch`] | follows the logs while the stack runs |
//! | [`state`] | where the stack is: queues, dead letters, countries |
//! | [`server`] | the console: a page, and what it asks for |
//! | [`terminal`] | the same for a terminal |

pub mod history;
pub mod server;
pub mod spans;
pub mod state;
pub mod terminal;
pub mod timeline;
pub mod watch;
