//! Source tables that would share one table at a sink.
//!
//! Globs name tables that only the server can list, so `check` asks this once the tables are known. A sink itself stops the second of two.

use std::collections::BTreeMap;

use super::kinds::kind_of;
use crate::config::SinkPlan;
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

/// Every clash among `tables`.
pub fn clashes(tables: &[TableName], sink: &SinkPlan) -> Vec<Clash> {
    if sink.source_tag.is_some() {
        // Their rows are told apart.
        return Vec::new();
    }
    // What cannot be made writes no table.
    let Ok(kind) = kind_of(sink) else { return Vec::new() };
    let mut by_target: BTreeMap<String, Vec<TableName>> = BTreeMap::new();
    for table in tables {
        let sharing = by_target.entry(kind.table_names.folded(&sink.target_name(table)).into_owned()).or_default();
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Mode;
    use crate::sink::sqlite::SqlitePlan;
    use crate::sink::testing::options;

    #[test]
    fn tables_that_would_share_a_target_are_found() {
        let settings = Arc::new(SqlitePlan { path: "replica.db".into() });
        let sink = &SinkPlan::new("local", options(Mode::Mirror), SqlitePlan::BATCH, settings);
        let name = TableName::new;
        let tables = [name("shop", "users"), name("crm", "Users"), name("shop", "orders"), name("shop", "users")];
        let expected = vec![Clash {
            sink: "local".into(),
            target: "Users".into(),
            tables: vec![name("crm", "Users"), name("shop", "users")],
        }];
        assert_eq!(clashes(&tables, sink), expected);
        assert_eq!(
            expected[0].to_string(),
            "sink \"local\" would write \"crm.Users\" and \"shop.users\" to one table \"Users\""
        );
        let mut apart = sink.clone();
        apart.table_name = "{database}_{table}".into();
        assert_eq!(clashes(&tables, &apart), vec![]);
    }
}
