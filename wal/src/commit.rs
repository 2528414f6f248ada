//! One redb transaction of the writer thread: what its commands do to the tables.
//!
//! Promises: everything in it becomes durable at once or not at all. A command that is refused changes nothing and does not
//! stop the others. Assumes that the caller drops the whole [`LogState`] when a storage operation or the commit fails, because it is then
//! ahead of the disk.

use std::collections::BTreeMap;

use redb::{ReadableTable, Table, WriteTransaction};

use crate::command::{Ack, Append, StateChanges};
use crate::cursor::{CursorRecord, check_name, check_token, trim_floor};
use crate::error::{Error, storage};
use crate::lsn::Lsn;
use crate::pieces;
use crate::record::{BLOCK_BYTES, Block, BlockHeader, Counters, Damage, stored_bytes};
use crate::tables::{self, BLOCKS, CURSORS, LOG, STATE, TAIL, Tail};

/// Blocks that one commit trims beyond twice the number it appends. It bounds the time that a commit takes and how much is
/// freed but not yet usable again.
const TRIM_BLOCKS: usize = 32;

/// The log as the writer thread knows it: what is on disk, plus the open transaction.
#[derive(Clone, Debug)]
pub(crate) struct LogState {
    pub(crate) tail: Tail,
    pub(crate) cursors: BTreeMap<String, CursorRecord>,
    pub(crate) state: StateBytes,
}

/// Values of the state that are as large as a page or larger.
const LARGE: usize = 4096;

/// Bytes of smaller ones that are in the headroom of the file.
const FREE: u64 = 4 << 20;

/// What a small entry of the state takes besides its bytes.
const ENTRY: usize = 16;

/// What a large value of the state counts for the size of the log.
pub(crate) fn large(value: &[u8]) -> u64 {
    if value.len() < LARGE { 0 } else { stored_bytes(value.len()) }
}

/// What the state takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StateBytes {
    /// [`large`] values.
    large: u64,
    /// All other entries.
    small: u64,
}

impl StateBytes {
    /// What it counts for the size of the log.
    pub(crate) fn counted(self) -> u64 {
        self.large.saturating_add(self.small.saturating_sub(FREE))
    }

    /// With one entry more.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.large = self.large.saturating_add(large(value));
        self.small = self.small.saturating_add(small(key, value));
    }

    /// With one entry less.
    fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.large = self.large.saturating_sub(large(value));
        self.small = self.small.saturating_sub(small(key, value));
    }
}

fn small(key: &[u8], value: &[u8]) -> u64 {
    if value.len() < LARGE { u64::try_from(key.len() + value.len() + ENTRY).unwrap_or(u64::MAX) } else { 0 }
}

/// An open transaction on a log.
pub(crate) struct Batch<'t> {
    transaction: &'t WriteTransaction,
    blocks: Table<'t, u64, &'static [u8]>,
    log: &'t mut LogState,
    /// What the tail was when it was last written.
    written: Tail,
    appended: usize,
    dirty: bool,
}

impl<'t> Batch<'t> {
    pub(crate) fn begin(transaction: &'t WriteTransaction, log: &'t mut LogState) -> Result<Self, Error> {
        let blocks = transaction.open_table(BLOCKS).map_err(storage("open the blocks"))?;
        Ok(Self { transaction, blocks, written: log.tail, log, appended: 0, dirty: false })
    }

    pub(crate) fn tail(&self) -> &Tail {
        &self.log.tail
    }

    pub(crate) fn state_bytes(&self) -> u64 {
        self.log.state.counted()
    }

    /// Stores blocks and state, and moves the visible end.
    pub(crate) fn append(&mut self, append: &Append) -> Result<(), Error> {
        for block in &append.blocks {
            let header;
            let bytes = if block.bytes.len() > BLOCK_BYTES {
                header = pieces::store(self.transaction, block.first.raw(), &block.bytes)?;
                &header
            } else {
                &block.bytes
            };
            let replaced =
                self.blocks.insert(block.first.raw(), bytes.as_slice()).map_err(storage("append a block"))?;
            debug_assert!(replaced.is_none(), "LSNs are dense, so a block's key is new");
        }
        self.appended += append.blocks.len();
        self.log.tail.live_bytes += append.stored;
        if let Some(end) = append.end {
            debug_assert!(end.lsn >= self.log.tail.end);
            self.log.tail.end = end.lsn;
            self.log.tail.bytes = end.counters.bytes;
            self.log.tail.groups = end.counters.groups;
        }
        self.put_state(&append.state)
    }

