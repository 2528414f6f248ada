//! A sink that is reset: it gives up where it is in the log, takes its target over, and gets every table again.
//!
//! | step | what is stored | a crash after it |
//! |---|---|---|
//! | 1 | in the log, in one commit: the cursor at the end of the log, no counts, [`Looked::Reset`] | all of it again |
//! | 2 | at the target: its cursor, of this log, under the next epoch | all of it again |
//! | 3 | in the log: the wish for every captured table, in place of what the target has, for this sink alone | 3 again, after 1 and 2 |
//! | 4 | in the log: [`Looked::Done`] | |
//!
//! Whatever the target holds stays until it is replaced. Between step 1 and the replace of a table the sink applies what the log has of it.

use tracing::{info, warn};
use wal::{Lsn, Reader, Wal};

use super::new_sink::{captured, captured_or_awaited, state_of_dropped_sink};
use super::open::{CursorStart, Looked};
use super::run::{Delivery, unwritable};
use super::tables::{TableAtSink, tables_at};
use crate::codec::stored::{SINK_ROWS, SINK_START, encode, get};
use crate::error::Failure;
use crate::model::{SinkRows, TableName};
use crate::sink::{TakeOver, TargetState};

/// Says, from a log, what was ever appended of each table, and up to where.
pub type Appended = dyn Fn(&Reader) -> Result<(Vec<(TableName, u64)>, Lsn), Failure> + Send + Sync;

/// Stores that a sink whose delivery does not run is to be reset when it is opened next.
///
/// # Errors
/// Fatal, when the log has no cursor of it, or is out of service.
pub async fn ask_for_reset(wal: &Wal, sink: &str) -> Result<(), Failure> {
    ask_for(wal, sink, Looked::Reset).await
}

/// Stores that a sink whose delivery does not run may take its target over when it is opened next: if log and target fit, it continues,
/// else it is reset.
///
/// # Errors
/// As [`ask_for_reset`].
pub async fn allow_take_over(wal: &Wal, sink: &str) -> Result<(), Failure> {
    ask_for(wal, sink, Looked::TakeOver).await
}

/// A start that allows no take-over: what an earlier one has allowed, and has not used, ends with it.
///
/// # Errors
/// Fatal, when the log is out of service or a record is damaged.
pub async fn forbid_take_over(wal: &Wal) -> Result<(), Failure> {
    let mut state = Vec::new();
    for cursor in wal.cursors() {
        let key = SINK_START.of_sink(&cursor.name);
        let start: Option<CursorStart> = get(&wal.reader(), &key)?;
        if let Some(start) = start.filter(|start| start.looked == Looked::TakeOver) {
            let looked = if cursor.lsn == start.at { Looked::NotYet } else { Looked::Done };
            state.push((key, Some(encode(&CursorStart { looked, ..start })?)));
        }
    }
    if state.is_empty() {
        return Ok(());
    }
    wal.put_state(state).await.map_err(unwritable)
}

async fn ask_for(wal: &Wal, sink: &str, looked: Looked) -> Result<(), Failure> {
    let Some(cursor) = wal.cursors().into_iter().find(|cursor| cursor.name == sink) else {
        return Err(Failure::fatal(format!("the log has no cursor of sink \"{sink}\": it was never started"))
            .hint("run `replicator start`: a sink that is new gets every table by itself"));
    };
    let start = get(&wal.reader(), &SINK_START.of_sink(sink))?;
    let start = marked(start.unwrap_or(CursorStart { at: Lsn::ZERO, looked: Looked::Done }), looked);
    if start.looked == Looked::Reset {
        info!(%sink, lsn = %cursor.lsn, "the sink is to be reset");
    }
    wal.put_state(vec![(SINK_START.of_sink(sink), Some(encode(&start)?))]).await.map_err(unwritable)
}

/// A reset that was asked for is not taken back by less. One that is wishing for every table is reset even if it may only take its target
/// over: else the wish would be forgotten. Nor is one that was ahead of the log, whatever the two look like by now.
fn marked(start: CursorStart, asked: Looked) -> CursorStart {
    let looked = match start.looked {
        Looked::Reset | Looked::Wishes | Looked::Ahead => Looked::Reset,
        Looked::Done | Looked::NotYet | Looked::TakeOver => asked,
    };
    CursorStart { looked, ..start }
}

