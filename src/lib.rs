//! Copies MySQL and MariaDB, as they change, through a durable local log into other stores.
//!
//! Modules in the order of the flow:
//! - [`cli`]: the command line.
//! - [`config`]: the file, checked into a plan.
//! - [`preflight`]: whether a start would go well; [`rule_names`]: what rules name that the source does not have.
//! - [`pipeline`]: the wiring of everything below; [`first_contact`] is how a start meets the source.
//! - [`source`]: where the changes come from.
//! - [`ingest`]: source to log.
//! - [`codec`]: what the log's payload bytes mean.
//! - [`deliver`]: log to sinks.
//! - [`sink`]: where the changes go.
//! - [`dead`]: row changes that a sink could not write.
//! - [`control`]: how other commands talk to the daemon.
//! - [`inspect`]: the log as people read it.
//! - [`table`]: the life of a table: what is wanted of it, how far that is, and its state.
//! - [`telemetry`]: what the daemon says about itself.
//! - [`tls`]: TLS as the configuration asks for it, and what its errors mean.
//! - [`model`]: shared nouns, no I/O. [`error`]: the error that crosses inner borders. [`backoff`]: waits between attempts.
//!   [`mutants`]: known faults that the simulator has to find.

pub mod backoff;
pub mod cli;
pub mod codec;
pub mod config;
pub mod control;
pub mod dead;
pub mod deliver;
pub mod error;
pub mod first_contact;
pub mod ingest;
pub mod inspect;
pub mod model;
pub mod mutants;
pub mod pipeline;
pub mod preflight;
pub mod rule_names;
pub mod sink;
pub mod source;
pub mod table;
pub mod telemetry;
pub mod tls;
