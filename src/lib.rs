//! Copies MySQL and MariaDB, as they change, through a durable local log into other stores.
//!
//! Modules in the order of the flow:
//! - [`config`]: the file, checked into a plan.
//! - [`error`]: the error that crosses inner borders.
//! - [`model`]: shared nouns, no I/O.
//! - [`source`]: where the changes come from.
//! - [`codec`]: what the log's payload bytes mean.
//! - [`sink`]: where the changes go.
//! - [`telemetry`]: what the daemon says about itself.

pub mod backoff;
pub mod codec;
pub mod config;
pub mod deliver;
pub mod error;
pub mod ingest;
pub mod model;
pub mod sink;
pub mod source;
pub mod telemetry;
