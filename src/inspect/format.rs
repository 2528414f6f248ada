//! Whether this version reads a log at all.

use wal::{Lsn, Reader};

use crate::codec::stored;
use crate::error::Failure;

/// Refuses a log of another format.
///
/// # Errors
/// Fatal, when the log was written in another format, or cannot be read.
pub fn check_format(reader: &Reader) -> Result<(), Failure> {
    stored::check_format(reader, reader.positions().durable == Lsn::ZERO)
}
