//! Reads a whole log and reports everything in it that is not as it should be.
//!
//! Promises: it does not stop at the first finding, and what it reports is a contradiction in the log, not something that changed while
//! it looked. It checks every checksum, that LSNs are dense and blocks lie under their first one, that groups and counters continue from block to
//! block and end where the tail says, and that cursors stand between groups with the right counters; of a log that is not open elsewhere,
//! also redb's own checksums and the stored size. Where redb panics at damage, that is a finding too, with what was read before it.
//! Does not know what payloads mean. What no process can catch is left to the caller: see `guard`.

use std::collections::BTreeMap;
use std::path::Path;

use redb::{ReadOnlyTable, ReadableTableMetadata};

use crate::cursor::CursorRecord;
use crate::error::{Error, storage};
use crate::guard::guard;
use crate::lsn::Lsn;
use crate::open::{load_from, not_a_log};
use crate::pieces;
use crate::read::Reader;
use crate::read_only::open_overlay;
use crate::record::{Block, BlockHeader, Counters, Damage, PIECE_BYTES, stored_bytes};
use crate::tables::{BLOCKS, Tail};
use crate::tail::Store;

/// Blocks of a running log that are read in one transaction, which keeps what is trimmed meanwhile from being used again.
const BLOCKS_AT_ONCE: usize = 32;

/// What [`Reader::verify`] has read and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Blocks up to the durable end.
    pub blocks: u64,
    /// Frames in them.
    pub frames: u64,
    /// Groups that end in them.
    pub groups: u64,
    /// Frame bytes in them, headers included.
    pub bytes: u64,
    /// Blocks behind the durable end, of a group that is not finished.
    pub unfinished_blocks: u64,
    /// Everything that is wrong.
    pub findings: Vec<Finding>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Something in a log that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Finding {
    /// The bytes of a block are damaged.
    #[error("the block at lsn {block} is damaged: {damage}")]
    Damaged {
        /// The key of the block.
        block: Lsn,
        /// What is wrong.
        damage: Damage,
    },
    /// A block says that it begins elsewhere than where it lies.
    #[error("the block at lsn {block} says that it begins at {says}")]
    WrongKey {
        /// The key of the block.
        block: Lsn,
        /// The first LSN in its header.
        says: Lsn,
    },
    /// The log does not continue where the block before ended, or begin or end where it should.
    #[error("lsn {expected} should follow, and {found} does")]
    Gap {
        /// The LSN that should follow.
        expected: Lsn,
        /// The one that does.
        found: Lsn,
    },
    /// A group does not continue from one block to the next, or the log ends in the middle of one.
    #[error("a transaction is broken before lsn {0}")]
    BrokenGroup(Lsn),
    /// The cumulative counters do not continue.
    #[error("the counters at lsn {at} are {found:?} and should be {expected:?}")]
    Counters {
        /// Where.
        at: Lsn,
        /// What the frames before add up to.
        expected: Counters,
        /// What is recorded.
        found: Counters,
    },
    /// A cursor stands where no group ends, or outside of the log.
    #[error("cursor \"{name}\" stands at lsn {lsn}, which is not the end of a transaction in the log")]
    Cursor {
        /// Its name.
        name: String,
        /// Where it stands.
        lsn: Lsn,
    },
    /// The recorded stored size is not that of the blocks.
    #[error("the log records {found} stored bytes and holds {expected}")]
    StoredBytes {
        /// What the blocks take.
        expected: u64,
        /// What is recorded.
        found: u64,
    },
    /// The pieces of large blocks are not those that the blocks should have.
    #[error("the log holds {found} pieces of large blocks and should hold {expected}")]
    Pieces {
        /// As the blocks say.
        expected: u64,
        /// As there are.
        found: u64,
    },
    /// redb's own check of the file failed, or would have had to repair it.
    #[error("the database below the log is damaged: {0}")]
    Database(String),
}

/// The tables that blocks lie in.
#[derive(Clone, Copy)]
struct Tables<'t> {
    blocks: &'t ReadOnlyTable<u64, &'static [u8]>,
    pieces: Option<&'t ReadOnlyTable<(u64, u32), &'static [u8]>>,
}

/// What the blocks so far lead one to expect.
struct Walk {
    report: VerifyReport,
    next: Lsn,
    /// Whether `next` is a guess, because the block before is damaged.
    lost: bool,
    /// Unknown before the first block and after a damaged one.
    counters: Option<Counters>,
    group_open: Option<bool>,
    stored: u64,
    /// Pieces of the large ones among the blocks.
    pieces: u64,
}

