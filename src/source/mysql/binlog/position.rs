//! Where the stream is: the file and offset of the last event, the last transaction boundary, the executed GTIDs.

use crate::model::{Gtid, ServerIdentity, SourcePosition};
use crate::source::mysql::gtid::{GtidList, GtidSet, GtidTextError};

/// The executed GTIDs, in the server's kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Executed {
    /// MySQL's set.
    MySql(GtidSet),
    /// MariaDB's position.
    MariaDb(GtidList),
}

impl Executed {
    /// Reads the text of a stored position.
    ///
    /// # Errors
    /// [`GtidTextError`] when the text is not of the server's kind.
    pub fn parse(server: &ServerIdentity, text: &str) -> Result<Self, GtidTextError> {
        match server {
            ServerIdentity::MySql { .. } => GtidSet::parse(text).map(Self::MySql),
            ServerIdentity::MariaDb { .. } => GtidList::parse(text).map(Self::MariaDb),
        }
    }

    /// Adds a transaction.
    pub fn add(&mut self, gtid: &Gtid) {
        match (self, gtid) {
            (Self::MySql(set), Gtid::MySql { uuid, tag, number }) => set.insert(*uuid, tag, *number),
            (Self::MariaDb(list), Gtid::MariaDb { domain, server, sequence }) => list.set(*domain, *server, *sequence),
            // Anonymous transactions have no GTID to keep; a GTID of the other server's kind cannot come, as its event type is
            // read only for its own kind.
            (_, Gtid::Anonymous | Gtid::MySql { .. } | Gtid::MariaDb { .. }) => {}
        }
    }

    /// The text form.
    pub fn text(&self) -> String {
        match self {
            Self::MySql(set) => set.to_string(),
            Self::MariaDb(list) => list.to_string(),
        }
    }
}

/// Position of the stream. The boundary never goes past an event that is not part of a complete group.
#[derive(Debug)]
pub(super) struct Position {
    server: ServerIdentity,
    executed: Executed,
    /// File and end of the last event that has a place in the file.
    file: String,
    file_number: u64,
    pos: u64,
    /// Creation time of `file`; 0 until its format description has come.
    created: u32,
    /// The dump was asked for by GTIDs and passes over files that were read before: until the first group or heartbeat, what
    /// is between groups says nothing.
    held: bool,
    /// The last boundary; in `file` if `boundary_file` is `None`.
    boundary_file: Option<(String, u32)>,
    boundary_pos: u64,
}

impl Position {
    pub(super) fn new(start: &SourcePosition, by_gtid: bool) -> Result<Self, GtidTextError> {
        Ok(Self {
            server: start.server.clone(),
            executed: Executed::parse(&start.server, &start.gtid)?,
            file: start.file.clone(),
            file_number: file_number(&start.file),
            pos: start.pos,
            // By GTIDs, files of the same name need not be the same files.
            created: if by_gtid { 0 } else { start.file_created },
            held: by_gtid,
            boundary_file: None,
            boundary_pos: start.pos,
        })
    }

    pub(super) fn file(&self) -> &str {
        &self.file
    }

    pub(super) fn file_number(&self) -> u64 {
        self.file_number
    }

    pub(super) fn pos(&self) -> u64 {
        self.pos
    }

    pub(super) fn boundary(&self) -> (&str, u64) {
        match &self.boundary_file {
            Some((file, _)) => (file, self.boundary_pos),
            None => (&self.file, self.boundary_pos),
        }
    }

    /// File, creation time of the file, and offset of the boundary.
    pub(super) fn boundary_place(&self) -> (&str, u32, u64) {
        match &self.boundary_file {
            Some((file, created)) => (file, *created, self.boundary_pos),
            None => (&self.file, self.created, self.boundary_pos),
        }
    }

    pub(super) fn executed(&self) -> &Executed {
        &self.executed
    }

    /// An event of the file ended here. `log_pos` is modulo 2^32, and a file grows beyond that in one transaction. Less than half
    /// a lap back is not another lap: an event sent again from the file's start does not move the position.
    pub(super) fn advance(&mut self, log_pos: u32) {
        const LAP: u64 = 1 << 32;
        let pos = (self.pos & !(LAP - 1)) | u64::from(log_pos);
        if pos >= self.pos {
            self.pos = pos;
        } else if self.pos - pos > LAP / 2 {
            self.pos = pos + LAP;
        }
    }

    /// The server has sent everything up to an offset of the current file, and is waiting for more.
    pub(super) fn heartbeat(&mut self, file: &[u8], log_pos: u32) {
        if file == self.file.as_bytes() && log_pos != 0 {
            self.advance(log_pos);
            self.held = false;
            self.settle();
        }
    }

    /// The stream goes on in `file` at `pos`. The boundary stays where it is until [`Self::settle`] or [`Self::commit`].
    pub(super) fn rotate(&mut self, file: &str, pos: u64) {
        if self.file != file {
            let left = std::mem::replace(&mut self.file, file.to_owned());
            if self.boundary_file.is_none() {
                self.boundary_file = Some((left, self.created));
            } else if let Some((boundary, created)) = &self.boundary_file
                && boundary == file
            {
                // Back in the boundary's own file: a dump by GTID starts in an earlier file than the position's.
                self.created = *created;
                self.boundary_file = None;
                self.file_number = file_number(file);
                self.pos = pos;
                return;
            }
            self.file_number = file_number(file);
            self.created = 0;
        }
        self.pos = pos;
    }

