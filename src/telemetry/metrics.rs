//! Names and help of every metric, and the question that each answers.
//!
//! The metrics are a status document in another form, made when they are asked for ([`super::Exporter`]): a loop that
//! stalls cannot hold a gauge still. `docs/metrics.md` is this table (a test holds it to that).
/// How a metric's value behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How its value behaves.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it is.
    pub help: &'static str,
    /// The question it answers.
    pub question: &'static str,
}

macro_rules! metrics_table {
    ($($constant:ident = $name:literal, $kind:ident, [$($label:literal),*], $help:literal, $question:literal;)+) => {
        $(pub(super) const $constant: &str = $name;)+
        /// Every metric, in the order of the flow.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help, question: $question,
        }),+];
    };
}

metrics_table! {
    BUILD_INFO = "replicator_build_info", Gauge, ["version"],
        "1, with the version as a label", "Which version runs here?";
    UPTIME = "replicator_uptime_seconds", Gauge, [],
        "Seconds since the daemon started", "Has it been restarted?";
    HEALTH = "replicator_health", Gauge, ["status"],
        "1 for the verdict on the whole, 0 for the others: ok, degraded, failed, as /health has it",
        "Does an operator have to look?";
    ALL_ERRORS = "replicator_errors_total", Counter, ["type", "class"],
        "Errors since the start, of the source, of sinks and of reads of tables; class retry is tried again, fatal has stopped something",
        "What fails, and does it stop?";
    SOURCE_STATE = "replicator_source_state", Gauge, ["state"],
        "1 for the state the source is in, 0 for the others", "Is the source being read?";
    SOURCE_LAG = "replicator_source_lag_seconds", Gauge, [],
        "Age of the newest moment up to which the log is known to be complete; grows while the source stalls",
        "How late is the log behind the server?";
    SOURCE_LAST_SUCCESS = "replicator_source_last_success_seconds", Gauge, [],
        "Seconds since the source last sent anything, heartbeats included; before that, since the start",
        "Does the connection still speak?";
    SOURCE_EVENTS = "replicator_source_events_total", Counter, [],
        "Events read from the source since the start", "Does the source send anything?";
    SOURCE_FILTERED = "replicator_source_events_filtered_total", Counter, [],
        "Events read since the start that are of tables which are not captured", "How much of the stream is for nothing?";
    SOURCE_RECONNECTS = "replicator_source_reconnects_total", Counter, [],
        "Connections to the source made again since the start", "Is the connection stable?";
    SCHEMA_CHANGES = "replicator_schema_changes_total", Counter, ["kind"],
        "Changes of definitions that the stream has logged since the start: create, alter, rename, drop, truncate",
        "When did a definition change?";
    ROWS_READ = "replicator_rows_read_total", Counter, ["table"],
        "Row changes of captured tables that came from the source", "Which tables change, and how much?";
    ROWS_APPENDED = "replicator_rows_appended_total", Counter, ["table"],
        "Row changes that are in the log", "Does what was read reach the log? read = appended + filtered + left out";
    ROWS_FILTERED = "replicator_rows_filtered_total", Counter, ["table"],
        "Snapshot rows that are not in the log because the stream had a newer state",
        "How many rows did snapshot and stream share?";
    ROWS_LEFT_OUT = "replicator_rows_left_out_total", Counter, ["table"],
        "Row changes that are not in the log because the table is left out", "How much of a table is missing from the log?";
    TABLES = "replicator_tables", Gauge, ["sink", "state"],
        "Captured tables by their state at the sink: complete, reading, left_out, unreadable, stopped; without a sink, label sink is empty",
        "Are all tables complete, and does one need an operator?";
    TABLE_STATE = "replicator_table_state", Gauge, ["sink", "table", "state"],
        "1, with the state of the table at the sink as a label: there is a series for the current state alone",
        "Which table is not complete?";
    SNAPSHOT_ROWS = "replicator_snapshot_rows", Gauge, ["table"],
        "Rows read of a table that is being read", "How far is the read?";
    SNAPSHOT_ESTIMATE = "replicator_snapshot_estimated_rows", Gauge, ["table"],
        "Rows that the server estimates a table that is being read to have", "How far does the read have to go?";
    WAL_BYTES = "replicator_wal_bytes", Gauge, [],
        "Bytes that the frames in the log take", "How much waits for sinks?";
    WAL_CAPACITY = "replicator_wal_capacity_bytes", Gauge, [],
        "What replicator_wal_bytes may become before the source has to wait", "How much room is left?";
    WAL_DISK = "replicator_wal_disk_bytes", Gauge, [],
        "What the log's file takes on disk", "How much disk does the log use?";
    WAL_MAX = "replicator_wal_max_bytes", Gauge, [],
        "wal.max_size", "How much disk may the log use?";
    WAL_FULL = "replicator_wal_full", Gauge, [],
        "1 while the source waits for room in the log", "Does a sink hold up the source?";
    WAL_FIRST = "replicator_wal_first_lsn", Gauge, [],
        "First frame that the log holds", "Is the log trimmed?";
    WAL_DURABLE = "replicator_wal_durable_lsn", Gauge, [],
        "Last frame that is durable in the log", "Does the log grow?";
    WAL_COMMITS = "replicator_wal_commits_total", Counter, [],
        "Commits of the log since the start", "How often does the log sync?";
    SINK_STATE = "replicator_sink_state", Gauge, ["sink", "state"],
        "1 for the state the sink is in, 0 for the others; unconfigured is a cursor that is left over of a removed sink",
        "Is the sink being written?";
    ROWS_PROCESSED = "replicator_rows_processed_total", Counter, ["sink", "table"],
        "Row changes that are applied at the sink: acknowledged + netted - split + recovered",
        "Does what was appended arrive? appended = processed + skipped + left out + not theirs + pending";
    ROWS_DELIVERED = "replicator_rows_delivered_total", Counter, ["sink", "table"],
        "Row changes handed to the sink", "Did the sink take what it was handed? delivered = taken";
    ROWS_TAKEN = "replicator_rows_taken_total", Counter, ["sink", "table"],
        "Row changes that the sink took",
        "Is every row accounted for? taken = acknowledged + netted - split + skipped + recovered";
    ROWS_ACKNOWLEDGED = "replicator_rows_acknowledged_total", Counter, ["sink", "table"],
        "Operations that the target acknowledged", "What does the target itself say?";
    ROWS_NETTED = "replicator_rows_netted_total", Counter, ["sink", "table"],
        "Row changes that a later one of the same round made needless", "How much work do rounds save?";
    ROWS_SPLIT = "replicator_rows_split_total", Counter, ["sink", "table"],
        "Operations beyond one for a row change: an update of the key is two", "Why are there more operations than row changes?";
    ROWS_UNMATCHED = "replicator_rows_unmatched_total", Counter, ["sink", "table"],
        "Deletes and updates among the acknowledged that found no row", "Does the copy lack rows?";
    ROWS_RECOVERED = "replicator_rows_recovered_total", Counter, ["sink", "table"],
        "Row changes that were applied before a crash that lost their acknowledgement", "How much did crashes leave unconfirmed?";
    ROWS_RULED_OUT = "replicator_rows_ruled_out_total", Counter, ["sink", "table"],
        "Row changes that the table's rule `rows` leaves out", "How much does the rule for rows keep from the sink?";
    ROWS_DEAD_LETTERED = "replicator_rows_dead_lettered_total", Counter, ["sink", "table"],
        "Row changes that could not be written, and became dead letters", "Which rows does the copy lack, and why? See replicator dlq list";
    VALUES_REPLACED = "replicator_values_replaced_total", Counter, ["sink", "table", "policy"],
        "Values that were replaced by what `zero_dates`, `invalid_text` or `unconvertible` says", "How many values does the copy not have as they are?";
    ROWS_SENT = "replicator_rows_sent_total", Counter, ["sink", "table"],
        "Operations among the acknowledged of which the target gave no count of its own, so that they are counted as sent",
        "How much of what is acknowledged does the target itself not say?";
    ROWS_BEFORE = "replicator_rows_before_total", Counter, ["sink", "table"],
        "Row changes that were trimmed from the log before the sink was new to it", "How much did a new sink not get from the log?";
    ROWS_NOT_THEIRS = "replicator_rows_not_theirs_total", Counter, ["sink", "table"],
        "Row changes in frames for other sinks", "How much of the log is for other sinks?";
    ROWS_UNKNOWN = "replicator_sink_rows_left_out_total", Counter, ["sink", "table"],
        "Row changes that did not reach the sink because their schema could not be known",
        "How much is missing from a table until it is read again?";
    ROWS_SKIPPED = "replicator_rows_skipped_total", Counter, ["sink", "table"],
        "Row changes left out because the sink has stopped the table", "How much is missing from a stopped table?";
    TABLE_SKIPPED = "replicator_skipped_tables", Gauge, [],
        "Captured tables that an operator has left out", "Is a table skipped that should be resumed?";
    TABLE_STOPPED = "replicator_sink_stopped_tables", Gauge, ["sink"],
        "Captured tables that the sink leaves out because something is wrong with them", "Does a table need an operator?";
    DEAD_LETTERS = "replicator_dead_letters", Gauge, ["sink"],
        "Row changes that could not be written and that the log keeps", "Does the sink lack rows? See replicator dlq list";
    DEAD_LETTER_BYTES = "replicator_dead_letter_bytes", Gauge, ["sink"],
        "What they take of the log; of all sinks together at most dead_letters.max_bytes", "How much room is left before a table stops?";
    TABLE_DOUBTED = "replicator_sink_tables_in_doubt", Gauge, ["sink"],
        "Tables whose counts do not agree and that have not been replaced since", "Does a copy differ from its source?";
    SINK_WAITING = "replicator_sink_waiting", Gauge, ["sink"],
        "1 while the sink waits for a schema that the source is asked for", "Why does the sink stand still?";
    PASSED_OVER = "replicator_sink_frames_passed_over_total", Counter, ["sink"],
        "Frames since the start that changed nothing at the sink: for other sinks, or of a kind that no sink acts on",
        "Does the sink read what is not for it?";
    BATCHES = "replicator_batches_total", Counter, ["sink", "table"],
        "Batches that the target has acknowledged since the start", "How often is a table written to?";
    BATCH_ROWS = "replicator_batch_rows_total", Counter, ["sink", "table"],
        "Rows sent in those batches", "How large are the batches?";
    BATCH_SECONDS = "replicator_batch_seconds_total", Counter, ["sink", "table"],
        "Seconds from the first byte of those batches to their acknowledgement, whole seconds", "Is the target slow?";
    PARTS = "replicator_sink_table_parts", Gauge, ["sink", "table"],
        "Active parts of the table at the target, as last asked", "Does the target keep up with merging?";
    LAG = "replicator_replication_lag_seconds", Gauge, ["sink"],
        "Age of the newest moment up to which the sink is known to be complete for every captured table; while one is being read, how long it has been incomplete in this run. Grows while sink or source stalls",
        "How late is the sink behind the server?";
    APPLIED = "replicator_sink_applied_lsn", Gauge, ["sink"],
        "Last frame that is durable at the sink", "Does the sink get on?";
    SINK_LAST_SUCCESS = "replicator_sink_last_success_seconds", Gauge, ["sink"],
        "Seconds since the sink last applied something, 0 while there is nothing to apply; before that, since the start",
        "Does the target still take rows?";
    ERRORS = "replicator_batch_write_errors_total", Counter, ["sink"],
        "Failed opens, writes and commits of the sink since the start", "Is the target healthy?";
    BACKLOG_BYTES = "replicator_cursor_backlog_bytes", Gauge, ["sink"],
        "Bytes of the log that the sink has not applied", "Which sink holds the log?";
    BACKLOG_TRANSACTIONS = "replicator_cursor_backlog_transactions", Gauge, ["sink"],
        "Transactions of the log that the sink has not applied", "How much work is left for the sink?";
}

