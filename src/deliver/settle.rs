//! The end of a round: committed at the target, then acknowledged in the log with the counts of its rows.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{info, warn};
use wal::Lsn;

use super::doubt::{Doubt, Wish};
use super::open::Open;
use super::run::{Delivery, unwritable};
use super::tables::{Changed, Tables, is_configured};
use super::tally::{TableEvent, Tally};
use crate::error::Failure;
use crate::model::TableName;
use crate::sink::{HandOver, Settled};
use crate::telemetry::SinkTableLive;

/// A round on its way.
pub(super) struct Sent {
    end: Lsn,
    commit_micros: i64,
    tally: Tally,
}

impl Sent {
    /// What it has of tables as a whole.
    pub(super) fn events(&self) -> &[TableEvent] {
        &self.tally.events
    }
}

/// A round that is applied at the target, and not acknowledged in the log yet.
pub(super) struct Applied {
    end: Lsn,
    /// What became of its rows, and of those before it.
    state: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    doubts: Vec<(TableName, String)>,
    /// What is shown of the tables in doubt, once the log has the doubts.
    shown: Vec<(TableName, SinkTableLive)>,
}

/// Rounds that may wait until they are durable. The next one waits for them.
const MOST_APPLIED: usize = 1000;
/// Pause between two looks how far a target is that is not durable as far as the next round needs it.
const POLL: Duration = Duration::from_millis(10);

impl Delivery {
    /// Stores the round if it can end here, and waits for that unless the sink overlaps. The round before it has settled then.
    pub(super) async fn commit(&mut self, open: &mut Open) -> Result<(), Failure> {
        let Some((end, commit_micros)) = open.round.end() else { return Ok(()) };
        self.settle(open).await?;
        while self.applied.len() >= MOST_APPLIED {
            tokio::time::sleep(POLL).await;
            self.look_for_durable().await?;
        }
        if self.sink.hand_over() == HandOver::RecordedBatches {
            // Durable before anything of the round is sent.
            let bounds = self.bounds(end)?;
            self.wal.put_state(vec![bounds]).await.map_err(unwritable)?;
        }
        self.sink.store(end).await?;
        self.sent = Some(Sent { end, commit_micros, tally: std::mem::take(&mut open.tally) });
        self.round_start = end;
        open.round.clear();
        if !self.sink.overlaps() {
            self.settle(open).await?;
        }
        Ok(())
    }

    /// Waits for the round that was sent, and acknowledges what is durable.
    pub(super) async fn settle(&mut self, open: &mut Open) -> Result<(), Failure> {
        let Some(Sent { end, commit_micros, tally }) = self.sent.take() else { return Ok(()) };
        let settled = self.sink.settle().await?;
        let reported = self.sink.take_counts();
        // Up to the cursor they were counted before the target was restored from an older copy. A round ends there.
        if end > self.acknowledged {
            let Changed { tables, doubts } =
                open.tables.settle(tally, reported, &mut open.catalog, self.sink.stopped())?;
            let state = open.tables.state(&tables)?;
            let mut shown = Vec::new();
            for table in &tables {
                let Some(at) = open.tables.get(table) else { continue };
                // A doubt of an earlier round, too, may not be in the log yet.
                let waiting = self.applied.iter().flat_map(|round| &round.doubts);
                if doubts.iter().chain(waiting).any(|(doubted, _)| doubted == table) {
                    shown.push((table.clone(), at.shown()));
                } else {
                    self.live.table(table, at.shown());
                }
            }
            self.applied.push_back(Applied { end, state, doubts, shown });
        } else {
            let state = self.letters.acknowledge(&self.wal.reader(), end)?;
            if !state.is_empty() {
                self.wal.put_state(state).await.map_err(unwritable)?;
            }
            self.progressed = true;
        }
        self.acknowledge(end, settled).await?;
        for sent in self.sink.take_sent() {
            self.live.sent(&sent.table, sent.batch);
        }
        self.show_copies();
        self.live.applied(end, Some(commit_micros));
        Ok(())
    }

