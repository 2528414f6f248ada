//! How far the readers are, as the status shows it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::source::mysql::snapshot::{SnapshotStatus, TableStatus};
use crate::telemetry::{Live, SnapshotPhase, SnapshotTable};

/// Shows every change of it, to its end.
pub(super) async fn show_snapshot(mut status: watch::Receiver<SnapshotStatus>, live: Arc<Live>) {
    loop {
        {
            let status = status.borrow_and_update();
            live.snapshot.set(status.tables.iter().map(shown_table).collect());
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

fn shown_table(table: &TableStatus) -> SnapshotTable {
    SnapshotTable {
        table: table.table.clone(),
        phase: if table.running { SnapshotPhase::Running } else { SnapshotPhase::Pending },
        rows: table.rows,
        estimated_rows: table.estimated_rows,
        rows_per_second: (table.rate > 0.0).then_some(table.rate),
        eta: table.eta_seconds.map(Duration::from_secs),
        error: table.error.clone(),
    }
}
