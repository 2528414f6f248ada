//! The end of a round: committed at the target, then acknowledged in the log with the counts of its rows.

use tracing::warn;
use wal::Lsn;

use super::doubt::{Doubt, Wish};
use super::open::Open;
use super::run::{Delivery, unwritable};
use super::tables::Changed;
use super::tally::Tally;
use crate::error::Failure;
use crate::sink::HandOver;

/// A round on its way.
pub(super) struct Sent {
    end: Lsn,
    commit_micros: i64,
    tally: Tally,
}

impl Delivery {
    /// Commits the round if it can end here, or sends it on its way if the sink overlaps. The round before it has
    /// settled then.
    pub(super) async fn commit(&mut self, open: &mut Open) -> Result<(), Failure> {
        let Some((end, commit_micros)) = open.round.end() else { return Ok(()) };
        self.settle(open).await?;
        if self.sink.hand_over() == HandOver::RecordedBatches {
            // Durable before anything of the round is sent.
            let bounds = self.bounds(end)?;
            self.wal.put_state(vec![bounds]).await.map_err(unwritable)?;
        }
        self.sink.send(end).await?;
        self.sent = Some(Sent { end, commit_micros, tally: std::mem::take(&mut open.tally) });
        self.round_start = end;
        open.round.clear();
        if !self.sink.overlaps() {
            self.settle(open).await?;
        }
        Ok(())
    }

    /// Waits for the round that was sent, and acknowledges it.
    pub(super) async fn settle(&mut self, open: &mut Open) -> Result<(), Failure> {
        let Some(Sent { end, commit_micros, tally }) = self.sent.take() else { return Ok(()) };
        self.sink.settle().await?;
        self.progressed = true;
        let reported = self.sink.take_counts();
        // Up to the cursor they were counted before the target was restored from an older copy. A round ends there.
        if end > self.acknowledged {
            let Changed { tables, doubts } =
                open.tables.settle(tally, reported, &mut open.catalog, self.sink.stopped())?;
            let state = open.tables.state(&tables)?;
            if doubts.is_empty() {
                self.wal.ack_lazily(&self.name, end, &[], state).map_err(unwritable)?;
            } else {
                // In the log before anything is done about it. What the target reported cannot be asked for again.
                self.wal.ack(&self.name, end, &[], state).await.map_err(unwritable)?;
            }
            self.acknowledged = end;
            for table in &tables {
                if let Some(at) = open.tables.get(table) {
                    self.live.table(table, at.shown());
                }
            }
            for (table, why) in doubts {
                self.doubt(Doubt { sink: self.name.clone(), table, why });
            }
        }
        for sent in self.sink.take_sent() {
            self.live.sent(&sent.table, sent.batch);
        }
        self.show_stopped();
        self.live.applied(end, Some(commit_micros));
        Ok(())
    }

    /// Reports a doubt, once for a table in a run.
    pub(super) fn doubt(&mut self, doubt: Doubt) {
        let Doubt { sink, table, why } = &doubt;
        if !self.doubted.insert(table.clone()) {
            warn!(%sink, %table, why, "a table is in doubt again, it is not read a second time in this run");
            return;
        }
        warn!(%sink, %table, why, "a table is in doubt, it is to be read again with replace");
        // The receiver ends with the daemon; the doubt is in the log for the next start.
        drop(self.wishes.send(Wish::Doubt(doubt)));
    }
}
