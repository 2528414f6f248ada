//! How the dump goes from file to file, and whether it may.
//!
//! A file ends with an event that names the next one, or because its server went down. A dump that leaves a file
//! otherwise has lost it: the binlogs were reset under it, and it goes on in a later file of the new ones. What the new
//! ones had before that is never sent. The first format description of the later file tells: only the first file of a
//! server that has started has a start time in it.

use super::cursor::Cursor;
use super::error::BinlogError;

/// The file that is read.
#[derive(Debug)]
pub(super) enum Files {
    /// The dump has not described a file yet.
    None,
    /// It is in a file, or at its end.
    Followed,
    /// It left this file without the event that ends it; the next file says whether that can be.
    Left(String),
}

impl Files {
    /// The stream is in `file`, and the dump names the next one in an event of its own, which says nothing of the
    /// file's end.
    pub(super) fn leave(&mut self, file: &str, next: &str) {
        if matches!(self, Self::Followed) && file != next {
            *self = Self::Left(file.to_owned());
        }
    }

    /// A format description, that of `file`.
    ///
    /// # Errors
    /// [`BinlogError`] for another format, and where the dump has lost the file before.
    pub(super) fn describe(&mut self, data: &[u8], file: &str) -> Result<(), BinlogError> {
        /// Bytes of the server's version.
        const SERVER_VERSION: usize = 50;
        let mut cursor = Cursor::new(data);
        let version = cursor.u16("format version")?;
        if version != 4 {
            return Err(BinlogError::Format { found: version });
        }
        cursor.take(SERVER_VERSION, "server version")?;
        let has_started = cursor.u32("start time")? != 0;
        match std::mem::replace(self, Self::Followed) {
            Self::Left(left) if !has_started => Err(BinlogError::FileGone { left, next: file.to_owned() }),
            Self::None | Self::Followed | Self::Left(_) => Ok(()),
        }
    }
}
