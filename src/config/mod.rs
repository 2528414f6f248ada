//! Configuration: as written in the file, then checked into a plan. After that no code validates again.
//!
//! What every sink has is read here. What one type of sink alone has is read by that sink, with the kit of this module
//! ([`Section`], [`Node`]): the caller that loads a configuration passes the types of sinks.

mod batch;
mod ddl;
mod file;
mod named;
mod plan;
mod problem;
mod secret;
mod sink_type;
mod sinks;
mod source;
mod tls;
mod tree;
mod units;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use crate::tls::{TlsMode, TlsPlan};
pub use batch::{BatchPlan, TableBatch};
pub use ddl::{DdlAction, DdlPolicy};
pub use file::{Environment, load, parse};
pub use plan::{
    Deletion, DoubtPlan, HttpPlan, Mode, OnFull, OnPurged, Plan, SinkPlan, SnapshotPlan, SourcePlan, SpecificStart,
    Startup, TableFilter, TableOptions, TableRule, WalPlan, is_of_the_server,
};
pub use problem::{ConfigError, Problem};
pub use secret::Secret;
pub use sink_type::{Place, SinkKeys, SinkSettings, SinkType, sink_password_variable};
pub use source::PASSWORD_VARIABLE;
pub use tls::read as read_tls;
pub use tree::{Node, Section};
pub use units::{duration_between, glob_in_lower_case, is_loopback, show_size, size, table_glob};
