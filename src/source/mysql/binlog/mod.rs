//! The binlog stream: events off the dump ([`stream`]), and what they mean ([`decoder`]).

mod collations;
mod compressed;
mod cursor;
mod decoder;
mod error;
mod event;
mod files;
#[cfg(test)]
mod golden;
mod gtid_event;
pub mod kind;
mod partial;
mod payload;
mod position;
mod previous;
mod query;
mod rows;
mod stream;
mod table_map;
mod tables;
mod unread;

pub use collations::Collations;
pub use decoder::{Decoder, Item, Statement};
pub use error::BinlogError;
pub use event::{EventHeader, HEADER_LEN, RawEvent};
pub use partial::Partial;
pub use position::Executed;
pub use stream::BinlogStream;
pub use tables::{Beside, TableSlot};
pub use unread::Unread;
