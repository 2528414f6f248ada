//! Configuration: as written in the file, then checked into a plan. After that no code validates again.

mod plan;

pub use plan::{
    Deletion, HttpPlan, Mode, Plan, SinkKind, SinkPlan, SnapshotPlan, SourcePlan, SpecificStart, Startup, TableFilter,
    TableOptions, TableRule, TlsMode, TlsPlan, WalPlan,
};

mod secret;

pub use secret::Secret;
