//! One opening of a sink: what the loop works with until the sink fails or ends.

use serde::{Deserialize, Serialize};
use tracing::{info, warn};
use wal::{CursorInfo, Lsn, Reader};

use super::doubt::{Doubt, not_replaced};
use super::gap::Gap;
use super::new_sink::captured_or_awaited;
use super::resume::{LogView, Way, detached, resume, way};
use super::round::Round;
use super::run::{Delivery, unwritable};
use super::settle::Sent;
use super::tables::{Apart, TableAtSink, Tables};
use super::tally::{TableEvent, Tally};
use crate::codec::catalog::Catalog;
use crate::codec::stored::{Entry, Record, SINK_ROUND, SINK_START, encode, get};
use crate::error::Failure;
use crate::model::{SchemaId, TableName};
use crate::sink::{HandOver, NOT_TAKEN, RoundLimits, TargetState};

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
    /// There is a table that does not reach the sink, or was one.
    pub(super) has_apart: bool,
}

impl Delivery {
    /// What happened to tables since the rounds that have settled, in order: in the round on its way, and in the open one.
    pub(super) fn events<'e>(&'e self, open: &'e Open) -> impl DoubleEndedIterator<Item = &'e TableEvent> {
        let sent = self.sent.as_ref().map(Sent::events).unwrap_or_default();
        sent.iter().chain(&open.tally.events)
    }

    /// Whether a table does not reach the sink, as of the last frame.
    pub(super) fn is_apart(&self, table: &TableName, open: &Open) -> bool {
        let since = self.events(open).rev().find_map(|event| match event {
            TableEvent::Apart { table: apart, .. } if apart == table => Some(true),
            TableEvent::Back { table: back } | TableEvent::Replaced { table: back } if back == table => Some(false),
            TableEvent::Created { table: created, .. } if created == table => Some(false),
            _ => None,
        });
        since.unwrap_or_else(|| open.tables.get(table).is_some_and(|at| at.apart.is_some()))
    }

    /// Notes whether a table reaches the sink. `apart`: it does not, for this reason, and because of this schema or its name.
    pub(super) async fn reaches(
        &mut self,
        open: &mut Open,
        table: &TableName,
        apart: Option<(&str, Option<SchemaId>)>,
    ) -> Result<(), Failure> {
        match apart {
            Some((why, schema)) if !self.is_apart(table, open) => {
                open.has_apart = true;
                let apart = Apart { why: why.to_owned(), schema };
                open.tally.events.push(TableEvent::Apart { table: table.clone(), apart });
                // A stop of it has nothing more to leave out.
                self.sink.let_go(open.at, table).await?;
            }
            None if open.has_apart && self.is_apart(table, open) => {
                open.tally.events.push(TableEvent::Back { table: table.clone() });
            }
            _ => {}
        }
        Ok(())
    }
}

