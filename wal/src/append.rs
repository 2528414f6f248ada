//! The appending end of the log: frames into blocks, blocks to the writer thread.
//!
//! Promises: LSNs are dense; a block never holds frames of a finished group before frames of an open one, so that the
//! visible end of the log is always the end of a block; state put with a group is sent with the end of that group and
//! never before it, settled state with the next flush. [`Appender::append`] copies into a buffer and does nothing else. If a future of this type is dropped half-way, nothing
//! is lost and nothing is sent twice. Assumes that the caller flushes now and then: what was appended since takes memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc;

use crate::command::{Append, Command, GroupsEnd, StateChanges, ask};
use crate::error::Error;
use crate::handle::Handle;
use crate::lsn::Lsn;
use crate::record::{BlockWriter, Counters, MAX_PAYLOAD, SealedBlock, stored_block};
use crate::tables::Tail;
use crate::tail::{QUEUE_BYTES, Shared};

/// Bytes of state from which on it counts for the queue to the writer.
const LARGE_STATE: usize = 64 << 10;

/// Whether a frame completes its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupEnd {
    /// The group goes on: the frame is a fragment, which readers see only once the frame that ends the group is durable.
    More,
    /// The frame is the last, or only, one of its group.
    Ends,
}

/// The only source of LSNs in a log. There is exactly one.
#[derive(Debug)]
pub struct Appender {
    handle: Arc<Handle>,
    block: BlockWriter,
    /// Full blocks that were not yet sent, in order.
    sealed: Vec<SealedBlock>,
    sealed_bytes: usize,
    sealed_stored: u64,
    next: Lsn,
    open: Option<OpenGroup>,
    /// The last group that has ended, if its end was not yet sent.
    end: Option<GroupsEnd>,
    /// State that belongs to ended groups.
    ready: State,
    /// Bytes of its values.
    ready_bytes: usize,
    /// State that belongs to the open group.
    staged: State,
    /// Stored bytes that were sent after the last end that was sent: nobody sees them, nobody can trim them.
    unseen: u64,
}

type State = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Where the open group began.
#[derive(Clone, Copy, Debug)]
struct OpenGroup {
    first: Lsn,
    before: Counters,
}

impl Appender {
    pub(crate) fn new(handle: Arc<Handle>, tail: &Tail) -> Self {
        let next = tail.end.next();
        Self {
            handle,
            block: BlockWriter::new(Vec::new(), next, tail.counters(), false),
            sealed: Vec::new(),
            sealed_bytes: 0,
            sealed_stored: 0,
            next,
            open: None,
            end: None,
            ready: State::new(),
            ready_bytes: 0,
            staged: State::new(),
            unseen: 0,
        }
    }

    fn shared(&self) -> &Shared {
        self.handle.shared()
    }

    fn sender(&self) -> Result<mpsc::Sender<Command>, Error> {
        self.handle.sender()
    }

    /// The LSN that the next frame gets.
    pub fn next_lsn(&self) -> Lsn {
        self.next
    }

    /// Bytes that were appended and not yet sent, and of settled state. They are in memory.
    pub fn pending_bytes(&self) -> usize {
        let open = if self.block.is_empty() { 0 } else { self.block.len() };
        self.sealed_bytes + open + self.ready_bytes
    }

    /// Appends one frame whose payload is `parts`, one after the other. Nothing leaves memory before [`Appender::flush`].
    ///
    /// # Errors
    /// [`Error::FrameTooLarge`] for a payload of more than 1 GiB; the log is unchanged.
    pub fn append(&mut self, parts: &[&[u8]], end: GroupEnd) -> Result<Lsn, Error> {
        let bytes = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        let length = match u32::try_from(bytes) {
            Ok(length) if bytes <= MAX_PAYLOAD => length,
            _ => {
                return Err(Error::FrameTooLarge { bytes, most: MAX_PAYLOAD });
            }
        };
        let begins_open_group = self.open.is_none() && end == GroupEnd::More;
        if !self.block.is_empty() && (begins_open_group || !self.block.has_room(bytes)) {
            self.seal();
        }
        if begins_open_group {
            self.open = Some(OpenGroup { first: self.next, before: self.block.counters() });
        }
        self.block.push(parts, length, end == GroupEnd::Ends);
        let lsn = self.next;
        self.next = lsn.next();
        if end == GroupEnd::Ends {
            self.end = Some(GroupsEnd { lsn, counters: self.block.counters() });
            if self.open.take().is_some() {
                self.ready.append(&mut self.staged);
            }
        }
        Ok(lsn)
    }

    /// Puts `value` under `key`, or removes the key. It becomes durable together with the end of the open group or, if none
    /// is open, of the group that ended last: so put it before the frame that ends a group of fragments, or right after the end of any
    /// group. Of several values for a key between two flushes the last is kept.
    pub fn put_state(&mut self, key: &[u8], value: Option<&[u8]>) {
        let state = if self.open.is_some() { &mut self.staged } else { &mut self.ready };
        put(state, key, value);
    }

    /// As [`Appender::put_state`], for state that belongs to the groups that have ended, whether a group is open or not. The next
    /// flush sends it, in one transaction with the end of the last of these groups. Aborting the open group does not touch
    /// it. What the open group puts under the same key replaces it when that group ends, whichever was put first.
    pub fn put_settled(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.ready_bytes += value.map_or(0, <[u8]>::len);
        put(&mut self.ready, key, value);
    }

