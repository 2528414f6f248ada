//! The appended end of the log, and the source position that belongs to it.
//!
//! One owner and one way in: a group's last frame, its records and the position after it are handed over by one call,
//! [`Ledger::commit`], and a position without a group by [`Ledger::pass`]. So no group can become durable without its
//! position, and no position without its groups. Values that mean nothing before a record names them may be stored at any time
//! ([`Ledger::put_beside`]). Frames of an open group may leave early ([`Ledger::fragment`]); readers see
//! them only once the group is committed, and [`Ledger::abort`] forgets them.
//!
//! The position is a value. It is encoded once per flush ([`Ledger::seal`]), not once per transaction.

use futures_util::FutureExt as _;
use wal::{Appender, GroupEnd, Lsn, Reader};

use crate::codec::stored::{SOURCE_LSN, SOURCE_POSITION, SourceLsn, StoredPosition, encode};
use crate::error::Failure;
use crate::model::{BinlogPlace, FilePos, Gtid, Origin, SourcePlace, SourcePosition};
use crate::mutants::{Mutant, is_on};
use crate::source::mysql::binlog::Executed;

/// Keys and their new values; `None` removes the key.
pub type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// The log as the ledger writes it: frames of one open group, and state of the groups that have ended.
pub trait Log {
    /// Appends a frame. With [`GroupEnd::More`] it is a fragment of the open group.
    ///
    /// # Errors
    /// When the log is out of service or the frame is too large.
    fn append(&mut self, parts: &[&[u8]], end: GroupEnd) -> Result<Lsn, Failure>;

    /// Stores or removes a value with the groups that have ended.
    fn put(&mut self, key: &[u8], value: Option<&[u8]>);

    /// Forgets the open group.
    ///
    /// # Errors
    /// When the log is out of service.
    fn abort(&mut self) -> Result<(), Failure>;

    /// The LSN of the next frame.
    fn next_lsn(&self) -> Lsn;

    /// The last frame of the last group that is durable.
    fn durable(&self) -> Lsn;

    /// Whether the log takes no frame until a sink has gone on.
    fn is_full(&self) -> bool;

    /// Bytes that were appended or put, and not handed over.
    fn pending_bytes(&self) -> usize;

    /// The durable value of a key.
    ///
    /// # Errors
    /// When the log is out of service.
    fn stored(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure>;
}

/// The durable log.
#[derive(Debug)]
pub struct WalLog {
    appender: Appender,
    reader: Reader,
}

impl WalLog {
    /// Over a log's appender and a reader of the same log.
    pub fn new(appender: Appender, reader: Reader) -> Self {
        Self { appender, reader }
    }

    /// Hands what has gathered to the log's writer; waits while the log is full.
    ///
    /// # Errors
    /// When the log is out of service, or the open group is too large for it.
    pub async fn flush(&mut self) -> Result<(), Failure> {
        self.appender.flush().await.map_err(unwritable)
    }

    /// Hands over and waits until it is durable.
    ///
    /// # Errors
    /// As [`WalLog::flush`].
    pub async fn flush_durable(&mut self) -> Result<(), Failure> {
        self.appender.flush_durable().await.map_err(unwritable)
    }
}

impl Log for WalLog {
    fn append(&mut self, parts: &[&[u8]], end: GroupEnd) -> Result<Lsn, Failure> {
        self.appender.append(parts, end).map_err(unwritable)
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.appender.put_settled(key, value);
    }

    fn abort(&mut self) -> Result<(), Failure> {
        // It sends a command and waits for nothing.
        match self.appender.abort_group().now_or_never() {
            Some(aborted) => aborted.map_err(unwritable),
            None => Err(Failure::fatal("the log did not forget the open group")),
        }
    }

    fn next_lsn(&self) -> Lsn {
        self.appender.next_lsn()
    }

    fn durable(&self) -> Lsn {
        self.reader.positions().durable
    }

    fn is_full(&self) -> bool {
        self.reader.positions().full
    }

