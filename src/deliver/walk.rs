//! Frames of the log, read for what they say and not for a sink.

use wal::{Lsn, Reader};

use crate::codec::frame::{Frame, FrameError};
use crate::error::Failure;

const READ_BYTES: usize = 1 << 20;

/// Reads the frames in (`after`, `to`], in their order.
///
/// # Errors
/// When the log cannot be read, does not reach to `to`, or holds a frame that cannot be decoded.
pub(super) fn walk(
    reader: &Reader,
    (after, to): (Lsn, Lsn),
    mut take: impl FnMut(Lsn, &Frame<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let damaged = |error| Failure::fatal("cannot read the log").caused_by(error);
    let mut at = after;
    while at < to {
        let blocks = reader.read(at, READ_BYTES).map_err(damaged)?;
        if blocks.is_empty() {
            return Err(Failure::fatal(format!("the log ends at {at}, before lsn {to}, which it has to hold")));
        }
        for block in &blocks {
            for frame in block.frames() {
                let frame =
                    frame.map_err(|source| damaged(wal::Error::Damaged { block: block.first_lsn(), source }))?;
                if frame.lsn > at && frame.lsn <= to {
                    let decoded = Frame::decode(frame.payload).map_err(|error| damaged_frame(frame.lsn, error))?;
                    take(frame.lsn, &decoded)?;
                    at = frame.lsn;
                }
            }
        }
    }
    Ok(())
}

/// A frame that cannot be decoded stops the sink.
pub(super) fn damaged_frame(lsn: Lsn, error: FrameError) -> Failure {
    Failure::fatal(format!("frame {lsn} of the log is damaged")).caused_by(error).hint("see replicator wal verify")
}
