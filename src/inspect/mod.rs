//! The log as an operator reads it: `wal inspect` and `wal verify`, over a stopped daemon's log, a copy, or a running
//! one through the control socket.
//!
//! Reads only. Row values are shown where a query asks for rows, and nowhere else.

mod dead;
mod format;
mod item;
mod items;
mod stopped;
mod table;
mod values;
mod verdict;
mod walk;

#[cfg(test)]
pub(crate) mod tests;

#[cfg(test)]
pub(crate) use crate::deliver::TableAtSink;
pub use crate::deliver::{PausedSink, ask_for_reset, may_pause, may_reset, state_of_dropped_sink, store_pause};
pub use dead::{LetterItem, LetterQuery, Matched, letters, matched};
pub use format::{DAMAGED, check_format, unopened};
pub use item::{ChangeItem, CheckItem, FrameItem, Item, Query, RowItem, SchemaItem, SectionItem};
pub use stopped::stopped_status;
pub use table::{FaultShown, ReadWanted, RecordShown, TableShown, table_shown};
pub use verdict::{Verdict, verify, verify_stopped};
pub use walk::inspect;