    /// Removes the blocks of an abandoned group.
    pub(crate) fn abort(&mut self, after: Lsn) -> Result<(), Error> {
        loop {
            let last = self.blocks.last().map_err(storage("find the last block"))?;
            let last = last.map(|(key, value)| {
                // Its pieces go, if it has any: another block will have its key.
                let lie = Size { stored: stored_bytes(value.value().len()), in_pieces: true };
                // Damage in what is thrown away does not matter.
                (key.value(), Size::of(value.value()).unwrap_or(lie))
            });
            match last {
                Some((key, size)) if key > after.raw() => self.remove(key, size)?,
                _ => return Ok(()),
            }
        }
    }

    fn remove(&mut self, key: u64, Size { stored, in_pieces }: Size) -> Result<(), Error> {
        let removed = self.blocks.remove(key).map_err(storage("remove a block"))?;
        debug_assert!(removed.is_some(), "it was just read");
        drop(removed);
        if in_pieces {
            pieces::remove(self.transaction, key)?;
        }
        self.log.tail.live_bytes = self.log.tail.live_bytes.saturating_sub(stored);
        Ok(())
    }

    pub(crate) fn put_state(&mut self, changes: &StateChanges) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut state = self.transaction.open_table(STATE).map_err(storage("open the state"))?;
        for (key, value) in changes {
            let before = match value {
                Some(value) => state.insert(key.as_slice(), value.as_slice()),
                None => state.remove(key.as_slice()),
            }
            .map_err(storage("put state"))?;
            if let Some(before) = before {
                self.log.state.remove(key, before.value());
            }
            if let Some(value) = value {
                self.log.state.add(key, value);
            }
        }
        self.dirty = true;
        Ok(())
    }

    /// The cursor `name`, made at `at` if there is none.
    pub(crate) fn create_cursor(&mut self, name: &str, at: Lsn) -> Result<CursorRecord, Error> {
        if let Some(cursor) = self.log.cursors.get(name) {
            return Ok(cursor.clone());
        }
        check_name(name)?;
        let cursor = CursorRecord::new(at, self.counters_at(at)?);
        self.put_cursor(name, cursor.clone())?;
        Ok(cursor)
    }

    pub(crate) fn drop_cursor(&mut self, name: &str) -> Result<(), Error> {
        if self.log.cursors.remove(name).is_none() {
            return Err(Error::NoSuchCursor(name.to_owned()));
        }
        let mut cursors = self.transaction.open_table(CURSORS).map_err(storage("open the cursors"))?;
        cursors.remove(name).map_err(storage("drop a cursor"))?;
        self.dirty = true;
        Ok(())
    }

    pub(crate) fn detach_cursor(&mut self, name: &str) -> Result<(), Error> {
        let mut cursor = self.cursor(name)?.clone();
        cursor.detached = true;
        self.put_cursor(name, cursor)
    }

    /// Gives up where a cursor is, detached or not, for `at`, with its state.
    pub(crate) fn move_cursor(&mut self, name: &str, at: Lsn, state: &StateChanges) -> Result<(), Error> {
        self.cursor(name)?;
        let moved = CursorRecord::new(at, self.counters_at(at)?);
        self.put_cursor(name, moved)?;
        self.put_state(state)
    }

    /// Moves a cursor forward, with its token and its state.
    pub(crate) fn ack(&mut self, ack: &Ack) -> Result<(), Error> {
        check_token(&ack.cursor, &ack.token)?;
        let cursor = self.cursor(&ack.cursor)?;
        if cursor.detached {
            return Err(Error::Detached(ack.cursor.clone()));
        }
        if ack.lsn < cursor.lsn {
            return Err(Error::AckBackwards { cursor: ack.cursor.clone(), at: cursor.lsn, to: ack.lsn });
        }
        let at = if ack.lsn == cursor.lsn { cursor.counters() } else { self.counters_at(ack.lsn)? };
        let mut moved = CursorRecord::new(ack.lsn, at);
        moved.token.clone_from(&ack.token);
        self.put_cursor(&ack.cursor, moved)?;
        self.put_state(&ack.state)
    }

    fn cursor(&self, name: &str) -> Result<&CursorRecord, Error> {
        self.log.cursors.get(name).ok_or_else(|| Error::NoSuchCursor(name.to_owned()))
    }

    fn put_cursor(&mut self, name: &str, cursor: CursorRecord) -> Result<(), Error> {
        let bytes = tables::encode("cursors", name, &cursor)?;
        let mut cursors = self.transaction.open_table(CURSORS).map_err(storage("open the cursors"))?;
        cursors.insert(name, bytes.as_slice()).map_err(storage("store a cursor"))?;
        self.log.cursors.insert(name.to_owned(), cursor);
        self.dirty = true;
        Ok(())
    }

    /// The counters of the log at `lsn`, which must be the end of a visible group and still be in the log, or be right before
    /// its first frame.
    fn counters_at(&self, lsn: Lsn) -> Result<Counters, Error> {
        let tail = &self.log.tail;
        if lsn == tail.end {
            return Ok(tail.counters());
        }
        if lsn > tail.end {
            return Err(Error::BeyondDurable { lsn, durable: tail.end });
        }
        if lsn.next() < tail.first {
            return Err(Error::Trimmed { first: tail.first, wanted: lsn.next() });
        }
        let next = self.block_holding(lsn.next())?;
        let header = next.header();
        let (counters, is_end) = if header.first > lsn {
            (header.before, !header.continues)
        } else {
            next.counters_at(lsn)
                .map_err(|source| Error::Damaged { block: header.first, source })?
                .ok_or(Error::Missing(lsn))?
        };
        if is_end { Ok(counters) } else { Err(Error::NotGroupEnd(lsn)) }
    }

    fn block_holding(&self, lsn: Lsn) -> Result<Block, Error> {
        let mut range = self.blocks.range(..=lsn.raw()).map_err(storage("find a block"))?;
        let (key, value) = range.next_back().ok_or(Error::Missing(lsn))?.map_err(storage("read a block"))?;
        let key = Lsn::new(key.value());
        let bytes = pieces::whole_in(self.transaction, key.raw(), value.value())?;
        Block::decode(bytes).map_err(|source| Error::Damaged { block: key, source })
    }

    /// Removes whole blocks that nobody needs, a bounded number of them. Says whether there are more.
    pub(crate) fn trim(&mut self) -> Result<bool, Error> {
        let Some(floor) = trim_floor(&self.log.cursors, self.log.tail.end) else {
            return Ok(false);
        };
        let floor = floor.min(self.log.tail.end);
        let most = TRIM_BLOCKS.max(self.appended.saturating_mul(2));
        for _ in 0..most {
            if self.log.tail.first > floor {
                return Ok(false);
            }
            let (key, last, size) = self.first_block()?;
            if last > floor {
                return Ok(false);
            }
            self.remove(key, size)?;
            self.log.tail.first = last.next();
        }
        Ok(self.log.tail.first <= floor)
    }

    /// Key, last LSN and size of the first block.
    fn first_block(&self) -> Result<(u64, Lsn, Size), Error> {
        let first = self.blocks.first().map_err(storage("find the first block"))?;
        let (key, value) = first.ok_or(Error::Missing(self.log.tail.first))?;
        let header = BlockHeader::decode(value.value())
            .map_err(|source| Error::Damaged { block: Lsn::new(key.value()), source })?;
        Ok((key.value(), header.last, Size::of_header(&header, value.value().len())))
    }

    /// Writes the tail if it changed. Says whether there is anything to commit.
    pub(crate) fn finish(self) -> Result<bool, Error> {
        if self.written == self.log.tail {
            return Ok(self.dirty);
        }
        let bytes = tables::encode("log", TAIL, &self.log.tail)?;
        let mut log = self.transaction.open_table(LOG).map_err(storage("open the log's records"))?;
        log.insert(TAIL, bytes.as_slice()).map_err(storage("store the tail"))?;
        Ok(true)
    }
}

/// What a block takes, and where.
#[derive(Clone, Copy, Debug)]
struct Size {
    stored: u64,
    in_pieces: bool,
}

impl Size {
    /// Of a block of which these bytes lie in its place.
    fn of(bytes: &[u8]) -> Result<Self, Damage> {
        BlockHeader::decode(bytes).map(|header| Self::of_header(&header, bytes.len()))
    }

    fn of_header(header: &BlockHeader, lie: usize) -> Self {
        Self { stored: header.stored(lie), in_pieces: header.in_pieces }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_entries_of_the_state_count_beyond_what_the_file_has_room_for_besides() {
        let mut state = StateBytes::default();
        let (key, value) = ([0; 24], [0; 984]);
        for _ in 0..4096 {
            state.add(&key, &value);
        }
        assert_eq!(state.counted(), 0);
        state.add(&key, &value);
        assert_eq!(state.counted(), 1024);
        let large_value = [0; LARGE];
        state.add(&key, &large_value);
        assert_eq!(state.counted(), 1024 + large(&large_value));
        state.remove(&key, &value);
        state.remove(&key, &large_value);
        assert_eq!(state.counted(), 0);
    }
}
