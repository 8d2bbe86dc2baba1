//! Shows what a local stack does.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`spans`] | reads the logs of an instance into spans |

pub mod spans;
