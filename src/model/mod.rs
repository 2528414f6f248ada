//! Shared nouns of the data flow: tables, column types, positions. No I/O, and nothing of a particular source or sink.

mod check;
mod column;
mod position;
mod table;

pub use check::{CheckItem, CheckStatus};
pub use column::{Charset, Column, ColumnDefault, ColumnType, IntWidth};
pub use position::{FilePos, Gtid, Origin, ServerIdentity, SourcePosition};
pub use table::{Key, KeyKind, SchemaId, TableName, TableSchema};
