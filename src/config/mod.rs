//! Configuration: as written in the file, then checked into a plan. After that no code validates again.

mod clickhouse;
mod ddl;
mod file;
mod named;
mod plan;
mod problem;
mod secret;
mod sinks;
mod source;
mod tls;
mod tree;
mod units;

#[cfg(test)]
mod tests;

pub use crate::tls::{TlsMode, TlsPlan};
pub use clickhouse::{
    BatchPlan, ClickHousePlan, ClickHouseTypes, Compression, JsonType, SetType, ZeroDates, sink_password_variable,
};
pub use ddl::{DdlAction, DdlPolicy};
pub use file::{Environment, load, parse};
pub use plan::{
    Deletion, DoubtPlan, HttpPlan, Mode, Plan, SinkKind, SinkPlan, SnapshotPlan, SourcePlan, SpecificStart, Startup,
    TableFilter, TableOptions, TableRule, WalPlan, is_of_the_server,
};
pub use problem::{ConfigError, Problem};
pub use secret::Secret;
pub use source::PASSWORD_VARIABLE;
pub use units::{glob_in_lower_case, is_loopback, show_size, table_glob};
