//! The metrics that have a series for each table, or else are sums over all tables.

use metrics::{Label, counter, gauge};

use super::{labels, number};
use crate::model::ReplacedValues;
use crate::table::State;
use crate::telemetry::metrics as name;
use crate::telemetry::{BatchStatus, SinkRowsStatus, SnapshotTableStatus, Status, TableStatus};

pub(super) fn publish_tables(status: &Status, per_table: bool) {
    if status.sinks.is_empty() {
        publish_states_without_sinks(status);
    }
    let target = Target { per_table };
    for table in &status.tables {
        target.table(table);
    }
    for read in &status.snapshot.tables {
        target.read(read);
    }
    for sink in &status.sinks {
        for sent in &sink.batches {
            target.batches(&sink.name, sent);
        }
    }
}

/// A log without sinks has states all the same.
fn publish_states_without_sinks(status: &Status) {
    for state in State::ALL {
        let count = status.tables.iter().filter(|table| table.stated.state == Some(state)).count();
        let labels = labels([("sink", ""), ("state", state.as_str())]);
        gauge!(name::TABLES, labels).set(number(u64::try_from(count).unwrap_or(u64::MAX)));
    }
}

/// Where series go. Without one for each table, the values of all tables are added up in one series.
#[derive(Clone, Copy)]
struct Target {
    per_table: bool,
}

impl Target {
    fn labels(self, sink: Option<&str>, table: &str) -> Vec<Label> {
        let sink = sink.map(|sink| Label::new("sink", sink.to_owned()));
        let table = self.per_table.then(|| Label::new("table", table.to_owned()));
        sink.into_iter().chain(table).collect()
    }

    fn add(self, metric: &'static str, sink: Option<&str>, table: &str, value: u64) {
        // The recorder is new with every document, so that adding up is setting where each table has a series of its own.
        counter!(metric, self.labels(sink, table)).increment(value);
    }

    fn add_gauge(self, metric: &'static str, sink: Option<&str>, table: &str, value: u64) {
        gauge!(metric, self.labels(sink, table)).increment(number(value));
    }

    fn table(self, table: &TableStatus) {
        let name = table.table.as_str();
        for (metric, value) in [
            (name::ROWS_READ, table.read),
            (name::ROWS_APPENDED, table.appended),
            (name::ROWS_FILTERED, table.filtered),
            (name::ROWS_LEFT_OUT, table.left_out),
        ] {
            self.add(metric, None, name, value);
        }
        for (metric, by_sink) in [(name::ROWS_PROCESSED, &table.applied), (name::ROWS_SKIPPED, &table.skipped)] {
            for (sink, rows) in by_sink {
                self.add(metric, Some(sink), name, *rows);
            }
        }
        for (sink, rows) in &table.sinks {
            self.table_at_sink(name, sink, rows);
        }
        if self.per_table
            && table.sinks.is_empty()
            && let Some(state) = table.stated.state
        {
            gauge!(name::TABLE_STATE, labels([("sink", ""), ("table", name), ("state", state.as_str())])).set(1.0);
        }
    }

    fn table_at_sink(self, table: &str, sink: &str, rows: &SinkRowsStatus) {
        for (metric, value) in [
            (name::ROWS_DELIVERED, rows.delivered),
            (name::ROWS_TAKEN, rows.taken),
            (name::ROWS_ACKNOWLEDGED, rows.acknowledged),
            (name::ROWS_NETTED, rows.netted),
            (name::ROWS_SPLIT, rows.split),
            (name::ROWS_UNMATCHED, rows.unmatched),
            (name::ROWS_RECOVERED, rows.recovered),
            (name::ROWS_RULED_OUT, rows.ruled_out),
            (name::ROWS_DEAD_LETTERED, rows.dead_lettered),
            (name::ROWS_SENT, rows.sent),
            (name::ROWS_BEFORE, rows.before),
            (name::ROWS_NOT_THEIRS, rows.not_theirs),
            (name::ROWS_UNKNOWN, rows.left_out),
        ] {
            self.add(metric, Some(sink), table, value);
        }
        let ReplacedValues { zero_dates, invalid_text, unconvertible } = rows.replaced;
        for (policy, values) in
            [("zero_dates", zero_dates), ("invalid_text", invalid_text), ("unconvertible", unconvertible)]
        {
            let mut labels = self.labels(Some(sink), table);
            labels.push(Label::new("policy", policy));
            counter!(name::VALUES_REPLACED, labels).increment(values);
        }
        if self.per_table
            && let Some(state) = rows.stated.state
        {
            gauge!(name::TABLE_STATE, labels([("sink", sink), ("table", table), ("state", state.as_str())])).set(1.0);
        }
    }

    fn read(self, read: &SnapshotTableStatus) {
        self.add_gauge(name::SNAPSHOT_ROWS, None, &read.table, read.rows);
        self.add_gauge(name::SNAPSHOT_ESTIMATE, None, &read.table, read.estimated_rows);
    }

    fn batches(self, sink: &str, sent: &BatchStatus) {
        let sink = Some(sink);
        self.add(name::BATCHES, sink, &sent.table, sent.batches);
        self.add(name::BATCH_ROWS, sink, &sent.table, sent.rows);
        let seconds = std::time::Duration::from_secs_f64(sent.seconds).as_secs();
        self.add(name::BATCH_SECONDS, sink, &sent.table, seconds);
        if let Some(parts) = sent.parts {
            self.add_gauge(name::PARTS, sink, &sent.table, parts);
        }
    }
}
