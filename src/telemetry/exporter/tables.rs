//! The metrics that have a series for each table, or else are sums over all tables.
//!
//! They are written as text here: ten thousand tables have a quarter of a million series, and a recorder takes a
//! microsecond and a hundred bytes for each.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use metrics::gauge;

use super::{labels, number};
use crate::table::State;
use crate::telemetry::metrics::{self as name, Kind, METRICS};
use crate::telemetry::{BatchStatus, BySink, SinkRowsStatus, Status, TableStatus};

/// A log without sinks has states all the same.
pub(super) fn publish_states_without_sinks(status: &Status) {
    for state in State::ALL {
        let count = status.tables.iter().filter(|table| table.stated.state == Some(state)).count();
        let labels = labels([("sink", ""), ("state", state.as_str())]);
        gauge!(name::TABLES, labels).set(number(u64::try_from(count).unwrap_or(u64::MAX)));
    }
}

/// What the source counts of a table.
const OF_SOURCE: [(&str, fn(&TableStatus) -> u64); 4] = [
    (name::ROWS_READ, |table| table.read),
    (name::ROWS_APPENDED, |table| table.appended),
    (name::ROWS_FILTERED, |table| table.filtered),
    (name::ROWS_LEFT_OUT, |table| table.left_out),
];

/// What came of its rows at each sink.
const BY_SINK: [(&str, fn(&TableStatus) -> &BySink<u64>); 2] =
    [(name::ROWS_PROCESSED, |table| &table.applied), (name::ROWS_SKIPPED, |table| &table.skipped)];

/// What each sink counts of it.
const AT_SINK: [(&str, fn(&SinkRowsStatus) -> u64); 13] = [
    (name::ROWS_DELIVERED, |rows| rows.delivered),
    (name::ROWS_TAKEN, |rows| rows.taken),
    (name::ROWS_ACKNOWLEDGED, |rows| rows.acknowledged),
    (name::ROWS_NETTED, |rows| rows.netted),
    (name::ROWS_SPLIT, |rows| rows.split),
    (name::ROWS_UNMATCHED, |rows| rows.unmatched),
    (name::ROWS_RECOVERED, |rows| rows.recovered),
    (name::ROWS_RULED_OUT, |rows| rows.ruled_out),
    (name::ROWS_DEAD_LETTERED, |rows| rows.dead_lettered),
    (name::ROWS_SENT, |rows| rows.sent),
    (name::ROWS_BEFORE, |rows| rows.before),
    (name::ROWS_NOT_THEIRS, |rows| rows.not_theirs),
    (name::ROWS_UNKNOWN, |rows| rows.left_out),
];

/// Values that each sink replaced, by the policy.
const REPLACED: [(&str, fn(&SinkRowsStatus) -> u64); 3] = [
    ("zero_dates", |rows| rows.replaced.zero_dates),
    ("invalid_text", |rows| rows.replaced.invalid_text),
    ("unconvertible", |rows| rows.replaced.unconvertible),
];

/// What a sink counts of the batches of a table.
const OF_BATCHES: [(&str, fn(&BatchStatus) -> Option<u64>); 4] = [
    (name::BATCHES, |sent| Some(sent.batches)),
    (name::BATCH_ROWS, |sent| Some(sent.rows)),
    (name::BATCH_SECONDS, |sent| Some(std::time::Duration::from_secs_f64(sent.seconds).as_secs())),
    (name::PARTS, |sent| sent.parts),
];

/// Writes the metrics of the tables. Without a series for each, the values of all tables are added up in one.
pub(super) fn write_tables(text: &mut String, status: &Status, per_table: bool) {
    let tables = || status.tables.iter();
    let at_sinks = || tables().flat_map(|table| table.sinks.iter().map(move |(sink, rows)| (sink, table, rows)));
    for (metric, value) in OF_SOURCE {
        let mut family = Family::new(text, metric, per_table);
        tables().for_each(|table| family.add((None, &table.table, None), value(table)));
        family.end();
    }
    for (metric, by_sink) in BY_SINK {
        let mut family = Family::new(text, metric, per_table);
        for table in tables() {
            by_sink(table).iter().for_each(|(sink, rows)| family.add((Some(sink), &table.table, None), *rows));
        }
        family.end();
    }
    for (metric, value) in AT_SINK {
        let mut family = Family::new(text, metric, per_table);
        at_sinks().for_each(|(sink, table, rows)| family.add((Some(sink), &table.table, None), value(rows)));
        family.end();
    }
    let mut family = Family::new(text, name::VALUES_REPLACED, per_table);
    for (policy, value) in REPLACED {
        let more = Some(("policy", policy));
        at_sinks().for_each(|(sink, table, rows)| family.add((Some(sink), &table.table, more), value(rows)));
    }
    family.end();
    if per_table {
        write_states(text, status);
    }
    let reads = || status.snapshot.tables.iter();
    let mut family = Family::new(text, name::SNAPSHOT_ROWS, per_table);
    reads().for_each(|read| family.add((None, &read.table, None), read.rows));
    family.end();
    let mut family = Family::new(text, name::SNAPSHOT_ESTIMATE, per_table);
    reads().for_each(|read| family.add((None, &read.table, None), read.estimated_rows));
    family.end();
    for (metric, value) in OF_BATCHES {
        let mut family = Family::new(text, metric, per_table);
        for (sink, sent) in status.sinks.iter().flat_map(|sink| sink.batches.iter().map(move |sent| (sink, sent))) {
            if let Some(value) = value(sent) {
                family.add((Some(&sink.name), &sent.table, None), value);
            }
        }
        family.end();
    }
}