impl Reader {
    /// Checks the whole log.
    ///
    /// # Errors
    /// Only if the log cannot be read at all, or is out of service. What is wrong in the log is in the report.
    pub fn verify(&self) -> Result<VerifyReport, Error> {
        let store = self.shared().store()?;
        let mut findings = Vec::new();
        if store.read_only
            && let Err(error) = guard("check the database", || check_database(&store, &mut findings))
        {
            findings.push(of_database(error)?);
        }
        let mut walk: Option<Walk> = None;
        if let Err(error) = guard("read the blocks", || walk_through(&store, &mut walk)) {
            findings.push(of_database(error)?);
        }
        let mut report = walk.map(|walk| walk.report).unwrap_or_default();
        findings.append(&mut report.findings);
        report.findings = findings;
        Ok(report)
    }

    /// Checks the whole log of a stopped daemon, or a copy, at `path`, its directory or its file. That it cannot be opened, because it is
    /// damaged, is a finding like others.
    ///
    /// # Errors
    /// [`Error::Locked`] if a daemon has the log open; [`Error::Io`]; [`Error::NotALog`] or [`Error::UnknownFormat`] if the file is
    /// something else, or says so.
    pub fn verify_stopped(path: &Path) -> Result<VerifyReport, Error> {
        let opened = Self::open_read_only(path).and_then(|reader| reader.verify());
        opened.or_else(|error| Ok(VerifyReport { findings: vec![of_database(error)?], ..VerifyReport::default() }))
    }
}

/// The finding that an error of reading is; the error where it says nothing of damage.
fn of_database(error: Error) -> Result<Finding, Error> {
    match error {
        Error::Panicked { action, panic } => Ok(Finding::Database(format!("cannot {action}: {panic}"))),
        Error::Storage { action, source } => Ok(Finding::Database(format!("cannot {action}: {source}"))),
        Error::DamagedRecord { .. } => Ok(Finding::Database(error.to_string())),
        other => Err(other),
    }
}

fn walk_through(store: &Store, walk: &mut Option<Walk>) -> Result<(), Error> {
    let at_once = if store.read_only { usize::MAX } else { BLOCKS_AT_ONCE };
    loop {
        let transaction = store.begin_read()?;
        let (_, log) = load_from(&transaction)?;
        let table = transaction.open_table(BLOCKS).map_err(not_a_log)?;
        let current = walk.get_or_insert_with(|| Walk::from(log.tail.first));
        if log.tail.first > current.next {
            // Trimmed while we looked.
            current.restart(log.tail.first);
        }
        let pieces = pieces::table(&transaction)?;
        let tables = Tables { blocks: &table, pieces: pieces.as_ref() };
        if !current.blocks(tables, &log.tail, &log.cursors, at_once)? {
            return current.ends(tables, &log.tail, &log.cursors, store.read_only);
        }
    }
}

fn check_database(store: &Store, findings: &mut Vec<Finding>) -> Result<(), Error> {
    let Some(path) = &store.path else {
        return Ok(());
    };
    let mut database = open_overlay(path)?;
    match database.check_integrity() {
        Ok(true) => {}
        Ok(false) => findings.push(Finding::Database("it needs repair".to_owned())),
        Err(error) => findings.push(Finding::Database(error.to_string())),
    }
    Ok(())
}

impl Walk {
    fn from(first: Lsn) -> Self {
        Self {
            report: VerifyReport::default(),
            next: first,
            lost: false,
            counters: None,
            group_open: None,
            stored: 0,
            pieces: 0,
        }
    }

    fn restart(&mut self, first: Lsn) {
        self.next = first;
        self.lost = false;
        self.counters = None;
        self.group_open = None;
    }

    fn lose(&mut self, key: Lsn) {
        self.restart(key.next());
        self.lost = true;
    }

    fn find(&mut self, finding: Finding) {
        self.report.findings.push(finding);
    }

    /// Walks some more visible blocks. Says whether there may be others.
    fn blocks(
        &mut self,
        tables: Tables<'_>,
        tail: &Tail,
        cursors: &BTreeMap<String, CursorRecord>,
        at_once: usize,
    ) -> Result<bool, Error> {
        if self.next > tail.end {
            return Ok(false);
        }
        let table = tables.blocks;
        let range = table.range(self.next.raw()..=tail.end.raw()).map_err(storage("read blocks"))?;
        for entry in range.take(at_once) {
            let (key, value) = entry.map_err(storage("read a block"))?;
            self.block(tables, Lsn::new(key.value()), value.value(), cursors)?;
            if self.next > tail.end {
                return Ok(false);
            }
        }
        // The range may have held nothing, although frames are missing.
        let more = table.range(self.next.raw()..=tail.end.raw()).map_err(storage("read blocks"))?.next().is_some();
        Ok(more)
    }

