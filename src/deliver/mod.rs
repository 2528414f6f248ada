//! Log to sink: one loop per sink, each on its own thread, so that a slow or broken sink holds up nobody.
//!
//! - [`Delivery`] runs the loop: open, read, write, commit, acknowledge; retry, or stop with the error in `status`.
//! - `resume` decides where a sink goes on, from what its target says and what the log's cursor says. Pure.
//! - `round` gathers what is written between two commits.
//!
//! The order of words: a change is *delivered* when the sink has taken it and *applied* when the sink's commit returned; only
//! then does the cursor move, and only behind the slowest cursor is the log trimmed.

mod applied;
mod resume;
mod round;
mod run;

pub use applied::sink_rows;
pub use run::{CursorStart, Delivery, Goal, RoundBounds};

#[cfg(test)]
mod tests;