/// State changes for a sink that begins again at `at`, where each table had so many rows appended.
fn state_of_reset_sink(
    reader: &Reader,
    sink: &str,
    at: Lsn,
    appended: Vec<(TableName, u64)>,
) -> Result<Vec<(Vec<u8>, Option<Vec<u8>>)>, Failure> {
    // A doubt ends with the replace of every table that is wished for.
    let mut state = state_of_dropped_sink(reader, sink)?;
    state.extend(tables_at(reader, sink)?.into_iter().map(|(table, _)| (SINK_ROWS.of_sink_table(sink, &table), None)));
    for (table, before) in appended.into_iter().filter(|(_, rows)| *rows > 0) {
        let at = TableAtSink { rows: SinkRows { before, ..SinkRows::default() }, ..TableAtSink::default() };
        state.push((SINK_ROWS.of_sink_table(sink, &table), Some(encode(&at)?)));
    }
    state.push((SINK_START.of_sink(sink), Some(encode(&CursorStart { at, looked: Looked::Reset })?)));
    Ok(state)
}

impl Delivery {
    /// Moves the cursor to the end of the log, where the sink begins again.
    pub(super) async fn give_up_place(&mut self, reader: &Reader) -> Result<CursorStart, Failure> {
        let (appended, at) = (self.appended)(reader)?;
        let state = state_of_reset_sink(reader, &self.name, at, appended)?;
        let before = self.cursor()?;
        match self.wal.move_cursor(&self.name, at, state).await {
            Ok(()) => {}
            // The cursor was detached, and held nothing.
            Err(error @ wal::Error::Trimmed { .. }) => {
                return Err(
                    Failure::retry("the end of the log was trimmed while the cursor moved to it").caused_by(error)
                );
            }
            Err(error) => return Err(unwritable(error)),
        }
        warn!(sink = %self.name, from = %before.lsn, to = %at, "the sink is reset: its cursor is at the end of the log");
        self.acknowledged = at;
        self.applied.clear();
        self.live.applied(at, None);
        let tables = tables_at(reader, &self.name)?;
        self.live.load_tables(tables.into_iter().map(|(table, at)| (table, at.shown())));
        Ok(CursorStart { at, looked: Looked::Reset })
    }

    /// Makes the target one of this log.
    pub(super) async fn take_over(
        &mut self,
        reader: &Reader,
        target: TargetState,
        (before, start): (CursorStart, CursorStart),
    ) -> Result<(), Failure> {
        let log = self.wal.id();
        if target == TargetState::Fresh {
            // The file or database of another sink, before anything is written.
            let mut tables = captured(reader)?;
            tables.retain(|table| self.sink.takes(table));
            self.sink.can_make(&tables).await?;
        }
        // Else a source that ends each start would use up the epochs.
        let is_again = before.looked == Looked::Reset
            && matches!(target, TargetState::At { log: holder, applied, .. } if holder == log && applied == before.at);
        let captured = captured_or_awaited(reader)?;
        self.sink.take_over(TakeOver { log, at: start.at, is_again, captured: &captured }).await?;
        self.has_reset = true;
        info!(sink = %self.name, lsn = %start.at, "the target is taken over");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_that_is_asked_for_stays_until_it_is_done() {
        let marked = |looked, asked| marked(CursorStart { at: Lsn::new(7), looked }, asked).looked;
        for looked in [Looked::Done, Looked::NotYet, Looked::Wishes, Looked::TakeOver, Looked::Reset] {
            assert_eq!(marked(looked, Looked::Reset), Looked::Reset);
        }
        assert_eq!(marked(Looked::Reset, Looked::TakeOver), Looked::Reset);
        assert_eq!(marked(Looked::Wishes, Looked::TakeOver), Looked::Reset);
        assert_eq!(marked(Looked::NotYet, Looked::TakeOver), Looked::TakeOver);
        assert_eq!(marked(Looked::Done, Looked::TakeOver), Looked::TakeOver);
    }
}