    /// The format description of the current file. Gives the creation time known before, if it is another one.
    pub(super) fn describe(&mut self, created: u32, log_pos: u32) -> Result<(), u32> {
        if self.created != 0 && created != 0 && self.created != created {
            return Err(self.created);
        }
        if created != 0 {
            self.created = created;
        }
        // Sent again in the middle of a file it has no offset, or that of the file's start.
        self.pos = self.pos.max(u64::from(log_pos));
        Ok(())
    }

    /// Outside every group: everything up to here is done with. Never moves the boundary back.
    pub(super) fn settle(&mut self) {
        if self.held {
            return;
        }
        let behind = match &self.boundary_file {
            Some((file, _)) => (self.file_number, self.pos) < (file_number(file), self.boundary_pos),
            None => self.pos < self.boundary_pos,
        };
        if !behind {
            self.take_boundary();
        }
    }

    /// A group ended here.
    pub(super) fn commit(&mut self, gtid: &Gtid) {
        self.executed.add(gtid);
        self.take_boundary();
    }

    fn take_boundary(&mut self) {
        self.held = false;
        self.boundary_file = None;
        self.boundary_pos = self.pos;
    }

    /// The boundary as it is stored.
    pub(super) fn stored(&self) -> SourcePosition {
        let (file, created) = match &self.boundary_file {
            Some((file, created)) => (file.clone(), *created),
            None => (self.file.clone(), self.created),
        };
        SourcePosition {
            server: self.server.clone(),
            file,
            pos: self.boundary_pos,
            file_created: created,
            gtid: self.executed.text(),
        }
    }
}

/// Number at the end of a binlog file's name; 0 for a name without one, which no server gives.
pub(super) fn file_number(file: &str) -> u64 {
    file.rsplit_once('.').and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> SourcePosition {
        SourcePosition {
            server: ServerIdentity::MySql { server_uuid: "u".into() },
            file: "binlog.000007".into(),
            pos: 500,
            file_created: 70,
            gtid: String::new(),
        }
    }

    #[test]
    fn offsets_beyond_four_gigabytes_go_on_counting() {
        let mut position = Position::new(&start(), false).unwrap();
        position.advance(u32::MAX - 5);
        position.advance(10);
        position.commit(&Gtid::Anonymous);
        assert_eq!(position.stored().pos, (1 << 32) + 10);
        position.advance(12);
        assert_eq!(position.pos(), (1 << 32) + 12);
    }

    #[test]
    fn a_dump_by_gtid_that_starts_in_an_earlier_file_does_not_move_the_position_back() {
        let mut position = Position::new(&start(), true).unwrap();
        for (file, created) in [("binlog.000005", 50), ("binlog.000006", 60), ("binlog.000007", 71)] {
            position.rotate(file, 4);
            position.describe(created, 126).unwrap();
            position.settle();
            assert_eq!((position.stored().file, position.stored().pos), (start().file, start().pos));
        }
        position.advance(600);
        position.commit(&Gtid::Anonymous);
        assert_eq!(position.stored(), SourcePosition { pos: 600, file_created: 71, ..start() });
    }

    #[test]
    fn a_heartbeat_moves_a_start_by_gtid_to_where_the_server_waits() {
        let unknown = SourcePosition { file: String::new(), pos: 0, file_created: 0, ..start() };
        let mut position = Position::new(&unknown, true).unwrap();
        position.rotate("binlog.000002", 4);
        position.describe(20, 126).unwrap();
        position.settle();
        assert_eq!(position.stored(), unknown);
        position.heartbeat(b"binlog.000002", 900);
        let there = SourcePosition { file: "binlog.000002".into(), pos: 900, file_created: 20, ..unknown };
        assert_eq!(position.stored(), there);
    }

    #[test]
    fn an_event_sent_again_from_the_start_of_the_file_does_not_count() {
        let mut position = Position::new(&start(), false).unwrap();
        position.advance(197);
        assert_eq!(position.pos(), 500);
    }

    #[test]
    fn a_file_of_the_same_name_made_at_another_time_is_noticed() {
        let mut position = Position::new(&start(), false).unwrap();
        position.rotate("binlog.000007", 500);
        assert_eq!(position.describe(71, 0), Err(70));
        let mut fresh = Position::new(&SourcePosition { file_created: 0, ..start() }, false).unwrap();
        fresh.rotate("binlog.000007", 500);
        fresh.describe(71, 0).unwrap();
        assert_eq!(fresh.stored(), SourcePosition { file_created: 71, ..start() });
        fresh.rotate("binlog.000008", 4);
        fresh.describe(80, 126).unwrap();
        fresh.settle();
        let next = SourcePosition { file: "binlog.000008".into(), pos: 126, file_created: 80, ..start() };
        assert_eq!(fresh.stored(), next);
    }
}
