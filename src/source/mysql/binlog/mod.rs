//! The binlog stream: events off the dump ([`stream`]), and what they mean ([`decoder`]).

mod compressed;
mod cursor;
mod decoder;
mod error;
mod event;
mod files;
#[cfg(test)]
mod golden;
mod gtid_event;
mod hidden;
pub mod kind;
mod labels;
mod position;
mod query;
mod rows;
mod stream;
mod table_map;
mod tables;

pub use decoder::{Decoder, Item, Statement};
pub use error::BinlogError;
pub use event::{EventHeader, HEADER_LEN, RawEvent};
pub use labels::Collations;
pub use position::Executed;
pub use stream::BinlogStream;
pub use tables::{Beside, TableSlot};
