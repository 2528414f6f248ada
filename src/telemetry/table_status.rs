//! A table in the status document: its state, and its row counters. Every number has one owner: `ingest` counts on the
//! side of the source, the delivery loop what it hands over, the sink what it takes and what its target acknowledges.
//! Only `applied` and `pending` are derived, here. States come from the table's record and from nothing else.

use serde::{Deserialize, Serialize};

use super::{BySink, SinkTableLive, SourceRows, StateStatus};
use crate::model::{ReplacedValues, TableName};

/// State and row counters of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableStatus {
    /// `database.table`.
    pub table: String,
    /// Its state as far as source and log go.
    #[serde(flatten)]
    pub stated: StateStatus,
    /// How many reads of it there were, the one that is wanted included.
    #[serde(default)]
    pub reads: u32,
    /// The number of the last read of it that an operator has cancelled since the start of the daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_read: Option<u32>,
    /// Row changes that came from the source: read = appended + filtered + `left_out`.
    pub read: u64,
    /// Row changes that are in the log: per sink, appended = before + applied + skipped + `ruled_out` + `dead_lettered` + `left_out` +
    /// `not_theirs` + pending.
    pub appended: u64,
    /// Snapshot rows that are not in the log because the stream had a newer state.
    pub filtered: u64,
    /// Row changes that are not in the log because the table is left out.
    #[serde(default)]
    pub left_out: u64,
    /// Row changes that are applied at the target, by sink: acknowledged + netted - split + recovered.
    pub applied: BySink<u64>,
    /// Row changes left out because the sink has stopped the table, by sink.
    #[serde(default)]
    pub skipped: BySink<u64>,
    /// Row changes on their way, by sink.
    pub pending: BySink<u64>,
    /// How the sinks count, by sink.
    #[serde(default)]
    pub sinks: BySink<SinkRowsStatus>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn is_none_replaced(replaced: &ReplacedValues) -> bool {
    !replaced.any()
}

/// How one sink counts the rows of one table: taken = acknowledged + netted - split + skipped + recovered + `ruled_out` + `dead_lettered`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkRowsStatus {
    /// The table's state here.
    #[serde(flatten)]
    pub stated: StateStatus,
    /// Row changes handed to the sink.
    pub delivered: u64,
    /// Row changes that the sink took.
    pub taken: u64,
    /// Operations that the target acknowledged.
    pub acknowledged: u64,
    /// Row changes that a later one of the same round made needless.
    pub netted: u64,
    /// Operations beyond one for a row change.
    pub split: u64,
    /// Deletes and updates among the acknowledged that found no row.
    pub unmatched: u64,
    /// Row changes under a schema that could not be known.
    pub left_out: u64,
    /// Row changes in frames for other sinks.
    pub not_theirs: u64,
    /// Row changes that were applied before a crash that lost their acknowledgement.
    pub recovered: u64,
    /// Row changes that the table's `rows` leave out.
    #[serde(default)]
    pub ruled_out: u64,
    /// Row changes that could not be written, and became dead letters.
    #[serde(default)]
    pub dead_lettered: u64,
    /// Row changes among these that the log still keeps.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dead_letters: u64,
    /// Values that were replaced by what a policy says, if any were.
    #[serde(default, skip_serializing_if = "is_none_replaced")]
    pub replaced: ReplacedValues,
    /// Operations among the acknowledged of which the target gave no count of its own: they are counted as sent.
    #[serde(default)]
    pub sent: u64,
    /// Row changes that were trimmed from the log before the sink was new to it: they never come to it from there.
    #[serde(default)]
    pub before: u64,
    /// Why the table may not be here what it is at the source; until it is replaced.
    pub doubt: Option<String>,
}

impl TableStatus {
    /// From the counters of both sides; a sink that knows nothing of the table is in `sinks` with its default.
    pub fn new(
        table: &TableName,
        source: SourceRows,
        stated: StateStatus,
        sinks: impl IntoIterator<Item = (String, SinkTableLive, StateStatus)>,
    ) -> Self {
        let SourceRows { read, appended, filtered, left_out } = source;
        let mut status =
            Self { table: table.to_string(), stated, read, appended, filtered, left_out, ..Self::default() };
        for (name, live, stated) in sinks {
            let SinkTableLive { rows, doubt, .. } = live;
            let counts = rows.sink;
            status.applied.insert(name.clone(), counts.applied());
            status.skipped.insert(name.clone(), counts.skipped);
            status.pending.insert(name.clone(), rows.pending(appended));
            let shown = SinkRowsStatus {
                stated,
                delivered: rows.delivered,
                taken: counts.taken,
                acknowledged: counts.acknowledged,
                netted: counts.netted,
                split: counts.split,
                unmatched: counts.unmatched,
                left_out: rows.left_out,
                not_theirs: rows.not_theirs,
                recovered: counts.recovered,
                ruled_out: counts.ruled_out,
                dead_lettered: counts.dead_lettered,
                dead_letters: 0,
                replaced: counts.replaced,
                sent: counts.sent,
                before: rows.before,
                doubt,
            };
            status.sinks.insert(name, shown);
        }
        status
    }

    /// Its states: at the sinks, or as far as source and log go if there is no sink.
    pub fn states(&self) -> impl Iterator<Item = &StateStatus> {
        let at_sinks = self.sinks.values().map(|at| &at.stated);
        at_sinks.chain(std::iter::once(&self.stated).filter(|_| self.sinks.is_empty()))
    }

    /// The worst of its states.
    pub fn worst(&self) -> &StateStatus {
        self.states().max_by_key(|stated| stated.severity()).unwrap_or(&self.stated)
    }
}
