//! Limits of single tables, below those of their sink.

use std::collections::HashMap;

use super::RoundLimits;
use crate::config::{BatchPlan, SinkPlan};
use crate::model::TableName;

/// The limits of the tables that have some of their own; most configurations have none.
pub(super) struct TableLimits(HashMap<TableName, RoundLimits>);

impl TableLimits {
    /// Those of a plan; `limits_of` is what a batch means to the sink.
    pub(super) fn of(plan: &SinkPlan, limits_of: impl Fn(BatchPlan) -> RoundLimits) -> Self {
        let batches = plan.ruled_tables().map(|table| (table, plan.batch_for(table)));
        let own = batches.filter(|(_, batch)| *batch != plan.batch);
        Self(own.map(|(table, batch)| (table.clone(), limits_of(batch))).collect())
    }

    /// Those of a table, if it has some.
    pub(super) fn get(&self, table: &TableName) -> Option<RoundLimits> {
        self.0.get(table).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::testing::plan;

    #[test]
    fn only_tables_that_end_a_round_earlier_have_limits_of_their_own() {
        let plan = plan(
            "{ source: { url: 'mysql://u@h', server_id: 1, include: ['shop.*'] }, sinks: [ \
               { name: a, type: sqlite, path: a.db }, \
               { name: b, type: clickhouse, url: 'http://h', database: d } ], tables: [ \
               { database: shop, table: both, batch: { max_rows: 7 } }, \
               { database: shop, table: one, batch: { max_rows: 200000 } }, \
               { database: shop, table: none, mode: history } ] }",
        );
        let limits_of = |batch: BatchPlan| RoundLimits { rows: batch.max_rows.into(), ..RoundLimits::default() };
        let rows: Vec<_> = (plan.sinks.iter())
            .map(|sink| TableLimits::of(sink, limits_of))
            .map(|own| ["both", "one", "none", "other"].map(|table| own.get(&TableName::new("shop", table))))
            .map(|limits| limits.map(|limits| limits.map(|limits| limits.rows)))
            .collect();
        assert_eq!(rows, [[Some(7), None, None, None], [Some(7), Some(200_000), None, None]]);
    }
}
