//! A whole table read at one exact position, beside the stream: for tables that have no key to cut chunks along, so that there is
//! neither a range to read nor a key by which the stream's changes could be told from the read's rows.
//!
//! From a boundary on, the loop keeps the table's rows back ([`super::handoff`]). A view is pinned together with its position *P*, at or
//! after that boundary; the rows are read into a spool ([`super::spool`]), and the loop places them when the stream has come to P. How view
//! and position are pinned:
//! - MariaDB: `START TRANSACTION WITH CONSISTENT SNAPSHOT` tells its position. The table is described before and after, with its
//!   metadata lock held from the second time on, so a change of its definition in between is noticed.
//! - MySQL: `LOCK TABLES t READ` for a moment; position, description and a view on a second connection are taken under it.
//! - A storage engine without transactions, on both: the lock stays until the last row.
//!
//! Before the rows are kept back these locks are tried: a table that another session has locked is tried again later.

use std::sync::Arc;
use std::time::Instant;

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

use super::consistency;
use super::context::Context;
use super::handoff::{ExactRead, Placed};
use super::progress::{Progress, Stage};
use super::read::TableReader;
use super::slots::Slot;
use super::spool::WholeCopy;
use super::table::{End, left_out, unseen};
use crate::error::Failure;
use crate::model::{FilePos, TableName};
use crate::source::mysql::schema::{self, Described, Flavour, Nature, query_failure, table_identifier};

/// Bytes of a piece: large enough to cost little, small enough that a few in flight are nothing.
const PIECE_BYTES: usize = 1 << 20;
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
    // Rows do not wait for a table that another session has locked.
    could_lock(slot, &table, server.flavour, transactional).await?;
    // An error drops the diversion: the rows that wait go to the log without a copy.
    let Some(mut diversion) = context.ingest.divert(&table, progress.number).await? else {
        return Ok(Some(End::Unwanted));
    };
    slot.require(&diversion.at.server)?;
    let at = FilePos { file: diversion.at.file.clone(), pos: diversion.at.pos };
    let pinned = pin(context, slot, &table, &at, transactional).await?;
    let Some((described, position)) = pinned else {
        drop(diversion);
        return unseen(context, &mut slot.control, &table).await.map(Some);
    };
    if let Nature::LeftOut(_) = described.nature {
        drop(diversion);
        return left_out(context, &described).await;
    }
    let copied = copy(context, slot, progress, &described);
    let copy = tokio::select! {
        copied = copied => Ok(copied?),
        placed = diversion.placed() => Err(placed?),
    };
    let (placed, rows) = match copy {
        Ok(copy) => {
            let rows = copy.rows();
            let (schema, number) = (Arc::new(described.schema), progress.number);
            diversion.hand_over(ExactRead { table: table.clone(), schema, at: position, number, copy }).await?;
            (diversion.placed().await?, rows)
        }
        // Nobody takes the copy any more, and the server may have rows pending, and a lock.
        Err(placed) => {
            context.slots.renew(slot).await?;
            (placed, 0)
        }
    };
    match placed {
        Placed::Appended { .. } => {
            *progress = Progress { stage: Stage::Placed, rows, ..progress.clone() };
            Ok(None)
        }
        Placed::Unwanted => Ok(Some(End::Unwanted)),
        Placed::Discarded => Err(Failure::retry(format!("table \"{table}\" changed while it was read whole"))),
    }
}

/// Reads every row of the pinned view into a copy, and ends view and lock.
async fn copy(
    context: &Context,
    slot: &mut Slot,
    progress: &Progress,
    described: &Described,
) -> Result<WholeCopy, Failure> {
    let table = &progress.table;
    let reader = TableReader::new(described)?;
    let sql = reader.whole_statement(progress.condition());
    let mut copy = WholeCopy::new(&context.spool, table)?;
    let started = Instant::now();
    let shown = |rows| {
        context.show(table, |entry| {
            entry.spooled_rows = rows;
            entry.advance(rows, rows, started);
        });
    };
    reader.read_whole(&mut slot.reader, (&sql, PIECE_BYTES), &context.rate, &mut copy, shown).await?;
    consistency::close_view(&mut slot.reader).await?;
    consistency::unlock_tables(&mut slot.reader).await?;
    Ok(copy)
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
