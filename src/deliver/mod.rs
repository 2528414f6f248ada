//! Log to sink: one loop per sink, each on its own thread, so that a slow or broken sink delays no other.
//!
//! - [`Delivery`] runs the loop: open, read, write, commit, acknowledge; retry, or stop with the error in `status`.
//! - `resume` decides where a sink continues, from what its target says and what the log's cursor says. Pure.
//! - `new_sink` is what the log holds of a sink before its first delivery.
//! - `reset` gives up where a sink is, takes its target over, and wishes for every table again.
//! - `pause` stops the delivery of a sink for an operator.
//! - `open` is what one opening of the sink works with; `gap` counts what the target applied without the log knowing.
//! - `walk` reads frames for what they say, and not for a sink.
//! - `take` gives one frame to the sink, or passes it over.
//! - `pending` waits where a schema is not decided yet; [`followed()`] says what of a change reaches the sink once it is.
//! - `round` gathers what is written between two commits, and `own_limits` the tables that end it earlier; `settle` commits and
//!   acknowledges it.
//! - `tally` counts the rows of a round as the frames' headers have them, and `tables` holds them against what the
//!   sink reports.
//! - [`Doubt`] is what follows where the two differ. `again` tries dead letters again.
//!
//! The order of words: a change is *delivered* when the sink has taken it and *applied* when the sink's commit
//! returned; only then does the cursor move, and the log is trimmed only up to the slowest cursor.

mod again;
mod doubt;
mod followed;
mod gap;
mod new_sink;
mod open;
mod own_limits;
mod pause;
mod pending;
mod reset;
mod resume;
mod round;
mod run;
mod settle;
mod tables;
mod take;
mod tally;
mod walk;

pub use doubt::{Doubt, Wish, doubts};
pub use followed::followed;
pub use new_sink::{is_new, state_of_dropped_sink, state_of_new_sink, would_read_all};
pub use open::{CursorStart, Looked, RoundBounds};
pub use pause::{PausedSink, end_pauses_of_detached, may_pause, may_reset, paused, store_pause};
pub use reset::{Appended, allow_take_over, ask_for_reset, forbid_take_over};
pub use resume::would_resume;
pub use run::{Delivery, Goal, Wiring};
pub use tables::{Apart, Reading, TableAtSink, Tables, is_configured, tables_at};
pub use tally::TableEvent;

#[cfg(test)]
mod tests;
