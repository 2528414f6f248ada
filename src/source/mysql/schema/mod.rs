//! Tables as the server's catalogue describes them.
//!
//! [`describe()`] gives the schema that a `TABLE_MAP` with full metadata gives of the same table, equal under
//! [`TableSchema::same_image`](crate::model::TableSchema::same_image), plus what only the catalogue knows: defaults, row
//! estimates, and how a snapshot reads each column. [`list()`] says which tables are captured, which of them cannot be copied by their
//! nature, and which literal names of the configuration match none.
//!
//! Seen on MySQL 9.7 and MariaDB 10.11, and relied on here:
//! - Generated columns, virtual ones too, and invisible columns stand in `TABLE_MAP` and in row images, at the places that
//!   `information_schema.COLUMNS` gives them. The hidden columns of functional indexes stand in neither.
//! - A table without a primary key but with a unique key over whole not-null columns has its first such key, in the order
//!   of `SHOW KEYS`, told as its primary key in `TABLE_MAP`: the server takes it for one. So does this module
//!   ([`keys`]).
//!
//! What is not promised: that the description still holds when it is returned. Whoever needs that reads it between two
//! positions of the stream and lets the stream tell of changes.

mod added;
mod catalogue;
mod columns;
mod defaults;
mod describe;
mod estimate;
mod existence;
mod failure;
mod flavour;
mod hidden;
pub mod keys;
mod labels;
mod list;
mod nature;
mod quote;

pub use added::added_default;
pub use catalogue::{describe_all, describe_those, describe_together};
pub use describe::{ColumnFacts, Described, Locked, describe, describe_visible, lock_definition};
pub use estimate::{Estimate, estimate};
pub(in crate::source::mysql) use estimate::{engine_is_transactional, is_transactional};
pub use existence::{Existence, existence};
pub(in crate::source::mysql) use failure::query_failure;
pub use flavour::Flavour;
pub(in crate::source::mysql) use hidden::own_columns;
pub use keys::{ChunkKey, KeyClass, KeyPart};
pub use list::{Listed, Listing, Unmatched, Why, list};
pub(in crate::source::mysql) use nature::{BLOB_COMPRESSED, VARCHAR_COMPRESSED, unsupported};
pub use nature::{Instead, LeftOutBy, Nature, Relation, relation};
pub(in crate::source::mysql) use quote::{identifier, table_identifier, text_literal};