/// The documentation of the metrics, as it is in `docs/metrics.md`.
pub fn documentation() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         `http.listen` serves these at `/metrics`. They are computed from the state of the daemon whenever they are asked \
         for, so lag and backlog\nkeep growing while a loop stalls. Row counters go on across restarts; the counters that \
         say \"since the start\" begin at 0.\n\n\
         With `http.table_metrics: false` a metric that has the label `table` is the sum over all tables, without the label, \
         and\n`replicator_table_state` is left out. A series of a table that is gone is gone too.\n\n\
         | metric | type | labels | what it is | the question it answers |\n|---|---|---|---|---|\n",
    );
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let labels = metric.labels.join(", ");
        let cells = [&format!("`{}`", metric.name), kind, &labels, metric.help, metric.question];
        text.push_str("| ");
        text.push_str(&cells.join(" | "));
        text.push_str(" |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_documentation_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        if written != documentation() {
            let fresh = std::env::temp_dir().join("replicator-metrics.md");
            std::fs::write(&fresh, documentation()).unwrap();
            panic!("docs/metrics.md is not what the code says; what it should be is in {}", fresh.display());
        }
    }

    #[test]
    fn names_follow_one_form() {
        let mut names = BTreeSet::new();
        for metric in METRICS {
            assert!(metric.name.starts_with("replicator_"), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(names.insert(metric.name), "{} twice", metric.name);
        }
    }
}