    fn pending_bytes(&self) -> usize {
        self.appender.pending_bytes()
    }

    fn stored(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        self.reader.state(key).map_err(|error| Failure::fatal("the log cannot be read").caused_by(error))
    }
}

pub(super) fn unwritable(error: wal::Error) -> Failure {
    Failure::fatal("the log cannot be written").caused_by(error)
}

/// That a group is too large for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge {
    /// Stored bytes of what there is of it.
    pub(super) bytes: u64,
    /// Stored bytes that a group may take.
    pub(super) most: u64,
    /// `wal.max_size`.
    pub(super) max_size: u64,
}

impl TooLarge {
    /// Whether a failure says so.
    pub(super) fn of(failure: &Failure) -> Option<Self> {
        match failure.source.as_ref()?.downcast_ref()? {
            wal::Error::GroupTooLarge { bytes, most, max_size } => {
                Some(Self { bytes: *bytes, most: *most, max_size: *max_size })
            }
            _ => None,
        }
    }
}

/// A boundary of the stream: everything before it was read.
#[derive(Clone, Copy, Debug)]
pub struct Boundary<'a> {
    /// Binlog file.
    pub file: &'a str,
    /// Creation time of the file, seconds since the epoch; 0: not known yet.
    pub file_created: u32,
    /// Offset of the next event in the file.
    pub pos: u64,
}

/// The owner of the appended end.
#[derive(Debug)]
pub struct Ledger<L> {
    log: L,
    /// After the last group. Its GTIDs are in `executed`.
    position: SourcePosition,
    executed: Executed,
    /// The position was not encoded since it moved.
    moved: bool,
    /// State was changed by groups that have ended since it was last sealed.
    changed: bool,
    /// The last frame of the last group that has ended.
    ended: Lsn,
}

impl<L: Log> Ledger<L> {
    /// The end of `log`, with the position that is stored in it.
    ///
    /// # Errors
    /// Fatal, when the position's GTIDs are not of its server's kind.
    pub fn new(log: L, position: SourcePosition) -> Result<Self, Failure> {
        let executed = executed(&position)?;
        let ended = log.next_lsn().prev();
        Ok(Self { log, position, executed, moved: false, changed: false, ended })
    }

    /// The stream continues from `from`: the same place, perhaps in the words of another server.
    ///
    /// # Errors
    /// As [`Ledger::new`].
    pub fn resume(&mut self, from: &SourcePosition) -> Result<(), Failure> {
        self.executed = executed(from)?;
        self.position = from.clone();
        self.moved = true;
        Ok(())
    }

    /// Appends a frame of the open group that is not its last.
    ///
    /// # Errors
    /// When the log is out of service or the frame is too large.
    pub fn fragment(&mut self, parts: &[&[u8]]) -> Result<Lsn, Failure> {
        self.log.append(parts, GroupEnd::More)
    }

