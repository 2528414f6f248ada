//! A whole table read at one exact position, with the stream standing still there: for tables that have no key to cut
//! chunks along, so that there is neither a range to read nor a key by which the stream's changes could be told from the
//! read's rows.
//!
//! The stream pauses at a boundary; a view is pinned together with its position *P*, at or after that boundary; the stream runs
//! on to *P*, takes the rows as they come, and goes on. How view and position are pinned:
//! - MariaDB: `START TRANSACTION WITH CONSISTENT SNAPSHOT` tells its position. The table is described before and after, with its
//!   metadata lock held from the second time on, so a change of its definition in between is noticed.
//! - MySQL: `LOCK TABLES t READ` for a moment; position, description and a view on a second connection are taken under it.
//! - A storage engine without transactions, on both: the lock stays until the last row.
//!
//! Before the stream pauses these locks are tried: a table that another session has locked is tried again later, and the stream goes
//! on. A lock that is lost between the two lets the stream go on after a second.

use std::sync::Arc;

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use tokio::sync::{mpsc, oneshot};

use super::consistency;
use super::context::Context;
use super::handoff::{ExactRead, Images, Paused, Placed};
use super::ingest::silent;
use super::progress::{Progress, Stage};
use super::read::TableReader;
use super::slots::Slot;
use super::table::{End, left_out, unseen};
use crate::error::Failure;
use crate::model::{FilePos, TableName};
use crate::source::mysql::schema::{self, Described, Flavour, Nature, query_failure, table_identifier};

/// Bytes of a piece: large enough to cost little, small enough that a few in flight are nothing.
const PIECE_BYTES: usize = 1 << 20;
/// Pieces in flight.
const PIECES: usize = 4;
/// Tries to describe a table twice the same around the opening of its view.
const STILL_TRIES: u32 = 20;

/// Reads the table and moves `progress` on to [`Stage::Placed`].
pub(super) async fn read(context: &Arc<Context>, progress: &mut Progress) -> Result<Option<End>, Failure> {
    let mut slot = context.slots.take().await?;
    match Box::pin(read_in(context, &mut slot, progress)).await {
        Ok(end) => {
            context.slots.give_back(slot);
            Ok(end)
        }
        Err(failure) => {
            context.slots.discard(slot).await;
            Err(failure)
        }
    }
}

async fn read_in(context: &Context, slot: &mut Slot, progress: &mut Progress) -> Result<Option<End>, Failure> {
    let table = progress.table.clone();
    let server = slot.server;
    if schema::describe(&mut slot.control, server.flavour, &table).await?.is_none() {
        return unseen(context, &mut slot.control, &table).await.map(Some);
    }
    let estimate = schema::estimate(&mut slot.control, &table).await?;
    context.show(&table, |entry| entry.estimated_rows = estimate.rows);
    let transactional = schema::is_transactional(&mut slot.control, &table).await?;
    // The stream does not wait for a table that another session has locked.
    could_lock(slot, &table, server.flavour, transactional).await?;
    let Paused { at, exact } = context.ingest.pause().await?;
    slot.require(&at.server)?;
    let at = FilePos { file: at.file, pos: at.pos };
    // An error drops `exact`, which lets the stream go on.
    let pinned = pin(context, slot, &table, &at, transactional).await?;
    let Some((described, position)) = pinned else {
        // The stream stands still as long as it lives.
        drop(exact);
        return unseen(context, &mut slot.control, &table).await.map(Some);
    };
    if let Nature::LeftOut(_) = described.nature {
        // The stream goes on, and hears of it.
        drop(exact);
        return left_out(context, &described).await;
    }
    let reader = TableReader::new(&described)?;
    let filter = progress.condition().map(str::to_owned);
    let (pieces, taken) = Pieces::channel()?;
    let (reply, placed) = oneshot::channel();
    let read = ExactRead {
        table: table.clone(),
        schema: Arc::new(described.schema),
        at: position,
        number: progress.number,
        pieces: taken,
        reply,
    };
    if exact.send(read).is_err() {
        return Err(silent());
    }
    let sql = reader.whole_statement(filter.as_deref());
    let rows = reader.read_pieces(&mut slot.reader, &sql, PIECE_BYTES, &context.rate, &pieces.sender).await?;
    pieces.complete();
    let placed = placed.await.map_err(|_| silent())?;
    match (placed, rows) {
        (Placed::Appended { .. }, Some(rows)) => {
            consistency::close_view(&mut slot.reader).await?;
            consistency::unlock_tables(&mut slot.reader).await?;
            *progress = Progress { stage: Stage::Placed, rows, ..progress.clone() };
            Ok(None)
        }
        (Placed::Unwanted, _) => {
            // The server may have rows pending, and a lock.
            context.slots.renew(slot).await?;
            Ok(Some(End::Unwanted))
        }
        (Placed::Discarded, _) | (_, None) => {
            Err(Failure::retry(format!("table \"{table}\" changed while it was read whole")))
        }
    }
}

