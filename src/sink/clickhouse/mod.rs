//! ClickHouse: mirrors and changelogs in one database of a server, exactly once.
//!
//! # How it is exact
//! Every row carries its version ([`crate::codec::version`]): the target's epoch, and its place in the log. A mirror is a
//! `ReplacingMergeTree(_version, _is_deleted)` ordered by the key: whichever row of a key has the greatest version is the row, in
//! whatever order and however often rows arrive. A changelog is a `ReplacingMergeTree` ordered by `_version`: a line that arrives twice
//! is one line. So a round that may or may not have been stored is sent again, and nothing depends on the server's own deduplication,
//! which knows a window only.
//!
//! # The files
//! - `config`, `url`: the keys of its section
//! - `client`, `insert`, `lz4`, `tls`, `error`: the connection, and what a refusal means
//! - `types`, `layout`, `encode`, `chunks`, `mirror`, `history`, `writer`: from row images to RowBinary
//! - `batch`: an INSERT that is sent while it is made; `round`: those of a round; `report`: what became of their rows
//! - `target`: what is open; `open`: the start; `registry`, `cursor`, `epoch`, `refusals`: what the sink keeps at
//!   the target
//! - `definitions`: what the server does to tables, over which [`follow`](super::follow) follows changes; `creation`: new tables, side by
//!   side; `alter`, `commands`, `rebuild`, `copy`: columns and keys; `owner`: what is under a name

mod adopt;
mod alter;
mod batch;
mod beside;
mod chunks;
mod client;
mod commands;
mod config;
mod copy;
mod creation;
mod cursor;
mod definitions;
mod encode;
mod error;
mod halving;
mod history;
mod hunt;
mod insert;
mod layout;
mod length;
mod literal;
mod lz4;
mod mirror;
mod names;
mod open;
mod owner;
mod preflight;
mod rebuild;
mod refusals;
mod registry;
mod report;
mod round;
mod sink;
mod target;
mod types;
mod url;
mod version;
mod writer;

#[cfg(test)]
mod row_binary;

pub use config::{ClickHousePlan, ClickHouseTypes, Compression, JsonType, SetType};
pub use cursor::FORMAT;
pub use encode::{Encoder, RowError, Scratch, ValueProblem};
pub use sink::ClickHouseSink;

use super::kinds::Kind;
use super::layout::Dialect as _;
use crate::config::{SinkType, ZeroDates};

/// This kind of sink.
pub(super) static KIND: Kind = Kind {
    config: SinkType { name: config::NAME, batch: config::BATCH, zero_dates: ZeroDates::Null, read: config::read },
    check: |plan, against| Box::pin(preflight::preflight(plan, against)),
    make: |plan, runtime| Ok(Box::new(ClickHouseSink::new(plan.clone(), runtime.clone())?)),
    table_names: layout::ClickHouse::TABLES,
};
