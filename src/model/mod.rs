//! Shared nouns of the data flow: tables, column types, positions. No I/O, and nothing of a particular source or sink.

mod argument;
mod check;
mod column;
mod counts;
mod doubts;
mod names;
mod position;
mod retype;
mod table;
mod told;
mod xid;

pub use argument::as_word;
pub use check::{CheckItem, CheckStatus};
pub use column::{Attributes, Charset, Column, ColumnDefault, ColumnType, IntWidth};
pub use counts::{ReplacedValues, RowCounts, SinkRows};
pub use doubts::{OnDoubt, Rules};
pub use names::{Names, same_column};
pub use position::{BinlogPlace, FilePos, Gtid, Origin, ServerIdentity, SourcePlace, SourcePosition};
pub use retype::{Conversion, Kept, kept, kept_types, kept_untouched};
pub use table::{Key, KeyKind, SchemaId, TableName, TableSchema};
pub use told::{Lacks, Told, placed, unlabelled};
pub use xid::{Xid, hex_digits};
