//! The SQLite sink: each source table as a table of one database file, its current state or its changelog.
//!
//! # Promises
//! - A round of the delivery loop is one SQLite transaction, DDL included, with the cursor in it: after any crash the file
//!   holds every change up to its cursor and none after it. A commit is durable against power loss.
//! - Readers read meanwhile, and see whole rounds.
//! - Values are exact: the table in `docs/sqlite.md` says how each type is kept.
//! - Nothing is written into, and nothing is altered of, a table that the sink did not make. What is wrong with one table stops that table; the
//!   others go on.
//! - Memory is bounded by the page cache, whatever the size of a transaction.
//!
//! What it does not do: check constraints of the source (it copies what the source allowed), or keep two writers of one
//! file apart for longer than a busy timeout (the second gets a retryable error).
//!
//! # Files
//! `sink` is the trait's face, `target` the open file and the round, `open` the pragmas, `files` whether the open file is still there. `layout` says what a table looks
//! like, `types` how its values are kept, `registry` and `cursor` are the sink's own tables. `mirror`, `keyless` and
//! `history` write rows, through `bind`, and `tally` counts them. `lookup` notes where rows without a key are, by
//! their `row_hash`. `definitions` is what SQLite does to tables, over which [`follow`](super::follow) follows
//! changes: `alter` in place, `rebuild` by a copy, whose values `retype` converts. `preflight` is for `check`, `config` reads the keys of its section.

mod adopt;
mod alter;
mod beside;
mod bind;
mod claim;
mod config;
mod cursor;
mod definitions;
mod error;
mod files;
mod history;
mod keyless;
mod layout;
mod lookup;
mod mirror;
mod open;
mod preflight;
mod rebuild;
mod registry;
mod retype;
mod row_hash;
mod sink;
mod tally;
mod target;
mod types;
mod views;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use config::SqlitePlan;
pub use cursor::FORMAT;
pub use sink::SqliteSink;

use super::kinds::Kind;
use super::layout::Dialect as _;
use crate::config::{SinkType, ZeroDates};

/// This kind of sink.
pub(super) static KIND: Kind = Kind {
    config: SinkType { name: config::NAME, batch: SqlitePlan::BATCH, zero_dates: ZeroDates::Keep, read: config::read },
    check: |plan, against| Box::pin(std::future::ready(preflight::preflight(plan, against))),
    make: |plan, _| Ok(Box::new(SqliteSink::new(plan.clone())?)),
    table_names: layout::Sqlite::TABLES,
};