    /// Ends the open group: its last frame, what it changes in the log's state, and, for a group of the stream, the position
    /// after it. A group without frames may still change state.
    ///
    /// # Errors
    /// When the log is out of service or the frame is too large.
    pub fn commit(
        &mut self,
        last: Option<&[&[u8]]>,
        changes: &Changes,
        after: Option<(Boundary<'_>, &Gtid)>,
    ) -> Result<(), Failure> {
        if let Some(last) = last {
            self.ended = self.log.append(last, GroupEnd::Ends)?;
        }
        for (key, value) in changes {
            self.log.put(key, value.as_deref());
        }
        self.changed |= !changes.is_empty();
        if let Some((at, gtid)) = after {
            self.executed.add(gtid);
            self.pass(at);
            self.moved = true;
        }
        Ok(())
    }

    /// Stores or removes a value that belongs to no group: of what an open group has to keep before it ends, and which means nothing
    /// without a record that comes with its end.
    pub fn put_beside(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.log.put(key, value);
        self.changed = true;
    }

    /// The stream has come to a boundary without a group.
    pub fn pass(&mut self, at: Boundary<'_>) {
        if self.position.file != at.file {
            at.file.clone_into(&mut self.position.file);
        } else if self.position.pos == at.pos && self.position.file_created == at.file_created {
            return;
        }
        self.position.pos = at.pos;
        self.position.file_created = at.file_created;
        self.moved = true;
    }

    /// Forgets the frames of the open group.
    ///
    /// # Errors
    /// When the log is out of service.
    pub fn abort(&mut self) -> Result<(), Failure> {
        self.log.abort()
    }

    /// Puts the position, and `counters`, with the groups that have ended, right before they are handed over. Says whether
    /// there was anything to put.
    ///
    /// # Errors
    /// Fatal, when the position is beyond every limit.
    pub fn seal(&mut self, counters: &Changes) -> Result<bool, Failure> {
        for (key, value) in counters {
            self.log.put(key, value.as_deref());
        }
        let changed = std::mem::take(&mut self.changed);
        if !self.moved {
            return Ok(changed || !counters.is_empty());
        }
        if is_on(Mutant::PositionSavedAfterTheGroup) && self.log.pending_bytes() > 0 {
            return Ok(true);
        }
        self.moved = false;
        let position = StoredPosition::MySql(self.position());
        self.log.put(SOURCE_POSITION.key(), Some(&encode(&position)?));
        self.log.put(SOURCE_LSN.key(), Some(&encode(&SourceLsn(self.ended))?));
        Ok(true)
    }

    /// Whether the position has moved since it was last sealed.
    pub fn has_moved(&self) -> bool {
        self.moved
    }

    /// Whether there are frames or state that were not handed over.
    pub fn has_changed(&self) -> bool {
        self.changed || self.log.pending_bytes() > 0
    }

    /// The position after the last group.
    pub fn position(&self) -> SourcePosition {
        SourcePosition { gtid: self.executed.text(), ..self.position.clone() }
    }

    /// Whether the last group ended at or after a place of the same server's binlog. A place in a file that is not known yet is
    /// not reached.
    ///
    /// # Errors
    /// Fatal, when the files cannot be ordered by their names.
    pub fn reaches(&self, place: &FilePos) -> Result<bool, Failure> {
        if self.position.file.is_empty() {
            // After a start by GTID the server has not named its file yet.
            return Ok(false);
        }
        if self.position.file == place.file {
            return Ok(self.position.pos >= place.pos);
        }
        let at = FilePos { file: self.position.file.clone(), pos: self.position.pos };
        at.reaches(place).ok_or_else(|| {
            Failure::fatal(format!(
                "cannot order binlog files '{}' and '{}': a name has no number",
                at.file, place.file
            ))
        })
    }

    /// Whether the stream's file is known: after a start by GTID the server names it with the first group or heartbeat.
    pub fn knows_its_file(&self) -> bool {
        !self.position.file.is_empty()
    }

    /// The origin of a frame that is made here and not by a transaction of the source. `wall`: microseconds since the epoch.
    pub fn origin(&self, wall: i64) -> Origin {
        origin_at(&FilePos { file: self.position.file.clone(), pos: self.position.pos }, wall)
    }

    /// The last frame of the last group that has ended.
    pub fn ended(&self) -> Lsn {
        self.ended
    }

    /// The log.
    pub fn log(&self) -> &L {
        &self.log
    }

    /// The log, to hand over what has gathered.
    pub fn log_mut(&mut self) -> &mut L {
        &mut self.log
    }
}

/// The origin of a frame that is made here of what was so at a place. `wall`: microseconds since the epoch.
pub fn origin_at(at: &FilePos, wall: i64) -> Origin {
    let place = BinlogPlace { file_number: at.file_number().unwrap_or(0), pos: at.pos, gtid: Gtid::Anonymous };
    Origin { commit_micros: wall, place: SourcePlace::MySql(place) }
}

fn executed(position: &SourcePosition) -> Result<Executed, Failure> {
    Executed::parse(&position.server, &position.gtid)
        .map_err(|error| Failure::fatal("the stored position cannot be read").caused_by(error))
}
