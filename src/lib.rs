//! Copies MySQL and MariaDB, as they change, through a durable local log into other stores.
//!
//! Modules in the order of the flow:
//! - [`config`]: the file, checked into a plan.
//! - [`model`]: shared nouns, no I/O.
//! - [`codec`]: what the log's payload bytes mean.
//! - [`sink`]: where the changes go.

pub mod codec;
pub mod config;
pub mod model;
pub mod sink;
