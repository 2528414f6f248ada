//! Source to log: takes what the binlog decoder gives, writes it as frames, and keeps the source position with it.
//!
//! One task owns the log's appender, so the order of frames is the order of the binlog. What must agree after a crash goes
//! into one commit of the log: the frames of a source transaction, the position behind it, the schemas it names, the
//! table records, the row counters, and the progress of a snapshot chunk.
//!
//! - [`run`]: the driver: connects and reconnects. `waits`: what waits for the log.
//! - `reading`: the driver between two reconnects: events, requests and answers in, actions out.
//! - `diverting`: rows of tables that are read whole, in and out of the spool. `tail`: their file.
//! - `current`: whether what is read is current, as the watch beside the stream says.
//! - `questions`: asks the server about tables, beside the stream.
//! - [`core`]: what an event, a request or an answer does. Pure.
//! - `group`: everything that the open group does; `frames`: its frames.
//! - [`ledger`]: the appended end of the log and the position that belongs to it; the only way to write either.
//! - `life` in the core: what happens to tables, as [`crate::table`] decides.
//! - `tables`: what is known of each table at the end of the last group.
//! - [`crate::source::mysql::follow`]: which schema a table's rows have, and how that is known.
//! - `pending`: rows and questions that wait for an answer.
//! - `windows`: keys that the stream changes while snapshot chunks are read.
//! - `prepared`: reads that wait for transactions which were prepared before the log began.
//! - `xa`: two-phase transactions that are prepared and have not ended.
//! - `state`: the records that are kept beside the frames in the log.
//! - `too_large`: a transaction that the log has no room for.
//! - `refused`: a position from which the stream could not be read on. `unseen`: what a new position makes of definitions.

pub mod core;
mod current;
mod diverting;
mod frames;
mod group;
pub mod ledger;
mod pending;
mod prepared;
mod questions;
mod reading;
mod refused;
mod run;
mod state;
mod tables;
mod tail;
mod too_large;
mod unseen;
mod waits;
mod windows;
mod xa;

pub use pending::AskId;
pub use refused::{RefusedPosition, refused_position};
pub use run::{Ingest, Until, Wiring};
pub use state::{Counts, asked_beside, counts, counts_and_end, forget_beside, known_schema, stored_position};
pub use unseen::{left_definitions, unseen_definitions};
pub use xa::{
    XaPiece, XaRecord, XaTable, captured_from_here, prepared as prepared_transactions, unread as unread_transactions,
    unseen_commits,
};
