//! Source to log: takes what the binlog decoder gives, writes it as frames, and keeps the source position with it.
//!
//! One task owns the log's appender, so the order of frames is the order of the binlog. What must agree after a crash goes
//! into one commit of the log: the frames of a source transaction, the position behind it, the schemas it names, the
//! table records, the row counters, and the progress of a snapshot chunk.
//!
//! - [`run`]: the loop, its reconnects, and its waits for the log.
//! - `reading`: one connection's events in order, and when what they make is handed to the log's writer.
//! - `writer`: frames out of rows; fragments of large transactions.
//! - `session`: what an item of the decoder does to the log.
//! - `registry`: which schema each table has at this place of the log.
//! - `ddl`: what a statement changes.
//! - `older_rows`: what rows of before a change hold under the new schema.
//! - `lineage`: which older column, or which statement, a column comes from.
//! - `typed`: what statements say of types that the binlog does not tell.
//! - `disguise`: columns that the binlog calls `BINARY` and that are something else.
//! - `windows`: keys that the stream changes while snapshot chunks are read.
//! - `place`: chunks and whole-table reads into the log.
//! - `state`: what stands beside the frames in the log.

mod ddl;
mod disguise;
mod lineage;
mod older_rows;
mod place;
mod reading;
mod registry;
mod run;
mod session;
mod state;
mod typed;
mod windows;
mod writer;

pub use run::{Ingest, Until, Wiring};
pub use state::{Counts, Reread, asked, counts, known_tables, rereads, stored_position};
