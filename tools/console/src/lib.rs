//! Shows what a local stack does.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`spans`] | reads the logs of an instance into spans |
//! | [`timeline`] | one trace: its hops as bars, and how much of a booking's time they explain |

pub mod spans;
pub mod timeline;
