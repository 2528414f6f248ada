//! Snapshots without locks, beside the stream.
//!
//! A table is cut along a key into ranges ([`range`]), each read by one `SELECT` ([`read`]) whose place against the stream is known
//! ([`consistency`]), and handed to the ingest loop, which places it where it is exact ([`handoff`] has the rule and
//! its proof). A table without such a key is read whole at one position ([`exact`]), and waits in files ([`spool`]). What is done is stored with the rows
//! ([`progress`]), so that after a crash only unfinished ranges are read again.
//!
//! Many small tables are read at once ([`together`]).
//!
//! [`Coordinator`] runs the reads that the tables' records want. Nothing is dropped in silence: a read ends done, or the table's record
//! says why it cannot be read, and it is tried again.

mod asking;
mod bound;
mod by_key;
mod chunk;
mod consistency;
mod context;
mod coordinator;
mod exact;
pub mod handoff;
mod ingest;
mod literal;
mod planner;
mod progress;
mod range;
mod rate;
mod read;
mod session;
mod slots;
pub mod spool;
mod status;
mod table;
mod together;

pub use asking::Backfill;
pub use by_key::ByKey;
pub use coordinator::{Coordinator, Job, Room};
pub use literal::KeyValue;
pub use progress::{Progress, Ranges, Stage};
pub use range::{Bound, Range};
