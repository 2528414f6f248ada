//! Progress of the snapshot: bars on a terminal, log lines elsewhere.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::time::MissedTickBehavior;
use tracing::info;

use super::output;
use crate::model::TableName;
use crate::telemetry::{Live, SnapshotPhase, SnapshotTable};

/// Bars move often enough to be seen moving.
const BARS_EVERY: Duration = Duration::from_millis(250);
/// Log lines are read later, by people who scroll.
const LINES_EVERY: Duration = Duration::from_secs(10);

/// Shows progress until dropped.
pub(super) async fn show(live: Arc<Live>, bars: Option<MultiProgress>) {
    match bars {
        Some(bars) => Bars { bars, tables: HashMap::new() }.run(&live).await,
        None => lines(&live).await,
    }
}

async fn lines(live: &Live) {
    let mut tick = tokio::time::interval(LINES_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once, before there is anything to tell.
    tick.tick().await;
    loop {
        tick.tick().await;
        let tables = live.snapshot.tables();
        let done = tables.iter().filter(|table| table.phase == SnapshotPhase::Done).count();
        if done == tables.len() {
            continue;
        }
        let rows: u64 = tables.iter().map(|table| table.rows).sum();
        let estimated: u64 = tables.iter().map(|table| table.estimated_rows.max(table.rows)).sum();
        info!(tables = tables.len(), done, rows, estimated_rows = estimated, "snapshot");
    }
}

struct Bars {
    bars: MultiProgress,
    tables: HashMap<TableName, ProgressBar>,
}

impl Bars {
    async fn run(mut self, live: &Live) {
        let mut tick = tokio::time::interval(BARS_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            for table in live.snapshot.tables() {
                self.show(&table);
            }
        }
    }

    fn show(&mut self, table: &SnapshotTable) {
        match table.phase {
            SnapshotPhase::Pending => {}
            SnapshotPhase::Running => {
                let bar = self.tables.entry(table.table.clone()).or_insert_with(|| self.bars.add(bar(&table.table)));
                bar.set_length(table.estimated_rows.max(table.rows));
                bar.set_position(table.rows);
                bar.set_message(rate(table));
            }
            SnapshotPhase::Done | SnapshotPhase::Failed => {
                if let Some(bar) = self.tables.remove(&table.table) {
                    bar.finish_and_clear();
                    self.bars.remove(&bar);
                }
            }
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        for bar in self.tables.values() {
            bar.finish_and_clear();
        }
    }
}

fn bar(table: &TableName) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {human_pos}/~{human_len} rows {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style).with_prefix(table.to_string())
}

fn rate(table: &SnapshotTable) -> String {
    let rate = table.rows_per_second.map_or(String::new(), |rate| format!("{rate:.0}/s"));
    let eta = table.eta.map_or(String::new(), |eta| format!(" {} left", output::duration(eta.as_secs_f64())));
    rate + &eta
}
