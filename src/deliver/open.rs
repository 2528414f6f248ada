//! One opening of a sink: what the loop works with until the sink fails or ends.

use serde::{Deserialize, Serialize};
use tracing::{info, warn};
use wal::{Lsn, Reader};

use super::doubt::{Doubt, not_replaced};
use super::gap::Gap;
use super::resume::{LogView, resume};
use super::round::Round;
use super::run::{Delivery, unwritable};
use super::tables::Tables;
use super::tally::Tally;
use crate::codec::catalog::Catalog;
use crate::codec::stored::{Entry, Record, SINK_ROUND, SINK_START, encode, get};
use crate::error::Failure;
use crate::sink::{HandOver, RoundLimits, TargetState};

/// What one opening of a sink works with.
pub(super) struct Open {
    pub(super) reader: Reader,
    pub(super) catalog: Catalog,
    pub(super) tables: Tables,
    pub(super) limits: RoundLimits,
    pub(super) round: Round,
    /// Rows of the round.
    pub(super) tally: Tally,
    /// The last frame that was taken or passed over.
    pub(super) at: Lsn,
    /// That frame ended its group.
    pub(super) between_groups: bool,
}

impl Delivery {
    /// Opens the sink, finds where it continues, and counts what its target applied without the log knowing.
    pub(super) async fn open(&mut self) -> Result<Open, Failure> {
        self.sent = None;
        let applied = std::mem::take(&mut self.applied);
        // Acknowledgements ride with a later commit. After this the log holds those of the opening before.
        self.wal.put_state(Vec::new()).await.map_err(unwritable)?;
        let reader = self.wal.reader();
        let target = self.sink.open(self.wal.id()).await?;
        let mut tables = Tables::load(&reader, &self.name)?;
        let mut catalog = Catalog::new(reader.clone());
        let start = self.start_of_cursor(&reader)?;
        let is_fresh = target == TargetState::Fresh;
        let at = self.resume_at(&reader, (target, start), &mut tables, &mut catalog).await?;
        self.keep_doubts(applied, at, &mut tables).await?;
        // Only now: a target of another log is left as it is.
        let wished = self.sink.review(&*self.captured).await?.into_iter();
        // Once in a run: what comes of it is looked for in the whole log that the sink still has to get.
        let wished = wished.filter(|(table, _)| !self.doubted.contains(table)).collect();
        let end = self.wal.positions().borrow().durable;
        for (table, why) in not_replaced(&reader, &self.name, (at, end), wished, false)? {
            self.doubt(Doubt { sink: self.name.clone(), table, why });
        }
        match start.looked {
            Looked::NotYet => self.first_opened(&reader, (start, is_fresh, at), &mut tables).await?,
            Looked::Wishes => self.wish_for_tables(start)?,
            Looked::Done => {}
        }
        self.looking = None;
        let limits = self.sink.limits();
        let mut round = Round::new(limits);
        if self.sink.hand_over() == HandOver::RecordedBatches {
            // A target that was restored from an older copy is not where that round began.
            let bounds = self.recorded_bounds(&reader)?;
            round.ends_at(bounds.filter(|(start, end)| *start == at && *end > at).map(|(_, end)| end));
        }
        self.round_start = at;
        Ok(Open { reader, catalog, tables, limits, round, tally: Tally::default(), at, between_groups: true })
    }

    /// Finds where to continue, and counts what the target applied without the log knowing.
    async fn resume_at(
        &mut self,
        reader: &Reader,
        (target, start): (TargetState, CursorStart),
        tables: &mut Tables,
        catalog: &mut Catalog,
    ) -> Result<Lsn, Failure> {
        let cursor = self
            .wal
            .cursors()
            .into_iter()
            .find(|cursor| cursor.name == self.name)
            .ok_or_else(|| Failure::fatal(format!("the log has no cursor for sink '{}'", self.name)))?;
        let positions = *self.wal.positions().borrow();
        let view = LogView {
            id: self.wal.id(),
            first: positions.first,
            durable: positions.durable,
            cursor: cursor.lsn,
            start: start.at,
            is_new: start.looked == Looked::NotYet,
        };
        let at = resume(&self.name, target, view)?;
        self.acknowledged = at.max(cursor.lsn);
        if at > cursor.lsn {
            info!(sink = %self.name, target = %at, cursor = %cursor.lsn, "the target is ahead of the log's cursor, its rows are counted from the log");
            let gap = Gap { sink: &self.name, tables, catalog, stopped: self.sink.stopped() };
            let state = gap.count(reader, (cursor.lsn, at))?;
            self.wal.ack(&self.name, at, &[], state).await.map_err(unwritable)?;
        } else if at < cursor.lsn {
            warn!(sink = %self.name, target = %at, cursor = %cursor.lsn, "the target is older than the log's cursor, what it lacks is applied again");
        }
        Ok(at)
    }

    fn start_of_cursor(&self, reader: &Reader) -> Result<CursorStart, Failure> {
        let start = get(reader, &SINK_START.of_sink(&self.name))?;
        Ok(start.unwrap_or(CursorStart { at: Lsn::ZERO, looked: Looked::Done }))
    }

    /// Where the round begins (the LSN before its first) and ends that may have been sent before a crash.
    fn recorded_bounds(&self, reader: &Reader) -> Result<Option<(Lsn, Lsn)>, Failure> {
        let bounds = get(reader, &SINK_ROUND.of_sink(&self.name))?;
        Ok(bounds.map(|RoundBounds { start, end }| (start, end)))
    }

    /// Where the round begins and ends, as a state entry.
    pub(super) fn bounds(&self, end: Lsn) -> Result<(Vec<u8>, Option<Vec<u8>>), Failure> {
        let value = encode(&RoundBounds { start: self.round_start, end })?;
        Ok((SINK_ROUND.of_sink(&self.name), Some(value)))
    }
}

/// How a sink's cursor began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CursorStart {
    /// The LSN at which it was created.
    pub at: Lsn,
    /// Whether its target was looked at.
    pub looked: Looked,
}

/// Whether the target of a sink was looked at, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Looked {
    /// It was, and nothing is left to do.
    Done,
    /// Not yet: what was trimmed from the log before the cursor may have to be read for it.
    NotYet,
    /// It knew nothing: until the log holds the wish for every table, that is to be said.
    Wishes,
}

impl Record for CursorStart {
    const ENTRY: &'static Entry = &SINK_START;
}

/// The round that a sink was sent last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundBounds {
    /// The LSN before its first.
    pub start: Lsn,
    /// Its last LSN.
    pub end: Lsn,
}

impl Record for RoundBounds {
    const ENTRY: &'static Entry = &SINK_ROUND;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::stored::fixture;

    #[test]
    fn where_a_cursor_was_created_is_stored_as_committed() {
        let start = |lsn, looked| CursorStart { at: Lsn::new(lsn), looked };
        fixture::check(&[
            ("first", start(0, Looked::Done)),
            ("later", start(70_000, Looked::Done)),
            ("new", start(70_000, Looked::NotYet)),
            ("wishes", start(70_000, Looked::Wishes)),
        ]);
    }

    #[test]
    fn the_bounds_of_a_round_are_stored_as_committed() {
        fixture::check(&[("round", RoundBounds { start: Lsn::new(5), end: Lsn::new(300) })]);
    }
}