    fn block(
        &mut self,
        tables: Tables<'_>,
        key: Lsn,
        bytes: &[u8],
        cursors: &BTreeMap<String, CursorRecord>,
    ) -> Result<(), Error> {
        self.report.blocks += 1;
        let header = BlockHeader::decode(bytes);
        let stored = header.as_ref().map_or(stored_bytes(bytes.len()), |header| header.stored(bytes.len()));
        self.stored = self.stored.saturating_add(stored);
        if let Ok(header) = header
            && header.in_pieces
        {
            let pieces = header.block_bytes().div_ceil(PIECE_BYTES);
            self.pieces = self.pieces.saturating_add(u64::try_from(pieces).unwrap_or(u64::MAX));
        }
        let decoded = match pieces::whole(tables.pieces, key.raw(), bytes) {
            Ok(bytes) => Block::decode(bytes),
            Err(Error::Damaged { source, .. }) => Err(source),
            Err(error) => return Err(error),
        };
        self.decoded(key, decoded, cursors);
        Ok(())
    }

    fn decoded(&mut self, key: Lsn, decoded: Result<Block, Damage>, cursors: &BTreeMap<String, CursorRecord>) {
        if key != self.next && !self.lost {
            self.find(Finding::Gap { expected: self.next, found: key });
            self.restart(key);
        }
        self.lost = false;
        let block = match decoded {
            Ok(block) => block,
            Err(damage) => {
                self.find(Finding::Damaged { block: key, damage });
                self.lose(key);
                return;
            }
        };
        let header = *block.header();
        if header.first != key {
            self.find(Finding::WrongKey { block: key, says: header.first });
            self.lose(key);
            return;
        }
        if self.group_open.is_some_and(|open| open != header.continues) {
            self.find(Finding::BrokenGroup(key));
        }
        self.check_counters(key, header.before);
        let mut ended = 0_u64;
        for frame in block.frames() {
            match frame {
                Ok(frame) => ended += u64::from(frame.end_of_group),
                Err(damage) => {
                    self.find(Finding::Damaged { block: key, damage });
                    self.lose(key);
                    return;
                }
            }
        }
        self.check_cursors(&block, cursors);
        self.report.frames += u64::from(header.frames);
        self.report.bytes += u64::from(header.frame_bytes);
        self.report.groups += ended;
        self.next = header.last.next();
        self.group_open = Some(header.open_end);
        self.counters = Some(Counters {
            bytes: header.before.bytes.saturating_add(u64::from(header.frame_bytes)),
            groups: header.before.groups.saturating_add(ended),
        });
    }

    fn check_counters(&mut self, at: Lsn, found: Counters) {
        if let Some(expected) = self.counters
            && expected != found
        {
            self.find(Finding::Counters { at, expected, found });
        }
    }

    /// Checks the cursors that stand in the block, or right before it.
    fn check_cursors(&mut self, block: &Block, cursors: &BTreeMap<String, CursorRecord>) {
        let header = *block.header();
        for (name, cursor) in cursors {
            let here = if cursor.lsn.next() == header.first {
                Some((header.before, !header.continues))
            } else {
                // The frames were all read just now.
                block.counters_at(cursor.lsn).ok().flatten()
            };
            match here {
                None => {}
                Some((expected, true)) => {
                    let found = cursor.counters();
                    if found != expected {
                        self.find(Finding::Counters { at: cursor.lsn, expected, found });
                    }
                }
                Some((_, false)) => self.find(Finding::Cursor { name: name.clone(), lsn: cursor.lsn }),
            }
        }
    }

    /// Checks that the log ends where its tail says, and what lies behind.
    fn ends(
        &mut self,
        tables: Tables<'_>,
        tail: &Tail,
        cursors: &BTreeMap<String, CursorRecord>,
        alone: bool,
    ) -> Result<(), Error> {
        if self.next != tail.end.next() {
            if !self.lost {
                self.find(Finding::Gap { expected: tail.end.next(), found: self.next });
            }
            self.restart(tail.end.next());
        }
        if self.group_open == Some(true) {
            self.find(Finding::BrokenGroup(tail.end.next()));
        }
        self.check_counters(tail.end, tail.counters());
        for (name, cursor) in cursors {
            let outside = cursor.lsn > tail.end || (!cursor.detached && cursor.lsn.next() < tail.first);
            if outside {
                self.find(Finding::Cursor { name: name.clone(), lsn: cursor.lsn });
            }
        }
        let behind = tables.blocks.range(tail.end.next().raw()..).map_err(storage("read blocks"))?;
        for entry in behind {
            let (key, value) = entry.map_err(storage("read a block"))?;
            let (blocks, frames, groups, bytes) =
                (self.report.blocks, self.report.frames, self.report.groups, self.report.bytes);
            self.block(tables, Lsn::new(key.value()), value.value(), &BTreeMap::new())?;
            let report = &mut self.report;
            (report.blocks, report.frames, report.groups, report.bytes) = (blocks, frames, groups, bytes);
            report.unfinished_blocks += 1;
        }
        if alone && self.stored != tail.live_bytes {
            self.find(Finding::StoredBytes { expected: self.stored, found: tail.live_bytes });
        }
        let found = tables.pieces.map_or(Ok(0), ReadableTableMetadata::len).map_err(storage("count pieces"))?;
        if alone && found != self.pieces {
            self.find(Finding::Pieces { expected: self.pieces, found });
        }
        Ok(())
    }
}
