//! How the dump goes from file to file, and whether it may.
//!
//! A file ends with an event that names the next one, or because its server went down. A dump that leaves a file
//! otherwise has lost it: the binlogs were reset under it, and it goes on in a later file of the new ones. What the new
//! ones had before that is never sent. The first format description of the later file tells: only the first file of a
//! server that has started has a start time in it.
//!
//! MySQL leaves the start time out of what it sends to a dump by GTIDs (seen on 9.7). There the GTIDs before the next file tell, which
//! stand at its beginning: after a crash they are those that the stream has executed, no more and no fewer, and the file is the next one
//! by its number. Fewer: the binlogs are new ones. More: some were never sent.

use super::cursor::Cursor;
use super::error::BinlogError;
use super::position::{Executed, file_number};
use super::previous;

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
    /// It left the file `left` so, and is in the one after it, in a dump that has no start times: the GTIDs before it say.
    Unsure { left: String, next: String },
}

/// How the dump goes from file to file.
#[derive(Debug)]
pub(super) struct Files {
    at: At,
    /// The dump is one of MySQL by GTIDs, which has no start times.
    is_timeless: bool,
}

impl Files {
    /// A dump that has sent nothing yet.
    pub(super) fn new(is_timeless: bool) -> Self {
        Self { at: At::None, is_timeless }
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
            At::Left(left) if !has_started => {
                let is_next = file_number(&left).checked_add(1) == Some(file_number(file));
                self.at = At::Unsure { left, next: file.to_owned() };
                if self.is_timeless && is_next { Ok(()) } else { self.require_sure() }
            }
            At::None | At::Followed | At::Stopped | At::Left(_) => Ok(()),
            unsure @ At::Unsure { .. } => {
                self.at = unsure;
                self.require_sure()
            }
        }
    }

    /// Whether it is open whether the dump has lost a file.
    pub(super) fn is_unsure(&self) -> bool {
        matches!(self.at, At::Unsure { .. })
    }

    /// The GTIDs of every transaction before the file, as an event says them. `executed`: what the stream has executed.
    ///
    /// # Errors
    /// [`BinlogError`] for an event that cannot be read, and where the dump has lost the file before.
    pub(super) fn previous(&mut self, data: &[u8], executed: &Executed) -> Result<(), BinlogError> {
        if !self.is_unsure() {
            return Ok(());
        }
        if let Executed::MySql(executed) = executed
            && previous::parse(data)?.is_some_and(|previous| previous == *executed)
        {
            self.at = At::Followed;
        }
        self.require_sure()
    }

    /// What comes next is taken only if the dump has lost no file.
    ///
    /// # Errors
    /// [`BinlogError::FileGone`].
    pub(super) fn require_sure(&self) -> Result<(), BinlogError> {
        match &self.at {
            At::Unsure { left, next } => Err(BinlogError::FileGone { left: left.clone(), next: next.clone() }),
            At::None | At::Followed | At::Stopped | At::Left(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::mysql::gtid::GtidSet;

    fn described(start_time: u32) -> Vec<u8> {
        let mut data = 4_u16.to_le_bytes().to_vec();
        data.extend([0; 50]);
        data.extend(start_time.to_le_bytes());
        data
    }

    /// Goes on from the file `a`, which is left with or without a stop, in the file `b`.
    fn goes_on(stops: bool, start_time: u32) -> bool {
        let mut files = Files::new(false);
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

    /// Goes on by GTIDs from the file `b.000001`, at whose end `executed` is executed, in another one, before which `previous` stands.
    fn goes_on_by_gtids(next: &str, executed: u64, previous: Option<u64>) -> bool {
        let mut files = Files::new(true);
        files.describe(&described(0), "b.000001").unwrap();
        files.leave("b.000001", next);
        if files.describe(&described(0), next).is_err() {
            return false;
        }
        let set = |last: u64| GtidSet::parse(&format!("01010101-0101-0101-0101-010101010101:1-{last}")).unwrap();
        if let Some(previous) = previous {
            let mut data = 1_u64.to_le_bytes().to_vec();
            data.extend([1; 16]);
            data.extend([1, 1, previous + 1].iter().flat_map(|number: &u64| number.to_le_bytes()));
            if files.previous(&data, &Executed::MySql(set(executed))).is_err() {
                return false;
            }
        }
        files.require_sure().is_ok()
    }

    #[test]
    fn a_file_that_did_not_end_is_left_by_gtids_only_for_the_next_one_after_the_same_transactions() {
        assert!(goes_on_by_gtids("b.000002", 7, Some(7)), "the server crashed");
        assert!(!goes_on_by_gtids("b.000002", 7, Some(2)), "the binlogs were reset");
        assert!(!goes_on_by_gtids("b.000002", 7, Some(9)), "transactions are missing");
        assert!(!goes_on_by_gtids("b.000003", 7, Some(7)), "a file is missing");
        assert!(!goes_on_by_gtids("b.000002", 7, None), "nobody says what came before");
    }
}
