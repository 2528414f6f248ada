//! Source tables that would share one table at a sink.
//!
//! Globs name tables that only the server can list, so this is asked once the tables are known, and again when one is created.

use std::collections::BTreeMap;

use super::SinkPlan;
use crate::model::TableName;

/// Source tables that a sink's `table_name` gives one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The sink.
    pub sink: String,
    /// The name they would share.
    pub target: String,
    /// The tables, two or more, in order.
    pub tables: Vec<TableName>,
}

impl std::fmt::Display for Clash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tables: Vec<_> = self.tables.iter().map(|table| format!("\"{table}\"")).collect();
        write!(f, "sink \"{}\" would write {} to one table \"{}\"", self.sink, tables.join(" and "), self.target)
    }
}

/// What to do about a [`Clash`].
pub const CLASH_HINT: &str = "put {database} into the sink's table_name, or leave one of them out with source.exclude";

/// Every clash among `tables`; SQLite and others compare table names without case.
pub fn clashes(tables: &[TableName], sink: &SinkPlan) -> Vec<Clash> {
    let mut by_target: BTreeMap<String, Vec<TableName>> = BTreeMap::new();
    for table in tables {
        let sharing = by_target.entry(sink.target_name(table).to_lowercase()).or_default();
        if !sharing.contains(table) {
            sharing.push(table.clone());
        }
    }
    let mut found = Vec::new();
    for mut sharing in by_target.into_values().filter(|sharing| sharing.len() > 1) {
        sharing.sort();
        let target = sharing.first().map(|table| sink.target_name(table)).unwrap_or_default();
        found.push(Clash { sink: sink.name.clone(), target, tables: sharing });
    }
    found
}