impl Delivery {
    /// Opens the sink, finds where it continues, and counts what its target applied without the log knowing.
    pub(super) async fn open(&mut self) -> Result<Open, Failure> {
        self.sent = None;
        let mut applied = std::mem::take(&mut self.applied);
        // Acknowledgements ride with a later commit. After this the log holds those of the opening before.
        self.wal.put_state(Vec::new()).await.map_err(unwritable)?;
        let reader = self.wal.reader();
        let mut start = self.start_of_cursor(&reader)?;
        let before = start;
        let is_asked = start.looked == Looked::Reset && !self.has_reset;
        if is_asked {
            // First: a target that does not answer does not hold the log.
            start = self.give_up_place(&reader).await?;
        } else if !start.looked.allows_reset() && self.cursor()?.detached {
            return Err(detached(&self.name, self.cursor()?.lsn));
        }
        // What may be new, and is not known to be.
        let may_be_new = start.looked == Looked::TakeOver && self.cursor()?.lsn == start.at;
        let target = self.sink.open(self.wal.id()).await?;
        let resumed = self.resumed(target, start);
        if !start.looked.allows_reset() && start.looked != Looked::Ahead && self.is_ahead(target) {
            // Before the log grows to where the target is, with other frames than those that it has.
            start = self.mark(start, Looked::Ahead).await?;
        }
        let (at, opened) = match way(is_asked, start.looked, resumed)? {
            Way::Continue(at) => {
                if may_be_new {
                    // Before its cursor moves: from then on it would not be known.
                    start = self.mark(start, Looked::NotYet).await?;
                }
                (at, self.catch_up(&reader, at).await?)
            }
            Way::Reset(refused) => {
                if let Some(refused) = refused {
                    warn!(sink = %self.name, why = %refused.message, "log and target do not fit, the target is taken over");
                    start = self.give_up_place(&reader).await?;
                }
                // Every table comes again, in place of what they are about.
                self.letters.load(&reader, start.at)?;
                self.take_over(&reader, target, (before, start)).await?;
                // Their doubts end with the copies that they are about.
                applied.clear();
                (start.at, self.load(&reader)?)
            }
        };
        let (mut tables, mut catalog) = opened;
        self.keep_doubts(applied, at, &mut tables).await?;
        // Only now: a target of another log is left as it is.
        let wished = self.sink.review(&*self.captured).await?.into_iter();
        self.look_at_rules(&reader, &mut catalog, &mut tables).await?;
        if start.looked == Looked::Reset {
            // It wishes for every table.
            self.wish_for_tables(start)?;
        } else {
            // Once in a run: what comes of it is looked for in the whole log that the sink still has to get.
            let wished = wished.filter(|(table, _)| !self.doubted.contains(table)).collect();
            let end = self.wal.positions().borrow().durable;
            for (table, why) in not_replaced(&reader, &self.name, (at, end), wished, false)? {
                self.doubt(Doubt { sink: self.name.clone(), table, why, is_configured: true });
            }
            self.looked_at((start, target == TargetState::Fresh, at), &reader, &mut tables).await?;
        }
        self.look_for_wanted(&reader)?;
        self.has_looked();
        let limits = self.sink.limits();
        let mut round = Round::new(limits);
        if self.sink.hand_over() == HandOver::RecordedBatches {
            // A target that was restored from an older copy is not where that round began.
            let bounds = self.recorded_bounds(&reader)?;
            round.ends_at(bounds.filter(|(start, end)| *start == at && *end > at).map(|(_, end)| end));
        }
        self.round_start = at;
        let has_apart = tables.iter().any(|(_, at)| at.apart.is_some());
        let tally = Tally::default();
        Ok(Open { reader, catalog, tables, limits, round, tally, at, between_groups: true, has_apart })
    }

    /// Tables that the configuration of the sink leaves out since it was opened last, and those that it leaves out no more: they are to be read
    /// for it.
    async fn look_at_rules(
        &mut self,
        reader: &Reader,
        catalog: &mut Catalog,
        tables: &mut Tables,
    ) -> Result<(), Failure> {
        let (mut events, mut doubts) = (Vec::new(), Vec::new());
        for table in captured_or_awaited(reader)? {
            let apart = tables.get(&table).and_then(|at| at.apart.clone());
            let takes = self.sink.takes(&table);
            match apart {
                None if !takes => {
                    let apart = Apart { why: NOT_TAKEN.to_owned(), schema: None };
                    events.push(TableEvent::Apart { table, apart });
                }
                Some(apart) if takes => {
                    let is_still = match apart.schema {
                        Some(schema) => self.sink.leaves_out(catalog.resolve(schema)?.schema()).is_some(),
                        None => false,
                    };
                    if !is_still {
                        doubts.push(table.clone());
                        events.push(TableEvent::Back { table });
                    }
                }
                None | Some(_) => {}
            }
        }
        if events.is_empty() {
            return Ok(());
        }
        let changed: Vec<TableName> = events.into_iter().flat_map(|event| tables.happened(event)).collect();
        self.wal.put_state(tables.state(&changed)?).await.map_err(unwritable)?;
        for table in doubts {
            if let Some(why) = tables.get(&table).and_then(|at| at.doubt.clone()) {
                self.doubt(Doubt { sink: self.name.clone(), table, why, is_configured: true });
            }
        }
        Ok(())
    }

    /// What comes of the sink's first look at its target.
    async fn looked_at(
        &mut self,
        (start, is_fresh, at): (CursorStart, bool, Lsn),
        reader: &Reader,
        tables: &mut Tables,
    ) -> Result<(), Failure> {
        match start.looked {
            Looked::NotYet => self.first_opened(reader, (start, is_fresh, at), tables).await,
            Looked::TakeOver => self.mark(start, Looked::Done).await.map(drop),
            Looked::Wishes => self.wish_for_tables(start),
            Looked::Done | Looked::Reset | Looked::Ahead => Ok(()),
        }
    }

    /// The sink has said what it wishes from the start. That counts as said once the log holds it.
    fn has_looked(&mut self) {
        let looking = self.looking.take();
        let saying = std::mem::take(&mut self.saying);
        if looking.is_none() || saying.is_empty() {
            return;
        }
        tokio::spawn(async move {
            for stored in saying {
                // A loop that has lost its stream says nothing: the next start finds out again.
                drop(stored.await);
            }
            drop(looking);
        });
    }

