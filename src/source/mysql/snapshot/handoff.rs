//! What the snapshot readers and the ingest loop say to each other.
//!
//! # Why a chunk is exact where it is placed
//! A chunk that contains every change up to *low* may stand in the log at any stream position *Q* that has passed
//! *high*, the last position its SELECT can have seen, less the rows whose key changed in (low, Q]: a row whose key did
//! not change in there is the same at low, at the read, and at Q; a row whose key did comes with the stream itself. The
//! reader opens a window ([`Request::OpenWindow`]): from then on the ingest loop notes the keys that the stream changes
//! in the table. The answer says where the stream was. The reader makes sure that low is not before that position, so
//! that every change in (low, Q] is noted, then reads, takes high, and hands the chunk over ([`Request::PlaceChunks`]).
//! The loop places it at the first transaction boundary at or after high, without the noted keys. A change of the
//! table's definition or content (DDL, TRUNCATE) inside the window makes the chunk worthless: [`Placed::Discarded`],
//! read again.
//!
//! # Why the last chunk may end at the largest key
//! The largest key is read under a view that contains everything up to the position *B* of the window it is read in
//! (what a chunk's low is, see [`super::consistency`]). A row beyond it was not there at B, so the transaction that makes
//! it stands in the binlog after B, and the stream, which was at B, tells of it. Taken without such a view it would be wrong: a
//! transaction stands in the binlog before the engine shows it, so a row could be in front of the stream's start
//! and beyond the largest key that is seen. Where the sinks' rows are emptied first ([`SnapshotMark::Begun`]), B is behind that
//! place too: a row beyond the largest key comes after the emptying.
//! The bound is handed over as a chunk without rows, so the table's definition stands in the log, and at the sinks, also when
//! the table has no row.
//!
//! # Why a whole table is exact where it is placed
//! A table without a key that chunks can be made of is read whole, under a view of one exact position *P*, into a spool. From a boundary
//! *B* on ([`Request::Divert`]) the loop keeps the table's rows in a second file, group by group, and the stream goes on. P is at B or
//! after it, so that file has every row after P. Once the stream has come to P and the copy is whole ([`Request::PlaceWhole`]), the log gets, between
//! groups of other tables: the groups of the table that ended at or before P, the copy, the groups after P. When none is left, at a
//! boundary, the table's rows go to the log at their place again. So a sink sees the table's rows in the order of the stream, and at
//! the place of the copy it has the state of P.
//!
//! A group that began before P and ends after it is in neither part: the read is discarded. A change of the table's definition or content
//! by a statement discards it as well, and the rows that waited are lost: the table is read again.

//! # Why small tables may be read together
//! What a read asks of the loop is asked for many tables at once, and each of them is read as by itself
//! ([`super::together`]). Windows are opened before the tables are described, so that a change of a definition
//! meanwhile shows. Then each read begins, and has its window opened again, at one boundary ([`Request::BeginReads`]): what the
//! stream has changed before it is before the begin mark, and the view is opened after it. A chunk without bounds needs
//! no largest key: it has every row of the view.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::spool::WholeCopy;
use crate::config::DoubtPlan;
use crate::error::Failure;
use crate::model::{FilePos, SourcePosition, TableName, TableSchema};
use crate::table::{ByHand, Event, Operated, Stage};

/// Names a window between the reader and the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WindowId(pub u64);

/// Rows as row images back to back.
#[derive(Debug, Default)]
pub struct Images {
    /// The images.
    pub bytes: Vec<u8>,
    /// How many.
    pub rows: u32,
}

/// Which read something is of, and how far the read is with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The read.
    pub number: u32,
    /// How far it is.
    pub stage: Stage,
    /// Rows read in all.
    pub rows: u64,
}

