//! How the dump goes from file to file, and whether it may.
//!
//! A file ends with an event that names the next one, or because its server went down. A dump that leaves a file
//! otherwise has lost it: the binlogs were reset under it, and it goes on in a later file of the new ones. What the new
//! ones had before that is never sent. The first format description of the later file tells: only the first file of a
//! server that has started has a start time in it. MySQL leaves it out of what it sends to a dump by GTIDs (seen on 9.7): there a
//! crash of the server looks like a reset, and is named as one.

use super::cursor::Cursor;
use super::error::BinlogError;

/// The file that is read.
#[derive(Debug)]
enum At {
    /// The dump has not described a file yet.
    None,
    /// It is in a file, or at its end.
    Followed,
    /// It is at the end that a server writes that goes down in good order.
    Stopped,
    /// It left this file without the event that ends it; the next file says whether that can be.
    Left(String),
}

/// How the dump goes from file to file.
#[derive(Debug)]
pub(super) struct Files {
    at: At,
}

impl Files {
    /// A dump that has sent nothing yet.
    pub(super) fn new() -> Self {
        Self { at: At::None }
    }

    /// The event that a server writes when it goes down in good order.
    pub(super) fn stop(&mut self) {
        self.at = At::Stopped;
    }

    /// The stream is in `file`, and the dump names the next one in an event of its own, which says nothing of the
    /// file's end.
    pub(super) fn leave(&mut self, file: &str, next: &str) {
        if matches!(self.at, At::Followed) && file != next {
            self.at = At::Left(file.to_owned());
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
        match std::mem::replace(&mut self.at, At::Followed) {
            At::Left(left) if !has_started => Err(BinlogError::FileGone { left, next: file.to_owned() }),
            At::None | At::Followed | At::Stopped | At::Left(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(start_time: u32) -> Vec<u8> {
        let mut data = 4_u16.to_le_bytes().to_vec();
        data.extend([0; 50]);
        data.extend(start_time.to_le_bytes());
        data
    }

    /// Goes on from the file `a`, which is left with or without a stop, in the file `b`.
    fn goes_on(stops: bool, start_time: u32) -> bool {
        let mut files = Files::new();
        files.describe(&described(1), "a").unwrap();
        if stops {
            files.stop();
        }
        files.leave("a", "b");
        files.describe(&described(start_time), "b").is_ok()
    }

    #[test]
    fn a_file_that_did_not_end_is_left_only_for_the_first_one_of_a_server_that_has_started() {
        assert!(!goes_on(false, 0));
        assert!(goes_on(false, 7), "the server crashed");
        assert!(goes_on(true, 0), "the file ended");
    }
}
