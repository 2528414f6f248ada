//! Progress of the tables that are being read: bars on a terminal, log lines elsewhere.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::time::MissedTickBehavior;
use tracing::info;

use super::output;
use crate::model::TableName;
use crate::telemetry::{Live, ReadShown};

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
        let reads = live.reads();
        if reads.is_empty() {
            continue;
        }
        let running = reads.iter().filter(|read| read.running).count();
        let rows: u64 = reads.iter().map(|read| read.rows).sum();
        let estimated: u64 = reads.iter().map(|read| read.reader.estimated_rows.max(read.rows)).sum();
        info!(tables = reads.len(), running, rows, estimated_rows = estimated, "tables are being read");
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
            self.show(&live.reads());
        }
    }

    fn show(&mut self, reads: &[ReadShown]) {
        let running: Vec<&ReadShown> = reads.iter().filter(|read| read.running).collect();
        self.tables.retain(|table, bar| {
            let is_running = running.iter().any(|read| read.table == *table);
            if !is_running {
                bar.finish_and_clear();
                self.bars.remove(bar);
            }
            is_running
        });
        for read in running {
            let bar = self.tables.entry(read.table.clone()).or_insert_with(|| self.bars.add(bar(&read.table)));
            bar.set_length(read.reader.estimated_rows.max(read.rows));
            bar.set_position(read.rows);
            bar.set_message(rate(read));
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

fn rate(read: &ReadShown) -> String {
    let rate = read.reader.rows_per_second.map_or(String::new(), |rate| format!("{rate:.0}/s"));
    let eta = read.reader.eta.map_or(String::new(), |eta| format!(" {} left", output::duration(eta.as_secs_f64())));
    rate + &eta
}
