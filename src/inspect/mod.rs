//! The log as an operator reads it: `wal inspect` and `wal verify`, over a stopped daemon's log, a copy, or a running
//! one through the control socket.
//!
//! Reads only. Row values are shown where a query asks for rows, and nowhere else.

mod dead;
mod format;
mod item;
mod items;
mod stopped;
mod values;
mod verdict;
mod walk;

#[cfg(test)]
pub(crate) mod tests;

#[cfg(test)]
pub(crate) use crate::deliver::TableAtSink;
pub use crate::deliver::{ask_for_reset, state_of_dropped_sink};
pub use dead::{LetterItem, LetterQuery, Matched, letters, matched};
pub use format::{DAMAGED, check_format, unopened};
pub use item::{ChangeItem, CheckItem, FrameItem, Item, Query, RowItem, SchemaItem, SectionItem};
pub use stopped::stopped_status;
pub use verdict::{Verdict, verify, verify_stopped};
pub use walk::inspect;
