//! Copies MySQL and MariaDB, as they change, through a durable local log into other stores.
//!
//! Modules in the order of the flow:
//! - [`model`]: shared nouns, no I/O.
//! - [`codec`]: what the log's payload bytes mean.

pub mod codec;
pub mod model;
