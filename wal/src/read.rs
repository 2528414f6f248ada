//! The reading end of the log: blocks after a position, state, cursors.
//!
//! Promises: a reader sees complete, durable groups only; every block it gives has the right checksum and lies where it says. It
//! copies what it gives and holds no transaction, so that it never keeps trimmed pages from being used again. Does not wait for new
//! frames: [`Wal::positions`](crate::Wal::positions) tells when there are some.

use std::sync::Arc;

use redb::{ReadOnlyTable, ReadTransaction};

use crate::cursor::CursorInfo;
use crate::error::{Error, storage};
use crate::guard::guard;
use crate::lsn::{LogId, Lsn};
use crate::open::not_a_log;
use crate::pieces;
use crate::record::Block;
use crate::stats::Stats;
use crate::tables::{self, BLOCKS, LOG, STATE, TAIL, Tail};
use crate::tail::{Positions, Shared};

/// A key of the state and its value.
pub type StateEntry = (Vec<u8>, Vec<u8>);

/// Reads a log. Clones read the same log.
#[derive(Clone, Debug)]
pub struct Reader {
    shared: Arc<Shared>,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The identity of the log.
    pub fn id(&self) -> LogId {
        self.shared.id
    }

    /// Where the log begins and ends.
    pub fn positions(&self) -> Positions {
        self.shared.positions()
    }

    /// The cursors, by name.
    pub fn cursors(&self) -> Vec<CursorInfo> {
        self.shared.cursors()
    }

    /// Numbers about the log.
    ///
    /// # Errors
    /// [`Error::Io`] if the size of the file cannot be read.
    pub fn stats(&self) -> Result<Stats, Error> {
        self.shared.stats()
    }

    /// The durable value of `key`.
    ///
    /// # Errors
    /// [`Error::Storage`] or [`Error::Panicked`], or [`Error::Poisoned`] or [`Error::Closed`] if the log is out of service.
    pub fn state(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        guard("read state", || {
            let transaction = self.shared.store()?.begin_read()?;
            let table = transaction.open_table(STATE).map_err(not_a_log)?;
            let value = table.get(key).map_err(storage("read state"))?;
            Ok(value.map(|value| value.value().to_vec()))
        })
    }

    /// The durable keys that begin with `prefix`, in order, with their values, all as of one commit.
    ///
    /// # Errors
    /// As [`Reader::state`].
    pub fn state_prefix(&self, prefix: &[u8]) -> Result<Vec<StateEntry>, Error> {
        guard("read state", || under(&self.shared.store()?.begin_read()?, prefix))
    }

    /// The durable keys that begin with `prefix`, in order. Their values are not read.
    ///
    /// # Errors
    /// As [`Reader::state`].
    pub fn state_keys(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        guard("read state", || {
            let transaction = self.shared.store()?.begin_read()?;
            let table = transaction.open_table(STATE).map_err(not_a_log)?;
            let mut found = Vec::new();
            for entry in table.range(prefix..).map_err(storage("read state"))? {
                let (key, _) = entry.map_err(storage("read state"))?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                found.push(key.value().to_vec());
            }
            Ok(found)
        })
    }

    /// As [`Reader::state_prefix`], with the visible end of the log as of that commit.
    ///
    /// # Errors
    /// As [`Reader::state`].
    pub fn state_prefix_and_end(&self, prefix: &[u8]) -> Result<(Vec<StateEntry>, Lsn), Error> {
        guard("read state", || {
            let transaction = self.shared.store()?.begin_read()?;
            let found = under(&transaction, prefix)?;
            let log = transaction.open_table(LOG).map_err(not_a_log)?;
            Ok((found, tail_of(&log)?.end))
        })
    }

    /// The frames after `after`, in blocks, in order, up to the visible end. Stops after the block with which it has at least
    /// `max_bytes`, so that it gives at least one block if there is any.
    ///
    /// # Errors
    /// [`Error::Trimmed`] if the log no longer holds the frame after `after`; [`Error::Damaged`] or [`Error::Missing`] if it should and
    /// does not; else as [`Reader::state`].
    pub fn read(&self, after: Lsn, max_bytes: usize) -> Result<Vec<Block>, Error> {
        guard("read blocks", || {
            let transaction = self.shared.store()?.begin_read()?;
            let log = transaction.open_table(LOG).map_err(not_a_log)?;
            let tail = tail_of(&log)?;
            if after >= tail.end {
                return Ok(Vec::new());
            }
            if after.next() < tail.first {
                return Err(Error::Trimmed { first: tail.first, wanted: after.next() });
            }
            let table = transaction.open_table(BLOCKS).map_err(not_a_log)?;
            collect(&table, pieces::table(&transaction)?.as_ref(), (after, tail.end), max_bytes)
        })
    }
}

fn under(transaction: &ReadTransaction, prefix: &[u8]) -> Result<Vec<StateEntry>, Error> {
    let table = transaction.open_table(STATE).map_err(not_a_log)?;
    let mut found = Vec::new();
    for entry in table.range(prefix..).map_err(storage("read state"))? {
        let (key, value) = entry.map_err(storage("read state"))?;
        if !key.value().starts_with(prefix) {
            break;
        }
        found.push((key.value().to_vec(), value.value().to_vec()));
    }
    Ok(found)
}

fn tail_of(log: &ReadOnlyTable<&'static str, &'static [u8]>) -> Result<Tail, Error> {
    let tail = log.get(TAIL).map_err(storage("read the tail"))?.ok_or(Error::NotALog("it has no tail"))?;
    tables::decode("log", TAIL, tail.value())
}

fn collect(
    table: &ReadOnlyTable<u64, &'static [u8]>,
    large: Option<&ReadOnlyTable<(u64, u32), &'static [u8]>>,
    (after, end): (Lsn, Lsn),
    max_bytes: usize,
) -> Result<Vec<Block>, Error> {
    let wanted = after.next();
    let holding = table
        .range(..=wanted.raw())
        .map_err(storage("find a block"))?
        .next_back()
        .ok_or(Error::Missing(wanted))?
        .map_err(storage("read a block"))?;
    let from = holding.0.value();
    drop(holding);
    let mut blocks = Vec::new();
    let mut bytes = 0_usize;
    let mut expected = wanted;
    for entry in table.range(from..=end.raw()).map_err(storage("read blocks"))? {
        let (key, value) = entry.map_err(storage("read a block"))?;
        let key = Lsn::new(key.value());
        // The page that it was copied from is not needed any more.
        let whole = pieces::whole(large, key.raw(), value.value())?;
        drop(value);
        let block = Block::decode(whole).map_err(|source| Error::Damaged { block: key, source })?;
        let lies_right = block.header().first == key && key <= expected && block.last_lsn() >= expected;
        if !lies_right || (key < expected && !blocks.is_empty()) {
            return Err(Error::Missing(expected));
        }
        expected = block.last_lsn().next();
        bytes = bytes.saturating_add(block.bytes());
        blocks.push(block.starting_after(after));
        if bytes >= max_bytes {
            return Ok(blocks);
        }
    }
    if expected <= end {
        return Err(Error::Missing(expected));
    }
    Ok(blocks)
}