    /// Asks a sink that has applied more than is durable how far it is.
    pub(super) async fn look_for_durable(&mut self) -> Result<(), Failure> {
        if let Some(Applied { end, .. }) = self.applied.back() {
            let end = *end;
            let settled = self.sink.settle().await?;
            self.acknowledge(end, settled).await?;
        }
        Ok(())
    }

    /// Acknowledges the rounds that are durable: each with what became of its own rows, so that a restart counts the rest once. `end` is that of the
    /// last one that was stored.
    async fn acknowledge(&mut self, end: Lsn, settled: Settled) -> Result<(), Failure> {
        let Settled { applied, durable } = settled;
        if applied < end || durable > applied {
            return Err(Failure::fatal(format!(
                "sink '{}' has stored a round up to lsn {end}, and says that lsn {applied} is applied and lsn {durable} is durable",
                self.name
            )));
        }
        if self.sink.hand_over() == HandOver::RecordedBatches && durable < applied {
            // The log has the bounds of one round alone.
            return Err(Failure::fatal(format!(
                "sink '{}' repeats rounds, and says that lsn {applied} is applied and not durable",
                self.name
            )));
        }
        while self.applied.front().is_some_and(|round| round.end <= durable) {
            let Some(Applied { end, mut state, doubts, shown }) = self.applied.pop_front() else { break };
            state.extend(self.letters.acknowledge(&self.wal.reader(), end)?);
            if doubts.is_empty() {
                self.wal.ack_lazily(&self.name, end, &[], state).map_err(unwritable)?;
            } else {
                // In the log before anything is done about it. What the target reported cannot be asked for again.
                self.wal.ack(&self.name, end, &[], state).await.map_err(unwritable)?;
            }
            self.acknowledged = end;
            self.progressed = true;
            for (table, shown) in shown {
                self.live.table(&table, shown);
            }
            for (table, why) in doubts {
                let is_configured = is_configured(&why);
                self.doubt(Doubt { sink: self.name.clone(), table, why, is_configured });
            }
        }
        Ok(())
    }

    /// Of rounds that were applied before the target was opened again: their doubts, where it still has the rounds. Those that it has lost come again.
    pub(super) async fn keep_doubts(
        &mut self,
        applied: VecDeque<Applied>,
        at: Lsn,
        tables: &mut Tables,
    ) -> Result<(), Failure> {
        let kept = applied.into_iter().filter(|round| round.end <= at);
        let doubts: Vec<_> = kept.flat_map(|round| round.doubts).collect();
        if doubts.is_empty() {
            return Ok(());
        }
        for (table, why) in &doubts {
            tables.entry(table).doubt.get_or_insert_with(|| why.clone());
        }
        let doubted: BTreeSet<_> = doubts.iter().map(|(table, _)| table.clone()).collect();
        self.wal.put_state(tables.state(&doubted)?).await.map_err(unwritable)?;
        for (table, why) in doubts {
            self.doubt(Doubt { sink: self.name.clone(), table, why, is_configured: false });
        }
        Ok(())
    }

    /// Lets go of the target, which makes durable what is applied, and acknowledges that.
    pub(super) async fn close(&mut self) -> Result<(), Failure> {
        self.sink.close().await?;
        match self.applied.back() {
            Some(Applied { end, .. }) => {
                let end = *end;
                self.acknowledge(end, Settled::both(end)).await
            }
            None => Ok(()),
        }
    }

    /// Reports a doubt, once for a table in a run.
    pub(super) fn doubt(&mut self, doubt: Doubt) {
        let Doubt { sink, table, why, is_configured } = &doubt;
        if !self.doubted.insert(table.clone()) {
            warn!(%sink, %table, why, "a table is in doubt again, it is not read a second time in this run");
            return;
        }
        if *is_configured {
            info!(%sink, %table, why, "the configuration is another one, the table is to be read again with replace");
        } else {
            warn!(%sink, %table, why, "a table is in doubt, it is to be read again with replace");
        }
        let stored = self.looking.is_some().then(|| {
            let (stored, is_stored) = oneshot::channel();
            self.saying.push(is_stored);
            stored
        });
        // The receiver ends with the daemon; the doubt is in the log for the next start.
        drop(self.wishes.send(Wish::Doubt { doubt, stored }));
    }
}
