//! Writing a block, and what storage it takes.

use super::{
    BLOCK_BYTES, CHECKSUM_BYTES, CONTINUES, Counters, Damage, ENDS_GROUP, FRAME_HEADER_BYTES, FRAMES_AT, MAGIC,
    OPEN_END, PAGE, PAGE_OVERHEAD, PIECE_BYTES, VERSION, VERSION_AT, VERSION_IN_PIECES, slice,
};
use crate::lsn::Lsn;

/// Packs frames into the bytes of one block, in a buffer that is used again.
#[derive(Debug)]
pub(crate) struct BlockWriter {
    bytes: Vec<u8>,
    first: Lsn,
    frames: u32,
    before: Counters,
    counters: Counters,
    continues: bool,
    open_end: bool,
}

impl BlockWriter {
    /// An empty block in `buffer`. `continues`: the group of its first frame began in an earlier block.
    pub(crate) fn new(mut buffer: Vec<u8>, first: Lsn, before: Counters, continues: bool) -> Self {
        buffer.clear();
        buffer.resize(FRAMES_AT, 0);
        Self { bytes: buffer, first, frames: 0, before, counters: before, continues, open_end: false }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// The counters after the last frame.
    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// Encoded bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + CHECKSUM_BYTES
    }

    /// Whether a frame with this payload keeps the block within its size, or is its only one.
    pub(crate) fn has_room(&self, payload: usize) -> bool {
        self.frames == 0 || self.len().saturating_add(FRAME_HEADER_BYTES).saturating_add(payload) <= BLOCK_BYTES
    }

    /// Appends a frame. The caller has checked [`super::MAX_PAYLOAD`] and [`BlockWriter::has_room`]; `length` is the payload's.
    pub(crate) fn push(&mut self, parts: &[&[u8]], length: u32, ends: bool) {
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.push(if ends { ENDS_GROUP } else { 0 });
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.frames += 1;
        self.open_end = !ends;
        self.counters.bytes += u64::from(length) + FRAME_HEADER_LENGTH;
        self.counters.groups += u64::from(ends);
    }

    /// Writes header and checksum. The block has at least one frame.
    pub(crate) fn seal(mut self) -> SealedBlock {
        let frame_bytes = u32::try_from(self.bytes.len() - FRAMES_AT)
            .expect("a block holds one frame of at most 1 GiB, or 128 KiB in all");
        let mut flags = 0;
        if self.continues {
            flags |= CONTINUES;
        }
        if self.open_end {
            flags |= OPEN_END;
        }
        let header =
            HeaderBytes { flags, first: self.first.raw(), frames: self.frames, frame_bytes, before: self.before }
                .encode();
        for (to, from) in self.bytes.iter_mut().zip(header) {
            *to = from;
        }
        SealedBlock { first: self.first, bytes: with_checksum(self.bytes) }
    }

    /// Gives the buffer back, forgetting its frames.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}

const FRAME_HEADER_LENGTH: u64 = 5;

struct HeaderBytes {
    flags: u16,
    first: u64,
    frames: u32,
    frame_bytes: u32,
    before: Counters,
}

impl HeaderBytes {
    /// The fields in the order of the table above, which has no gaps.
    fn encode(self) -> impl Iterator<Item = u8> {
        MAGIC
            .into_iter()
            .chain(VERSION.to_le_bytes())
            .chain(self.flags.to_le_bytes())
            .chain(self.first.to_le_bytes())
            .chain(self.frames.to_le_bytes())
            .chain(self.frame_bytes.to_le_bytes())
            .chain(self.before.bytes.to_le_bytes())
            .chain(self.before.groups.to_le_bytes())
    }
}

/// A finished block, ready to be stored under its first LSN.
#[derive(Debug)]
pub(crate) struct SealedBlock {
    pub(crate) first: Lsn,
    pub(crate) bytes: Vec<u8>,
}

/// Bytes of storage that a block of this length takes: a page of its own rounded up to a power of two, or, if it shares
/// a page, twice its length, because a page that was split is half empty.
pub(crate) fn stored_bytes(length: usize) -> u64 {
    let length = u64::try_from(length.saturating_add(PAGE_OVERHEAD)).unwrap_or(u64::MAX);
    if length <= PAGE { length.saturating_mul(2) } else { length.checked_next_power_of_two().unwrap_or(u64::MAX) }
}

/// As [`stored_bytes`], of a block that lies in pieces if it is large.
pub(crate) fn stored_block(length: usize) -> u64 {
    if length <= BLOCK_BYTES {
        return stored_bytes(length);
    }
    let (full, rest) = (length / PIECE_BYTES, length % PIECE_BYTES);
    let full = u64::try_from(full).unwrap_or(u64::MAX).saturating_mul(stored_bytes(BLOCK_BYTES));
    let header = stored_bytes(FRAMES_AT + CHECKSUM_BYTES);
    full.saturating_add(if rest == 0 { 0 } else { stored_bytes(rest) }).saturating_add(header)
}

/// Bytes of storage that a frame takes at most, by the length of its payload: as what `max_size` and [`Stats::live_bytes`] count.
///
/// [`Stats::live_bytes`]: crate::Stats::live_bytes
pub fn stored_frame(payload: usize) -> u64 {
    stored_block(payload.saturating_add(FRAMES_AT + FRAME_HEADER_BYTES + CHECKSUM_BYTES))
}

/// What lies in the place of a block that lies in pieces.
pub(crate) fn in_pieces(block: &[u8]) -> Result<Vec<u8>, Damage> {
    let mut header = slice(block, 0, FRAMES_AT)?.to_vec();
    for (to, from) in header.iter_mut().skip(VERSION_AT).zip(VERSION_IN_PIECES.to_le_bytes()) {
        *to = from;
    }
    Ok(with_checksum(header))
}

/// `bytes` and the checksum that makes them a block, if they are one otherwise. For the fuzzer, which cannot guess it.
#[doc(hidden)]
pub fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}
