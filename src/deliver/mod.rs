//! Log to sink: one loop per sink, each on its own thread, so that a slow or broken sink delays no other.
//!
//! - [`Delivery`] runs the loop: open, read, write, commit, acknowledge; retry, or stop with the error in `status`.
//! - `resume` decides where a sink continues, from what its target says and what the log's cursor says. Pure.
//! - `open` is what one opening of the sink works with; `gap` counts what the target applied without the log knowing.
//! - `take` gives one frame to the sink, or passes it over.
//! - `pending` waits where a schema is not decided yet; [`followed`] says what of a change reaches the sink once it is.
//! - `round` gathers what is written between two commits; `settle` commits and acknowledges it.
//! - `tally` counts the rows of a round as the frames' headers have them, and `tables` holds them against what the
//!   sink reports.
//! - [`Doubt`] is what follows where the two differ.
//!
//! The order of words: a change is *delivered* when the sink has taken it and *applied* when the sink's commit
//! returned; only then does the cursor move, and the log is trimmed only up to the slowest cursor.

mod doubt;
mod followed;
mod gap;
mod open;
mod pending;
mod resume;
mod round;
mod run;
mod settle;
mod tables;
mod take;
mod tally;

pub use doubt::Doubt;
pub use followed::followed;
pub use open::{CursorStart, RoundBounds};
pub use run::{Delivery, Goal, Wiring};
pub use tables::{Reading, TableAtSink, doubts, tables_at};

#[cfg(test)]
mod tests;
