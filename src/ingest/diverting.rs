//! The driver of tables that are read whole beside the stream: their rows into a [`Tail`], and, once the copy is there and the stream has
//! come to its place, copy and rows into the log, piece by piece, between groups of the stream.
//!
//! [`super::core`] says which rows wait, and what a wait comes to (`core::divert`).

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::info;

use super::core::{Diverting, Spooling};
use super::ledger::Log as _;
use super::reading::{FLUSH_BYTES, Session, answer};
use super::tail::{Group, Place, Tail, place_of};
use crate::error::Failure;
use crate::model::TableName;
use crate::source::mysql::snapshot::handoff::{Diverted, ExactRead, Placed, may_lack_rows};
use crate::source::mysql::snapshot::spool::Spool;

/// Bytes that are placed at once, beside twice what has come to wait since the last time: so the wait ends, however much is written, and
/// the rows of other tables wait for a moment only.
const STEP_BYTES: u64 = 2 << 20;

type Reply = oneshot::Sender<Result<Placed, Failure>>;

/// The tables whose rows wait.
#[derive(Debug)]
pub(super) struct Tails {
    spool: Arc<Spool>,
    tables: BTreeMap<TableName, Waiting>,
}

/// One table whose rows wait.
#[derive(Debug)]
struct Waiting {
    number: u32,
    tail: Tail,
    /// How far it is.
    stage: Stage,
    /// The reader, until it has heard what became of its copy.
    reply: Option<Reply>,
    /// Bytes that waited when it was looked at last.
    waited: u64,
    /// A group of the tail that was looked at, and not placed.
    next: Option<Group>,
    /// Why the tail is worth nothing.
    broken: Option<Failure>,
}

#[derive(Debug)]
enum Stage {
    /// The copy is read.
    Reading,
    /// The stream has not come to its place, or groups before it are placed.
    Before(Box<ExactRead>, Place),
    /// The copy is placed.
    Copy(Box<ExactRead>),
    /// What comes after the copy is placed.
    After,
    /// Everything is placed, without a copy.
    GivenBack,
}

impl Tails {
    pub(super) fn new(spool: Arc<Spool>) -> Self {
        Self { spool, tables: BTreeMap::new() }
    }

    /// Whether any table's rows wait.
    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Whether there is something to place, as far as it can be told without the stream.
    fn has_work(&self) -> bool {
        self.tables.values().any(|waiting| !matches!(waiting.stage, Stage::Reading) || waiting.broken.is_some())
    }
}

impl Waiting {
    async fn next_group(&mut self) -> Result<Option<Group>, Failure> {
        match self.next.take() {
            Some(group) => Ok(Some(group)),
            None => self.tail.next_group().await,
        }
    }

    /// What became of the read. The rest is placed without it.
    fn answer(&mut self, placed: Result<Placed, Failure>) {
        if let Some(reply) = self.reply.take() {
            answer(reply, placed);
        }
    }
}