/// The sending end of a read. The end of the channel says that the read is whole, so whatever else ends this (an error, the task's
/// being aborted, a panic) says otherwise first: room for that word is kept from the start.
struct Pieces {
    sender: mpsc::Sender<Piece>,
    last_word: Option<mpsc::OwnedPermit<Piece>>,
}

type Piece = Result<Images, Failure>;

impl Pieces {
    fn channel() -> Result<(Self, mpsc::Receiver<Piece>), Failure> {
        let (sender, receiver) = mpsc::channel(PIECES + 1);
        let last_word = sender
            .clone()
            .try_reserve_owned()
            .map_err(|_| Failure::fatal("a new channel for the rows of a whole table has no room"))?;
        Ok((Self { sender, last_word: Some(last_word) }, receiver))
    }

    /// Every row has been sent.
    fn complete(mut self) {
        self.last_word = None;
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        if let Some(last_word) = self.last_word.take() {
            drop(last_word.send(Err(Failure::retry("the read broke off"))));
        }
    }
}

/// Whether the locks that [`pin`] takes can be had now. They are given back at once.
async fn could_lock(slot: &mut Slot, table: &TableName, flavour: Flavour, transactional: bool) -> Result<(), Failure> {
    if transactional && flavour == Flavour::MariaDb {
        return touch(&mut slot.control, table).await;
    }
    consistency::lock_table(&mut slot.control, table).await?;
    consistency::unlock_tables(&mut slot.control).await
}

/// Pins a view of the table on the slot's reader together with its position; `None` when there is no such table.
async fn pin(
    context: &Context,
    slot: &mut Slot,
    table: &TableName,
    at: &FilePos,
    transactional: bool,
) -> Result<Option<(Described, FilePos)>, Failure> {
    let server = slot.server;
    if !transactional {
        consistency::lock_table(&mut slot.reader, table).await?;
        let position = consistency::binlog_end(&mut slot.control, server).await?;
        let described = schema::describe(&mut slot.control, server.flavour, table).await?;
        return Ok(described.map(|described| (described, position)));
    }
    match server.flavour {
        Flavour::MySql => {
            consistency::lock_table(&mut slot.reader, table).await?;
            let position = consistency::binlog_end(&mut slot.control, server).await?;
            let described = schema::describe(&mut slot.control, server.flavour, table).await?;
            // UNLOCK TABLES would end a view of the same connection, so another takes its place as the reader.
            let mut reader = context.slots.reader_like(slot).await?;
            consistency::start_snapshot(&mut reader).await?;
            touch(&mut reader, table).await?;
            let mut locked = std::mem::replace(&mut slot.reader, reader);
            consistency::unlock_tables(&mut locked).await?;
            Ok(described.map(|described| (described, position)))
        }
        Flavour::MariaDb => {
            for _ in 0..STILL_TRIES {
                let before = schema::describe(&mut slot.control, server.flavour, table).await?;
                let position = consistency::snapshot_reaching(&mut slot.reader, at).await?;
                let Some(before) = before else { return Ok(None) };
                touch(&mut slot.reader, table).await?;
                let after = schema::describe(&mut slot.control, server.flavour, table).await?;
                if let Some(after) = after.filter(|after| after.same_catalogue(&before)) {
                    return Ok(Some((after, position)));
                }
                consistency::close_view(&mut slot.reader).await?;
            }
            Err(Failure::retry(format!("the definition of table \"{table}\" keeps changing")))
        }
    }
}

/// Takes the table's metadata lock until the end of the transaction, and fails if the table was rebuilt since the view was
/// opened.
async fn touch(conn: &mut Conn, table: &TableName) -> Result<(), Failure> {
    conn.query_drop(format!("SELECT 1 FROM {} LIMIT 1", table_identifier(table)))
        .await
        .map_err(|error| query_failure(&format!("read table \"{table}\""), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_read_that_is_broken_off_says_so_even_when_its_channel_is_full() {
        let (pieces, mut taken) = Pieces::channel().unwrap();
        while pieces.sender.try_send(Ok(Images::default())).is_ok() {}
        drop(pieces);
        let mut received = Vec::new();
        while let Some(piece) = taken.recv().await {
            received.push(piece.is_ok());
        }
        assert_eq!(received, [true, true, true, true, false]);
    }

    #[tokio::test]
    async fn a_whole_read_ends_with_its_last_piece() {
        let (pieces, mut taken) = Pieces::channel().unwrap();
        pieces.sender.send(Ok(Images::default())).await.unwrap();
        pieces.complete();
        assert!(taken.recv().await.unwrap().is_ok());
        assert!(taken.recv().await.is_none());
    }
}
