//! The snapshot's progress, as the status shows it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::source::mysql::snapshot::{SnapshotStatus, TableState, TableStatus};
use crate::telemetry::{Live, SnapshotPhase, SnapshotTable};

/// Shows it as it is now.
pub(super) fn show_tables(status: &SnapshotStatus, live: &Live) {
    live.snapshot.set(status.tables.iter().map(shown_table).collect());
}

/// Shows every change of it, to its end.
pub(super) async fn show_snapshot(mut status: watch::Receiver<SnapshotStatus>, live: Arc<Live>) {
    loop {
        {
            show_tables(&status.borrow_and_update(), &live);
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

fn shown_table(table: &TableStatus) -> SnapshotTable {
    SnapshotTable {
        table: table.table.clone(),
        phase: match table.state {
            TableState::Pending => SnapshotPhase::Pending,
            TableState::Running => SnapshotPhase::Running,
            TableState::Done => SnapshotPhase::Done,
            TableState::Failed => SnapshotPhase::Failed,
        },
        rows: table.rows,
        estimated_rows: table.estimated_rows,
        rows_per_second: (table.rate > 0.0).then_some(table.rate),
        eta: table.eta_seconds.map(Duration::from_secs),
        error: table.error.clone(),
    }
}
