//! How a [`Status`] becomes Prometheus's text.

mod tables;

use metrics::{Label, Recorder, Unit, counter, gauge, with_local_recorder};
use metrics_exporter_prometheus::PrometheusBuilder;

use self::tables::{publish_states_without_sinks, write_tables};
use super::metrics::{self as name, Kind, METRICS};
use super::{SinkPhase, SourcePhase, Status, Verdict};
use crate::table::State;

/// Turns status documents into Prometheus's text.
#[derive(Clone, Copy, Debug)]
pub struct Exporter {
    per_table: bool,
}

impl Exporter {
    /// With a series for each table, or with the sums over all tables.
    pub fn new(per_table: bool) -> Self {
        Self { per_table }
    }

    /// The metrics of a status, as Prometheus reads them. Made afresh each time, so that nothing is left of a table that is
    /// gone.
    pub fn render(&self, status: &Status) -> String {
        let recorder = PrometheusBuilder::new().build_recorder();
        for metric in METRICS {
            match metric.kind {
                Kind::Counter => recorder.describe_counter(metric.name.into(), None::<Unit>, metric.help.into()),
                Kind::Gauge => recorder.describe_gauge(metric.name.into(), None::<Unit>, metric.help.into()),
            }
        }
        with_local_recorder(&recorder, || publish(status));
        let mut text = recorder.handle().render();
        write_tables(&mut text, status, self.per_table);
        text
    }
}

fn publish(status: &Status) {
    gauge!(name::BUILD_INFO, "version" => status.version.clone()).set(1.0);
    gauge!(name::UPTIME).set(number(status.uptime_seconds));
    for verdict in Verdict::ALL {
        gauge!(name::HEALTH, "status" => verdict.as_str()).set(flag(status.health.status == verdict));
    }
    for errors in &status.errors {
        let labels = labels([("type", &errors.kind), ("class", &errors.class)]);
        counter!(name::ALL_ERRORS, labels).absolute(errors.count);
    }
    publish_source(status);
    publish_wal(status);
    let skipped = status.tables.iter().filter(|table| table.stated.by_operator).count();
    gauge!(name::TABLE_SKIPPED).set(number(u64::try_from(skipped).unwrap_or(u64::MAX)));
    publish_sinks(status);
    if status.sinks.is_empty() {
        publish_states_without_sinks(status);
    }
}

fn labels<const N: usize>(pairs: [(&'static str, &str); N]) -> Vec<Label> {
    pairs.into_iter().map(|(key, value)| Label::new(key, value.to_owned())).collect()
}

fn publish_source(status: &Status) {
    let source = &status.source;
    for state in SourcePhase::ALL {
        gauge!(name::SOURCE_STATE, "state" => state.as_str()).set(flag(source.state == state));
    }
    if let Some(lag) = source.lag_seconds {
        gauge!(name::SOURCE_LAG).set(lag);
    }
    if let Some(seconds) = source.last_success_seconds {
        gauge!(name::SOURCE_LAST_SUCCESS).set(seconds);
    }
    counter!(name::SOURCE_EVENTS).absolute(source.events);
    counter!(name::SOURCE_FILTERED).absolute(source.filtered_events);
    counter!(name::SOURCE_RECONNECTS).absolute(source.reconnects);
    for (kind, count) in &status.schema_changes {
        counter!(name::SCHEMA_CHANGES, "kind" => kind.clone()).absolute(*count);
    }
}

fn publish_wal(status: &Status) {
    let wal = &status.wal;
    gauge!(name::WAL_BYTES).set(number(wal.bytes));
    gauge!(name::WAL_CAPACITY).set(number(wal.capacity_bytes));
    gauge!(name::WAL_DISK).set(number(wal.disk_bytes));
    gauge!(name::WAL_MAX).set(number(wal.max_bytes));
    gauge!(name::WAL_FULL).set(flag(wal.full));
    gauge!(name::WAL_FIRST).set(number(wal.first_lsn));
    gauge!(name::WAL_DURABLE).set(number(wal.durable_lsn));
    counter!(name::WAL_COMMITS).absolute(wal.commits);
}

fn publish_sinks(status: &Status) {
    for sink in &status.sinks {
        let label = || sink.name.clone();
        for state in SinkPhase::ALL {
            gauge!(name::SINK_STATE, "sink" => label(), "state" => state.as_str()).set(flag(sink.state == state));
        }
        gauge!(name::APPLIED, "sink" => label()).set(number(sink.applied_lsn));
        gauge!(name::BACKLOG_BYTES, "sink" => label()).set(number(sink.backlog_bytes));
        gauge!(name::BACKLOG_TRANSACTIONS, "sink" => label()).set(number(sink.backlog_transactions));
        // Of a cursor that is left over there is nothing more to say.
        if sink.state == SinkPhase::Unconfigured {
            continue;
        }
        if let Some(lag) = sink.lag_at_least_seconds {
            gauge!(name::LAG, "sink" => label()).set(lag);
        }
        if let Some(seconds) = sink.last_success_seconds {
            gauge!(name::SINK_LAST_SUCCESS, "sink" => label()).set(seconds);
        }
        counter!(name::ERRORS, "sink" => label()).absolute(sink.errors);
        gauge!(name::DEAD_LETTERS, "sink" => label()).set(number(sink.dead_letters.count));
        gauge!(name::DEAD_LETTER_BYTES, "sink" => label()).set(number(sink.dead_letters.bytes));
        for state in State::ALL {
            let count = sink.tables.get(&state).copied().unwrap_or_default();
            gauge!(name::TABLES, "sink" => label(), "state" => state.as_str()).set(number(count));
        }
        let stopped = sink.tables.get(&State::Stopped).copied().unwrap_or_default();
        gauge!(name::TABLE_STOPPED, "sink" => label()).set(number(stopped));
        let at_sink = status.tables.iter().filter_map(|table| table.sinks.get(&sink.name));
        let doubts = at_sink.filter(|at| at.stated.state.is_some() && at.doubt.is_some()).count();
        gauge!(name::TABLE_DOUBTED, "sink" => label()).set(number(u64::try_from(doubts).unwrap_or(u64::MAX)));
        gauge!(name::SINK_WAITING, "sink" => label()).set(flag(sink.waiting.is_some()));
        counter!(name::PASSED_OVER, "sink" => label()).absolute(sink.passed_over_frames);
    }
}

fn flag(set: bool) -> f64 {
    if set { 1.0 } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no integers; above 2^53 the last digits go")]
fn number(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests;
