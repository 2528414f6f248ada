//! What the log holds of a sink before its first delivery.
//!
//! Nothing of an earlier sink of the same name, whose cursor was dropped: its counts, its complete copies and its doubts
//! are of another target, or of another life of this one.

use wal::{Lsn, Reader};

use super::open::CursorStart;
use crate::codec::stored::{SINK_START, encode, without_sink};
use crate::error::Failure;

/// State changes for a sink whose cursor is about to be created at `at`, all for one commit.
///
/// # Errors
/// When the log cannot be read.
pub fn state_of_new_sink(reader: &Reader, sink: &str, at: Lsn) -> Result<Vec<(Vec<u8>, Option<Vec<u8>>)>, Failure> {
    let mut state = without_sink(reader, sink)?;
    state.push((SINK_START.of_sink(sink), Some(encode(&CursorStart(at))?)));
    Ok(state)
}