impl Session<'_> {
    /// Begins to keep the rows of a table.
    pub(super) fn divert(
        &mut self,
        table: &TableName,
        number: u32,
        reply: oneshot::Sender<Diverted>,
    ) -> Result<(), Failure> {
        let at = match self.ctx.core.divert(table, number)? {
            Diverting::Begun(at) => at,
            Diverting::Busy => {
                answer(reply, Diverted::Busy);
                return Ok(());
            }
            Diverting::Unseen => {
                answer(reply, Diverted::Unseen);
                return Ok(());
            }
            Diverting::Unwanted => {
                answer(reply, Diverted::Unwanted);
                return Ok(());
            }
        };
        let tail = match Tail::new(&self.tails.spool, table) {
            Ok(tail) => tail,
            Err(failure) => {
                self.ctx.core.end_giving_back(table)?;
                let (tell, placed) = oneshot::channel();
                answer(tell, Err(failure));
                answer(reply, Diverted::Begun { at, placed });
                return Ok(());
            }
        };
        let (tell, placed) = oneshot::channel();
        let waiting =
            Waiting { number, tail, stage: Stage::Reading, reply: Some(tell), waited: 0, next: None, broken: None };
        self.tails.tables.insert(table.clone(), waiting);
        info!(%table, "the row changes of a table wait while it is read whole");
        if reply.send(Diverted::Begun { at, placed }).is_err() {
            self.end_diversion(table, number);
        }
        Ok(())
    }

    /// The copy of a table is there.
    pub(super) fn place_whole(&mut self, read: Box<ExactRead>) -> Result<(), Failure> {
        let place = place_of(&read.at)?;
        if let Some(waiting) = self.tails.tables.get_mut(&read.table)
            && waiting.number == read.number
            && matches!(waiting.stage, Stage::Reading)
        {
            waiting.stage = Stage::Before(read, place);
        }
        Ok(())
    }

    /// The reader of a table has ended without a copy.
    pub(super) fn end_diversion(&mut self, table: &TableName, number: u32) {
        if let Some(waiting) = self.tails.tables.get_mut(table).filter(|waiting| waiting.number == number) {
            self.ctx.core.give_back(table);
            waiting.stage = Stage::GivenBack;
        }
    }

    /// Does what the core says of the rows that wait.
    pub(super) async fn spool(&mut self) -> Result<(), Failure> {
        for spooling in self.ctx.core.take_spooling() {
            let (Spooling::Rows { table, .. }
            | Spooling::CutBack { table, .. }
            | Spooling::Committed { table, .. }
            | Spooling::CutOff { table }
            | Spooling::Unwanted { table }
            | Spooling::Lost { table }) = &spooling;
            let Some(waiting) = self.tails.tables.get_mut(table) else { continue };
            let done = match &spooling {
                Spooling::Rows { rows, .. } => {
                    if let Err(failure) = waiting.tail.require_room(rows.images.len()) {
                        if matches!(waiting.stage, Stage::Reading) {
                            // The copy gives its room back.
                            waiting.answer(Err(failure));
                            waiting.stage = Stage::GivenBack;
                            self.ctx.core.give_back(table);
                        } else if waiting.tail.is_beyond_limit() {
                            waiting.broken.get_or_insert(failure);
                        }
                    }
                    if waiting.broken.is_some() { Ok(()) } else { waiting.tail.push(rows).await }
                }
                Spooling::CutBack { events, .. } => waiting.tail.cut_back(*events).await,
                Spooling::CutOff { .. } => waiting.tail.cut_off().await,
                Spooling::Committed { from, end, .. } => {
                    let (from, end) = (place_of(from)?, place_of(end)?);
                    waiting.tail.commit(from, end).await
                }
                Spooling::Unwanted { .. } => {
                    waiting.answer(Ok(Placed::Unwanted));
                    waiting.stage = Stage::GivenBack;
                    Ok(())
                }
                Spooling::Lost { .. } => {
                    waiting.answer(Ok(Placed::Discarded));
                    self.tails.tables.remove(table);
                    continue;
                }
            };
            if let Err(failure) = done {
                waiting.broken.get_or_insert(failure);
            }
        }
        Ok(())
    }

    /// Whether there is something to place. Asked at boundaries.
    pub(super) fn has_to_place(&self) -> bool {
        self.tails.has_work()
    }

    /// At a boundary: places some of what waits. True: there may be more to do before the stream says more.
    pub(super) async fn place_waiting(&mut self) -> Result<bool, Failure> {
        let mut has_more = false;
        for table in self.tails.tables.keys().cloned().collect::<Vec<_>>() {
            self.ctx.set_time();
            let Some(mut waiting) = self.tails.tables.remove(&table) else { continue };
            let came = waiting.tail.waiting().saturating_sub(waiting.waited);
            let budget = STEP_BYTES.saturating_add(came.saturating_mul(2));
            // Whatever fails here is about the table's spool, or ends the session.
            let step = self.place_some(&table, &mut waiting, budget).await;
            waiting.waited = waiting.tail.waiting();
            match step? {
                Step::Waits => {
                    self.tails.tables.insert(table, waiting);
                    continue;
                }
                Step::More => {
                    has_more = true;
                    self.tails.tables.insert(table, waiting);
                }
                Step::Ended => {}
            }
            self.spool().await?;
            self.hand_over().await?;
        }
        Ok(has_more)
    }

    async fn place_some(&mut self, table: &TableName, waiting: &mut Waiting, budget: u64) -> Result<Step, Failure> {
        if let Some(failure) = waiting.broken.take() {
            return self.lose(table, waiting, failure);
        }
        let mut placed = 0_u64;
        while placed < budget {
            match std::mem::replace(&mut waiting.stage, Stage::GivenBack) {
                Stage::Reading => {
                    waiting.stage = Stage::Reading;
                    return Ok(Step::Waits);
                }
                Stage::Before(read, place) => {
                    if !self.ctx.core.reaches(&read.at)? {
                        waiting.stage = Stage::Before(read, place);
                        return Ok(Step::Waits);
                    }
                    let group = match waiting.next_group().await {
                        Ok(group) => group,
                        Err(failure) => return self.lose(table, waiting, failure),
                    };
                    match group {
                        Some(group) if group.end <= place => {
                            waiting.stage = Stage::Before(read, place);
                            placed += group.bytes;
                            if let Some(ended) = self.place_group(table, waiting, group).await? {
                                return Ok(ended);
                            }
                        }
                        Some(group) if group.from < place => {
                            let why = format!("table \"{table}\" was read in the middle of one of its transactions");
                            return self.lose(table, waiting, Failure::retry(why));
                        }
                        group => {
                            waiting.next = group;
                            if self.ctx.core.may_lack_rows(table, &read.at) {
                                self.ctx.core.give_back(table);
                                waiting.answer(Err(may_lack_rows(table)));
                            } else if self.ctx.core.begin_whole(&read.schema, read.number, &read.at)? {
                                info!(%table, rows = read.copy.rows(), "the copy of a whole table is placed");
                                waiting.stage = Stage::Copy(read);
                            } else {
                                self.ctx.core.give_back(table);
                                waiting.answer(Ok(Placed::Unwanted));
                            }
                        }
                    }
                }
                Stage::Copy(mut read) => match read.copy.next().await {
                    Ok(None) => waiting.stage = Stage::After,
                    Ok(Some(images)) => {
                        placed += u64::try_from(images.bytes.len()).unwrap_or(u64::MAX);
                        if self.ctx.core.whole_rows(table, read.number, &images, &read.at)? {
                            waiting.stage = Stage::Copy(read);
                        } else {
                            self.ctx.core.give_back(table);
                            waiting.answer(Ok(Placed::Unwanted));
                        }
                    }
                    Err(failure) => return self.lose(table, waiting, failure),
                },
                after @ (Stage::After | Stage::GivenBack) => {
                    waiting.stage = after;
                    let group = match waiting.next_group().await {
                        Ok(group) => group,
                        Err(failure) => return self.lose(table, waiting, failure),
                    };
                    let Some(group) = group else { return self.end_waiting(table, waiting) };
                    placed += group.bytes;
                    if let Some(ended) = self.place_group(table, waiting, group).await? {
                        return Ok(ended);
                    }
                }
            }
        }
        Ok(Step::More)
    }

    /// Nothing waits any more: the table's rows go to the log at their place again.
    fn end_waiting(&mut self, table: &TableName, waiting: &mut Waiting) -> Result<Step, Failure> {
        debug_assert!(waiting.tail.is_drained(), "no group is open at a boundary");
        if matches!(waiting.stage, Stage::After) {
            let is_wanted = self.ctx.core.end_whole(table, waiting.number)?;
            if is_wanted {
                waiting.answer(Ok(Placed::Appended { kept: 0, superseded: 0 }));
                return Ok(Step::Ended);
            }
        }
        self.ctx.core.end_giving_back(table)?;
        waiting.answer(Ok(Placed::Discarded));
        Ok(Step::Ended)
    }

    /// What waits is worth nothing.
    fn lose(&mut self, table: &TableName, waiting: &mut Waiting, failure: Failure) -> Result<Step, Failure> {
        self.ctx.core.lose_here(table, &failure.chain())?;
        waiting.answer(Err(failure));
        Ok(Step::Ended)
    }

    /// Places a group that has waited, as a group. `Some`: the wait has ended.
    async fn place_group(
        &mut self,
        table: &TableName,
        waiting: &mut Waiting,
        group: Group,
    ) -> Result<Option<Step>, Failure> {
        let mut left = group.bytes;
        let mut origin = None;
        while left > 0 {
            let (rows, after) = match waiting.tail.next_rows(left).await {
                Ok(rows) => rows,
                Err(failure) => return self.lose(table, waiting, failure).map(Some),
            };
            left = after;
            if !self.ctx.core.diverted(table, &rows)? {
                waiting.answer(Ok(Placed::Discarded));
                return Ok(Some(Step::Ended));
            }
            origin = Some(rows.origin);
            if self.ctx.core.is_fragmented() && self.ctx.core.log().pending_bytes() >= FLUSH_BYTES {
                if self.ctx.shutdown.is_cancelled() {
                    return Err(Failure::retry("stopped inside a transaction"));
                }
                self.ctx.core.seal()?;
                self.ctx.flush().await?;
            }
        }
        if let Some(origin) = origin {
            self.ctx.core.end_diverted(&origin)?;
        }
        Ok(None)
    }
}

/// What placing came to.
enum Step {
    /// The stream, or a reader, has to say more first.
    Waits,
    /// There is more.
    More,
    /// The table's rows do not wait any more.
    Ended,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FilePos;

    #[test]
    fn places_are_ordered_by_file_and_offset() {
        let at = |file: &str, pos| place_of(&FilePos { file: file.into(), pos }).unwrap();
        assert!(at("b.000009", 900) < at("b.000010", 4) && at("b.000010", 4) < at("b.000010", 5));
    }
}
