//! The ClickHouse sink: each source table as a table of one database, its current state or its changelog.
//!
//! # Files
//! `layout` says what a table looks like, `types` how its values are kept, `literal` how defaults are written in SQL.
//! `mirror` and `history` turn row changes into RowBinary through `encode`, into `chunks`.

#![cfg_attr(not(test), expect(dead_code, reason = "only the encoder has a user so far: its benchmark"))]

mod chunks;
mod encode;
mod history;
mod layout;
mod literal;
mod mirror;
mod types;

#[cfg(test)]
mod row_binary;

pub use encode::{Encoder, RowError, Scratch, ValueProblem};