    /// Stores what came of the sink's look at its target.
    async fn mark(&mut self, start: CursorStart, looked: Looked) -> Result<CursorStart, Failure> {
        let start = CursorStart { looked, ..start };
        let marked = (SINK_START.of_sink(&self.name), Some(encode(&start)?));
        self.wal.put_state(vec![marked]).await.map_err(unwritable)?;
        Ok(start)
    }

    pub(super) fn cursor(&self) -> Result<CursorInfo, Failure> {
        let cursor = self.wal.cursors().into_iter().find(|cursor| cursor.name == self.name);
        cursor.ok_or_else(|| Failure::fatal(format!("the log has no cursor for sink '{}'", self.name)))
    }

    fn load(&self, reader: &Reader) -> Result<(Tables, Catalog), Failure> {
        Ok((Tables::load(reader, &self.name)?, Catalog::new(reader.clone())))
    }

    /// Where to continue.
    fn resumed(&self, target: TargetState, start: CursorStart) -> Result<Lsn, Failure> {
        let cursor = self.cursor()?;
        let positions = *self.wal.positions().borrow();
        let view = LogView {
            id: self.wal.id(),
            first: positions.first,
            durable: positions.durable,
            cursor: cursor.lsn,
            is_detached: cursor.detached,
            start: start.at,
            is_new: start.looked == Looked::NotYet,
            was_behind: start.looked == Looked::Ahead,
        };
        resume(&self.name, target, view)
    }

    /// Whether the target has more of this log than the log itself.
    fn is_ahead(&self, target: TargetState) -> bool {
        let durable = self.wal.positions().borrow().durable;
        matches!(target, TargetState::At { log, applied, .. } if log == self.wal.id() && applied > durable)
    }

    /// Counts what the target applied without the log knowing.
    async fn catch_up(&mut self, reader: &Reader, at: Lsn) -> Result<(Tables, Catalog), Failure> {
        let cursor = self.cursor()?;
        let (mut tables, mut catalog) = self.load(reader)?;
        self.acknowledged = at.max(cursor.lsn);
        if at > cursor.lsn {
            info!(sink = %self.name, target = %at, cursor = %cursor.lsn, "the target is ahead of the log's cursor, its rows are counted from the log");
            self.letters.load(reader, at)?;
            let state = {
                let stopped = self.sink.stopped();
                let (name, sink, letters) = (self.name.as_str(), self.sink.as_ref(), &self.letters);
                let gap = Gap { name, sink, tables: &mut tables, catalog: &mut catalog, stopped, letters };
                gap.count(reader, (cursor.lsn, at))?
            };
            self.wal.ack(&self.name, at, &[], state).await.map_err(unwritable)?;
            self.doubt_what_is_not_there(&mut tables).await?;
        } else if at < cursor.lsn {
            warn!(sink = %self.name, target = %at, cursor = %cursor.lsn, "the target is older than the log's cursor, what it lacks is applied again");
        }
        self.letters.load(reader, at)?;
        Ok((tables, catalog))
    }

    /// The log has counted rows as applied by the rules that the sink has now. Of a table that the target does not have, they were not: it was
    /// written under other rules.
    async fn doubt_what_is_not_there(&mut self, tables: &mut Tables) -> Result<(), Failure> {
        let is_missing = |(table, at): &(&TableName, &TableAtSink)| {
            at.whole_since.is_some() && at.apart.is_none() && at.doubt.is_none() && !self.sink.holds(table)
        };
        let missing: Vec<TableName> = tables.iter().filter(is_missing).map(|(table, _)| table.clone()).collect();
        for table in &missing {
            tables.entry(table).doubt = Some("the target does not have it".to_owned());
        }
        if missing.is_empty() {
            return Ok(());
        }
        self.wal.put_state(tables.state(&missing)?).await.map_err(unwritable)
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
    /// An operator allows the sink to take its target over, should the log and the target not fit.
    TakeOver,
    /// The sink is to be reset: until the log holds the wish for every table in place of what the target has.
    Reset,
    /// Its target had more of this log than the log itself, which was restored from an older copy: what the log has since is something else.
    Ahead,
}

impl Looked {
    /// Whether the sink may give up where it is.
    pub(super) fn allows_reset(self) -> bool {
        matches!(self, Self::TakeOver | Self::Reset)
    }
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
            ("take_over", start(70_000, Looked::TakeOver)),
            ("reset", start(70_000, Looked::Reset)),
            ("ahead", start(70_000, Looked::Ahead)),
        ]);
    }

    #[test]
    fn the_bounds_of_a_round_are_stored_as_committed() {
        fixture::check(&[("round", RoundBounds { start: Lsn::new(5), end: Lsn::new(300) })]);
    }
}
