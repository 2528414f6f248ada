//! The life of a table: since when it is captured, which read of it is wanted and for which sinks, how far that is, and what
//! is left out and why.
//!
//! One durable record per table ([`TableRecord`]) owns all of that, and nothing else remembers that a table is wanted. What a
//! start, the stream, a snapshot reader, an operator or a sink says about a table is an [`Event`]; [`step()`] makes the next
//! record of it. Pure: no I/O, no clock. The ingest core stores the record in the group that the event belongs to, so no
//! rollback, cut connection or crash leaves one without the other.
//!
//! - `record`: what is stored. `event`: what may happen. `step`: what comes of it; `progress`: of a read. `asks`: how wanted reads join.
//! - `by_hand`: what operators do to a table.
//! - `doubt`: when a read begins by itself, and how such reads are paced.
//! - `start`: what a start makes of all of them.
//! - `state`: the four states that a table may be in, and what they come to at a sink.

mod asks;
mod by_hand;
mod doubt;
#[cfg(test)]
mod doubt_tests;
mod event;
mod progress;
mod record;
mod start;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod whole;

pub use by_hand::{ByHand, NotCancelled, Operated};
pub use doubt::{Cause, Rest};
pub use event::{Action, At, Event, Presence, Start};
pub use record::{Ask, Asker, Awaited, By, Capture, Complete, Fault, Keys, Reach, Read, Stage, TableRecord, records};
pub use start::{Started, Starting, start};
pub use state::{AtSink, State, Stated};
pub use step::step;