/// What a reader asks of the ingest loop. Served at transaction boundaries only.
#[derive(Debug)]
pub enum Request {
    /// Start noting the keys the stream changes in `table`.
    OpenWindow {
        /// The table.
        table: TableName,
        /// Name of the window, chosen by the reader, never used twice.
        window: WindowId,
        /// Where the stream is.
        reply: oneshot::Sender<SourcePosition>,
    },
    /// Open a window of each of these tables, at one boundary.
    OpenWindows {
        /// The tables, with the names of their windows.
        windows: Vec<(TableName, WindowId)>,
        /// Sent once all are open but those of tables that have to wait ([`MayLackRows`]): whether each is.
        reply: oneshot::Sender<Vec<bool>>,
    },
    /// Begin reads of which the windows are open, and open their windows again, all at one boundary.
    BeginReads {
        /// The reads.
        reads: Vec<BeginRead>,
        /// Where the stream is, and what became of each.
        reply: oneshot::Sender<(SourcePosition, Vec<Begun>)>,
    },
    /// Place chunks and close their windows.
    PlaceChunks {
        /// The chunks.
        chunks: Vec<PlaceChunk>,
        /// Last position that their SELECTs can have seen.
        high: FilePos,
    },
    /// End reads of which every row is placed.
    EndReads {
        /// The tables, with the numbers of the reads.
        reads: Vec<(TableName, u32)>,
        /// Sent once the end marks are durable: whether each read was still wanted.
        reply: oneshot::Sender<Vec<bool>>,
    },
    /// Forget a window.
    CloseWindow {
        /// The window.
        window: WindowId,
    },
    /// Divert the table's rows from the next boundary on, for a read of the whole table.
    Divert {
        /// The table.
        table: TableName,
        /// The read.
        number: u32,
        /// Where that begins.
        reply: oneshot::Sender<Diverted>,
    },
    /// Place the copy of a table whose rows are diverted.
    PlaceWhole(Box<ExactRead>),
    /// The read of a table whose rows are diverted has ended without a copy.
    EndDiversion {
        /// The table.
        table: TableName,
        /// The read.
        number: u32,
    },
    /// Append a mark that the table's read begins or ended.
    Mark {
        /// The mark.
        mark: SnapshotMark,
        /// Sent once it is durable; false where the read is no longer wanted, and nothing was appended.
        reply: oneshot::Sender<bool>,
    },
    /// Something is said about a table: by a reader, an operator or a sink.
    Happened {
        /// The table.
        table: TableName,
        /// What.
        event: Event,
        /// Sent once it is durable.
        reply: Option<oneshot::Sender<()>>,
    },
    /// A sink is new to a log that no longer begins at its start, or was reset.
    SinkAdded {
        /// The sink.
        sink: String,
        /// In place of what it has.
        replaces: bool,
        /// Tables that it does not get.
        except: Vec<TableName>,
        /// Sent once it is durable.
        reply: oneshot::Sender<()>,
    },
    /// The configuration was read again: rules from here on.
    Rules {
        /// What is done about doubts.
        doubts: DoubtPlan,
        /// How long delivery waits for an answer about a table.
        describe_wait: Duration,
    },
    /// An operator does something to one table.
    ByHand {
        /// The table, as the operator spells it.
        table: TableName,
        /// What.
        by_hand: ByHand,
        /// Sent once it is durable: what has come of it, or why it is refused. Nothing is done for a caller that has gone.
        reply: oneshot::Sender<Result<Operated, Failure>>,
    },
    /// An operator asks for tables to be read again in place of what sinks have.
    Resync {
        /// These; every captured one if there is none.
        tables: Vec<TableName>,
        /// For these sinks; for every configured one if there is none.
        sinks: Vec<String>,
        /// Sent once it is durable: how many tables are read, or why none is. Nothing is done if nobody waits for it.
        reply: oneshot::Sender<Result<usize, Failure>>,
    },
}

/// A chunk to be placed.
#[derive(Debug)]
pub struct PlaceChunk {
    /// The window.
    pub window: WindowId,
    /// Schema of the images, read inside the window.
    pub schema: Arc<TableSchema>,
    /// The rows.
    pub images: Images,
    /// What is stored of the read in the same commit.
    pub account: Account,
    /// What became of it; sent once the chunk is appended.
    pub reply: oneshot::Sender<Placed>,
}

/// A read to be begun with others.
#[derive(Debug)]
pub struct BeginRead {
    /// The table.
    pub table: TableName,
    /// The read.
    pub number: u32,
    /// The window in which the table was described.
    pub described_in: WindowId,
    /// The window in which it is going to be read.
    pub window: WindowId,
}

/// What became of the wish to begin a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It has begun, and its window is open.
    Now,
    /// The table changed since it was described, or has to wait: nothing was done.
    Later,
    /// The read is no longer wanted.
    Unwanted,
}

/// Begin or end of a table's read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotMark {
    /// It begins.
    Begun {
        /// The table.
        table: TableName,
        /// The read.
        number: u32,
        /// The table is read whole at one position, and not in ranges.
        at_once: bool,
    },
    /// It ended.
    Finished {
        /// The table.
        table: TableName,
        /// The read.
        number: u32,
    },
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It stands in the log.
    Appended {
        /// Rows that went in.
        kept: u32,
        /// Rows left out because the stream changed them.
        superseded: u32,
    },
    /// The table changed under it, or the stream was re-opened: read it again in a new window.
    Discarded,
    /// The read is no longer wanted.
    Unwanted,
}

/// What became of the wish to divert a table's rows.
#[derive(Debug)]
pub enum Diverted {
    /// They are.
    Begun {
        /// From this boundary on.
        at: SourcePosition,
        /// What becomes of the read, perhaps before it is handed over.
        placed: oneshot::Receiver<Result<Placed, Failure>>,
    },
    /// Not now: it is to be tried again.
    Busy,
    /// Not now: [`MayLackRows`].
    Unseen,
    /// The read is no longer wanted.
    Unwanted,
}

/// A view may lack the rows of a two-phase transaction. That says nothing about the table.
#[derive(Debug, thiserror::Error)]
#[error("a two-phase transaction that has changed it was committed in the last 30 s, and a view may lack its rows")]
pub struct MayLackRows;

/// [`MayLackRows`], of a table.
pub fn may_lack_rows(table: &TableName) -> Failure {
    Failure::retry(format!("table \"{table}\" is read a little later")).caused_by(MayLackRows)
}

/// A whole table at one position.
#[derive(Debug)]
pub struct ExactRead {
    /// The table.
    pub table: TableName,
    /// Its schema, read under the same view.
    pub schema: Arc<TableSchema>,
    /// The position of the view; at or after the boundary from which on the table's rows are diverted.
    pub at: FilePos,
    /// The read.
    pub number: u32,
    /// The rows.
    pub copy: WholeCopy,
}