    /// Sends everything appended so far to the writer thread. Waits while the queue to it is full, which it stays while the log
    /// is full, but not for the commit.
    ///
    /// # Errors
    /// [`Error::GroupTooLarge`] if what was sent since the last end of a group can never fit: abort the group then.
    /// [`Error::Poisoned`] or [`Error::Closed`] if the log is out of service.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.seal_if_any();
        if self.sealed.is_empty() && self.end.is_none() && self.ready.is_empty() {
            return self.shared().check();
        }
        let append = self.prepare().await?;
        self.sender()?.send(Command::Append(append)).map_err(|_| self.shared().gone())
    }

    /// As [`Appender::flush`], and waits until everything sent is durable.
    ///
    /// # Errors
    /// As [`Appender::flush`].
    pub async fn flush_durable(&mut self) -> Result<(), Error> {
        self.seal_if_any();
        let mut append = self.prepare().await?;
        let sender = self.sender()?;
        ask(self.shared(), &sender, |reply| {
            append.reply = Some(reply);
            Command::Append(append)
        })
        .await
    }

    /// Forgets the open group, if there is one: its frames, those already sent included, and its state. The next frame gets
    /// the LSN that the group's first had.
    ///
    /// # Errors
    /// [`Error::Poisoned`] or [`Error::Closed`] if the log is out of service.
    // It waits for nothing today; it is async so that a log elsewhere could.
    #[expect(clippy::unused_async, reason = "part of the contract of the appender")]
    pub async fn abort_group(&mut self) -> Result<(), Error> {
        let Some(open) = self.open else {
            return self.shared().check();
        };
        let after = open.first.prev();
        self.sender()?.send(Command::Abort { after }).map_err(|_| self.shared().gone())?;
        // All frames of the open group are in blocks of their own.
        while let Some(block) = self.sealed.pop_if(|block| block.first > after) {
            self.sealed_bytes -= block.bytes.len();
            self.sealed_stored -= stored_block(block.bytes.len());
            self.shared().give_buffer(block.bytes);
        }
        let abandoned = self.start_block(open.first, open.before, false);
        self.shared().give_buffer(abandoned.into_buffer());
        self.next = open.first;
        self.open = None;
        self.staged.clear();
        self.unseen = 0;
        Ok(())
    }

    /// Waits for room in the queue, then takes everything that is to be sent. Nothing is taken if the wait is cut short.
    async fn prepare(&mut self) -> Result<Append, Error> {
        let shared = self.shared();
        shared.check()?;
        let stored = self.sealed_stored;
        let invisible = self.unseen.saturating_add(stored);
        if invisible > shared.limits.group {
            return Err(Error::GroupTooLarge {
                bytes: invisible,
                most: shared.limits.group,
                max_size: shared.limits.max_size,
            });
        }
        // Positions and counters pass a queue that is full; what is as large as blocks waits with them.
        let state_bytes = if self.ready_bytes < LARGE_STATE { 0 } else { self.ready_bytes };
        let permits = u32::try_from(self.sealed_bytes + state_bytes).unwrap_or(QUEUE_BYTES).min(QUEUE_BYTES);
        let permit = shared.queue.acquire_many(permits).await.map_err(|_| shared.gone())?;
        permit.forget();
        let end = self.end.take();
        self.unseen = match end {
            Some(end) => stored_after(&self.sealed, end.lsn),
            None => invisible,
        };
        let blocks = std::mem::take(&mut self.sealed);
        self.sealed_bytes = 0;
        self.sealed_stored = 0;
        self.ready_bytes = 0;
        let state: StateChanges = std::mem::take(&mut self.ready).into_iter().collect();
        Ok(Append { blocks, stored, permits, end, state, reply: None })
    }

    fn seal_if_any(&mut self) {
        if !self.block.is_empty() {
            self.seal();
        }
    }

    /// Closes the block, which is not empty, and begins the next.
    fn seal(&mut self) {
        let counters = self.block.counters();
        let continues = self.open.is_some();
        let full = self.start_block(self.next, counters, continues).seal();
        self.sealed_bytes += full.bytes.len();
        self.sealed_stored += stored_block(full.bytes.len());
        self.sealed.push(full);
    }

    fn start_block(&mut self, first: Lsn, before: Counters, continues: bool) -> BlockWriter {
        let buffer = self.shared().take_buffer();
        std::mem::replace(&mut self.block, BlockWriter::new(buffer, first, before, continues))
    }
}

fn put(state: &mut State, key: &[u8], value: Option<&[u8]>) {
    match (state.get_mut(key), value) {
        // The usual case, once per transaction: no allocation.
        (Some(Some(old)), Some(new)) => {
            old.clear();
            old.extend_from_slice(new);
        }
        (Some(old), new) => *old = new.map(<[u8]>::to_vec),
        (None, new) => {
            state.insert(key.to_vec(), new.map(<[u8]>::to_vec));
        }
    }
}

/// Stored bytes of the blocks that begin after `end`.
fn stored_after(blocks: &[SealedBlock], end: Lsn) -> u64 {
    blocks.iter().filter(|block| block.first > end).map(|block| stored_block(block.bytes.len())).sum()
}
