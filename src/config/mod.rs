//! Configuration: as written in the file, then checked into a plan. After that no code validates again.
//!
//! What every sink has is read here. What one type of sink alone has is read by that sink, with the kit of this module
//! ([`Section`], [`Node`]): the caller that loads a configuration passes the types of sinks.

mod batch;
mod ddl;
mod file;
mod hash_key;
mod named;
mod plan;
mod problem;
mod reload;
mod rows;
mod secret;
mod sink_plan;
mod sink_type;
mod sinks;
mod source;
mod tls;
mod tree;
mod units;
mod values;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use crate::tls::{TlsMode, TlsPlan};
pub use batch::{BatchPlan, TableBatch};
pub use ddl::{DdlAction, DdlPolicy};
pub use file::{Environment, load, load_with_tree, parse};
pub use hash_key::{HASH_KEY_VARIABLE, HashKey};
pub use plan::{
    DeadLetterPlan, DoubtPlan, HttpPlan, LogPlan, OnPurged, Plan, SnapshotPlan, SourcePlan, SpecificStart, Startup,
    TableFilter, WalPlan, is_of_the_server,
};
pub use problem::{ConfigError, Problem};
pub use reload::{LIVE, Taken, Tree, is_live};
pub use rows::{RangeEnd, RowCondition, RowTest};
pub use secret::{Password, Secret};
pub use sink_plan::{Deletion, Keyless, Mode, OnFull, OnRowError, SinkPlan, SourceTag, TableOptions, TableRule};
pub use sink_type::{Place, SinkKeys, SinkSettings, SinkType, sink_password_variable};
pub use source::PASSWORD_VARIABLE;
pub use tls::read as read_tls;
pub use tree::{Node, Section};
pub use units::{duration_between, glob_in_lower_case, is_loopback, log_filter, show_size, size, table_glob};
pub use values::{InvalidText, TableValues, Unconvertible, ValuePolicy, ZeroDates};