/// The state of each table at each sink, or without one if there is none.
fn write_states(text: &mut String, status: &Status) {
    let mut family = Family::new(text, name::TABLE_STATE, true);
    for table in &status.tables {
        let mut add = |sink: &str, state: Option<State>| {
            if let Some(state) = state {
                family.add((Some(sink), &table.table, Some(("state", state.as_str()))), 1);
            }
        };
        table.sinks.iter().for_each(|(sink, rows)| add(sink, rows.stated.state));
        if table.sinks.is_empty() {
            add("", table.stated.state);
        }
    }
    family.end();
}

/// A series of a family: its sink, its table and one more label.
type Labels<'l> = (Option<&'l str>, &'l str, Option<(&'static str, &'static str)>);

/// The series of one metric.
struct Family<'t> {
    text: &'t mut String,
    metric: &'static str,
    per_table: bool,
    has_series: bool,
    /// Without a series for each table: by the sink and the last label.
    sums: BTreeMap<(Option<String>, Option<(&'static str, &'static str)>), u64>,
}

impl<'t> Family<'t> {
    fn new(text: &'t mut String, metric: &'static str, per_table: bool) -> Self {
        Self { text, metric, per_table, has_series: false, sums: BTreeMap::new() }
    }

    fn add(&mut self, (sink, table, more): Labels<'_>, value: u64) {
        if self.per_table {
            self.series((sink, Some(table), more), value);
        } else {
            *self.sums.entry((sink.map(str::to_owned), more)).or_default() += value;
        }
    }

    /// Writes the sums, if there are any, and ends the family.
    fn end(mut self) {
        for ((sink, more), value) in std::mem::take(&mut self.sums) {
            self.series((sink.as_deref(), None, more), value);
        }
        if self.has_series {
            self.text.push('\n');
        }
    }

    fn series(
        &mut self,
        (sink, table, more): (Option<&str>, Option<&str>, Option<(&'static str, &'static str)>),
        value: u64,
    ) {
        if !std::mem::replace(&mut self.has_series, true) {
            self.head();
        }
        self.text.push_str(self.metric);
        let labels = sink.map(|sink| ("sink", sink)).into_iter().chain(table.map(|table| ("table", table))).chain(more);
        let mut opening = '{';
        for (label, text) in labels {
            self.text.push(std::mem::replace(&mut opening, ','));
            self.text.push_str(label);
            self.text.push_str("=\"");
            escape(self.text, text);
            self.text.push('"');
        }
        if opening == ',' {
            self.text.push('}');
        }
        // A string takes everything.
        _ = writeln!(self.text, " {value}");
    }

    fn head(&mut self) {
        let Some(metric) = METRICS.iter().find(|metric| metric.name == self.metric) else { return };
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        _ = writeln!(self.text, "# HELP {} {}\n# TYPE {} {kind}", metric.name, metric.help, metric.name);
    }
}

/// Writes the value of a label as Prometheus reads it.
fn escape(text: &mut String, value: &str) {
    for part in value.split_inclusive(['\\', '"', '\n']) {
        let plain = part.trim_end_matches(['\\', '"', '\n']);
        text.push_str(plain);
        match part.get(plain.len()..) {
            Some("\\") => text.push_str("\\\\"),
            Some("\"") => text.push_str("\\\""),
            Some("\n") => text.push_str("\\n"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = String::new();
        escape(&mut text, "a\"b\\\\c\nd");
        assert_eq!(text, r#"a\"b\\\\c\nd"#);
    }
}
